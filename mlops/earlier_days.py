"""Whether what a sensor shows is unlike its earlier days, or a pattern that comes with the hour or the day of the week.

A day is compared at the same hours with those of four weeks before. How close the closest of them comes is measured by
how close ordinary days come to each other: the question of a discord (Keogh, Lin and Fu, 2005, "HOT SAX: finding the
most unusual time series subsequence"), asked of whole days.
"""

import math

import numpy as np
from numpy.typing import NDArray

from mlops.detectors.robust import DAY_US
from sensors.history import Series, Window

Values = NDArray[np.float64]

# Four times each day of the week.
DAYS = 28
# From fewer ordinary days nobody can tell what is usual: a week.
FEWEST_DAYS = 7
LOOKS_A_DAY = 48
LOOKS_AT_STRETCH = 12
# How well a root mean square of so many looks is known, relative to itself, where the differences are noise.
SAMPLING_ERROR = 1 / math.sqrt(2 * LOOKS_A_DAY)
# Two days are compared when this share of the looks found a reading on both.
KNOWN_SHARE = 0.5
# The day that the event's day is like lies at least so far back: in a slow drift today is like yesterday.
APART_DAYS = 7


def windows(sensor: int, start: int, end: int) -> list[Window]:
    """What has to be looked at for an event from `start` to `end` (microseconds UTC): its day and those before, and
    its stretch on each of these days.
    """
    stop = end + 1
    first = max(start, stop - DAY_US)
    step = max((stop - first) // LOOKS_AT_STRETCH, 1)
    whole = Window(sensor, stop - (DAYS + 1) * DAY_US, stop, DAY_US // LOOKS_A_DAY)
    return [whole, *(Window(sensor, first - k * DAY_US, stop - k * DAY_US, step) for k in range(DAYS + 1))]


def share_of_closer_days(asked: list[Window], found: list[Series], start: int) -> float | None:
    """The share of ordinary days that resemble another day clearly more than the event's day does one that is a week
    and more back, given what its `windows` show.

    None when fewer than seven ordinary days are known. Days that the event from `start` on lies in itself are left out.
    """
    apart = [k for k in range(DAYS + 1) if k == 0 or asked[1 + k].stop <= start]
    levels = np.array([found[1 + k][1].mean() if len(found[1 + k][1]) else np.nan for k in apart])
    distances = _distances(_looks(asked[0], found[0])[apart], levels)
    closest = distances[1:, 1:].min(axis=1, initial=np.inf)
    closest = closest[np.isfinite(closest)]
    if len(closest) < FEWEST_DAYS:
        return None
    own = distances[0, np.array(apart) >= APART_DAYS].min(initial=np.inf)
    return float(np.mean(closest < own * (1 - SAMPLING_ERROR)))


def _looks(window: Window, series: Series) -> Values:
    """Shape (days, looks), the latest day first; NaN where nothing was found."""
    looks = np.full((DAYS + 1) * LOOKS_A_DAY, np.nan)
    timestamps, values = series
    looks[(timestamps - window.start) // window.step] = values
    return looks.reshape(DAYS + 1, LOOKS_A_DAY)[::-1]


def _distances(days: Values, levels: Values) -> Values:
    """How far each two days differ: over all looks, or at the hours of the event, whichever is more. In the unit of the
    values; infinite where too little is known, and between a day and itself.
    """
    differences = days[:, None] - days[None]
    known = np.isfinite(differences).sum(axis=2)
    squares = np.nansum(differences**2, axis=2) / np.maximum(known, 1)
    distances: Values = np.maximum(np.sqrt(squares), np.abs(levels[:, None] - levels[None]))
    distances[(known < KNOWN_SHARE * LOOKS_A_DAY) | np.isnan(distances)] = np.inf
    np.fill_diagonal(distances, np.inf)
    return distances

"""How much of a machine was used between two times, from the hourly summaries of a sensor, so that its cost is bounded.

A counter's steps are added up; running hours are the share of each hour that a signal was above a threshold.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from sensors import summary
from sensors.summary import Hours
from sensors.timescale.rebuild import HOUR_US

# A counter that falls below this share of what it showed was reset, and counts from zero; a smaller fall is noise.
RESET_BELOW = 0.5


@dataclass(frozen=True)
class Used:
    """`amount` in the counter's unit or in hours; `shown` is what the counter showed last, None if it never did."""

    amount: float
    shown: float | None


def counted(sensor: int, start: datetime, stop: datetime, shown: float | None) -> Used:
    """What a counter that showed `shown` at `start` has counted until `stop`, whatever resets lie between.

    A counter that is reset counts on from zero; of two resets within an hour one is seen.
    """
    hours = summary.hours([sensor], start, stop)
    if not len(hours.first):
        return Used(0.0, shown)
    peaks = np.maximum(hours.max, hours.first)
    # Up to the hour's peak and, where it was reset after that, on to its last reading.
    was_reset = hours.last < RESET_BELOW * peaks
    path = np.column_stack([hours.first, np.where(was_reset, peaks, hours.last), hours.last]).ravel()
    if shown is not None:
        path = np.concatenate([[shown], path])
    return Used(float(_steps(path).sum()), float(path[-1]))


def _steps(path: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    >>> _steps(np.array([10.0, 12.0, 11.9, 3.0])).tolist()
    [2.0, 0.0, 3.0]
    """
    before, after = path[:-1], path[1:]
    return np.where(after >= before, after - before, np.where(after < RESET_BELOW * before, after, 0.0))


def running_hours(sensor: int, start: datetime, stop: datetime, threshold: float) -> Used:
    """The hours between `start` and `stop` in which the signal lay above `threshold`; hours without readings count 0.

    An hour with readings on both sides of it counts by the share that its mean has of the way from its lowest to its
    highest reading: exact for a machine that is on or off, an estimate for one that runs at many speeds.
    """
    hours = summary.hours([sensor], start, stop)
    return Used(float((_share_above(hours, threshold) * _lengths(hours, start, stop)).sum()), None)


def _share_above(hours: Hours, threshold: float) -> NDArray[np.float64]:
    spread = np.where(hours.max > hours.min, hours.max - hours.min, 1.0)
    mixed = np.clip((hours.avg - hours.min) / spread, 0.0, 1.0)
    return np.where(hours.min > threshold, 1.0, np.where(hours.max > threshold, mixed, 0.0))


def _lengths(hours: Hours, start: datetime, stop: datetime) -> NDArray[np.float64]:
    """How much of each hour, in hours, lies in the window."""
    begin = np.maximum(hours.bucket, start.timestamp() * 1e6)
    end = np.minimum(hours.bucket + HOUR_US, stop.timestamp() * 1e6)
    lengths: NDArray[np.float64] = (end - begin) / HOUR_US
    return lengths

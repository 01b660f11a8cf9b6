"""From scores of normal data to a threshold that gives a stated number of false alarms a day.

An alarm is an event, not a row: rows above the threshold that lie close together are one. How high the events of normal
data rise is continued beyond what was seen by peaks over a threshold (Coles, 2001, "An Introduction to Statistical
Modeling of Extreme Values", chapters 4 and 5), because a rate of one a week is usually asked for before a week of
held-back data is there.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops.detectors.base import NotEnoughData

Floats = NDArray[np.float64]

DAY_US = 86_400_000_000
# Exceedances closer than this belong to one event.
MERGE_SECONDS = 3600.0
# A threshold from fewer rows would rest on chance.
FEWEST_ROWS = 50
# The tail is fitted to the peaks of this many events where there are as many; Coles' rule is "as few as leave the fit
# stable", and fewer leave its shape to chance.
TAIL_EVENTS = 30
# The tail begins at this quantile of the rows at the lowest.
LOWEST_TAIL = 0.5
# Shapes of the tail that are believed: never one with an end, so that nothing is certain to stay below a score.
SHAPES = (0.0, 0.5)


@dataclass(frozen=True)
class Calibration:
    """The threshold for `per_day` false events a day, and the days of held-back data it was learned from."""

    threshold: float
    per_day: float
    days: float

    def comparable(self, scores: Floats) -> Floats:
        """Scores in units of the threshold: from 1.0 on a row is an alarm, whatever the sensor or the detector."""
        return scores / self.threshold


def calibrate(
    timestamps: NDArray[np.int64], scores: Floats, per_day: float, merge_seconds: float = MERGE_SECONDS
) -> Calibration:
    """The threshold that scores of normal data exceed in `per_day` events a day.

    Timestamps are microseconds UTC, rising; NaN scores are passed over.

    Raises NotEnoughData when fewer than 50 rows have a score, or all have the same.
    """
    known = np.isfinite(scores)
    timestamps, scores = timestamps[known], scores[known]
    if len(scores) < FEWEST_ROWS or not np.ptp(scores):
        raise NotEnoughData(f"{len(scores)} held-back scores are too few or too alike to set a threshold by.")
    days = watched_days(timestamps)
    start, peaks = _tail(timestamps, scores, merge_seconds)
    threshold = start + _excess(peaks - start, len(peaks) / days / per_day)
    return Calibration(max(threshold, float(np.finfo(float).tiny)), per_day, days)


def watched_days(timestamps: NDArray[np.int64]) -> float:
    """The time that rows cover: a pause counts as ten usual steps at most."""
    steps = np.diff(timestamps)
    usual = float(np.median(steps))
    return float(np.minimum(steps, 10 * usual).sum() + usual) / DAY_US


def events(
    timestamps: NDArray[np.int64], scores: Floats, threshold: float, merge_seconds: float = MERGE_SECONDS
) -> list[slice]:
    """The events in which scores reach the threshold: from the first row to the last, rows in between included."""
    rows = np.flatnonzero(scores >= threshold)
    if not len(rows):
        return []
    new = np.diff(timestamps[rows]) > merge_seconds * 1e6
    firsts, lasts = rows[np.concatenate([[True], new])], rows[np.concatenate([new, [True]])]
    return [slice(first, last + 1) for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)]


def _tail(timestamps: NDArray[np.int64], scores: Floats, merge_seconds: float) -> tuple[float, Floats]:
    """Where the tail begins, and the peaks of the events above: the highest of ever lower levels with enough events."""
    found: tuple[float, Floats] | None = None
    for share in (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 1 - LOWEST_TAIL):
        level = float(np.quantile(scores, 1 - share))
        spans = events(timestamps, scores, level, merge_seconds)
        if found and len(spans) < len(found[1]):
            break  # Lower still, events only grow together.
        found = level, np.array([scores[span].max() for span in spans])
        if len(spans) >= TAIL_EVENTS:
            break
    assert found is not None
    return found


def _excess(excesses: Floats, ratio: float) -> float:
    """What one in `ratio` events rises above the beginning of the tail, by a generalised Pareto distribution.

    Probability-weighted moments (Hosking and Wallis, 1987). Below 1 in 1 nothing needs to be continued.
    """
    if ratio <= 1:
        return 0.0
    ordered = np.sort(excesses)
    mean = float(ordered.mean())
    ranks = (np.arange(len(ordered)) + 0.65) / len(ordered)
    weighted = float(np.mean((1 - ranks) * ordered))
    shape = float(np.clip(2 - mean / (mean - 2 * weighted), *SHAPES)) if mean > 2 * weighted else SHAPES[1]
    scale = mean * (1 - shape)
    return scale * (math.log(ratio) if shape < 1e-6 else (ratio**shape - 1) / shape)

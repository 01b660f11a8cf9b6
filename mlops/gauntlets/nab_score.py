"""The score of the Numenta Anomaly Benchmark.

Lavin and Ahmad, 2015, "Evaluating Real-time Anomaly Detection Algorithms", with the details of the published scorer
(numenta/NAB, nab/sweeper.py): a window counts by the earliest detection in it, all detections outside count against.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

PROBATION_SHARE = 0.15
# The share applies to this many rows at most.
PROBATION_LIMIT = 5000
# Beyond this many widths after a window a false detection counts in full.
FAR = 3.0

Spans = list[tuple[int, int]]
Series = tuple[int, Spans, list[int]]  # rows, windows (first and last row), detections


@dataclass(frozen=True)
class Profile:
    """What a window found, a false detection and a window missed weigh."""

    found: float
    false: float
    missed: float


PROFILES = {
    "standard": Profile(1.0, 0.11, 1.0),
    "low FP": Profile(1.0, 0.22, 1.0),
    "low FN": Profile(1.0, 0.11, 2.0),
}


def probation(rows: int) -> int:
    """How many rows at the beginning of a series are not scored."""
    return math.ceil(min(math.floor(PROBATION_SHARE * rows), PROBATION_SHARE * PROBATION_LIMIT))


def raw(series: Series, profile: Profile) -> float:
    """The score of one series before it is normalised."""
    rows, windows, detections = series
    scored = [row for row in detections if row >= probation(rows)]
    total = 0.0
    for first, last in windows:
        inside = [row for row in scored if first <= row <= last]
        if inside:
            total += profile.found * _position(-(last - min(inside) + 1) / (last - first + 1)) / _position(-1.0)
        elif last >= probation(rows):
            total -= profile.missed
    return total + profile.false * sum(_outside(row, windows) for row in _false(scored, windows))


def normalised(series: Iterable[Series], profile: Profile) -> float:
    """0 for a detector that says nothing, 100 for one that finds each window at once and says nothing else."""
    every = list(series)
    count = sum(last >= probation(rows) for rows, windows, _ in every for _, last in windows)
    silent, perfect = -profile.missed * count, profile.found * count
    return 100 * (sum(raw(each, profile) for each in every) - silent) / (perfect - silent)


def hits_and_false(rows: int, windows: Spans, detections: list[int]) -> tuple[int, int]:
    """Windows with a detection in them, and detections outside of all, after the probation."""
    scored = [row for row in detections if row >= probation(rows)]
    hits = sum(any(first <= row <= last for row in scored) for first, last in windows)
    return hits, len(_false(scored, windows))


def _false(scored: list[int], windows: Spans) -> list[int]:
    return [row for row in scored if not any(first <= row <= last for first, last in windows)]


def _outside(row: int, windows: Spans) -> float:
    """-1 far from a window, less soon after one."""
    before = [(first, last) for first, last in windows if last < row]
    if not before:
        return -1.0
    first, last = max(before, key=lambda window: window[1])
    return _position((row - last) / (last - first))


def _position(widths: float) -> float:
    """The worth of a detection by its distance from the right edge of the window, in widths (negative inside)."""
    return 2 / (1 + math.exp(5 * widths)) - 1 if widths < FAR else -1.0

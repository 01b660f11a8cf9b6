"""The built-in detector of one sensor: distance from its median in robust standard deviations, by time of day if it
helps.

It needs no training run and serves whatever has no model of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mlops.detectors import windows
from mlops.detectors.base import Frame, NotEnoughData

# Makes the median absolute deviation an estimate of a normal distribution's standard deviation
# (Rousseeuw and Croux, 1993, "Alternatives to the Median Absolute Deviation").
MAD_TO_SIGMA = 1.4826
# A spread below this share of the level is below the accuracy class of common industrial transmitters (0.1 %): a signal
# that never moves would otherwise call its own last digit an anomaly.
SMALLEST_RELATIVE_SPREAD = 0.001
# A daily pattern is used when it has been seen on this many days and leaves at most this share of the spread.
DAILY_PATTERN_DAYS = 3
DAILY_PATTERN_GAIN = 0.8
# The spread of fewer readings than this says nothing.
FEWEST_READINGS = 10
# Fewer readings than these are no baseline to measure anything against: the spread of 20 normal readings lies within
# about a third of the true one, which the wide limit of a sensor's first day bears.
ENOUGH_READINGS = 20
# Beyond this a larger score says nothing more, and it stays finite in every format.
LARGEST_SCORE = 1e6
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


@dataclass(frozen=True)
class Profile:
    """What is normal for a sensor, in its unit. `hour_offsets` has 24 entries (UTC hours), or none."""

    readings: int
    span_seconds: float
    median: float
    spread: float
    hour_offsets: tuple[float, ...] = ()


def learn(timestamps: NDArray[np.int64], values: NDArray[np.float64]) -> Profile | None:
    """The profile of readings in time order (timestamps in microseconds UTC).

    None when they show no scale to measure by: too few of them, or nothing but zeros.
    """
    if len(values) < FEWEST_READINGS:
        return None
    median = float(np.median(values))
    residuals = values - median
    offsets = _daily_pattern(timestamps, residuals)
    if offsets:
        residuals = residuals - np.array(offsets)[_hours(timestamps)]
    # More than half of the readings are alike (a machine that mostly stands still): only the others show the scale.
    spread = max(_spread(residuals) or float(np.std(residuals)), SMALLEST_RELATIVE_SPREAD * abs(median))
    if not spread:
        return None
    return Profile(len(values), (timestamps[-1] - timestamps[0]) / 1e6, median, spread, offsets)


@dataclass(frozen=True)
class Profiles:
    """The columns of many profiles, a row for each; where nothing is known, `medians` is NaN and so is every score.

    `hour_offsets` has shape (n, 24), everything else (n,).
    """

    readings: NDArray[np.int64]
    span_seconds: NDArray[np.float64]
    medians: NDArray[np.float64]
    spreads: NDArray[np.float64]
    hour_offsets: NDArray[np.float64]

    @classmethod
    def unknown(cls, count: int) -> Self:
        zeros = np.zeros(count)
        return cls(np.zeros(count, np.int64), zeros, np.full(count, np.nan), np.ones(count), np.zeros((count, 24)))

    @classmethod
    def of(cls, profiles: Sequence[Profile | None]) -> Self:
        columns = cls.unknown(len(profiles))
        for row, profile in enumerate(profiles):
            if profile:
                columns.readings[row], columns.span_seconds[row] = profile.readings, profile.span_seconds
                columns.medians[row], columns.spreads[row] = profile.median, profile.spread
                columns.hour_offsets[row] = profile.hour_offsets or 0.0
        return columns

    @classmethod
    def together(cls, *parts: Self) -> Self:
        """The rows of all parts, one part after the other."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return cls(*map(np.concatenate, columns))

    def __len__(self) -> int:
        return len(self.medians)

    def row(self, number: int) -> Profile | None:
        if np.isnan(self.medians[number]):
            return None
        offsets = self.hour_offsets[number]
        return Profile(
            int(self.readings[number]),
            float(self.span_seconds[number]),
            float(self.medians[number]),
            float(self.spreads[number]),
            tuple(offsets.tolist()) if offsets.any() else (),
        )


def expected(profiles: Profiles, which: NDArray[np.int64], timestamps: NDArray[np.int64]) -> NDArray[np.float64]:
    """The normal level at each timestamp, by the profile that `which` names for it."""
    levels: NDArray[np.float64] = profiles.medians[which] + profiles.hour_offsets[which, _hours(timestamps)]
    return levels


def score(
    profiles: Profiles, which: NDArray[np.int64], timestamps: NDArray[np.int64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far each value lies from its normal level, in spreads; negative below it, NaN where nothing is known."""
    with np.errstate(over="ignore"):
        scores = (values - expected(profiles, which, timestamps)) / profiles.spreads[which]
    clipped: NDArray[np.float64] = np.clip(scores, -LARGEST_SCORE, LARGEST_SCORE)
    return clipped


class RobustDetector:
    """The built-in detector as a model: one profile, learned from the frame, for the readings of one sensor."""

    context = 0

    def fit(self, frame: Frame) -> Self:
        known = np.isfinite(windows.only_channel(frame))
        profile = learn(frame.timestamps[known], windows.only_channel(frame)[known])
        if profile is None:
            raise NotEnoughData(f"{int(known.sum())} readings are too few or too alike to learn from.")
        self.profile = profile
        return self

    def score(self, frame: Frame) -> NDArray[np.float64]:
        values = windows.only_channel(frame)
        scores = np.abs(score(Profiles.of([self.profile]), np.zeros(len(frame), np.int64), frame.timestamps, values))
        return np.where(np.isfinite(values), scores, np.nan)

    def contributions(self, frame: Frame) -> NDArray[np.float64]:
        return windows.whole_contribution(self.score(frame))


def _hours(timestamps: NDArray[np.int64]) -> NDArray[np.int64]:
    return timestamps % DAY_US // HOUR_US


def _spread(residuals: NDArray[np.float64]) -> float:
    return MAD_TO_SIGMA * float(np.median(np.abs(residuals - np.median(residuals))))


def _daily_pattern(timestamps: NDArray[np.int64], residuals: NDArray[np.float64]) -> tuple[float, ...]:
    """The median residual of each UTC hour, if that explains enough of the spread to be worth having."""
    if timestamps[-1] - timestamps[0] < DAILY_PATTERN_DAYS * DAY_US:
        return ()
    hours = _hours(timestamps)
    order = np.argsort(hours, kind="stable")
    by_hour = np.split(residuals[order], np.searchsorted(hours[order], np.arange(1, 24)))
    offsets = np.array([np.median(part) if len(part) >= DAILY_PATTERN_DAYS else 0.0 for part in by_hour])
    if _spread(residuals - offsets[hours]) > DAILY_PATTERN_GAIN * _spread(residuals):
        return ()
    return tuple(offsets.tolist())

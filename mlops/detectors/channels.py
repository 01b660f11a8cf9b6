"""The channels of one asset made comparable: causal means in units of their normal spread, slow channels apart.

In a training window of minutes or hours a thermal channel drifts along one way: what its normal level is, nobody has
seen yet. Such channels are found by how few independent looks at their level the training rows hold, and are judged by
how quickly they move instead of by where they are.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mlops.detectors.base import Frame, NotEnoughData
from mlops.detectors.robust import LARGEST_SCORE, SMALLEST_RELATIVE_SPREAD

Values = NDArray[np.float64]

# Rows a mean is taken over: ten seconds at 1 Hz. The noise falls to a third, and ten rows later a step is seen in full.
MEAN_ROWS = 10
# A slow channel's movement is its short mean against the mean of this many rows.
LONG_MEAN_ROWS = 30
# A mean needs this share of its rows: one over fewer is noisier than what was learned from.
KNOWN_SHARE = 0.5
# Rows may be this many times as far apart as usual, on average over a window, before the older ones no longer count.
STRETCH = 2
# With fewer independent samples the level a channel moves around is known to no better than a quarter of its spread.
FEWEST_EFFECTIVE_SAMPLES = 15
# A slow channel's movement of size 1: this many times the fastest one seen in training.
FASTER_THAN_SEEN = 3.0
FEWEST_ROWS = 100


@dataclass(frozen=True)
class Channels:
    """What is normal for each channel alone. Arrays have one entry for each channel of the frame; `scale` is 0 for
    channels that showed none or were hardly known, which are left out.
    """

    step_us: float
    slow: NDArray[np.bool_]
    centre: Values
    scale: Values

    @classmethod
    def learn(cls, frame: Frame) -> Self:
        """Raises NotEnoughData when there are fewer than 100 rows, or no channel ever moves."""
        if len(frame) < FEWEST_ROWS:
            raise NotEnoughData(f"{len(frame)} rows are too few to learn from; {FEWEST_ROWS} are needed.")
        step = float(np.median(np.diff(frame.timestamps)))
        known = np.mean(~np.isnan(frame.values), axis=0) >= KNOWN_SHARE
        samples = np.array([effective_samples(column) for column in frame.values.T])
        slow = known & (samples < FEWEST_EFFECTIVE_SAMPLES)
        means, movements = _means(frame, step)
        centre, scale = np.zeros(len(known)), np.zeros(len(known))
        for channel in np.flatnonzero(known):
            if slow[channel]:
                scale[channel] = _largest(np.abs(movements[:, channel])) * FASTER_THAN_SEEN
            else:
                centre[channel], scale[channel] = _level(means[:, channel])
        if not (np.nanmax(frame.values[:, known], axis=0) > np.nanmin(frame.values[:, known], axis=0)).any():
            raise NotEnoughData("No channel ever moves: there is no scale to measure by.")
        return cls(step, slow, centre, scale)

    @property
    def quick(self) -> NDArray[np.bool_]:
        """The channels that are judged by their level."""
        return ~self.slow & (self.scale > 0)

    @property
    def moving(self) -> NDArray[np.bool_]:
        """The channels that are judged by their movement."""
        return self.slow & (self.scale > 0)

    def levels(self, frame: Frame) -> Values:
        """Shape (n, quick channels): causal means in standard deviations from normal; NaN where too little is known."""
        means = causal_mean(frame, MEAN_ROWS, self.step_us)[:, self.quick]
        return _clipped((means - self.centre[self.quick]) / self.scale[self.quick])

    def movements(self, frame: Frame) -> Values:
        """Shape (n, moving channels): how quickly slow channels move; NaN where too little is known.

        1 is FASTER_THAN_SEEN times the fastest movement seen in training.
        """
        if not self.moving.any():
            return np.empty((len(frame), 0))
        part = Frame(frame.timestamps, frame.values[:, self.moving], ())
        return _clipped(_means(part, self.step_us)[1] / self.scale[self.moving])


def causal_mean(frame: Frame, rows: int, step_us: float) -> Values:
    """The mean of each row and the `rows` - 1 before it, of what is known and not much further back than they usually
    reach; NaN where less than half is known.
    """
    totals = np.zeros_like(frame.values)
    counts = np.zeros_like(frame.values)
    unknown = np.isnan(frame.values)
    values, known = np.where(unknown, 0.0, frame.values), (~unknown).astype(float)
    for lag in range(min(rows, len(frame))):
        upto = len(frame) - lag
        near = (frame.timestamps[lag:] - frame.timestamps[:upto] < STRETCH * rows * step_us)[:, None]
        totals[lag:] += np.where(near, values[:upto], 0.0)
        counts[lag:] += np.where(near, known[:upto], 0.0)
    enough = counts >= KNOWN_SHARE * rows
    return np.where(enough, totals / np.maximum(counts, 1), np.nan)


def effective_samples(column: Values) -> float:
    """How many independent samples a series is worth: its length divided by its integrated autocorrelation time, which
    is summed up to where the sum of two neighbouring autocorrelations is no longer positive (Geyer, 1992, "Practical
    Markov Chain Monte Carlo").
    """
    known = column[~np.isnan(column)]
    deviations = known - known.mean() if len(known) else known
    power = float(deviations @ deviations)
    if not power:
        return float(len(known))
    spectrum = np.abs(np.fft.rfft(deviations, 2 * len(known))) ** 2
    correlations = np.fft.irfft(spectrum)[: len(known) // 2 * 2] / power
    pairs = correlations[::2] + correlations[1::2]
    ends = np.flatnonzero(pairs <= 0)
    time = max(2 * float(pairs[: ends[0] if len(ends) else None].sum()) - 1, 1.0)
    return len(known) / time


def _means(frame: Frame, step_us: float) -> tuple[Values, Values]:
    """Short means, and how far they lie from long ones."""
    means = causal_mean(frame, MEAN_ROWS, step_us)
    return means, means - causal_mean(frame, LONG_MEAN_ROWS, step_us)


def _level(means: Values) -> tuple[float, float]:
    known = means[~np.isnan(means)]
    if not len(known):
        return 0.0, 0.0
    centre = float(known.mean())
    return centre, max(float(known.std()), SMALLEST_RELATIVE_SPREAD * abs(centre))


def _largest(sizes: Values) -> float:
    return float(np.max(sizes, initial=0.0, where=~np.isnan(sizes)))


def _clipped(values: Values) -> Values:
    clipped: Values = np.clip(values, -LARGEST_SCORE, LARGEST_SCORE)
    return clipped

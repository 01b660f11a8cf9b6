"""Spikes: what stands out of the smoothed spectrum of the last stretch of a signal."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from mlops.detectors import windows
from mlops.detectors.base import Frame
from mlops.detectors.windows import Floats

WINDOW = 64
# Constants of the paper: frequencies averaged, rows extrapolated past the end, rows whose slope extrapolates.
SMOOTHED = 3
EXTRAPOLATED = 5
SLOPE_ROWS = 5
SMALLEST_AMPLITUDE = 1e-8
LARGEST_VALUE = 1e6
LARGEST_SCORE = 1e6


class SpectralResidual:
    """How far the saliency of the last row exceeds the mean saliency of its window, as a multiple of that mean.

    Ren et al., 2019, "Time-Series Anomaly Detection Service at Microsoft". Training gives the signal's scale only.
    """

    context = 2 * WINDOW - 2

    def fit(self, frame: Frame) -> Self:
        self.centre, self.scale = windows.centre_and_scale(windows.only_channel(frame), WINDOW)
        self.step = windows.usual_step(frame.timestamps)
        return self

    def score(self, frame: Frame) -> NDArray[np.float64]:
        return windows.over_windows(frame, WINDOW, self.step, self._saliency)

    def contributions(self, frame: Frame) -> NDArray[np.float64]:
        return windows.whole_contribution(self.score(frame))

    def _saliency(self, part: Floats) -> Floats:
        part = np.clip((part - self.centre) / self.scale, -LARGEST_VALUE, LARGEST_VALUE)
        spectrum = np.fft.rfft(_extended(part), axis=1)
        amplitude = np.maximum(np.abs(spectrum), SMALLEST_AMPLITUDE)
        residual = np.log(amplitude) - _smoothed(np.log(amplitude))
        saliency = np.abs(np.fft.irfft(spectrum / amplitude * np.exp(residual), WINDOW + EXTRAPOLATED, axis=1))
        level = np.maximum(saliency[:, :WINDOW].mean(axis=1), SMALLEST_AMPLITUDE)
        excess: Floats = np.clip(saliency[:, WINDOW - 1] / level - 1, 0, LARGEST_SCORE)
        return excess


def _extended(part: Floats) -> Floats:
    """The windows with rows added, as the saliency of a row at the edge is not that of one inside."""
    last = part[:, -1]
    slope = np.mean((last[:, None] - part[:, -SLOPE_ROWS - 1 : -1]) / np.arange(SLOPE_ROWS, 0, -1), axis=1)
    added = part[:, -SLOPE_ROWS] + slope * SLOPE_ROWS
    return np.hstack([part, np.repeat(added[:, None], EXTRAPOLATED, axis=1)])


def _smoothed(spectrum: Floats) -> Floats:
    sums = np.cumsum(np.pad(spectrum, ((0, 0), (SMOOTHED, 0)), mode="edge"), axis=1)
    mean: Floats = (sums[:, SMOOTHED:] - sums[:, :-SMOOTHED]) / SMOOTHED
    return mean

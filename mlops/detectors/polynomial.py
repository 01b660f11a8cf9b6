"""How far a reading is from the course of the signal before it."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from mlops.detectors import windows
from mlops.detectors.base import Frame
from mlops.detectors.windows import Floats

ROWS = 50
DEGREE = 2
LARGEST_VALUE = 1e6


class Polynomial:
    """Distance from a parabola through the 50 rows before, in standard deviations of that distance in training.

    The forecast by local polynomials that TSB-AD calls POLY (Li et al., 2007, "Unifying Framework"), of the past alone.
    """

    context = 2 * ROWS

    def fit(self, frame: Frame) -> Self:
        self.centre, self.scale = windows.centre_and_scale(windows.only_channel(frame), 2 * ROWS)
        self.step = windows.usual_step(frame.timestamps)
        rows = np.vander(np.arange(-ROWS, 0) / ROWS, DEGREE + 1)
        self.coefficients = np.linalg.pinv(rows)[-1]
        self.spread = 1.0
        errors = self.score(frame)
        self.spread = max(float(np.sqrt(np.nanmean(errors**2))), 1e-9)
        return self

    def score(self, frame: Frame) -> NDArray[np.float64]:
        return windows.over_windows(frame, ROWS + 1, self.step, self._error)

    def contributions(self, frame: Frame) -> NDArray[np.float64]:
        return windows.whole_contribution(self.score(frame))

    def _error(self, part: Floats) -> Floats:
        part = np.clip((part - self.centre) / self.scale, -LARGEST_VALUE, LARGEST_VALUE)
        error: Floats = np.abs(part[:, -1] - part[:, :-1] @ self.coefficients) / self.spread
        return error

"""How far a reading is from what the readings just before it let expect."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from mlops.detectors import windows
from mlops.detectors.base import Frame, NotEnoughData
from mlops.detectors.windows import Floats

# Rows before a reading that its forecast rests on.
ORDER = 16
FEWEST_ROWS = 4 * ORDER
# Rows beyond this many do not change 16 coefficients.
MOST_ROWS = 20_000
# Of the variance; keeps coefficients of nearly equal rows small.
RIDGE = 1e-3
LARGEST_VALUE = 1e6


class Autoregressive:
    """Forecast error of a linear autoregression, in standard deviations of its errors in training.

    Ridge regression on the 16 rows before; Hastie et al., "The Elements of Statistical Learning", section 3.4.1.
    """

    context = 2 * ORDER

    def fit(self, frame: Frame) -> Self:
        values = windows.only_channel(frame)
        self.centre, self.scale = windows.centre_and_scale(values, FEWEST_ROWS)
        self.step = windows.usual_step(frame.timestamps)
        found = windows.collected(frame.part(slice(-MOST_ROWS, None)), ORDER + 1, self.step, self._standardised)
        if len(found) < 2 * ORDER:
            raise NotEnoughData(f"Only {len(found)} stretches of {ORDER + 1} rows are without holes.")
        before, now = found[:, :-1], found[:, -1]
        penalty = RIDGE * len(found) * np.eye(ORDER)
        self.coefficients = np.linalg.solve(before.T @ before + penalty, before.T @ now)
        self.spread = max(float(np.std(now - before @ self.coefficients)), 1e-9)
        return self

    def score(self, frame: Frame) -> NDArray[np.float64]:
        return windows.over_windows(frame, ORDER + 1, self.step, self._error)

    def contributions(self, frame: Frame) -> NDArray[np.float64]:
        return windows.whole_contribution(self.score(frame))

    def _standardised(self, part: Floats) -> Floats:
        return np.clip((part - self.centre) / self.scale, -LARGEST_VALUE, LARGEST_VALUE)

    def _error(self, part: Floats) -> Floats:
        part = self._standardised(part)
        error: Floats = np.abs(part[:, -1] - part[:, :-1] @ self.coefficients) / self.spread
        return error

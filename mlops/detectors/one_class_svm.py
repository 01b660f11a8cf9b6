"""How far the last few readings lie outside of the region that those of training fill."""

from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import OneClassSVM as Machine

from mlops.detectors import windows
from mlops.detectors.base import Frame, NotEnoughData
from mlops.detectors.windows import Floats

WIDTH = 8
FEWEST_ROWS = 50
# Training takes time with the square of the windows; these are drawn evenly.
MOST_WINDOWS = 2000
# The share of training that may lie outside of the region.
NU = 0.01
LARGEST_VALUE = 1e6


class OneClassSVM:
    """Distance from the boundary of a one-class support vector machine on windows of 8 readings, RBF kernel.

    0 deep inside, 1 on the boundary; outside it rises to a bound, as the kernel does not see how far far away is.
    Schölkopf et al., 2001, "Estimating the Support of a High-Dimensional Distribution".
    """

    context = 2 * WIDTH - 2

    def fit(self, frame: Frame) -> Self:
        self.centre, self.scale = windows.centre_and_scale(windows.only_channel(frame), FEWEST_ROWS)
        self.step = windows.usual_step(frame.timestamps)
        seen = windows.collected(frame, WIDTH, self.step, self._standardised)
        if len(seen) < FEWEST_ROWS:
            raise NotEnoughData(f"Only {len(seen)} stretches of {WIDTH} rows are without holes.")
        chosen = np.unique(np.linspace(0, len(seen) - 1, MOST_WINDOWS).astype(int))
        self.machine = Machine(nu=NU, gamma="scale").fit(seen[chosen])
        self.deepest = float(np.max(self.machine.decision_function(seen[chosen])))
        return self

    def score(self, frame: Frame) -> NDArray[np.float64]:
        return windows.over_windows(frame, WIDTH, self.step, self._outside)

    def contributions(self, frame: Frame) -> NDArray[np.float64]:
        return windows.whole_contribution(self.score(frame))

    def _standardised(self, part: Floats) -> Floats:
        return np.clip((part - self.centre) / self.scale, -LARGEST_VALUE, LARGEST_VALUE)

    def _outside(self, part: Floats) -> Floats:
        depth: Floats = self.machine.decision_function(self._standardised(part))
        return np.maximum(1 - depth / max(self.deepest, 1e-12), 0.0)

"""How unlike the stretches it has learned the last stretch of a signal is: principal components of windows."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from mlops.detectors import windows
from mlops.detectors.base import Frame, NotEnoughData
from mlops.detectors.windows import Floats

LONGEST_WINDOW = 300
# The window of a signal without a period.
WINDOW_WITHOUT_PERIOD = 50
# Training shows at least this many windows that do not overlap; the window is shortened for it.
FEWEST_WINDOWS = 8
SHORTEST_WINDOW = 4
# Windows beyond this many add nothing to a covariance of at most 300 x 300.
MOST_WINDOWS = 20_000
# Components are weighed alone up to this many; what is left of a window is weighed as one.
MOST_COMPONENTS = 32
# Values further than this many standard deviations from the mean say no more than these.
LARGEST_VALUE = 1e6


class SubPCA:
    """Distance of the trailing window from the mean window, each principal component weighed by its variance.

    The window is one period of the signal. Squares are summed: p_i^2 / (v_i + v) over the components, with v_i the
    variance of component i in training and v the mean variance, which keeps directions that training hardly saw from
    deciding alone (Shyu et al., 2003, "A Novel Anomaly Detection Scheme Based on Principal Component Classifier", with
    ridge).
    """

    context: int

    def __init__(self, longest_window: int = LONGEST_WINDOW) -> None:
        self.longest_window = longest_window

    def fit(self, frame: Frame) -> Self:
        values = windows.only_channel(frame)
        self.centre, self.scale = windows.centre_and_scale(values, FEWEST_WINDOWS * SHORTEST_WINDOW)
        longest = min(self.longest_window, len(frame) // FEWEST_WINDOWS)
        self.width = windows.period(values, longest) or min(WINDOW_WITHOUT_PERIOD, longest)
        self.context = 2 * self.width - 2
        self.step = windows.usual_step(frame.timestamps)
        seen = self._learnable(frame)
        self.mean = seen.mean(axis=0)
        variances, vectors = np.linalg.eigh(np.cov(seen - self.mean, rowvar=False))
        ridge = float(np.mean(variances))
        kept = slice(-1, -min(self.width, MOST_COMPONENTS) - 1, -1)
        self.components, self.weights = vectors[:, kept], 1 / (variances[kept] + ridge)
        rest = variances[: max(self.width - MOST_COMPONENTS, 0)]
        self.rest_weight = 1 / ((float(np.mean(rest)) if len(rest) else 0.0) + ridge)
        return self

    def score(self, frame: Frame) -> NDArray[np.float64]:
        return windows.over_windows(frame, self.width, self.step, self._distance)

    def contributions(self, frame: Frame) -> NDArray[np.float64]:
        return windows.whole_contribution(self.score(frame))

    def _learnable(self, frame: Frame) -> Floats:
        newest = frame.part(slice(-MOST_WINDOWS, None))
        found = windows.collected(newest, self.width, self.step, self._standardised)
        if len(found) < 2 * self.width:
            raise NotEnoughData(f"Only {len(found)} stretches of {self.width} rows are without holes.")
        return found

    def _standardised(self, part: Floats) -> Floats:
        return np.clip((part - self.centre) / self.scale, -LARGEST_VALUE, LARGEST_VALUE)

    def _distance(self, part: Floats) -> Floats:
        offset = self._standardised(part) - self.mean
        along = (offset @ self.components) ** 2
        rest = np.maximum(np.einsum("ij,ij->i", offset, offset) - along.sum(axis=1), 0)
        distance: Floats = np.sqrt((along @ self.weights + rest * self.rest_weight) / self.width)
        return distance

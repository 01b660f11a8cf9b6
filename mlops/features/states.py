"""Whether a machine runs or idles, learned from a channel that shows it (power, current, speed).

What is normal differs between the two: an idle machine's low temperature is no anomaly, a running one's may be.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from mlops.features.columns import require
from mlops.two_states import threshold_between_states

MAD_TO_SIGMA = 1.4826  # Rousseeuw and Croux, 1993


class OperatingState(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Adds `running` (1, 0 idle, NaN unknown) and each channel's distance from what is usual in that state.

    The distance is in robust standard deviations of the state's training rows; NaN where the state is unknown, or was
    not seen to vary in training. A channel `shown_by` that shows one state only counts as running throughout.
    """

    def __init__(self, shown_by: str, channels: Sequence[str] = ()) -> None:
        self.shown_by = shown_by
        self.channels = channels

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:  # noqa: N803 (sklearn's name)
        require(X, [self.shown_by, *self.channels])
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.threshold_ = threshold_between_states(X[self.shown_by].to_numpy(np.float64))
        running = self._running(X)
        self.usual_ = {
            (channel, state): self._usual(X[channel].to_numpy(np.float64)[running == state])
            for channel in self.channels
            for state in (0.0, 1.0)
        }
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:  # noqa: N803
        check_is_fitted(self)
        require(X, [self.shown_by, *self.channels])
        running = self._running(X)
        added = {"running": running}
        for channel in self.channels:
            values = X[channel].to_numpy(np.float64)
            distances = np.full(len(X), np.nan)
            for state in (0.0, 1.0):
                median, spread = self.usual_[channel, state]
                rows = running == state
                distances[rows] = (values[rows] - median) / spread
            added[f"{channel}, from usual in its state"] = distances
        return X.assign(**added)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        check_is_fitted(self)
        distances = [f"{channel}, from usual in its state" for channel in self.channels]
        return np.array([*self.feature_names_in_, "running", *distances], dtype=object)

    def _running(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        values = frame[self.shown_by].to_numpy(np.float64)
        state = np.ones(len(values)) if self.threshold_ is None else (values > self.threshold_).astype(np.float64)
        return np.where(np.isfinite(values), state, np.nan)

    @staticmethod
    def _usual(values: NDArray[np.float64]) -> tuple[float, float]:
        """Median and robust spread; NaN where they are not known."""
        known = values[np.isfinite(values)]
        if not len(known):
            return np.nan, np.nan
        median = float(np.median(known))
        return median, MAD_TO_SIGMA * float(np.median(np.abs(known - median))) or np.nan

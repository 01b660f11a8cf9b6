"""How quickly random cuts set a reading apart from those of training. Takes any number of channels."""

from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest as Forest

from mlops.detectors.base import Frame, NotEnoughData

TREES = 100
FEWEST_ROWS = 50


class IsolationForest:
    """Path length in random trees, as Liu, Ting and Zhou define the score (2008, "Isolation Forest"): 0 to 1, about 0.5
    for readings like those of training. A row with an unknown channel has no score.

    Contributions are what the score loses when a channel is set to its median in training.
    """

    context = 0

    def fit(self, frame: Frame) -> Self:
        known = frame.values[np.isfinite(frame.values).all(axis=1)]
        if len(known) < FEWEST_ROWS:
            raise NotEnoughData(f"{len(known)} readings are too few to learn from; {FEWEST_ROWS} are needed.")
        if not np.ptp(known, axis=0).any():
            raise NotEnoughData("The readings are all alike: they show no scale to measure by.")
        self.medians = np.median(known, axis=0)
        self.forest = Forest(n_estimators=TREES, random_state=0).fit(_in_range(known))
        return self

    def score(self, frame: Frame) -> NDArray[np.float64]:
        result = np.full(len(frame), np.nan)
        known = np.isfinite(frame.values).all(axis=1)
        if known.any():
            result[known] = -self.forest.score_samples(_in_range(frame.values[known]))
        return result

    def contributions(self, frame: Frame) -> NDArray[np.float64]:
        whole = self.score(frame)
        lost = np.empty_like(frame.values)
        for channel, median in enumerate(self.medians):
            values = frame.values.copy()
            values[:, channel] = median
            without = Frame(frame.timestamps, values, frame.channels)
            lost[:, channel] = np.maximum(whole - self.score(without), 0)
        # Where no channel alone explains the score, all share it.
        lost[(lost == 0).all(axis=1)] = 1
        shares: NDArray[np.float64] = lost / lost.sum(axis=1, keepdims=True)
        return shares


def _in_range(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The forest computes in single precision."""
    largest = float(np.finfo(np.float32).max)
    return np.clip(values, -largest, largest)

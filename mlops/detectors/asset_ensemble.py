"""The detectors of a whole asset together: the default where nothing says which of them suits it."""

from typing import Self

import numpy as np

from mlops.detectors.asset import Values
from mlops.detectors.base import Frame
from mlops.detectors.kmeans_ad import SEED, KMeansAD
from mlops.detectors.mahalanobis import Mahalanobis
from mlops.detectors.pca_t2q import PcaT2Q


class AssetEnsemble:
    """The mean score of Mahalanobis distance, T2 and Q, and KMeansAD, each of which is 1 at its own limit."""

    def __init__(self, seed: int = SEED) -> None:
        self.members = (Mahalanobis(), PcaT2Q(), KMeansAD(seed))
        self.context = max(member.context for member in self.members)

    def fit(self, frame: Frame) -> Self:
        for member in self.members:
            member.fit(frame)
        return self

    def score(self, frame: Frame) -> Values:
        scores: Values = np.mean([member.score(frame) for member in self.members], axis=0)
        return scores

    def contributions(self, frame: Frame) -> Values:
        """The members' contributions, each weighed by its score."""
        found = sum(member.contributions(frame) * member.score(frame)[:, None] for member in self.members)
        totals = np.sum(found, axis=1, keepdims=True)
        shares: Values = np.divide(found, totals, out=np.zeros_like(found), where=totals != 0)
        return shares

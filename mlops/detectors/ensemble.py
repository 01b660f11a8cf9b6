"""The detector of a single sensor: three that look for different things, on one scale."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from mlops.detectors import windows
from mlops.detectors.autoregressive import Autoregressive
from mlops.detectors.base import Detector, Frame, NotEnoughData
from mlops.detectors.spectral_residual import SpectralResidual
from mlops.detectors.sub_pca import SubPCA
from mlops.detectors.windows import Floats

# Scores of members are put on one scale by rows that the member has not learned from: the last third.
LEARNED_SHARE = 2 / 3
# Beyond this quantile of the held-back scores the tail is taken to fall exponentially.
TAIL_QUANTILE = 0.9
FEWEST_HELD_BACK = 30
LARGEST_SCORE = 1e6


class Surprise:
    """A score as the negative logarithm of the share of normal rows that score at least as high. NaN stays NaN.

    Ranks among held-back scores up to their 90 % quantile; from there on, an exponential tail of the same mean excess,
    so that what lies beyond everything seen still differs.
    """

    def __init__(self, held_back: Floats) -> None:
        known = np.sort(held_back[np.isfinite(held_back)])
        if len(known) < FEWEST_HELD_BACK:
            raise NotEnoughData(f"{len(known)} held-back readings are too few to tell what is usual.")
        self.bend = float(np.quantile(known, TAIL_QUANTILE))
        below = known[known <= self.bend]
        self.levels = np.unique(below)
        share_above = 1 - np.searchsorted(below, self.levels, side="left") / len(known)
        self.surprises = -np.log(share_above)
        excess = float(np.mean(known[known > self.bend] - self.bend)) if (known > self.bend).any() else 0.0
        self.tail = max(excess, 1e-3 * abs(self.bend), 1e-9)

    def __call__(self, scores: Floats) -> Floats:
        ranked = np.interp(scores, self.levels, self.surprises)
        beyond = np.maximum(scores - self.bend, 0) / self.tail
        return np.minimum(ranked + beyond, LARGEST_SCORE)


class Ensemble:
    """The surprise of whichever is most surprised: Sub-PCA (shape and level), autoregressive residual (course) or
    spectral residual (spikes).

    They look for different things, and an anomaly is rarely of all kinds at once: a mean would let the others outvote
    the one that sees it. A member that can't say anything about a row, or can't learn from the readings at hand, is
    left out.
    """

    context: int

    def fit(self, frame: Frame) -> Self:
        self.members: list[Detector] = []
        self.scales: list[Surprise] = []
        split = round(LEARNED_SHARE * len(frame))
        for kind in (SubPCA, Autoregressive, SpectralResidual):
            try:
                held_back = kind().fit(frame.part(slice(split))).score(frame)[split:]
                scale, member = Surprise(held_back), kind().fit(frame)
            except NotEnoughData:
                continue
            self.scales.append(scale)
            self.members.append(member)
        if not self.members:
            raise NotEnoughData(f"None of the detectors can learn from {len(frame)} readings.")
        self.context = max(member.context for member in self.members)
        return self

    def score(self, frame: Frame) -> NDArray[np.float64]:
        parts = zip(self.members, self.scales, strict=True)
        surprises = [scale(member.score(frame)) for member, scale in parts]
        most: Floats = np.fmax.reduce(surprises)  # NaN only where all are.
        return most

    def contributions(self, frame: Frame) -> NDArray[np.float64]:
        return windows.whole_contribution(self.score(frame))

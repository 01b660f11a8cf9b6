"""The detector of a single sensor: three that look for different things, on one scale."""

from typing import Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
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


# Two members judge a single row, and what they say scatters from row to row even in the midst of an anomaly. On healthy
# signals with anomalies put in (SKAB's anomaly-free run, Azure telemetry, made ones), averages of 8 to 32 rows rank
# rows better and find more events at the same rate of false ones than single rows; 8 is best for events, 32 for ranks.
AVERAGED_ROWS = 16
MEMBERS: tuple[tuple[type[Detector], int], ...] = (
    (SubPCA, 1),
    (Autoregressive, AVERAGED_ROWS),
    (SpectralResidual, AVERAGED_ROWS),
)


class Ensemble:
    """The surprise of whichever is most surprised: Sub-PCA (shape and level), autoregressive residual (course) or
    spectral residual (spikes).

    They look for different things, and an anomaly is rarely of all kinds at once: a mean would let the others outvote
    the one that sees it. A member that can't say anything about a row, or can't learn from the readings at hand, is
    left out.
    """

    context: int

    def fit(self, frame: Frame) -> Self:
        self.members: list[tuple[Detector, int, Surprise]] = []
        split = round(LEARNED_SHARE * len(frame))
        for kind, rows in MEMBERS:
            try:
                held_back = recent(kind().fit(frame.part(slice(split))).score(frame), rows)[split:]
                self.members.append((kind().fit(frame), rows, Surprise(held_back)))
            except NotEnoughData:
                continue
        if not self.members:
            raise NotEnoughData(f"None of the detectors can learn from {len(frame)} readings.")
        self.context = max(member.context + rows - 1 for member, rows, _ in self.members)
        return self

    def score(self, frame: Frame) -> NDArray[np.float64]:
        surprises = [scale(recent(member.score(frame), rows)) for member, rows, scale in self.members]
        most: Floats = np.fmax.reduce(surprises)  # NaN only where all are.
        return most

    def contributions(self, frame: Frame) -> NDArray[np.float64]:
        return windows.whole_contribution(self.score(frame))


def recent(scores: Floats, rows: int) -> Floats:
    """The mean of the known scores among the last `rows` up to each row; NaN where the row itself has none."""
    if not len(scores):
        return scores
    last = sliding_window_view(np.concatenate([np.full(rows - 1, np.nan), scores]), rows)
    known = np.isfinite(last)
    mean: Floats = np.where(known, last, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.where(np.isfinite(scores), mean, np.nan)

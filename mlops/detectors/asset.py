"""What the detectors of a whole asset have in common: they differ in how they measure the distance of its channels from
normal.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from mlops.detectors.base import Frame, NotEnoughData
from mlops.detectors.channels import LONG_MEAN_ROWS, MEAN_ROWS, STRETCH, Channels
from mlops.detectors.robust import LARGEST_SCORE

Values = NDArray[np.float64]

# The training rows are cut into this many stretches; each is measured by what the others teach.
FOLDS = 5
# A distance of size 1 is exceeded by one in a hundred of the held-back training rows.
LIMIT_QUANTILE = 0.99
# Fewer rows than this for each entry say little of how the entries move together (the usual rule of thumb for a
# covariance is five to ten).
ROWS_AN_ENTRY = 5


class Distance(Protocol):
    """Distance from normal of standardised rows, shape (n, p), NaN where nothing is known."""

    def squared(self, rows: Values) -> Values:
        """Shape (n,); NaN where a row holds nothing."""
        ...

    def shares(self, rows: Values) -> Values:
        """Shape (n, p): what each column has to do with it, 0 and above, in any unit."""
        ...


class AssetDetector(ABC):
    """Scores an asset by the distance of its quick channels from normal and by the movement of its slow ones (see
    mlops.detectors.channels), whichever is larger.

    A score of 1 is the level that 1 % of held-back normal rows exceed, or three times the fastest movement of a slow
    channel in training.
    """

    # The rows a distance looks at: 0 is the row itself, 10 the tenth before it.
    lags: ClassVar[tuple[int, ...]] = (0,)

    def __init__(self) -> None:
        self.context = max(MEAN_ROWS + max(self.lags), LONG_MEAN_ROWS) - 1

    @abstractmethod
    def learn(self, rows: Values) -> Distance:
        """A distance from standardised rows that are presumed normal, shape (n, p), without NaN."""

    def fit(self, frame: Frame) -> Self:
        self.channels = Channels.learn(frame)
        rows = self._rows(frame)
        self.distance, self.limit = None, 1.0
        if rows.shape[1]:
            whole = np.flatnonzero(~np.isnan(rows).any(axis=1))
            self.distance = self._learned(rows[whole])
            # 0 where only slow channels moved: then the smallest spread of the others is the measure.
            self.limit = float(np.quantile(self._held_back(rows, whole), LIMIT_QUANTILE)) or 1.0
        return self

    def score(self, frame: Frame) -> Values:
        distances, movements = self._parts(frame)
        scores: Values = np.fmax(distances, _largest(movements))
        return scores

    def contributions(self, frame: Frame) -> Values:
        distances, movements = self._parts(frame)
        found = np.zeros((len(frame), len(frame.channels)))
        moved = _largest(movements)
        far = np.nan_to_num(distances) >= np.nan_to_num(moved)
        if self.distance is not None:
            shares = self.distance.shares(self._rows(frame)[far])
            by_row = shares.reshape(len(shares), len(self.lags), np.count_nonzero(self.channels.quick))
            found[np.ix_(far, self.channels.quick)] = by_row.sum(axis=1)
        found[np.ix_(~far, self.channels.moving)] = np.nan_to_num(movements[~far]) ** 2
        totals = found.sum(axis=1, keepdims=True)
        parts: Values = np.divide(found, totals, out=np.zeros_like(found), where=totals > 0)
        parts[np.isnan(np.fmax(distances, moved))] = np.nan
        return parts

    def _parts(self, frame: Frame) -> tuple[Values, Values]:
        """The distance of the quick channels and the movements of the slow ones, both 1 at their limit."""
        movements = np.abs(self.channels.movements(frame))
        distances = np.full(len(frame), np.nan)
        if self.distance is not None:
            distances = np.minimum(np.sqrt(self.distance.squared(self._rows(frame))) / self.limit, LARGEST_SCORE)
        unknown = np.isnan(frame.values).all(axis=1)
        movements[unknown], distances[unknown] = np.nan, np.nan
        return distances, movements

    def _rows(self, frame: Frame) -> Values:
        """Shape (n, quick channels x lags): the levels of each row and of the rows `lags` before it.

        All are NaN for a row that knows nothing of its own time.
        """
        levels = self.channels.levels(frame)
        silent = np.isnan(levels).sum(axis=1, keepdims=True) == levels.shape[1]
        lagged = [levels]
        for lag in self.lags[1:]:
            before = np.full_like(levels, np.nan)
            upto = max(len(levels) - lag, 0)
            near = frame.timestamps[lag:] - frame.timestamps[:upto] <= STRETCH * lag * self.channels.step_us
            before[lag:] = np.where(near[:, None] & ~silent[lag:], levels[:upto], np.nan)
            lagged.append(before)
        return np.concatenate(lagged, axis=1)

    def _held_back(self, rows: Values, whole: NDArray[np.int64]) -> Values:
        """The distances of the whole rows, each learned without its stretch and the rows whose means reach into it."""
        apart = MEAN_ROWS + max(self.lags)
        distances = []
        for stretch in np.array_split(whole, FOLDS):
            others = whole[(whole < stretch[0] - apart) | (whole > stretch[-1] + apart)]
            distances.append(self._learned(rows[others]).squared(rows[stretch]))
        return np.sqrt(np.concatenate(distances))

    def _learned(self, rows: Values) -> Distance:
        if len(rows) < ROWS_AN_ENTRY * rows.shape[1]:
            raise NotEnoughData(f"{len(rows)} rows in which all channels are known are too few to learn from.")
        return self.learn(rows)


def _largest(movements: Values) -> Values:
    """The largest of each row, of what is known."""
    filled = np.where(np.isnan(movements), -1.0, movements).max(axis=1, initial=-1.0)
    return np.where(filled < 0, np.nan, filled)

"""The recent past of a reading as features, per sensor."""

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from mlops.features.columns import require

Rows = NDArray[np.float64]


def _slope(windows: Rows) -> Rows:
    """Least-squares change per row."""
    steps = np.arange(windows.shape[1]) - (windows.shape[1] - 1) / 2
    return np.asarray(windows @ steps / (steps @ steps))


# Each takes windows of shape (n, length) and gives shape (n,).
STATISTICS: dict[str, Callable[[Rows], Rows]] = {
    "mean": lambda windows: windows.mean(axis=1),
    "std": lambda windows: windows.std(axis=1),
    "min": lambda windows: windows.min(axis=1),
    "max": lambda windows: windows.max(axis=1),
    "slope": _slope,
}


class Windows(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Adds to each row what its sensor read `lags` rows before, and statistics of its last `lengths` rows, this one
    included.

    A row sees nothing of the future, of another sensor, or from before a gap. Where the history is too short, or a
    value in it unknown, the feature is NaN: a zero would be a reading that nobody took.

    `channels`: columns to look back on. `sensor`: the column that tells sensors (or assets) apart, none if there is
    only one. `time`: the column of times. `largest_gap`: seconds; a longer pause between two rows begins a new history.
    Rows come in any order and keep it.
    """

    def __init__(
        self,
        channels: Sequence[str],
        lags: Sequence[int] = (1,),
        lengths: Sequence[int] = (12,),
        statistics: Sequence[str] = ("mean", "std", "slope"),
        sensor: str | None = None,
        time: str = "timestamp",
        largest_gap: float = np.inf,
    ) -> None:
        self.channels = channels
        self.lags = lags
        self.lengths = lengths
        self.statistics = statistics
        self.sensor = sensor
        self.time = time
        self.largest_gap = largest_gap

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:  # noqa: N803 (sklearn's name)
        if min([*self.lags, *self.lengths], default=1) < 1:
            raise ValueError("Lags and lengths are 1 row or more: a smaller one would look into the future.")
        if "slope" in self.statistics and 1 in self.lengths:
            raise ValueError("One row has no slope: give lengths of 2 or more.")
        require(X, self._needs())
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:  # noqa: N803
        check_is_fitted(self)
        require(X, self._needs())
        sensors = pd.factorize(X[self.sensor])[0] if self.sensor else np.zeros(len(X), np.int64)
        seconds = pd.to_datetime(X[self.time], utc=True).astype("datetime64[us, UTC]").astype(np.int64).to_numpy() / 1e6
        order = np.lexsort((np.arange(len(X)), seconds, sensors))
        begins = np.ones(len(X), bool)
        begins[1:] = (np.diff(sensors[order]) != 0) | (np.diff(seconds[order]) > self.largest_gap)
        history = np.arange(len(X)) - np.maximum.accumulate(np.where(begins, np.arange(len(X)), 0))
        names = iter(self._added())
        added: dict[str, Rows] = {}
        for channel in self.channels:
            values = X[channel].to_numpy(np.float64)[order]
            for column in self._columns(values, history):
                given = np.empty(len(X))
                given[order] = column
                added[next(names)] = given
        return pd.concat([X, pd.DataFrame(added, index=X.index)], axis=1)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        check_is_fitted(self)
        return np.array([*self.feature_names_in_, *self._added()], dtype=object)

    def _needs(self) -> list[str]:
        return [*self.channels, self.time, *([self.sensor] if self.sensor else [])]

    def _added(self) -> list[str]:
        return [
            name
            for channel in self.channels
            for name in (
                *(f"{channel}, {lag} before" for lag in self.lags),
                *(f"{channel}, {statistic} of {length}" for length in self.lengths for statistic in self.statistics),
            )
        ]

    def _columns(self, values: Rows, history: NDArray[np.int64]) -> list[Rows]:
        """Lags, then statistics; `history` is the number of rows of the same stretch before each row."""
        columns = []
        for lag in self.lags:
            column = np.full(len(values), np.nan)
            column[lag:] = values[:-lag]
            columns.append(np.where(history >= lag, column, np.nan))
        for length in self.lengths:
            for statistic in self.statistics:
                column = np.full(len(values), np.nan)
                if len(values) >= length:
                    column[length - 1 :] = STATISTICS[statistic](sliding_window_view(values, length))
                columns.append(np.where(history >= length - 1, column, np.nan))
        return columns

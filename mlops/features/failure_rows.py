"""What the sensors of an asset read of late, as the rows that a classifier of its failures is asked with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.features.windows import Windows
from mlops.grid import Grid, Series

# Rows of the grid: with a reading every five minutes, the last hour and the last six.
LENGTHS = (12, 72)
STATISTICS = ("mean", "std", "slope")
# A row for so many rows of the grid: the next ones would hold nearly the same readings.
STRIDE = 12
# A longer pause than this many steps of the grid begins a new history.
LARGEST_GAP = 3


@dataclass(frozen=True)
class FailureRows:
    """Means, spreads and slopes of the last `LENGTHS` rows of the grid, for the sensors named in `channels`.

    Nothing of the future has a part in a row, and what is not known is NaN.
    """

    grid: Grid
    channels: Sequence[str]

    def of(self, series: Mapping[str, Series]) -> tuple[NDArray[np.int64], pd.DataFrame]:
        """The times of the rows (n; microseconds UTC) and their features, named like "pump.flow, mean of 12"."""
        frame = self.grid.frame(series)
        table = pd.DataFrame(dict(zip(frame.channels, frame.values.T, strict=True)))
        table["timestamp"] = pd.to_datetime(frame.timestamps, unit="us", utc=True)
        gap = LARGEST_GAP * self.grid.step_us / 1e6
        windows = Windows(self.channels, lags=(), lengths=LENGTHS, statistics=STATISTICS, largest_gap=gap)
        features = windows.fit_transform(table).drop(columns=table.columns)
        chosen = (frame.timestamps // self.grid.step_us % STRIDE == 0) & features.notna().any(axis=1).to_numpy()
        return frame.timestamps[chosen], features[chosen].reset_index(drop=True)

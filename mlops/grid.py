"""Readings of several sensors, each at its own pace, on one grid of times."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mlops.detectors.base import Frame, NotEnoughData

# A sensor that has missed this many readings in a row is silent: its last value says nothing of the present.
MISSED_READINGS = 3

Series = tuple[NDArray[np.int64], NDArray[np.float64]]


@dataclass(frozen=True)
class Grid:
    """Rows at whole multiples of `step_us` since 1970, so that any piece of a stream has the same rows.

    `tolerances_us`: for each channel, how old its last value may be (all in microseconds).
    """

    step_us: int
    tolerances_us: dict[str, int]

    @classmethod
    def learn(cls, series: Mapping[str, Series], shortest_step_us: int = 1) -> Self:
        """The grid of these sensors: the step is the median of their cadences, or the shortest one if that is longer.

        Raises NotEnoughData when a sensor has fewer than two readings.
        """
        cadences = {channel: cadence_us(timestamps) for channel, (timestamps, _) in series.items()}
        step = max(round(float(np.median(list(cadences.values())))), shortest_step_us)
        return cls(step, {channel: MISSED_READINGS * max(each, step) for channel, each in cadences.items()})

    def frame(self, series: Mapping[str, Series], until_us: int | None = None) -> Frame:
        """The sensors' readings (timestamps in microseconds UTC, rising) as a frame with the grid's channels.

        The row at time t holds of each sensor the mean of its readings in (t - step, t]; where there are none, its last
        reading if that is within its tolerance; otherwise NaN. Nothing after t has a part in it. Times at which no
        sensor says anything have no row. Rows after `until_us` (by default the last reading at hand) are left out:
        their cells may still fill.
        """
        known = {channel: _known(*series[channel]) for channel in self.tolerances_us if channel in series}
        rows = self._rows(known, until_us)
        columns = [
            self._column(rows, *known[channel], tolerance) if channel in known else np.full(len(rows), np.nan)
            for channel, tolerance in self.tolerances_us.items()
        ]
        return Frame(rows * self.step_us, np.stack(columns, axis=1), tuple(self.tolerances_us))

    def _rows(self, known: Mapping[str, Series], until_us: int | None) -> NDArray[np.int64]:
        """The numbers of the cells in which some sensor has a reading or an earlier one within its tolerance."""
        covered = [self._covered(timestamps, self.tolerances_us[channel]) for channel, (timestamps, _) in known.items()]
        rows = np.unique(np.concatenate([np.empty(0, np.int64), *covered]))
        lasts = [int(timestamps[-1]) for timestamps, _ in known.values() if len(timestamps)]
        until = until_us if until_us is not None else max(lasts, default=0)
        return rows[rows * self.step_us <= until]

    def _covered(self, timestamps: NDArray[np.int64], tolerance_us: int) -> NDArray[np.int64]:
        if not len(timestamps):
            return np.empty(0, np.int64)
        first = _cells(timestamps, self.step_us)
        last = np.maximum((timestamps + tolerance_us) // self.step_us, first)
        last[:-1] = np.minimum(last[:-1], first[1:] - 1)
        counts = np.maximum(last - first + 1, 0)
        starts = np.cumsum(counts) - counts
        return np.repeat(first - starts, counts) + np.arange(counts.sum())

    def _column(
        self, rows: NDArray[np.int64], timestamps: NDArray[np.int64], values: NDArray[np.float64], tolerance_us: int
    ) -> NDArray[np.float64]:
        column = np.full(len(rows), np.nan)
        if not len(timestamps):
            return column
        latest = np.searchsorted(timestamps, rows * self.step_us, side="right") - 1
        fresh = (latest >= 0) & (rows * self.step_us - timestamps[latest] <= tolerance_us)
        column[fresh] = values[latest[fresh]]
        cells, starts, counts = np.unique(_cells(timestamps, self.step_us), return_index=True, return_counts=True)
        places = np.searchsorted(rows, cells)
        filled = places < len(rows)
        column[places[filled]] = (np.add.reduceat(values, starts) / counts)[filled]
        return column


def cadence_us(timestamps: NDArray[np.int64]) -> int:
    """The usual time between two readings, microseconds. Raises NotEnoughData when there are fewer than two."""
    if len(timestamps) < 2:
        raise NotEnoughData("One reading shows no cadence.")
    return max(round(float(np.median(np.diff(timestamps)))), 1)


def _cells(timestamps: NDArray[np.int64], step_us: int) -> NDArray[np.int64]:
    """The number of the cell that ends at or next after each time."""
    cells: NDArray[np.int64] = -(-timestamps // step_us)
    return cells


def _known(timestamps: NDArray[np.int64], values: NDArray[np.float64]) -> Series:
    known = ~np.isnan(values)
    return timestamps[known], values[known]

"""What every detector takes and gives."""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """Readings of one sensor, or of the sensors of one asset on a common grid, in time order.

    `timestamps`: microseconds UTC, shape (n,), rising. `values`: shape (n, channels), NaN where nothing is known.
    `channels`: a name for each column, by which contributions are told apart.
    """

    timestamps: NDArray[np.int64]
    values: NDArray[np.float64]
    channels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.timestamps)

    def part(self, rows: slice) -> "Frame":
        return Frame(self.timestamps[rows], self.values[rows], self.channels)


class Detector(Protocol):
    """Learns what is normal and says how far readings are from it; it decides nothing and keeps nothing between calls.

    A score depends on what was learned and on the rows up to its own (`context` rows before it at most), so that
    neither the order nor the size of the pieces a stream is scored in can change it. Detectors are deterministic, bear
    NaN and gaps, and are saved by pickling.
    """

    context: int

    def fit(self, frame: Frame) -> Self:
        """Learn from readings that are presumed normal.

        Raises mlops.detectors.base.NotEnoughData when they are too few or show no scale to measure by.
        """
        ...

    def score(self, frame: Frame) -> NDArray[np.float64]:
        """Shape (n,): 0 and above, larger is further from normal; NaN where nothing can be said."""
        ...

    def contributions(self, frame: Frame) -> NDArray[np.float64]:
        """Shape (n, channels): the share of each channel in the row's score, 0 and above, with rows that sum to 1 (NaN
        where the score is NaN, zeros where it is 0).
        """
        ...


class NotEnoughData(ValueError):
    """The readings at hand are too few to learn from, or show no scale to measure by."""

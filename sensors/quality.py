"""How far a reading can be trusted, 0 (not at all) to 1. Readings are marked down, never dropped."""

from enum import IntFlag

import numpy as np
from numpy.typing import NDArray


class Flag(IntFlag):
    """Why a reading is doubted, or what is remarkable about it; stored as a bit mask with the reading."""

    OUT_OF_RANGE = 1
    STUCK = 2
    SPIKE = 4
    RATE = 8
    GAP = 16
    LATE = 32
    OUT_OF_ORDER = 64
    FUTURE = 128
    DUPLICATE = 256
    CLOCK_SKEW = 512


OUT_OF_RANGE_QUALITY = 0.0


def assess(
    values: NDArray[np.float64],
    claimed: NDArray[np.float64],
    lows: NDArray[np.float64],
    highs: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The quality of each reading: what its sender claims, but 0 outside the sensor's physical range.

    `lows` and `highs` are per reading, in the unit of `values`; NaN where the sensor states none.
    """
    with np.errstate(invalid="ignore"):
        outside = (values < lows) | (values > highs)
    return np.where(outside, OUT_OF_RANGE_QUALITY, claimed)

"""How far a reading can be trusted, 0 (not at all) to 1. Readings are marked down, never dropped."""

import numpy as np
from numpy.typing import NDArray

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

"""Faults put into normal data: design choices are made by these, so that published labels are left to judge them."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mlops.detectors.base import Frame

Values = NDArray[np.float64]

# Standard deviations of the channel's training rows.
SIZES = (2.0, 4.0)


def _offset(values: Values, size: float, noise: np.random.Generator) -> Values:
    return values + size


def _drift(values: Values, size: float, noise: np.random.Generator) -> Values:
    """Ends at twice the size."""
    return values + np.linspace(0, 2 * size, len(values))


def _noise(values: Values, size: float, noise: np.random.Generator) -> Values:
    return values + noise.normal(0, size, len(values))


def _stuck(values: Values, size: float, noise: np.random.Generator) -> Values:
    """Stands where it was, that far off."""
    return np.full_like(values, values[0] + size)


FAULTS = (_offset, _drift, _noise, _stuck)


def faults(normal: Frame, training_rows: int, first: int, last: int, seed: int = 1) -> Iterator[Frame]:
    """The frame with each kind and size of fault in each channel in turn, from row `first` to before row `last`."""
    noise = np.random.default_rng(seed)
    scales = np.nanstd(normal.values[:training_rows], axis=0)
    for change in FAULTS:
        for size in SIZES:
            for channel, scale in enumerate(scales):
                values = normal.values.copy()
                values[first:last, channel] = change(values[first:last, channel], size * scale, noise)
                yield Frame(normal.timestamps, values, normal.channels)

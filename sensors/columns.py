"""A batch of readings as columns: what every format is parsed into, and the only thing that `store_batch` takes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, order=True)
class Rejection:
    """A row that was not stored. `index` is its place in what the caller sent, counted from 0.

    `payload` is what a person needs to correct it: the fields as they were sent, or `{"raw": text}`.
    """

    index: int
    code: str
    detail: str
    payload: dict[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Columns:
    """Rows of a batch; element i of each array is one reading.

    `sensor_ids[codes[i]]` is the public key of its sensor, `timestamps` are microseconds since 1970-01-01 UTC,
    `qualities` lie in 0..1, `unit_names[units[i]]` is the unit it was sent in (code -1: the sensor's own). `indexes`
    are the rows' places in what the caller sent; `rejected` are rows that could not even be read.
    """

    sensor_ids: list[str]
    codes: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    values: NDArray[np.float64]
    qualities: NDArray[np.float64]
    unit_names: list[str]
    units: NDArray[np.int64]
    indexes: NDArray[np.int64]
    rejected: list[Rejection] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.codes)


def encode(names: list[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct names in order of appearance, and for each row the number of its name.

    >>> encode(["b", "a", "b"])
    (['b', 'a'], array([0, 1, 0]))
    """
    table = list(dict.fromkeys(names))
    place = {name: code for code, name in enumerate(table)}
    return table, np.fromiter(map(place.__getitem__, names), np.int64, len(names))


def together(batches: Sequence[Columns]) -> Columns:
    """The rows of several batches as one; the indexes of each go on where those of the one before end."""
    if len(batches) == 1:
        return batches[0]
    sensor_ids: dict[str, int] = {}
    unit_names: dict[str, int] = {}
    codes, unit_codes, indexes, rejected = [], [], [], []
    begin = 0
    for columns in batches:
        names = [sensor_ids.setdefault(name, len(sensor_ids)) for name in columns.sensor_ids]
        codes.append(np.array(names, np.int64)[columns.codes])
        names = [unit_names.setdefault(name, len(unit_names)) for name in columns.unit_names]
        unit_codes.append(np.array([*names, -1], np.int64)[columns.units])
        indexes.append(columns.indexes + begin)
        rejected += [replace(row, index=row.index + begin) for row in columns.rejected]
        begin += len(columns) + len(columns.rejected)
    return Columns(
        sensor_ids=list(sensor_ids),
        codes=np.concatenate(codes),
        timestamps=np.concatenate([columns.timestamps for columns in batches]),
        values=np.concatenate([columns.values for columns in batches]),
        qualities=np.concatenate([columns.qualities for columns in batches]),
        unit_names=list(unit_names),
        units=np.concatenate(unit_codes),
        indexes=np.concatenate(indexes),
        rejected=rejected,
    )

"""Readings of one sensor as CSV with a header line: a column of times and a column of values, gzipped or not."""

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from io import TextIOWrapper
from itertools import islice
from typing import IO

import numpy as np

from sensors.columns import Columns, Rejection
from sensors.errors import Refused

CHUNK_ROWS = 10_000
GZIP_MAGIC = b"\x1f\x8b"
# Column names that are taken for the field when the caller names none, compared without case.
GUESSES = {
    "timestamp": ("timestamp", "time", "datetime", "date", "ts"),
    "value": ("value", "reading", "measurement"),
    "quality": ("quality",),
}


@dataclass(frozen=True)
class Layout:
    """Where in a line the fields stand; `quality` is None when the file has no such column."""

    timestamp: int
    value: int
    quality: int | None


def read(
    file: IO[bytes],
    *,
    sensor_id: str,
    unit: str,
    zone: tzinfo | None,
    column_map: dict[str, str],
    chunk_rows: int = CHUNK_ROWS,
) -> Iterator[Columns]:
    """Read a file chunk by chunk, in constant memory. `file` must be seekable.

    Times without a zone are taken to be in `zone`, or refused row by row when it is None. Raises Refused when the file
    has no usable header or is not text.
    """
    try:
        lines = csv.reader(_as_text(file))
        layout = _layout(next(lines, []), column_map)
        start = 0
        clock = _Clock(zone)
        while chunk := list(islice(lines, chunk_rows)):
            yield _columns(chunk, start, layout, sensor_id, unit, clock)
            start += len(chunk)
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, csv.Error) as error:
        raise Refused("unreadable_file", f"The file is not (gzipped) CSV in UTF-8: {error}", 400) from error


class _Clock:
    """Puts times without a zone into one, row after row.

    In autumn an hour comes twice: when the times step back inside it, its second pass has begun.
    """

    def __init__(self, zone: tzinfo | None) -> None:
        self.zone = zone
        self.before: datetime | None = None
        self.fold = 0

    def localise(self, at: datetime) -> datetime:
        first, second = at.replace(tzinfo=self.zone), at.replace(tzinfo=self.zone, fold=1)
        if first.utcoffset() == second.utcoffset():
            self.fold = 0
        elif self.before is not None and at < self.before:
            self.fold = 1
        self.before = at
        return second if self.fold else first


def _as_text(file: IO[bytes]) -> TextIOWrapper:
    magic = file.read(2)
    file.seek(0)
    plain = gzip.GzipFile(fileobj=file) if magic == GZIP_MAGIC else file
    return TextIOWrapper(plain, encoding="utf-8-sig", newline="")


def _layout(header: list[str], column_map: dict[str, str]) -> Layout:
    names = [name.strip().lower() for name in header]

    def find(field: str) -> int | None:
        wanted = (column_map[field].strip().lower(),) if field in column_map else GUESSES[field]
        return next((names.index(name) for name in wanted if name in names), None)

    timestamp, value, quality = find("timestamp"), find("value"), find("quality")
    if timestamp is None or value is None:
        columns = ", ".join(header) or "none"
        detail = f"Name the columns with timestamp=COLUMN,value=COLUMN; the file has these: {columns}."
        raise Refused("unknown_columns", detail, 400)
    return Layout(timestamp, value, quality)


def _columns(lines: list[list[str]], start: int, layout: Layout, sensor_id: str, unit: str, clock: "_Clock") -> Columns:
    timestamps, values, qualities, indexes = [], [], [], []
    rejected = []
    for index, line in enumerate(lines, start):
        try:
            at = datetime.fromisoformat(line[layout.timestamp].strip())
            value = float(line[layout.value])
            quality = float(line[layout.quality]) if layout.quality is not None else 1.0
        except (ValueError, IndexError) as error:
            rejected.append(Rejection(index, "invalid_row", str(error)))
            continue
        if at.tzinfo is None:
            if clock.zone is None:
                rejected.append(Rejection(index, "naive_timestamp", "The time has no zone; name the zone it is in."))
                continue
            at = clock.localise(at)
        timestamps.append(at.timestamp())
        values.append(value)
        qualities.append(quality)
        indexes.append(index)
    return Columns(
        sensor_ids=[sensor_id],
        codes=np.zeros(len(values), np.int64),
        timestamps=np.rint(np.array(timestamps, np.float64) * 1e6).astype(np.int64),
        values=np.array(values, np.float64),
        qualities=np.array(qualities, np.float64),
        unit_names=[unit],
        units=np.zeros(len(values), np.int64),
        indexes=np.array(indexes, np.int64),
        rejected=rejected,
    )

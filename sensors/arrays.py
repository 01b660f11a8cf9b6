"""NumPy columns to and from PostgreSQL in its binary array format, so that a batch is one statement and one round trip.

`INSERT ... SELECT FROM unnest(arrays)` was measured against binary COPY through a staging table: the same rate at 5,000
rows and more, 1.4 to 1.8 times the rate at 50 rows, and it needs no temporary table. Format: PostgreSQL source,
src/backend/utils/adt/arrayfuncs.c, array_send and array_recv.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from django.db import connection
from django.db.models.expressions import RawSQL
from numpy.typing import NDArray
from psycopg import Cursor
from psycopg.abc import Buffer
from psycopg.adapt import Dumper, Loader
from psycopg.pq import Format

BIGINT, SMALLINT, TIMESTAMPTZ, DOUBLE = 20, 21, 1184, 701
ARRAY_OID = {BIGINT: 1016, SMALLINT: 1005, TIMESTAMPTZ: 1185, DOUBLE: 1022}
# PostgreSQL counts microseconds from 2000-01-01, everything else from 1970-01-01.
POSTGRES_EPOCH_US = 946_684_800_000_000
HEADER_BYTES, BYTES_PER_DIMENSION = 12, 8
_INTEGER = np.dtype([("length", ">i4"), ("value", ">i8")])
_SMALL = np.dtype([("length", ">i4"), ("value", ">i2")])
_FLOAT = np.dtype([("length", ">i4"), ("value", ">f8")])
_DTYPES = {BIGINT: _INTEGER, SMALLINT: _SMALL, TIMESTAMPTZ: _INTEGER, DOUBLE: _FLOAT}


class _Array:
    """A column on its way into the database."""

    element = BIGINT

    def __init__(self, column: NDArray[Any]) -> None:
        self.column = column


class Bigints(_Array):
    element = BIGINT


class Smallints(_Array):
    element = SMALLINT


class Timestamps(_Array):
    """Microseconds since 1970-01-01 UTC."""

    element = TIMESTAMPTZ


class Doubles(_Array):
    element = DOUBLE


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: _Array) -> Buffer:
        dtype = _DTYPES[obj.element]
        elements = np.empty(len(obj.column), dtype)
        elements["length"] = dtype["value"].itemsize
        elements["value"] = obj.column - POSTGRES_EPOCH_US if obj.element == TIMESTAMPTZ else obj.column
        dimensions = 1 if len(obj.column) else 0
        header = np.array([dimensions, 0, obj.element, len(obj.column), 1][: 3 + 2 * dimensions], ">i4")
        return header.tobytes() + elements.tobytes()


class _ArrayLoader(Loader):
    format = Format.BINARY
    dtype = _INTEGER
    offset = 0

    def load(self, data: Buffer) -> NDArray[Any]:
        dimensions = int.from_bytes(data[:4], "big")
        return np.frombuffer(data, self.dtype, offset=HEADER_BYTES + BYTES_PER_DIMENSION * dimensions)["value"].astype(
            self.dtype["value"].newbyteorder("=")
        )


class _TimestampLoader(_ArrayLoader):
    def load(self, data: Buffer) -> NDArray[Any]:
        return super().load(data) + POSTGRES_EPOCH_US


class _DoubleLoader(_ArrayLoader):
    dtype = _FLOAT


_DUMPERS = {
    column: type(f"{column.__name__}Dumper", (_ArrayDumper,), {"oid": ARRAY_OID[column.element]})
    for column in (Bigints, Smallints, Timestamps, Doubles)
}


def any_of(values: Iterable[Any], of: Literal["bigint", "text", "timestamptz"] = "bigint") -> RawSQL:
    """For `__in`: the values as one parameter. Thousands of parameters cost more to put into SQL than rows to find."""
    # psycopg would write thousands of whole numbers one by one.
    sent = f"{{{','.join(map(str, values))}}}" if of == "bigint" else list(values)
    return RawSQL(f"SELECT unnest(%s::{of}[])", [sent])  # noqa: S611 - nothing a caller sends is in the text


@contextmanager
def numpy_cursor() -> Iterator[Cursor[Any]]:
    """A cursor that takes the columns above and gives arrays without NULLs back as NumPy columns, arrays of arrays as
    one column.

    Timestamps come back as int64 microseconds since 1970-01-01 UTC. It shares the present transaction of Django's
    default connection; Django's own cursors bind on the client's side, as text.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors, Cursor(connection.connection) as cursor:
        cursor.format = Format.BINARY
        _register(cursor)
        yield cursor


def _register(cursor: Cursor[Any]) -> None:
    for column, dumper in _DUMPERS.items():
        cursor.adapters.register_dumper(column, dumper)
    cursor.adapters.register_loader(ARRAY_OID[BIGINT], _ArrayLoader)
    cursor.adapters.register_loader(ARRAY_OID[TIMESTAMPTZ], _TimestampLoader)
    cursor.adapters.register_loader(ARRAY_OID[DOUBLE], _DoubleLoader)

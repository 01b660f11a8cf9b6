"""Tables as files: CSV, XLSX or Parquet, made while they are sent, in constant memory.

A table is read piece by piece, each with a query of its own: between two pieces no cursor is open and no connection
held, however slowly the file is fetched. pyarrow and xlsxwriter are loaded when somebody exports.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import StreamingHttpResponse

from sensors import places
from sensors.errors import Refused
from sensors.places import Place

Kind = Literal["text", "number", "integer", "time", "flag"]
# One element per row, or one value for all of them.
Values = Any

# Longer tables take minutes of a web process to write as XLSX; the format itself ends at 1,048,576.
MOST_XLSX_ROWS = 200_000
FILE_PIECE_BYTES = 1 << 18
ASK_FOR_PLACE_SECONDS = 1.0
# A spreadsheet program would run a cell that begins so (OWASP, CSV injection).
FORMULA = r"^[=+\-@\t\r]"


@dataclass(frozen=True)
class Table:
    """What is exported: its name (of the file), its columns, and its rows as pieces of columns.

    `pieces` yields one sequence per column; times are aware datetimes or NumPy's datetime64[us] in UTC. `count` says
    how many rows there are, roughly; it is asked only where that matters.
    """

    name: str
    columns: dict[str, Kind]
    pieces: Callable[[], Iterator[Sequence[Values]]]
    count: Callable[[], int]


def download(table: Table, file_format: str, *, user_id: int) -> StreamingHttpResponse:
    """The table as a file.

    Raises Refused for a format that we do not write, a table too long for it, or a user with too many exports running.
    """
    if file_format not in WRITERS:
        raise Refused("unknown_format", f"`format` must be one of {', '.join(WRITERS)}.", 400)
    if file_format == "xlsx" and table.count() > MOST_XLSX_ROWS:
        raise Refused("too_many_rows", f"XLSX takes {MOST_XLSX_ROWS:,} rows here; choose csv or parquet.", 422)
    content_type, write = WRITERS[file_format]
    headers = {"Content-Disposition": f'attachment; filename="{table.name}.{file_format}"', "Cache-Control": "no-store"}
    place = places.take("export", user_id)
    return StreamingHttpResponse(_stream(write(table), place), content_type=content_type, headers=headers)


async def _stream(pieces: Iterator[bytes], place: Place) -> AsyncIterator[bytes]:
    try:
        while (piece := await _piece(pieces, place)) is not None:
            if piece:
                yield piece
    finally:
        await sync_to_async(place.give_back, thread_sensitive=False)()


async def _piece(pieces: Iterator[bytes], place: Place) -> bytes | None:
    """The next piece. Whoever fetched so slowly that others have the places now waits until one is free."""
    while not await sync_to_async(place.keep, thread_sensitive=False)():
        await asyncio.sleep(ASK_FOR_PLACE_SECONDS)
    return await sync_to_async(_next)(pieces)


def _next(pieces: Iterator[bytes]) -> bytes | None:
    piece = next(pieces, None)
    # The next one may be asked for in an hour; meanwhile the pool has the connection back.
    if not connection.in_atomic_block:
        connection.close()
    return piece


def _batches(table: Table) -> Iterator[Any]:
    """The pieces as Arrow record batches of one schema. The first one is empty: an empty table has columns, too."""
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "number": pa.float64(),
        "integer": pa.int64(),
        "time": pa.timestamp("us", tz="UTC"),
        "flag": pa.bool_(),
    }
    schema = pa.schema([(name, types[kind]) for name, kind in table.columns.items()])
    for piece in chain([[[]] * len(schema)], table.pieces()):
        columns = [pa.array(values, type=field.type) for values, field in zip(piece, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


class _Sink:
    """A file that is taken away while it is written."""

    closed = False

    def __init__(self) -> None:
        self.written = 0
        self.parts: list[bytes] = []

    def write(self, data: Any) -> int:
        part = bytes(data)
        self.parts.append(part)
        self.written += len(part)
        return len(part)

    def tell(self) -> int:
        return self.written

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        taken, self.parts = b"".join(self.parts), []
        return taken


def _csv(table: Table) -> Iterator[bytes]:
    import pyarrow.csv

    sink = _Sink()
    batches = _batches(table)
    first = next(batches)
    with pyarrow.csv.CSVWriter(sink, first.schema) as writer:
        for batch in chain([first], batches):
            writer.write(_harmless(batch))
            yield sink.take()
    yield sink.take()


def _harmless(batch: Any) -> Any:
    """Text that a spreadsheet program would take for a formula, with the apostrophe that makes it text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [
        pc.if_else(pc.match_substring_regex(column, FORMULA), pc.binary_join_element_wise("'", column, ""), column)
        if pa.types.is_string(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _parquet(table: Table) -> Iterator[bytes]:
    import pyarrow.parquet

    sink = _Sink()
    batches = _batches(table)
    first = next(batches)
    with pyarrow.parquet.ParquetWriter(sink, first.schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield sink.take()
    yield sink.take()


def _xlsx(table: Table) -> Iterator[bytes]:
    """Rows go to a temporary file as they come; XLSX is an archive that can only be packed at the end."""
    import xlsxwriter

    with tempfile.TemporaryFile() as file:
        options = {"constant_memory": True, "remove_timezone": True, "nan_inf_to_errors": True}
        workbook = xlsxwriter.Workbook(file, options)
        sheet = _Sheet(workbook, table.columns)
        for batch in _batches(table):
            sheet.append(batch)
            yield b""
        workbook.close()
        file.seek(0)
        while piece := file.read(FILE_PIECE_BYTES):
            yield piece


class _Sheet:
    """The one sheet of a workbook, below a line with the columns' names."""

    def __init__(self, workbook: Any, columns: dict[str, Kind]) -> None:
        self.sheet = sheet = workbook.add_worksheet()
        self.rows = 1
        clock = workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss.000"})
        # Never `write`, which takes text that begins with "=" for a formula.
        write: dict[Kind, Callable[[int, int, Any], Any]] = {
            "text": sheet.write_string,
            "number": sheet.write_number,
            "integer": sheet.write_number,
            "time": lambda row, column, at: sheet.write_datetime(row, column, at, clock),
            "flag": sheet.write_boolean,
        }
        self.writers = [write[kind] for kind in columns.values()]
        for number, (name, kind) in enumerate(columns.items()):
            sheet.write_string(0, number, f"{name} (UTC)" if kind == "time" else name)

    def append(self, batch: Any) -> None:
        columns = [column.to_pylist() for column in batch.columns]
        for offset, values in enumerate(zip(*columns, strict=True)):
            for number, value in enumerate(values):
                if value is not None:
                    self.writers[number](self.rows + offset, number, value)
        self.rows += batch.num_rows


WRITERS: dict[str, tuple[str, Callable[[Table], Iterator[bytes]]]] = {
    "csv": ("text/csv; charset=utf-8", _csv),
    "xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", _xlsx),
    "parquet": ("application/vnd.apache.parquet", _parquet),
}

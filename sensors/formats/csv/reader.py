"""A file into columns of readings, block by block, a whole block at once."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sensors.columns import Columns, Rejection, encode
from sensors.errors import Refused
from sensors.formats import MAX_SENSOR_ID, MAX_UNIT, as_sensor_id, raw_payload
from sensors.formats.csv.arrow import pa, pc, pyarrow
from sensors.formats.csv.layout import Layout, Role
from sensors.formats.csv.names import MAX_NAME, names_of_sensors
from sensors.formats.csv.times import NUMBER, Clock, ClockState, Texts, parse_times

GZIP_MAGIC = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"
# A block is what is read, parsed and stored at once: some 60,000 readings of a wide file.
BLOCK_BYTES = 512 * 1024
SAMPLE_BYTES = 64 * 1024
MAX_LINE_BYTES = 1024 * 1024
# What a file has called its sensors is remembered from block to block. No plant has as many in one file.
MAX_SENSORS = 10_000
# What programs write into a cell of a wide file where there was no reading, compared without case.
NOTHING = ("", "nan", "null", "none", "na", "n/a", "#n/a", "-", "--")


class Position(msgspec.Struct):
    """Where the next block begins: `bytes` into the plain file, after `rows` rows; `clock` belongs to `times.Clock`.

    `names` are what a long file has called each sensor so far, by its key; "" where it is the key itself.
    """

    bytes: int = 0
    rows: int = 0
    clock: ClockState = {}
    names: dict[str, str] = {}


@dataclass(frozen=True)
class Chunk:
    """The readings of a block, and where the next one begins. `columns.indexes` are rows, counted from 0.

    `names` are what the file calls its sensors, by their keys, as far as that is more than the key itself.
    """

    columns: Columns
    position: Position
    names: dict[str, str]


def plain(file: IO[bytes]) -> IO[bytes]:
    """The file, unpacked as it is read if it is gzipped. `file` must be seekable and at its beginning."""
    magic = file.read(2)
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if magic == GZIP_MAGIC else file  # type: ignore[return-value]


def sample_of(file: IO[bytes]) -> bytes:
    """The beginning of a file, as `guess` wants it. Raises Refused when it is packed and cannot be unpacked."""
    try:
        return plain(file).read(SAMPLE_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(error) from error


def read(file: IO[bytes], layout: Layout, start: Position | None = None) -> Iterator[Chunk]:
    """Read a file from `start` on, in constant memory. `file` must be seekable and at its beginning.

    Times without a zone are taken to be in the layout's, or refused row by row where it names none. Raises Refused when
    the file cannot be unpacked, has a line of more than MAX_LINE_BYTES or names more than MAX_SENSORS sensors.
    """
    try:
        yield from _read(plain(file), layout, start or Position())
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> Refused:
    return Refused("unreadable_file", f"The file is not (gzipped) CSV: {error}", 400)


def _read(file: IO[bytes], layout: Layout, start: Position) -> Iterator[Chunk]:
    zone = layout.zone()
    clock = Clock(zone, dict(start.clock)) if zone else None
    names = dict(start.names) if layout.kind == "long" else names_of_sensors(layout)
    rows = start.rows
    offset = start.bytes or _skip(file, layout)
    file.seek(offset)
    rest = b""
    while block := file.read(BLOCK_BYTES):
        lines, newline, rest = (rest + block).rpartition(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            raise Refused("line_too_long", f"A line is longer than {MAX_LINE_BYTES:,} bytes; is this a table?", 400)
        if newline:
            offset += len(lines) + 1
            yield _chunk(lines + newline, layout, clock, names, rows, offset)
            rows += lines.count(b"\n") + 1
    if rest:
        yield _chunk(rest, layout, clock, names, rows, offset + len(rest))


def _skip(file: IO[bytes], layout: Layout) -> int:
    """How many bytes come before the first row."""
    skipped = len(BOM) if file.read(len(BOM)) == BOM else 0
    file.seek(skipped)
    for _ in range(layout.skip_lines + layout.header):
        line = file.readline(MAX_LINE_BYTES)
        if not line:
            break
        skipped += len(line)
    return skipped


def _chunk(block: bytes, layout: Layout, clock: Clock | None, names: dict[str, str], row: int, offset: int) -> Chunk:
    """`names` grows by what a long file calls its sensors in this block."""
    lines = _Lines(block, layout, row)
    columns = _columns(lines, layout, clock, names)
    after = row + block.count(b"\n") + (not block.endswith(b"\n"))
    so_far = dict(names)
    state = dict(clock.state) if clock else {}
    return Chunk(columns, Position(offset, after, state, so_far if layout.kind == "long" else {}), so_far)


class _Lines:
    """The cells of a block as columns of text: `cells[i]` is the column at place i of the layout, if it is needed.

    `rows` are the numbers of the lines in the file, `rejected` those that are no rows of the table.
    """

    def __init__(self, block: bytes, layout: Layout, first_row: int) -> None:
        self.rejected: list[Rejection] = []
        text = _utf8(block, layout.encoding)
        lines = text.split(b"\n")
        kept = [number for number, line in enumerate(lines) if line and not line.isspace()]
        table, invalid = _table(text, layout)
        if table is None or len(table) + len(invalid) != len(kept):
            # A quote that is never closed, or text over a line end: every line by itself.
            table, invalid = _table_line_by_line([lines[number] for number in kept], layout)
        bad = np.zeros(len(kept), bool)
        bad[invalid] = True
        numbers = np.array(kept, np.int64)
        self.rows = first_row + numbers[~bad]
        for number in numbers[bad].tolist():
            detail = f"The line does not have the {len(layout.columns)} columns of the table."
            self.rejected.append(Rejection(first_row + number, "malformed_row", detail, raw_payload(lines[number])))
        self.cells = {int(name): table.column(name).combine_chunks() for name in table.column_names}


def _utf8(block: bytes, encoding: str) -> bytes:
    """The block in UTF-8. What is none becomes a sign that is no number, so that its cell is refused and no other."""
    if block.isascii():
        return block
    try:
        block.decode()
    except UnicodeDecodeError:
        return block.decode(encoding, errors="replace").encode()
    return block if encoding == "utf-8" else block.decode(encoding, errors="replace").encode()


def _needed(layout: Layout) -> list[str]:
    return [str(place) for place, column in enumerate(layout.columns) if column.role is not Role.IGNORE]


def _table(text: bytes, layout: Layout) -> tuple[Any, list[int]]:
    """The needed columns, and the places of the lines that have too few or too many; None where arrow gives up."""
    invalid: list[int] = []

    def skip(row: Any) -> str:
        invalid.append(row.number - 1)
        return "skip"

    needed = _needed(layout)
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(text),
            pyarrow.csv.ReadOptions(
                use_threads=False,
                column_names=[str(place) for place in range(len(layout.columns))],
                block_size=len(text) + 1,
            ),
            pyarrow.csv.ParseOptions(delimiter=layout.delimiter, invalid_row_handler=skip),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(needed, pa.string()),
                include_columns=needed,
                strings_can_be_null=False,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        return None, []
    return table, invalid


def _table_line_by_line(lines: list[bytes], layout: Layout) -> tuple[Any, list[int]]:
    rows, invalid = [], []
    for place, line in enumerate(lines):
        try:
            cells = next(csv.reader([line.decode().rstrip("\r")], delimiter=layout.delimiter, strict=True), [])
        except csv.Error:
            cells = []
        if len(cells) == len(layout.columns):
            rows.append(cells)
        else:
            invalid.append(place)
    needed = _needed(layout)
    columns = [[cells[int(name)] for cells in rows] for name in needed]
    return pa.table([pa.array(column, pa.string()) for column in columns], needed), invalid


def parse_numbers(texts: Texts, decimal: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The numbers in a column of text, and a mask of what are none."""
    if decimal == ",":
        # A point could only part thousands here: 1.234 would be read as something else than it says.
        pointed = pc.match_substring(texts, ".")
        texts = pc.replace_substring(pc.if_else(pointed, "", texts), ",", ".")
    try:
        values = texts.cast(pa.float64())
    except pa.ArrowInvalid:
        texts = pc.utf8_trim_whitespace(texts)
        lower = pc.utf8_lower(texts)
        known = pc.or_(pc.match_substring_regex(texts, NUMBER), pc.is_in(lower, pa.array(["nan", "inf", "-inf"])))
        values = pc.if_else(known, texts, None).cast(pa.float64())
    bad = values.is_null().to_numpy(zero_copy_only=False)
    return values.fill_null(0.0).to_numpy(zero_copy_only=False), bad


def _columns(lines: _Lines, layout: Layout, clock: Clock | None, names: dict[str, str]) -> Columns:
    """One reading per row and column of values; those that cannot be read are among the rejected."""
    builder = _Builder(lines, layout, names)
    builder.leave_out_nothing()
    builder.check_sensors()
    builder.read_times(clock)
    builder.read_values()
    builder.read_qualities()
    builder.read_units()
    return builder.columns()


class _Builder:
    """Readings of a block on their way through the columns of the file; arrays have one element per reading."""

    def __init__(self, lines: _Lines, layout: Layout, names: dict[str, str]) -> None:
        self.layout = layout
        self.lines = lines
        self.rejected = lines.rejected
        places = layout.places(Role.VALUE)
        height = len(lines.rows)
        self.texts = pa.concat_arrays([lines.cells[place] for place in places])
        # Which row of the table, and which of the columns of values.
        self.row = np.tile(np.arange(height), len(places))
        self.column = np.repeat(np.arange(len(places)), height)
        self.good = np.ones(len(self.row), bool)
        # Which of the keys cannot be told from another's, and why.
        self.clashes: dict[int, str] = {}
        if layout.kind == "long":
            self._name_sensors(lines.cells[layout.places(Role.SENSOR)[0]].dictionary_encode(), names)
        else:
            self.sensor_ids = [layout.columns[place].sensor_id for place in places]
            self.codes = self.column
        self.timestamps = np.zeros(len(self.row), np.int64)
        self.values = np.zeros(len(self.row))
        self.qualities = np.ones(len(self.row))
        self.unit_names: list[str] = []
        self.units = np.full(len(self.row), -1)

    def _name_sensors(self, cells: Texts, names: dict[str, str]) -> None:
        spelled = [name.strip().replace("\0", "�") for name in cells.dictionary.to_pylist()]
        # Names that differ only by the space around them are one.
        self.sensor_ids, of_cell = encode(spelled)
        self.codes = of_cell[cells.indices.to_numpy(zero_copy_only=False).astype(np.int64)]
        for code, name in enumerate(self.sensor_ids):
            key, name = as_sensor_id(name), name[:MAX_NAME]
            self.sensor_ids[code] = key
            if not 0 < len(key) <= MAX_SENSOR_ID:
                continue
            first = names.setdefault(key, "" if name == key else name) or key
            if first != name:
                self.sensor_ids[code] = name
                self.clashes[code] = f"{name!r} and {first!r} would both be sensor {key!r}; rename one in the file."
        if len(names) > MAX_SENSORS:
            detail = f"The column that names the sensor holds more than {MAX_SENSORS:,} names; is it another one?"
            raise Refused("too_many_sensors", detail, 400)

    def leave_out_nothing(self) -> None:
        """In a wide file an empty cell is no reading; elsewhere a row without a value is a broken one."""
        if self.layout.kind == "wide":
            lower = pc.utf8_lower(pc.utf8_trim_whitespace(self.texts))
            nothing = pc.is_in(lower, pa.array(NOTHING)).to_numpy(zero_copy_only=False)
            if nothing.any():
                self.take(~nothing)

    def take(self, kept: NDArray[np.bool_]) -> None:
        self.texts = self.texts.filter(pa.array(kept))
        for name in ("row", "column", "good", "codes", "timestamps", "values", "qualities", "units"):
            setattr(self, name, getattr(self, name)[kept])

    def refuse(self, bad: NDArray[np.bool_], code: str, detail: str) -> None:
        for place in np.flatnonzero(bad & self.good).tolist():
            payload = self.payload(place)
            self.rejected.append(Rejection(int(self.lines.rows[self.row[place]]), code, detail, payload))
        self.good &= ~bad

    def payload(self, place: int) -> dict[str, Any]:
        """The reading as it stands in the file, for whoever corrects it."""
        row = int(self.row[place])
        column = self.layout.columns[self.layout.places(Role.VALUE)[int(self.column[place])]]
        told = {
            "sensor_id": self.sensor_ids[int(self.codes[place])],
            "timestamp": " ".join(self.cell(at, row) for at in self.layout.places(Role.TIMESTAMP)),
            "value": self.texts[place].as_py(),
        }
        if column.unit:
            told["unit"] = column.unit
        for role in (Role.QUALITY, Role.UNIT):
            for at in self.layout.places(role):
                told[role.value] = self.cell(at, row)
        return {name: text[:200].replace("\0", "�") for name, text in told.items()}

    def cell(self, place: int, row: int) -> str:
        return str(self.lines.cells[place][row].as_py())

    def check_sensors(self) -> None:
        for code, detail in self.clashes.items():
            self.refuse(self.codes == code, "sensor_name_clash", detail)
        bad = np.array([not 0 < len(name) <= MAX_SENSOR_ID for name in self.sensor_ids], bool)
        self.refuse(bad[self.codes], "invalid_sensor_id", f"A sensor's key has 1 to {MAX_SENSOR_ID} characters.")

    def read_times(self, clock: Clock | None) -> None:
        cells = [self.lines.cells[place] for place in self.layout.places(Role.TIMESTAMP)]
        texts = pc.binary_join_element_wise(*cells, " ") if len(cells) > 1 else cells[0]
        times = parse_times(texts, self.layout.time_format)
        self.refuse(times.bad[self.row], "invalid_timestamp", "The time is not written as the mapping says.")
        naive = ~times.zoned & ~times.bad
        us = times.us
        if naive.any():
            if clock is None:
                detail = "The time has no zone; name the zone it is in."
                self.refuse(naive[self.row], "naive_timestamp", detail)
            else:
                rows = np.flatnonzero(naive)
                long = self.layout.kind == "long"
                codes = self.codes[rows] if long else np.zeros(len(rows), np.int64)
                us[rows] = clock.to_utc(us[rows], self.sensor_ids if long else [""], codes)
        self.timestamps = us[self.row]

    def read_values(self) -> None:
        self.values, bad = parse_numbers(self.texts, self.layout.decimal)
        self.refuse(bad, "invalid_value", "The value is no number.")

    def read_qualities(self) -> None:
        for place in self.layout.places(Role.QUALITY):
            cells = self.lines.cells[place]
            qualities, bad = parse_numbers(pc.if_else(pc.equal(cells, ""), "1", cells), self.layout.decimal)
            self.qualities = qualities[self.row]
            self.refuse(bad[self.row], "invalid_quality", "The quality is no number.")

    def read_units(self) -> None:
        named = [self.layout.columns[place].unit for place in self.layout.places(Role.VALUE)]
        codes = self.column
        for place in self.layout.places(Role.UNIT):
            cells = self.lines.cells[place].dictionary_encode()
            named = [name.strip()[:MAX_UNIT] for name in cells.dictionary.to_pylist()]
            codes = cells.indices.to_numpy(zero_copy_only=False)[self.row]
        self.unit_names, of_name = encode(named)
        blank = np.array([not name for name in named], bool)
        self.units = np.where(blank, -1, of_name)[codes]

    def columns(self) -> Columns:
        good = self.good
        return Columns(
            sensor_ids=self.sensor_ids,
            codes=self.codes[good],
            timestamps=self.timestamps[good],
            values=self.values[good],
            qualities=self.qualities[good],
            unit_names=self.unit_names,
            units=self.units[good],
            indexes=self.lines.rows[self.row[good]],
            rejected=self.rejected,
        )

"""Looks at the beginning of a file and says how it is laid out, as far as names and cells tell."""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from sensors.errors import Refused
from sensors.formats import MAX_SENSOR_ID, as_sensor_id
from sensors.formats.csv.layout import DELIMITERS, MAX_COLUMNS, Column, Layout, Role, TimeFormat, is_delimiter
from sensors.formats.csv.names import keys_apart, says, split_unit
from sensors.formats.csv.reader import BOM

SAMPLE_LINES = 100
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\Z")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?\Z")
_HALF = r"[ap]\.?\s?m\.?"
_TIME_OF_DAY = rf"\d{{1,2}}:\d\d(:\d\d([.,]\d+)?)?(\s?{_HALF})?"
_ISO = re.compile(rf"\d{{4}}-\d\d-\d\d([T ]{_TIME_OF_DAY} ?(Z|[+-]\d\d(:?\d\d)?)?)?\Z", re.IGNORECASE)
_LOCAL = re.compile(rf"(\d{{1,2}})([./-])(\d{{1,2}})\2(\d{{4}}|\d\d)([T ]+{_TIME_OF_DAY})?\Z", re.IGNORECASE)
_CLOCK = re.compile(_TIME_OF_DAY + r"\Z", re.IGNORECASE)
_HALF_OF_DAY = re.compile(rf".*\d\s?{_HALF}\Z", re.IGNORECASE)
# The first line by which a spreadsheet is told what parts the columns.
_SEPARATOR = re.compile(r'"?sep=(.)"?\1*\Z', re.IGNORECASE)
# Numbers that are times between 2001 and 2286 in seconds, milli-, micro- or nanoseconds, by their digits.
_EPOCHS = {
    10: TimeFormat.EPOCH_S,
    13: TimeFormat.EPOCH_MS,
    16: TimeFormat.EPOCH_US,
    19: TimeFormat.EPOCH_NS,
}


def guess(sample: bytes, *, stem: str = "", known: frozenset[str] = frozenset()) -> Layout:
    """How a file that begins with `sample` is laid out. Its times and columns are for a person to confirm.

    `stem`, the file's name, becomes the key of a single sensor that has no other; `known` are keys of existing sensors.
    Raises Refused when it is no text, or no table.
    """
    text, encoding = _decode(sample)
    lines = [line.rstrip("\r") for line in text.split("\n")]
    # The last line of a sample may be cut off.
    lines = (lines[:-1] if len(lines) > 1 and len(sample) > 4096 else lines)[:SAMPLE_LINES]
    said = _SEPARATOR.match(lines[0].strip(" "))
    delimiter, skip = _after_separator(said[1], lines) if said else _delimiter(lines, DELIMITERS)
    try:
        rows = [row for row in csv.reader(lines[skip:], delimiter=delimiter) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise _no_table() from error
    if not rows:
        raise _no_table()
    header = not any(_is_time(cell) or _NUMBER.match(cell.strip()) for cell in rows[0])
    body = rows[1:] if header else rows
    width = Counter(map(len, body)).most_common(1)[0][0] if body else len(rows[0])
    if width > MAX_COLUMNS:
        raise Refused("unknown_columns", f"A file may have {MAX_COLUMNS:,} columns and this one has {width:,}.", 400)
    names = [*rows[0], *[""] * width][:width] if header else [f"column {number}" for number in range(1, width + 1)]
    seen = [
        _Seen(place, name.strip(), [row[place].strip() for row in body if len(row) == width and row[place].strip()])
        for place, name in enumerate(names)
    ]
    decimal = "," if delimiter != "," and any(_DECIMAL_COMMA.match(c) for one in seen for c in one.cells) else "."
    roles, time_format = _roles(seen)
    return Layout(
        columns=_columns(seen, roles, stem, known, header=header),
        delimiter=delimiter,
        decimal="," if decimal == "," else ".",
        encoding=encoding,
        time_format=time_format,
        header=header,
        skip_lines=skip,
    )


@dataclass(frozen=True)
class _Seen:
    """A column as it stands in the sample."""

    place: int
    name: str
    cells: list[str]

    def named(self, role: Role) -> bool:
        return says(self.name, role)

    def mostly(self, pattern: re.Pattern[str]) -> bool:
        return bool(self.cells) and 2 * sum(bool(pattern.match(cell)) for cell in self.cells) >= len(self.cells)

    def within_0_and_1(self) -> bool:
        numbers = [cell.replace(",", ".") for cell in self.cells if _NUMBER.match(cell)]
        return all(0 <= float(number) <= 1 for number in numbers)

    def epoch(self) -> TimeFormat | None:
        """What kind of epoch its numbers could be."""
        if not self.mostly(re.compile(r"\d{10,19}(\.\d*)?\Z")):
            return None
        lengths = Counter(len(cell.partition(".")[0]) for cell in self.cells)
        return _EPOCHS.get(lengths.most_common(1)[0][0])


def _decode(sample: bytes) -> tuple[str, str]:
    if b"\0" in sample:
        detail = "The file is not text; save it as CSV in UTF-8 (not as a workbook, and not as UTF-16)."
        raise Refused("unreadable_file", detail, 400)
    sample = sample.removeprefix(BOM)
    try:
        # The sample may end within a character.
        return codecs.getincrementaldecoder("utf-8")().decode(sample), "utf-8"
    except UnicodeDecodeError:
        return sample.decode("cp1252", errors="replace"), "cp1252"


def _after_separator(delimiter: str, lines: list[str]) -> tuple[str, int]:
    """The delimiter that the first line names, and how many lines come before the table. Raises Refused: it is none."""
    if not is_delimiter(delimiter):
        raise Refused("unknown_columns", f"The first line says that {delimiter!r} parts the columns; it cannot.", 400)
    return delimiter, _delimiter(lines[1:], [delimiter])[1] + 1


def _delimiter(lines: list[str], candidates: Iterable[str]) -> tuple[str, int]:
    """The delimiter that most lines agree on, and how many lines come before the table."""
    best: tuple[int, str, int] = (0, "", 0)
    for delimiter in candidates:
        try:
            widths = [len(next(csv.reader([line], delimiter=delimiter), [])) for line in lines]
        except csv.Error:
            continue
        width, agreeing = max(Counter(w for w in widths if w > 1).items(), key=lambda item: item[1], default=(0, 0))
        if agreeing > best[0]:
            # A header may have a column less than the rows, if those end with a delimiter.
            best = (agreeing, delimiter, next(at for at, w in enumerate(widths) if w in (width, width - 1) and w > 1))
    if not best[0]:
        raise _no_table()
    return best[1], best[2]


def _no_table() -> Refused:
    detail = "No table was found: each line needs the same columns, parted by comma, semicolon, tab or bar."
    return Refused("unknown_columns", detail, 400)


def _is_time(cell: str) -> bool:
    cell = cell.strip()
    return bool(_ISO.match(cell) or _LOCAL.match(cell))


def _roles(seen: list[_Seen]) -> tuple[dict[int, Role], TimeFormat]:
    roles = {one.place: Role.IGNORE for one in seen}
    times, time_format = _times(seen)
    roles |= dict.fromkeys(times, Role.TIMESTAMP)
    rest = [one for one in seen if one.place not in times]
    text = [one for one in rest if (not one.mostly(_NUMBER) and not one.named(Role.VALUE)) or one.named(Role.SENSOR)]
    numbers = [one for one in rest if one not in text]
    for role, candidates in ((Role.UNIT, text), (Role.SENSOR, text), (Role.QUALITY, numbers)):
        fitting = [one for one in candidates if one.named(role) and one.cells]
        for one in [one for one in fitting if role is not Role.QUALITY or one.within_0_and_1()][:1]:
            roles[one.place] = role
    numbers = [one for one in numbers if roles[one.place] is Role.IGNORE]
    values = [one for one in numbers if one.named(Role.VALUE)]
    long = Role.SENSOR in roles.values() and (values or len(numbers) == 1)
    single = values and Role.QUALITY in roles.values()
    chosen = (values or numbers)[:1] if long or single else numbers
    if not long:
        roles |= {place: Role.IGNORE for place, role in roles.items() if role is Role.SENSOR}
    return roles | {one.place: Role.VALUE for one in chosen}, time_format


def _times(seen: list[_Seen]) -> tuple[list[int], TimeFormat]:
    """The places of the column (or of date and time of day) that says when, and how it is written."""
    ordered = sorted(seen, key=lambda one: not one.named(Role.TIMESTAMP))
    for pattern in (_ISO, _LOCAL):
        for one in ordered:
            if one.mostly(pattern):
                times_of_day = _times_of_day(seen, one)
                return [each.place for each in (one, *times_of_day)], _written(one, times_of_day, pattern)
    for one in ordered:
        kind = one.epoch()
        if kind and (one.named(Role.TIMESTAMP) or one.place == 0):
            return [one.place], kind
    return [one.place for one in ordered if one.named(Role.TIMESTAMP)][:1], TimeFormat.ISO


def _times_of_day(seen: list[_Seen], date: _Seen) -> list[_Seen]:
    """The column beside one of dates that says at what time of day, if there is one."""
    if any(":" in cell for cell in date.cells):
        return []
    return [one for one in seen if one.place != date.place and one.mostly(_CLOCK)][:1]


def _written(one: _Seen, times_of_day: list[_Seen], pattern: re.Pattern[str]) -> TimeFormat:
    if pattern is _ISO:
        return TimeFormat.ISO
    found = [match for match in map(_LOCAL.match, one.cells) if match]
    if any(int(match[3]) > 12 for match in found):
        return TimeFormat.MONTH_FIRST
    if any(int(match[1]) > 12 for match in found) or any(match[2] == "." for match in found):
        return TimeFormat.DAY_FIRST
    # Who counts the hours twice to twelve writes the month first, more often than not.
    halves = any(_HALF_OF_DAY.match(cell) for each in (one, *times_of_day) for cell in each.cells)
    return TimeFormat.MONTH_FIRST if halves else TimeFormat.DAY_FIRST


def _columns(
    seen: list[_Seen], roles: dict[int, Role], stem: str, known: frozenset[str], *, header: bool
) -> list[Column]:
    columns = [_column(one, roles[one.place], stem, known, header=header) for one in seen]
    names = [split_unit(column.name)[0] for column in columns]
    keys = keys_apart(names, [column.sensor_id for column in columns])
    return [msgspec.structs.replace(column, sensor_id=key) for column, key in zip(columns, keys, strict=True)]


def _column(one: _Seen, role: Role, stem: str, known: frozenset[str], *, header: bool) -> Column:
    if role is not Role.VALUE:
        return Column(one.name, role)
    name, unit = split_unit(one.name)
    if one.name in known:
        return Column(one.name, role, one.name, unit)
    generic = not header or one.named(Role.VALUE)
    key = as_sensor_id(stem if generic and stem else name)
    if not header and stem:
        key = f"{key}.{one.place + 1}" if one.place > 1 else key
    return Column(one.name, role, key[:MAX_SENSOR_ID], unit)

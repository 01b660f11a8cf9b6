"""Rows of a CSV or TSV file, gzipped or not, with their line numbers. One broken line costs no other."""

import csv
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from sensors.errors import Refused
from sensors.formats import csv as readings_csv
from sensors.formats.csv import Layout
from sensors.formats.csv.reader import BOM, MAX_LINE_BYTES, NOTHING

# Quoted text may go over so many lines; a quote that is closed later was forgotten somewhere.
MOST_LINES_PER_ROW = 50


@dataclass(frozen=True)
class Row:
    """`line` is where it begins in the file, counted from 1; `cells` are stripped, and "" where nothing is said."""

    line: int
    cells: list[str]


@dataclass(frozen=True)
class Broken:
    line: int
    code: str
    detail: str


@dataclass
class Refusals:
    """What was refused: how often by code, and the first of them by line."""

    by_code: dict[str, int] = field(default_factory=dict)
    first: list[Broken] = field(default_factory=list)

    MOST_SHOWN = 20

    def add(self, broken: Broken) -> None:
        self.by_code[broken.code] = self.by_code.get(broken.code, 0) + 1
        if len(self.first) < self.MOST_SHOWN:
            self.first.append(broken)

    @property
    def total(self) -> int:
        return sum(self.by_code.values())


def layout_of(file: IO[bytes]) -> Layout:
    """Delimiter, encoding, names of columns and how times are written, as guessed. Raises Refused: it is no table."""
    layout = readings_csv.guess(readings_csv.sample_of(file))
    file.seek(0)
    if not layout.header:
        raise Refused("unknown_columns", "The first line must name the columns.", 400)
    return layout


def rows(file: IO[bytes], layout: Layout) -> Iterator[Row | Broken]:
    """Every row after the header. Raises Refused when the file cannot be read on at all."""
    try:
        yield from _rows(_Lines(readings_csv.plain(file), layout.encoding), layout)
    except (OSError, EOFError, zlib.error) as error:
        raise Refused("unreadable_file", f"The file is not (gzipped) CSV: {error}", 400) from error


class _Lines:
    """Lines that can be looked at before they are taken; None stands for one that is no text."""

    def __init__(self, file: IO[bytes], encoding: str) -> None:
        self.file = file
        self.encoding = encoding
        self.number = 0
        self.ahead: list[str | None] = []

    def peek(self, count: int) -> list[str | None]:
        while len(self.ahead) < count and (line := self.file.readline(MAX_LINE_BYTES + 1)):
            if len(line) > MAX_LINE_BYTES:
                detail = f"A line is longer than {MAX_LINE_BYTES:,} bytes; is this a table?"
                raise Refused("line_too_long", detail, 400)
            if not self.number and not self.ahead:
                line = line.removeprefix(BOM)
            self.ahead.append(self._text(line))
        return self.ahead[:count]

    def take(self, count: int) -> None:
        del self.ahead[:count]
        self.number += count

    def _text(self, line: bytes) -> str | None:
        try:
            text = line.decode(self.encoding)
        except UnicodeDecodeError:
            return None
        return None if "\0" in text else text.rstrip("\r\n")


def _rows(lines: _Lines, layout: Layout) -> Iterator[Row | Broken]:
    lines.peek(layout.skip_lines + 1)
    lines.take(layout.skip_lines + 1)
    while ahead := lines.peek(1):
        line, text = lines.number + 1, ahead[0]
        if text is None:
            lines.take(1)
            yield Broken(line, "not_text", f"The line is not {layout.encoding} text.")
        elif not text.strip():
            lines.take(1)
        else:
            cells, length = _cells(lines, text, layout)
            lines.take(length)
            if len(cells) != len(layout.columns):
                detail = f"The line has {len(cells)} cells; the table has {len(layout.columns)} columns."
                yield Broken(line, "malformed_row", detail)
            else:
                yield Row(line, ["" if cell.strip().lower() in NOTHING else cell.strip() for cell in cells])


def _cells(lines: _Lines, text: str, layout: Layout) -> tuple[list[str], int]:
    """The cells of the row that begins with `text`, and over how many lines it goes."""
    whole = _strictly([text], layout)
    if whole is not None:
        return whole, 1
    so_far: list[str] = []
    for more in lines.peek(MOST_LINES_PER_ROW):
        if more is None:
            break
        so_far.append(more)
        whole = _strictly(so_far, layout) if '"' in more else None
        if whole is not None and len(whole) == len(layout.columns):
            return whole, len(so_far)
    # A quote that nobody closes: as the line stands.
    return next(csv.reader([text], delimiter=layout.delimiter, quoting=csv.QUOTE_NONE), []), 1


def _strictly(texts: list[str], layout: Layout) -> list[str] | None:
    """The one row that these lines make, or None."""
    try:
        found = list(csv.reader([f"{text}\n" for text in texts], delimiter=layout.delimiter, strict=True))
    except csv.Error:
        return None
    return found[0] if len(found) == 1 else None


def preview(file: IO[bytes], layout: Layout, most: int = 10) -> list[list[str]]:
    """The first rows of a file, for a person."""
    found: list[list[str]] = []
    for row in rows(file, layout):
        if isinstance(row, Row):
            found.append(row.cells)
        if len(found) == most:
            break
    return found


def to_json(refusals: Refusals) -> dict[str, Any]:
    first = [{"line": one.line, "code": one.code, "detail": one.detail} for one in refusals.first]
    return {"refused": refusals.by_code, "first_refused": first}

"""The beginning of a file as it stands in it, and how its times are understood."""

from __future__ import annotations

import csv as standard_csv
from datetime import UTC, datetime
from io import StringIO
from typing import IO

import msgspec

from sensors.errors import Refused
from sensors.formats import csv
from sensors.formats.csv.arrow import pa
from sensors.formats.csv.times import parse_times
from sensors.models import Import

ROWS = 5
MAX_CELL = 60
# So many rows may show which number of a date is the month.
ROWS_WITH_TIMES = 100
SWAPPED = {
    csv.TimeFormat.DAY_FIRST: (csv.TimeFormat.MONTH_FIRST, "month first"),
    csv.TimeFormat.MONTH_FIRST: (csv.TimeFormat.DAY_FIRST, "day first"),
}


def first_rows(row: Import) -> tuple[list[list[str]], str]:
    """Up to ROWS rows of an uploaded file with a cell for each column, and what to say of how its times are read.

    Both are empty when the file is gone or cannot be read.
    """
    layout = msgspec.convert(row.layout, csv.Layout)
    try:
        with row.path.open("rb") as file:
            rows = _rows(file, layout)
    except (OSError, Refused):
        return [], ""
    width = len(layout.columns)
    shown = [[cell[:MAX_CELL] for cell in [*cells, *[""] * width][:width]] for cells in rows[:ROWS]]
    return shown, _times(rows, layout)


def times_read(file: IO[bytes], layout: csv.Layout) -> str:
    """What to say of how the times of a file are read: its first one and, where day and month may be swapped, the other
    meaning. Empty where there is no row. Raises Refused when the file cannot be unpacked."""
    return _times(_rows(file, layout), layout)


def _rows(file: IO[bytes], layout: csv.Layout) -> list[list[str]]:
    text = csv.sample_of(file).decode(layout.encoding, errors="replace")
    lines = text.removeprefix("\ufeff").split("\n")[layout.skip_lines :]
    lines = [line for line in lines if line.strip()][layout.header :]
    # The last one may be cut off.
    lines = (lines[:-1] if len(lines) > ROWS else lines)[:ROWS_WITH_TIMES]
    try:
        return list(standard_csv.reader(StringIO("\n".join(lines)), delimiter=layout.delimiter))
    except standard_csv.Error:
        return []


def _times(rows: list[list[str]], layout: csv.Layout) -> str:
    places = layout.places(csv.Role.TIMESTAMP)
    texts = [" ".join(cells[place] for place in places) for cells in rows if len(cells) == len(layout.columns)]
    if not texts or not places:
        return ""
    said = f"The first time, {texts[0][:MAX_CELL]!r},"
    read = _meanings(texts, layout.time_format)
    if read[0] is None:
        return f"{said} cannot be read that way: say how the times are written."
    said += f" is read as {_in_words(read[0])}."
    swapped, name = SWAPPED.get(layout.time_format, (None, ""))
    others = _meanings(texts, swapped) if swapped else read
    if others != read and others[0] is not None and None not in others:
        said += f" It could also mean {_in_words(others[0])}: then the format is {name}."
    return said


def _meanings(texts: list[str], time_format: csv.TimeFormat) -> list[datetime | None]:
    times = parse_times(pa.array(texts), time_format)
    return [
        None if bad else datetime.fromtimestamp(us / 1e6, UTC)
        for us, bad in zip(times.us.tolist(), times.bad.tolist(), strict=True)
    ]


def _in_words(at: datetime) -> str:
    return f"{at.day} {at:%B %Y, %H:%M:%S}"

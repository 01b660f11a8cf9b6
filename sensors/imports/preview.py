"""The first rows of an uploaded file, as they stand in it."""

import csv as standard_csv
from io import StringIO

import msgspec

from sensors.errors import Refused
from sensors.formats import csv
from sensors.models import Import

ROWS = 5
MAX_CELL = 60


def preview(row: Import) -> list[list[str]]:
    """Up to ROWS rows with a cell for each column; none when the file is gone or cannot be read."""
    layout = msgspec.convert(row.layout, csv.Layout)
    try:
        with row.path.open("rb") as file:
            text = csv.sample_of(file).decode(layout.encoding, errors="replace")
    except (OSError, Refused):
        return []
    lines = [line for line in text.removeprefix("\ufeff").split("\n")[layout.skip_lines :] if line.strip()]
    lines = lines[layout.header :][:ROWS]
    try:
        rows = list(standard_csv.reader(StringIO("\n".join(lines)), delimiter=layout.delimiter))
    except standard_csv.Error:
        return []
    width = len(layout.columns)
    return [[cell[:MAX_CELL] for cell in [*cells, *[""] * width][:width]] for cells in rows]

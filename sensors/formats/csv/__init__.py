"""Readings as CSV or TSV, gzipped or not, of any size: wide (a column per sensor), long (a column that names the
sensor) or of a single sensor.

`guess` looks at the beginning of a file and says how it is laid out; whoever imports it may change that. `read` then
gives the readings block by block in constant memory; each block says where the next one begins, so that an import goes
on where it was interrupted. A line is a row: quoted text may not go over a line end.
"""

from sensors.formats.csv.guess import guess
from sensors.formats.csv.layout import DELIMITERS, Column, Layout, Role, TimeFormat, parse_layout
from sensors.formats.csv.names import unknown_unit
from sensors.formats.csv.reader import Chunk, Position, plain, read, sample_of

__all__ = [
    "DELIMITERS",
    "Chunk",
    "Column",
    "Layout",
    "Position",
    "Role",
    "TimeFormat",
    "guess",
    "parse_layout",
    "plain",
    "read",
    "sample_of",
    "unknown_unit",
]

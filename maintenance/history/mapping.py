"""What the columns of a table mean: each field is a column, or a text with columns in braces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

from sensors.errors import Refused

Pieces = tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class Source:
    """Where a field comes from: texts, each followed by the cell of a column."""

    pieces: Pieces

    def of(self, cells: Sequence[str]) -> str:
        """The field of a row; "" when one of its columns says nothing."""
        found = [cells[column] for _, column in self.pieces if column is not None]
        if not all(found):
            return ""
        return "".join(text + (cells[column] if column is not None else "") for text, column in self.pieces)


def source(said: str, names: Sequence[str]) -> Source:
    """`said` is the name of a column, or a text like "Machine {id}".

    Raises Refused when there is no such column.

    >>> source("Machine {id}", ["id", "day"]).of(["7", "Monday"])
    'Machine 7'
    """
    if "{" not in said and "}" not in said:
        return Source((("", _place(said, names)),))
    try:
        parts = list(Formatter().parse(said))
    except ValueError as error:
        raise Refused("unknown_columns", f"{said!r}: {error}.", 400) from error
    pieces = [(text, None if name is None else _place(name, names)) for text, name, _, _ in parts]
    if not any(column is not None for _, column in pieces):
        raise Refused("unknown_columns", f"{said!r} names no column.", 400)
    return Source(tuple(pieces))


def sources(said: Mapping[str, str], names: Sequence[str], fields: Sequence[str]) -> dict[str, Source]:
    """Every field's source. Raises Refused for a field or a column that does not exist."""
    if unknown := [name for name in said if name not in fields]:
        detail = f"There is no field {unknown[0]!r}; there are: {', '.join(fields)}."
        raise Refused("unknown_field", detail, 400)
    return {field: source(text, names) for field, text in said.items()}


def pairs(said: Sequence[str], option: str) -> dict[str, str]:
    """`["a=b", "c=d"]` as a dictionary. Raises Refused for what is no pair."""
    if wrong := [pair for pair in said if "=" not in pair]:
        raise Refused("invalid_option", f"{option} {wrong[0]!r}: write it as NAME=VALUE.", 400)
    return dict((part.strip() for part in pair.split("=", 1)) for pair in said)  # type: ignore[misc]


def _place(name: str, names: Sequence[str]) -> int:
    wanted = name.strip().lower()
    for place, known in enumerate(names):
        if known.lower() == wanted:
            return place
    raise Refused("unknown_columns", f"There is no column {name!r}; there are: {', '.join(names[:50])}.", 400)

"""A model is asked with the columns it was trained on, or not at all."""

from collections.abc import Iterable

import pandas as pd


class ColumnsDiffer(ValueError):
    """The columns at hand are not those a model was trained on. `missing` and `unexpected` name them."""

    code = "columns_differ"

    def __init__(self, missing: list[str], unexpected: list[str]) -> None:
        self.missing, self.unexpected = missing, unexpected
        named = {"missing": missing, "unexpected": unexpected}
        parts = "; ".join(f"{label}: {', '.join(names)}" for label, names in named.items() if names)
        super().__init__(f"The columns are not those the model was trained on; {parts}.")


def require(frame: pd.DataFrame, columns: Iterable[str]) -> None:
    """Raises ColumnsDiffer when a column is not there; others may be."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ColumnsDiffer(missing, [])


def require_exactly(frame: pd.DataFrame, columns: Iterable[str]) -> None:
    """Raises ColumnsDiffer when a column is not there, or is there and not among `columns`; their order is free."""
    expected = list(columns)
    missing = [name for name in expected if name not in frame.columns]
    unexpected = [str(name) for name in frame.columns if name not in expected]
    if missing or unexpected:
        raise ColumnsDiffer(missing, unexpected)

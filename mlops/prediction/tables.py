"""Rows as they were sent, as models want them; and what models say, as rows."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.detectors.base import Frame
from sensors.errors import Refused

Rows = Sequence[dict[str, Any]]
Times = NDArray[np.int64]
Values = NDArray[np.float64]

TIMESTAMP = "timestamp"
# So many complaints are listed one by one.
MOST_ERRORS = 50
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def is_detector(model: Any) -> bool:
    return hasattr(model, "score") and hasattr(model, "context")


def require_features(rows: Rows, features: Collection[str], of: str) -> None:
    """Raises Refused (422) that names every missing and every unexpected feature, and the first row of each."""
    expected = set(features)
    missing: dict[str, int] = {}
    unexpected: dict[str, int] = {}
    for number, row in enumerate(rows):
        if row.keys() != expected:
            for name in features:
                if name not in row:
                    missing.setdefault(name, number)
            for name in row.keys() - expected:
                unexpected.setdefault(name, number)
    if not missing and not unexpected:
        return
    parts = (("missing", missing), ("unexpected", unexpected))
    said = "; ".join(f"{code}: {', '.join(sorted(names)[:MOST_ERRORS])}" for code, names in parts if names)
    errors = [
        {"field": f"rows.{number}.{name}", "code": code, "detail": f"{name} is {code}."}
        for code, names in parts
        for name, number in sorted(names.items())[:MOST_ERRORS]
    ]
    raise Refused("feature_mismatch", f"The features are not those of {of}; {said}."[:2000], 422, errors)


def values(rows: Rows, features: Sequence[str], of: str) -> Values:
    """Shape (n, features), NaN where null was sent. Raises Refused (422)."""
    require_features(rows, features, of)
    try:
        return np.array([[row[name] for name in features] for row in rows], np.float64)
    except ValueError:
        raise _no_numbers(rows, features) from None


def table(rows: Rows, features: Sequence[str], of: str, words: Collection[str] = ()) -> pd.DataFrame:
    """A column for each feature: text where it is one of `words`, numbers elsewhere. Raises Refused (422)."""
    if not words:
        return pd.DataFrame(values(rows, features, of), columns=list(features), copy=False)
    require_features(rows, features, of)
    numbers = [name for name in features if name not in words]
    known = values([{name: row[name] for name in numbers} for row in rows], numbers, of)
    columns = dict(zip(numbers, known.T, strict=True))
    return pd.DataFrame({name: columns[name] if name in columns else [row[name] for row in rows] for name in features})


def _no_numbers(rows: Rows, features: Sequence[str]) -> Refused:
    errors = [
        {"field": f"rows.{number}.{name}", "code": "not_a_number", "detail": f"{name} must be a number or null."}
        for number, row in enumerate(rows)
        for name in features
        if isinstance(row[name], str)
    ]
    return Refused("invalid_values", "Some values are no numbers; see errors.", 422, errors[:MOST_ERRORS])


def frame(rows: Rows, features: Sequence[str], of: str) -> Frame:
    """Rows of readings with their `timestamp`. Raises Refused (422)."""
    require_features(rows, [TIMESTAMP, *features], of)
    timestamps = np.array([_us(row[TIMESTAMP], number) for number, row in enumerate(rows)], np.int64)
    if (late := np.flatnonzero(np.diff(timestamps) <= 0)).size:
        raise _bad_time(int(late[0]) + 1, "not_rising", "Rows must be in the order of their times, each at its own.")
    readings = [{name: row[name] for name in features} for row in rows]
    return Frame(timestamps, values(readings, features, of), tuple(features))


def _us(text: Any, row: int) -> int:
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise _bad_time(row, "invalid", "Give an ISO 8601 time, e.g. 2026-01-31T12:00:00Z.") from None
    if at.tzinfo is None:
        raise _bad_time(row, "naive_timestamp", "Name the time zone, e.g. 2026-01-31T12:00:00Z.")
    return (at - EPOCH) // datetime.resolution


def _bad_time(row: int, code: str, detail: str) -> Refused:
    error = {"field": f"rows.{row}.{TIMESTAMP}", "code": code, "detail": detail}
    return Refused("invalid_values", "Some times are wrong; see errors.", 422, [error])


def judged_rows(timestamps: Times, scores: Values, limits: Values) -> list[dict[str, Any]]:
    """One row a reading; without a score nothing is decided."""
    columns = (timestamps.tolist(), scores.tolist(), limits.tolist())
    return [
        {
            TIMESTAMP: iso(at),
            "score": score if score == score else None,
            "limit": limit,
            "anomalous": abs(score) >= limit if score == score else None,
        }
        for at, score, limit in zip(*columns, strict=True)
    ]


def explanation(base: float, features: Sequence[str], parts: Values) -> dict[str, Any]:
    """What each feature adds to the answer, largest first; `base` and these add up to it."""
    known = np.nan_to_num(parts)
    order = np.argsort(-np.abs(known), kind="stable")
    return {"base": base, "contributions": {features[i]: float(known[i]) for i in order}}


def iso(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

"""Readings as JSON: one object, or an array of objects, each `{"sensor_id", "timestamp", "value", "quality"?,
"unit"?}`.
"""

from datetime import datetime
from typing import Annotated

import msgspec
import numpy as np

from sensors.columns import Columns, Rejection, encode
from sensors.errors import Refused

# Bounds the time and memory that one request may cost; a row that must be refused costs the most.
MAX_ROWS = 50_000


class Row(msgspec.Struct, gc=False):
    sensor_id: Annotated[str, msgspec.Meta(max_length=100)]
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    value: float
    quality: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    unit: str | None = None


_rows = msgspec.json.Decoder(list[Row])
_row = msgspec.json.Decoder(Row)
_raw_rows = msgspec.json.Decoder(list[msgspec.Raw])


def parse(body: bytes) -> Columns:
    """Rows that do not fit are put among the rejected; raises Refused (400) when the body is no JSON of this form."""
    try:
        rows, indexes, rejected = _decode(body)
    except RecursionError as error:
        raise Refused("malformed_json", "The body is nested too deeply for readings.", 400) from error
    sensor_ids, codes = encode([row.sensor_id for row in rows])
    unit_names, units = encode([row.unit or "" for row in rows])
    blank = np.array([not name for name in unit_names], bool)
    return Columns(
        sensor_ids=sensor_ids,
        codes=codes,
        # A float of seconds carries microseconds exactly until the year 2242.
        timestamps=np.rint(np.array([row.timestamp.timestamp() for row in rows], np.float64) * 1e6).astype(np.int64),
        values=np.array([row.value for row in rows], np.float64),
        qualities=np.array([row.quality for row in rows], np.float64),
        unit_names=unit_names,
        units=np.where(blank[units], -1, units),
        indexes=np.arange(len(rows)) if indexes is None else np.array(indexes, np.int64),
        rejected=rejected,
    )


def _decode(body: bytes) -> tuple[list[Row], list[int] | None, list[Rejection]]:
    """The rows, their places (None: all of them, in order), and the rows that could not be read."""
    _require_utf8(body)
    try:
        rows = [_row.decode(body)] if body.lstrip()[:1] == b"{" else _rows.decode(body)
        _require_few(len(rows))
        return rows, None, []
    except msgspec.ValidationError:
        return _decode_row_by_row(body)
    except msgspec.DecodeError as error:
        raise Refused("malformed_json", f"The body is not valid JSON: {error}", status=400) from error


def _require_few(rows: int) -> None:
    if rows > MAX_ROWS:
        detail = f"A request may hold {MAX_ROWS:,} readings and this one holds {rows:,}; send it in parts."
        raise Refused("too_many_readings", detail, status=413)


def _require_utf8(body: bytes) -> None:
    """The decoder looks at most strings only when it builds them, which is too late to name the row."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise Refused(
                "malformed_json", f"The body is not UTF-8: {error.reason} at byte {error.start}.", 400
            ) from error


def _decode_row_by_row(body: bytes) -> tuple[list[Row], list[int], list[Rejection]]:
    """The slow way, for batches with a bad row in them."""
    try:
        raw_rows = [msgspec.Raw(body)] if body.lstrip()[:1] == b"{" else _raw_rows.decode(body)
    except msgspec.DecodeError as error:
        raise Refused("malformed_json", "Send a JSON array of readings, or one reading as an object.", 400) from error
    _require_few(len(raw_rows))
    rows, indexes, rejected = [], [], []
    for index, raw in enumerate(raw_rows):
        try:
            rows.append(_row.decode(raw))
            indexes.append(index)
        except msgspec.DecodeError as error:
            rejected.append(Rejection(index, _code_of(str(error)), str(error)))
    return rows, indexes, rejected


def _code_of(message: str) -> str:
    if "missing required field" in message:
        return "missing_field"
    if "timezone" in message:
        return "naive_timestamp"
    for name in ("sensor_id", "timestamp", "value", "quality", "unit"):
        if f"`$.{name}`" in message:
            return f"invalid_{name}"
    return "invalid_row"

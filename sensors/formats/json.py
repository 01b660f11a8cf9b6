"""Readings as JSON: one object, or an array of objects, each `{"sensor_id", "timestamp", "value", "quality"?,
"unit"?}`; or the same by columns: `{"sensor_id", "timestamps": [...], "values": [...], "qualities"?: [...], "unit"?}`.

Places in a body by columns are counted through all its columns: element 2 of the second object, after one of three
readings, has index 5.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import repeat
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sensors.columns import Columns, Rejection, encode
from sensors.errors import Refused
from sensors.formats import MAX_RAW_CHARACTERS, MAX_ROWS, MAX_SENSOR_ID, MAX_UNIT, raw_payload

SensorId = Annotated[str, msgspec.Meta(max_length=MAX_SENSOR_ID)]
Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]
Quality = Annotated[float, msgspec.Meta(ge=0, le=1)]
Unit = Annotated[str, msgspec.Meta(max_length=MAX_UNIT)] | None


class Row(msgspec.Struct, gc=False):
    sensor_id: SensorId
    timestamp: Timestamp
    value: float
    quality: Quality = 1.0
    unit: Unit = None


class Series(msgspec.Struct, gc=False):
    """Readings of one sensor; element i of each list belongs to reading i."""

    sensor_id: SensorId
    timestamps: list[Timestamp]
    values: list[float]
    qualities: list[Quality] | None = None
    unit: Unit = None

    def __post_init__(self) -> None:
        if not len(self.timestamps) == len(self.values) == len(self.qualities or self.values):
            raise ValueError("the lists differ in length")

    def rows(self) -> Iterator[Row]:
        return map(
            Row,
            repeat(self.sensor_id),
            self.timestamps,
            self.values,
            self.qualities or repeat(1.0),
            repeat(self.unit),
        )


class Unread(msgspec.Struct, gc=False):
    """The fields that an item by columns may have, as they were sent; empty where it has none."""

    sensor_id: msgspec.Raw = msgspec.Raw()
    unit: msgspec.Raw = msgspec.Raw()
    timestamps: msgspec.Raw = msgspec.Raw()
    values: msgspec.Raw = msgspec.Raw()
    qualities: msgspec.Raw = msgspec.Raw()


_rows = msgspec.json.Decoder(list[Row])
_row = msgspec.json.Decoder(Row)
_many_series = msgspec.json.Decoder(list[Series])
_series = msgspec.json.Decoder(Series)
_items = msgspec.json.Decoder(list[msgspec.Raw])
_unread = msgspec.json.Decoder(Unread)
ROW_FIELDS = ("sensor_id", "timestamp", "value", "quality", "unit")
# What holds the field of each row in a body by columns.
LISTS = {"timestamp": "timestamps", "value": "values", "quality": "qualities"}
# With more commas than this, lists are counted before they are built: [1,1,1] in 16 MB is half a gigabyte of objects.
MAX_COMMAS = 20 * MAX_ROWS
_UNMARKED = bytes(set(range(256)) - set(b'"[]{},'))
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1


def parse(body: bytes) -> Columns:
    """Rows that do not fit are put among the rejected; raises Refused (400) when the body is no JSON of this form."""
    try:
        rows, indexes, rejected = _decode(body)
    except RecursionError as error:
        raise Refused("malformed_json", "The body is nested too deeply for readings.", 400) from error
    sensor_ids, codes = encode([row.sensor_id for row in rows])
    unit_names, units = _units([row.unit for row in rows])
    return Columns(
        sensor_ids=sensor_ids,
        codes=codes,
        # A float of seconds carries microseconds exactly until the year 2242.
        timestamps=np.rint(np.array([row.timestamp.timestamp() for row in rows], np.float64) * 1e6).astype(np.int64),
        values=np.array([row.value for row in rows], np.float64),
        qualities=np.array([row.quality for row in rows], np.float64),
        unit_names=unit_names,
        units=units,
        indexes=np.arange(len(rows)) if indexes is None else np.array(indexes, np.int64),
        rejected=rejected,
    )


def _units(names: list[str | None]) -> tuple[list[str], NDArray[np.int64]]:
    if not any(names):  # As most senders do.
        return [], np.full(len(names), -1)
    unit_names, units = encode([name or "" for name in names])
    blank = np.array([not name for name in unit_names], bool)
    return unit_names, np.where(blank[units], -1, units)


def _decode(body: bytes) -> tuple[list[Row], list[int] | None, list[Rejection]]:
    """The rows, their places (None: all of them, in order), and the rows that could not be read."""
    _require_utf8(body)
    one = body.lstrip()[:1] == b"{"
    try:
        rows = [_row.decode(body)] if one else _rows.decode(body)
        _require_few(len(rows))
        return rows, None, []
    except msgspec.ValidationError:
        pass  # By columns perhaps, or a row that does not fit.
    except msgspec.DecodeError as error:
        raise Refused("malformed_json", f"The body is not valid JSON: {error}", status=400) from error
    if body.count(b",") > MAX_COMMAS:
        return _decode_row_by_row([msgspec.Raw(body)] if one else _items_of(body))
    try:
        series = [_series.decode(body)] if one else _many_series.decode(body)
    except msgspec.DecodeError:
        return _decode_row_by_row([msgspec.Raw(body)] if one else _items_of(body))
    _require_few(sum(len(single.values) for single in series))
    return [row for single in series for row in single.rows()], None, []


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


def _items_of(body: bytes) -> list[msgspec.Raw]:
    try:
        return _bounded_items(body)
    except msgspec.DecodeError as error:
        raise Refused("malformed_json", "Send a JSON array of readings, or one reading as an object.", 400) from error


def _bounded_items(array: bytes | msgspec.Raw) -> list[msgspec.Raw]:
    """The elements of an array, unread. Raises Refused when there are too many, before they are built."""
    body = bytes(array)
    if body.count(b",") >= MAX_ROWS:
        _require_few(_length(body))
    return _items.decode(body)


def _length(array: bytes) -> int:
    """How many elements a JSON array has, as far as it is one: its commas outside of strings and inner brackets.

    >>> _length(b'["a,b", [1, 2], {"c": [3, 4]}]'), _length(b"[1,1")
    (3, 2)
    """
    # Without escaped quotes and backslashes every second quote ends a string.
    marks = array.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _UNMARKED)
    signs = np.frombuffer(marks, np.uint8)
    signs = signs[np.cumsum(signs == ord('"'), dtype=np.uint8) % 2 == 0]
    depths = np.cumsum(_STEPS[signs], dtype=np.int32)
    return int(np.count_nonzero(signs[depths == 1] == ord(","))) + 1


def _decode_row_by_row(items: list[msgspec.Raw]) -> tuple[list[Row], list[int], list[Rejection]]:
    """The slow way, for bodies with a bad row in them."""
    _require_few(len(items))
    rows, indexes, rejected = [], [], []
    index = 0
    for item in items:
        for raw in _rows_of(item):
            _require_few(index + 1)
            if isinstance(raw, _Mismatch):
                rejected.append(Rejection(index, "lists_differ", raw.detail, raw.payload))
            else:
                try:
                    rows.append(_row.decode(raw))
                    indexes.append(index)
                except msgspec.DecodeError as error:
                    rejected.append(Rejection(index, _code_of(str(error)), str(error), _payload(raw)))
            index += 1
    return rows, indexes, rejected


class _Mismatch(msgspec.Struct):
    """A row of a body by columns of which nobody knows which value belongs to which time."""

    detail: str
    payload: dict[str, str]


def _rows_of(item: msgspec.Raw) -> "Iterator[bytes | _Mismatch]":
    """The item itself, or the rows of an item by columns as if each had been sent alone."""
    try:
        unread = _unread.decode(item)
        sent = {name: raw for name in unread.__struct_fields__ if bytes(raw := getattr(unread, name))}
        lists = {field: _bounded_items(sent[name]) for field, name in LISTS.items() if name in sent}
    except msgspec.DecodeError:
        sent, lists = {}, {}
    if not lists:
        yield bytes(item)
        return
    lengths = {LISTS[field]: len(values) for field, values in lists.items()}
    if len(set(lengths.values())) > 1 or not {"timestamp", "value"} <= lists.keys():
        said = ", ".join(f"{length} {name}" for name, length in lengths.items())
        # Made once for all its rows: to copy the item for each would cost its length times its rows.
        mismatch = _Mismatch(f"There are {said}; each reading needs one of each.", raw_payload(bytes(item)))
        yield from repeat(mismatch, max(1, *lengths.values()))
        return
    shared = [(name, _bounded(sent[name])) for name in ("sensor_id", "unit") if name in sent]
    for values in zip(*lists.values(), strict=True):
        yield _object([*shared, *zip(lists, values, strict=True)])


def _bounded(raw: msgspec.Raw) -> bytes:
    # What is sent once for many rows must not be copied to each at any length; 0 is neither a sensor nor a unit.
    return bytes(raw) if len(bytes(raw)) <= MAX_RAW_CHARACTERS else b"0"


def _object(fields: "list[tuple[str, bytes | msgspec.Raw]]") -> bytes:
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), bytes(raw)) for name, raw in fields) + b"}"


def _payload(raw: bytes) -> dict[str, Any]:
    """The fields of a row as they were sent, or its text where it has none or is too long to keep."""
    if len(raw) > MAX_RAW_CHARACTERS or b"\\u0000" in raw:
        return raw_payload(raw)
    try:
        sent = msgspec.json.decode(raw, type=dict[str, str | float | bool | None])
    except (msgspec.DecodeError, RecursionError):
        return raw_payload(raw)
    return {name: sent[name] for name in ROW_FIELDS if name in sent} or raw_payload(raw)


def _code_of(message: str) -> str:
    if "missing required field" in message:
        return "missing_field"
    if "timezone" in message:
        return "naive_timestamp"
    for name in ROW_FIELDS:
        if f"`$.{name}`" in message:
            return f"invalid_{name}"
    return "invalid_row"

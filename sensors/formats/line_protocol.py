"""Readings as InfluxDB line protocol, what Telegraf and the InfluxDB clients send.

    pump,site=north,sensor_id=p101.vibration,unit=mm/s value=3.2 1767225600000000000

Each field of a line is one reading. The key of its sensor:

- a tag `sensor_id` (or `sensor`) names it; where a line has several fields, those not called `value` add their name:
  `motor,sensor=m1 temperature=61,current=4.2` are `m1.temperature` and `m1.current`;
- without such a tag it is the measurement, the values of the tags in the order of the tags' names, and the field,
  joined by dots; the field `value` is left out, and a character that a key cannot have becomes `_`:
  `cpu,host=edge 1,cpu=cpu0 usage_idle=97` is `cpu.cpu0.edge_1.usage_idle`.

A tag `unit` is the unit of all fields of the line. Floats, integers (`5i`, `5u`) and booleans (1 and 0) are readings;
text is refused, field by field. A line without a time was measured now.
Grammar: InfluxDB documentation, "Line protocol reference".
"""

import re
from collections.abc import Iterator
from datetime import datetime

import numpy as np

from sensors.columns import Columns, Rejection
from sensors.errors import Refused
from sensors.formats import MAX_ROWS, MAX_SENSOR_ID, MAX_UNIT, as_sensor_id, raw_payload

# Microseconds (numerator, denominator) per unit of time.
PRECISIONS = {"ns": (1, 1000), "us": (1, 1), "ms": (1000, 1), "s": (1_000_000, 1)}
# The years 1 to 9999, in microseconds; what lies outside is no time (and might be no 64-bit number).
FIRST_US, LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
SENSOR_TAGS = (b"sensor_id", b"sensor")
UNIT_TAG = b"unit"

Field = tuple[bytes, bytes]

# A line with escapes or quotes in it: series, fields, time. Quoted text may hold spaces and line ends.
_QUOTED = rb'"(?:[^"\\]|\\.)*+"'
_LINE = re.compile(
    rb"[ \t]*((?:[^\\\s]|\\.)++)[ \t]+((?:[^\\\s\"]|\\.|" + _QUOTED + rb")++)(?:[ \t]+(-?[0-9]+))?[ \t\r]*(?:\n|\Z)",
    re.DOTALL,
)
_FIELD = re.compile(rb"((?:[^\\,=]|\\.)++)=(" + _QUOTED + rb"|[^,\"]*+)(?:,|\Z)", re.DOTALL)
_TAG = re.compile(rb",((?:[^\\,=]|\\.)++)=((?:[^\\,=]|\\.)++)", re.DOTALL)
_MEASUREMENT = re.compile(rb"(?:[^\\,]|\\.)++", re.DOTALL)
_ESCAPED = re.compile(rb"\\([,= \\\"])")
_NUMBER = re.compile(rb"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?[0-9]+[iu])\Z")
_BOOLEANS = dict.fromkeys((b"t", b"T", b"true", b"True", b"TRUE"), 1.0) | dict.fromkeys(
    (b"f", b"F", b"false", b"False", b"FALSE"), 0.0
)


def parse(body: bytes, precision: str, now: datetime) -> Columns:
    """The readings of a body; `index` of a rejection is the number of its line, counted from 0.

    Lines and fields that cannot be read are put among the rejected. Raises Refused for an unknown `precision`
    ("ns", "us", "ms" or "s") and for more than MAX_ROWS readings.
    """
    if precision not in PRECISIONS:
        raise Refused("invalid_precision", f"The precision is one of {', '.join(PRECISIONS)}.", 400)
    batch = _Batch(precision, round(now.timestamp() * 1e6))
    if b'"' in body or b"\\" in body:
        for index, line in _lines_with_escapes(body):
            batch.add_escaped(index, line)
    else:
        for index, line in enumerate(body.split(b"\n")):
            batch.add(index, line)
    return batch.columns()


def _lines_with_escapes(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines and their numbers; a line whose quoted text goes over a line end is one."""
    index = start = 0
    while start < len(body):
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        line = body[start:end]
        if b'"' in line and (whole := _LINE.match(body, start)):
            line, end = whole[0].rstrip(b"\n"), max(whole.end() - 1, end)
        yield index, line
        index += 1 + line.count(b"\n")
        start = end + 1


class _Series:
    """What the part of a line before its fields says, and the sensors its fields were found to be."""

    def __init__(self, key: bytes) -> None:
        """Raises ValueError when it is no measurement with tags, UnicodeDecodeError when it is no UTF-8."""
        measurement = _MEASUREMENT.match(key)
        place = measurement.end() if measurement else 0
        tags: dict[bytes, bytes] = {}
        while place < len(key):
            tag = _TAG.match(key, place)
            if tag is None:
                raise ValueError("the tags are not written as name=value")
            tags[_unescape(tag[1])] = _unescape(tag[2])
            place = tag.end()
        if not measurement:
            raise ValueError("the measurement has no name")
        self.named = next((tags[name].decode() for name in SENSOR_TAGS if name in tags), None)
        self.unit = tags.pop(UNIT_TAG, b"").decode()
        if len(self.unit) > MAX_UNIT:
            raise ValueError("the unit is too long")
        self.path = [_unescape(measurement[0]).decode(), *(tags[name].decode() for name in sorted(tags))]
        self.codes: dict[tuple[bytes, bool], tuple[int, int]] = {}

    def sensor_id(self, field: bytes, *, alone: bool) -> str:
        """The key of the sensor that `field` is; `alone` when the line has no other. Raises ValueError: too long."""
        name = _unescape(field).decode()
        if not name:
            raise ValueError("the field has no name")
        if self.named is not None:
            found = self.named if alone or name == "value" else f"{self.named}.{name}"
        else:
            parts = self.path if name == "value" else [*self.path, name]
            found = as_sensor_id(".".join(parts))
        if not 0 < len(found) <= MAX_SENSOR_ID:
            raise ValueError(f"its key has {len(found)} characters; a sensor's has 1 to {MAX_SENSOR_ID}")
        return found


class _Batch:
    def __init__(self, precision: str, now_us: int) -> None:
        self.times, self.per = PRECISIONS[precision]
        self.now_us = now_us
        self.series: dict[bytes, _Series] = {}
        self.sensors: dict[str, int] = {}
        self.unit_names: dict[str, int] = {}
        self.codes: list[tuple[int, int]] = []
        self.timestamps: list[int] = []
        self.values: list[float] = []
        self.indexes: list[int] = []
        self.rejected: list[Rejection] = []

    def add(self, index: int, line: bytes) -> None:
        """A line without quotes and escapes: what nearly all lines are."""
        parts = line.split()
        try:
            key, fields = parts[0], parts[1]
            stamp = parts[2] if len(parts) > 2 else None
        except IndexError:
            if parts and not parts[0].startswith(b"#"):
                self.reject(index, "malformed_line", "A line is a series, a space and its fields.", line)
            return
        if len(parts) > 3 or key[0] == 35:  # "#" begins a comment.
            if key[0] != 35:
                self.reject(index, "malformed_line", "A line has a series, fields and a time, nothing more.", line)
            return
        name, _, raw = fields.partition(b"=")
        if b"=" in raw:
            self.add_fields(index, line, key, [_split(field) for field in fields.split(b",")], stamp)
        else:
            self.add_fields(index, line, key, [(name, raw)], stamp)

    def add_escaped(self, index: int, line: bytes) -> None:
        """A line of a body that has quotes or escapes in it somewhere."""
        if b'"' not in line and b"\\" not in line:
            self.add(index, line)
            return
        if line.lstrip().startswith(b"#"):
            return
        whole = _LINE.match(line)
        if whole is None or whole.end() < len(line):
            self.reject(index, "malformed_line", "A line is a series, a space and its fields.", line)
            return
        fields = [(found[1], found[2]) for found in _FIELD.finditer(whole[2])]
        if sum(len(name) + len(raw) + 2 for name, raw in fields) - 1 != len(whole[2]):
            self.reject(index, "malformed_line", "Its fields are not written as name=value.", line)
            return
        self.add_fields(index, line, whole[1], fields, whole[3])

    def add_fields(self, index: int, line: bytes, key: bytes, fields: list[Field], stamp: bytes | None) -> None:
        try:
            series = self.series.get(key) or self._new_series(key)
        except ValueError as error:
            self.reject(index, "malformed_line", f"The line cannot be read: {error}.", line)
            return
        try:
            timestamp = self.now_us if stamp is None else _integer(stamp) * self.times // self.per
        except ValueError:
            timestamp = LAST_US + 1
        if not FIRST_US <= timestamp <= LAST_US:
            for _ in fields:
                self.reject(index, "invalid_timestamp", "The time is no whole number of this precision.", line)
            return
        alone = len(fields) == 1
        for name, raw in fields:
            try:
                # Nearly all are plain numbers; Python's reading allows more than the format does.
                value = float(raw) if raw[-1:].isdigit() and b"_" not in raw else number(raw)
                code = series.codes.get((name, alone)) or self._new_code(series, name, alone=alone)
            except ValueError as error:
                self._reject_field(index, name, raw, error, line)
                continue
            self.codes.append(code)
            self.timestamps.append(timestamp)
            self.values.append(value)
            self.indexes.append(index)
        if len(self.codes) > MAX_ROWS:
            raise Refused("too_many_readings", f"A request may hold {MAX_ROWS:,} readings; send it in parts.", 413)

    def _new_series(self, key: bytes) -> _Series:
        self.series[key] = series = _Series(key)
        return series

    def _new_code(self, series: _Series, name: bytes, *, alone: bool) -> tuple[int, int]:
        sensor_id = series.sensor_id(name, alone=alone)
        sensor = self.sensors.setdefault(sensor_id, len(self.sensors))
        unit = self.unit_names.setdefault(series.unit, len(self.unit_names)) if series.unit else -1
        series.codes[name, alone] = (sensor, unit)
        return sensor, unit

    def _reject_field(self, index: int, name: bytes, raw: bytes, error: ValueError, line: bytes) -> None:
        field = name[:MAX_SENSOR_ID].decode(errors="replace")
        if raw.startswith(b'"'):
            self.reject(index, "not_a_number", f"Field {field!r} is text; only numbers are readings.", line)
        else:
            self.reject(index, "invalid_value", f"Field {field!r} is no reading: {str(error)[:200]}.", line)

    def reject(self, index: int, code: str, detail: str, line: bytes) -> None:
        self.rejected.append(Rejection(index, code, detail.replace("\0", "�"), raw_payload(line)))
        if len(self.rejected) > MAX_ROWS:
            raise Refused("too_many_readings", f"A request may hold {MAX_ROWS:,} readings; send it in parts.", 413)

    def columns(self) -> Columns:
        codes = np.array(self.codes, np.int64).reshape(-1, 2)
        return Columns(
            sensor_ids=list(self.sensors),
            codes=codes[:, 0],
            timestamps=np.array(self.timestamps, np.int64),
            values=np.array(self.values, np.float64),
            qualities=np.ones(len(codes)),
            unit_names=list(self.unit_names),
            units=codes[:, 1],
            indexes=np.array(self.indexes, np.int64),
            rejected=self.rejected,
        )


def number(raw: bytes) -> float:
    """The value of a field. Raises ValueError when it is none.

    >>> number(b"5i"), number(b"-1.5e3"), number(b"true")
    (5.0, -1500.0, 1.0)
    """
    if raw in _BOOLEANS:
        return _BOOLEANS[raw]
    if not _NUMBER.match(raw):
        raise ValueError(f"{raw[:40].decode(errors='replace')!r} is neither a number nor a boolean")
    return float(raw.rstrip(b"iu"))


def _integer(text: bytes) -> int:
    if b"_" in text:  # Python takes it for a separator.
        raise ValueError
    return int(text)


def _split(field: bytes) -> Field:
    name, _, raw = field.partition(b"=")
    return name, raw


def _unescape(text: bytes) -> bytes:
    return _ESCAPED.sub(rb"\1", text) if b"\\" in text else text

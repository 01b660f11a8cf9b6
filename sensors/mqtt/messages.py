"""What is in a message: a bare number measured now, or JSON as at the HTTP door, where sensor and time may be left out.

    21.5
    {"value": 21.5, "unit": "°C"}
    [{"timestamp": "2026-01-01T12:00:00Z", "value": 21.5}, ...]
    {"timestamps": [...], "values": [...]}

What is left out is taken from the topic and the clock.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from sensors.columns import Columns, Rejection, encode, together
from sensors.errors import Refused
from sensors.formats import MAX_SENSOR_ID, MAX_UNIT, json, raw_payload


class Short(msgspec.Struct, gc=False):
    """A reading as most senders write it."""

    value: float
    sensor_id: json.SensorId | None = None
    timestamp: json.Timestamp | None = None
    quality: json.Quality = 1.0
    unit: json.Unit = None


_decoder = msgspec.json.Decoder(float | Short)
_anything = msgspec.json.Decoder()
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass
class Gathered:
    """Readings of many messages on their way into one batch."""

    sensor_ids: list[str] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    qualities: list[float] = field(default_factory=list)
    unit_names: list[str] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    others: list[Columns] = field(default_factory=list)
    size: int = 0

    def add(self, payload: bytes, sensor_id: str, topic: str, now_us: int) -> None:
        """Add the readings of a message, or what is wrong with it. `sensor_id` is the topic's, if it names one."""
        try:
            found = _decoder.decode(payload)
        except msgspec.ValidationError:
            self._add_as_json(payload, sensor_id, topic, now_us)
            return
        except UNREADABLE as error:
            self.reject("malformed_message", f"The message is neither a number nor JSON: {error}", payload, topic)
            return
        reading = found if isinstance(found, Short) else Short(found)
        name = reading.sensor_id or sensor_id
        if not 0 < len(name) <= MAX_SENSOR_ID:
            self.reject("missing_field", "Neither the message nor its topic names the sensor.", payload, topic)
            return
        at = reading.timestamp
        self.sensor_ids.append(name)
        self.timestamps.append(round(at.timestamp() * 1e6) if at else now_us)
        self.values.append(reading.value)
        self.qualities.append(reading.quality)
        self.unit_names.append(reading.unit or "")
        self.size += 1

    def _add_as_json(self, payload: bytes, sensor_id: str, topic: str, now_us: int) -> None:
        """The slow way, for arrays, columns, and readings that do not fit."""
        try:
            sent = _anything.decode(payload)
            items = sent if isinstance(sent, list) else [sent]
            body = msgspec.json.encode([_filled_in(item, sensor_id, now_us) for item in items])
            columns = json.parse(body)
        except (Refused, *UNREADABLE) as error:
            detail = error.detail if isinstance(error, Refused) else str(error)
            self.reject("malformed_message", f"The message cannot be read: {detail}", payload, topic)
            return
        self.others.append(columns)
        self.size += len(columns) + len(columns.rejected)

    def reject(self, code: str, detail: str, payload: bytes, topic: str) -> None:
        told: dict[str, Any] = raw_payload(payload)
        self.rejected.append(Rejection(len(self.rejected), code, detail[:300], told | {"topic": topic[:500]}))
        self.size += 1

    def columns(self) -> Columns:
        sensor_ids, codes = encode(self.sensor_ids)
        unit_names, units = encode(self.unit_names)
        blank = np.array([not name for name in unit_names], bool)
        short = Columns(
            sensor_ids=sensor_ids,
            codes=codes,
            timestamps=np.array(self.timestamps, np.int64),
            values=np.array(self.values, np.float64),
            qualities=np.array(self.qualities, np.float64),
            unit_names=unit_names,
            units=np.where(blank[units], -1, units),
            indexes=np.arange(len(codes)) + len(self.rejected),
            rejected=self.rejected,
        )
        return together([short, *self.others])


def _filled_in(item: Any, sensor_id: str, now_us: int) -> Any:
    """The reading, or the readings by columns, with what the topic and the clock say."""
    if not isinstance(item, dict):
        return {"sensor_id": sensor_id, "timestamp": iso(now_us), "value": item}
    if sensor_id and item.get("sensor_id") is None:
        item["sensor_id"] = sensor_id
    if "timestamps" not in item and item.get("timestamp") is None:
        item["timestamp"] = iso(now_us)
    if isinstance(item.get("unit"), str):
        item["unit"] = item["unit"][: MAX_UNIT + 1]
    return item


def iso(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat()

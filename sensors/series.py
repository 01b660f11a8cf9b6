"""A stretch of one sensor's readings for a chart: never more than MAX_POINTS, and no peak is lost on the way."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Max, Min
from django.utils.dateparse import parse_datetime

from sensors.models import Reading, Sensor
from sensors.wording import for_machines

MAX_POINTS = 1000
# Two points (lowest, highest) a bucket; two buckets less, as they are aligned to the clock and to whole microseconds.
BUCKETS = MAX_POINTS // 2 - 2

RANGES: dict[str, tuple[str, timedelta | None]] = {
    "1h": ("1 h", timedelta(hours=1)),
    "6h": ("6 h", timedelta(hours=6)),
    "24h": ("24 h", timedelta(hours=24)),
    "7d": ("7 d", timedelta(days=7)),
    "30d": ("30 d", timedelta(days=30)),
    "all": ("All", None),
}
DEFAULT_RANGE = "24h"

# An array compares element by element, so the smallest [value, time] is the lowest value with its time, in one pass.
# date_bin and date_part count in integers and floats; extract counts in decimals and takes twice as long (measured).
EXTREMES = """
    SELECT min(ARRAY[value, date_part('epoch', "timestamp")]), max(ARRAY[value, date_part('epoch', "timestamp")])
    FROM sensors_reading
    WHERE sensor_id = %(sensor)s AND "timestamp" BETWEEN %(start)s AND %(end)s
    GROUP BY date_bin(make_interval(secs => %(width)s), "timestamp", 'epoch')
"""


@dataclass(frozen=True)
class Series:
    sensor: Sensor
    start: datetime
    end: datetime
    points: list[tuple[datetime, float]]
    # Seconds that one pair of points stands for; None when every reading is there.
    bucket_seconds: float | None

    def as_json(self) -> dict[str, Any]:
        """Times are ISO 8601 in UTC; a gap longer than `gap_seconds` is a gap in the data, not a slow sensor."""
        step = max(self.bucket_seconds or 0, self.sensor.cadence_seconds or 0)
        return {
            "sensor": self.sensor.pk,
            "unit": self.sensor.unit,
            "timezone": str(self.sensor.site.timezone),
            "from": for_machines(self.start),
            "to": for_machines(self.end),
            "bucket_seconds": self.bucket_seconds,
            "gap_seconds": 5 * step or None,
            "times": [for_machines(at) for at, _ in self.points],
            "values": [value for _, value in self.points],
        }


def fitting_range(newest: datetime | None, now: datetime) -> str:
    """The range a chart opens with: the default, or the shortest one that still shows the newest reading."""
    if newest is None or newest >= now - (RANGES[DEFAULT_RANGE][1] or timedelta.max):
        return DEFAULT_RANGE
    return next(key for key, (_, length) in RANGES.items() if length is None or newest >= now - length)


def window(sensor: Sensor, asked: dict[str, str], now: datetime) -> tuple[datetime, datetime]:
    """The window that `range`, or else `from` and `to` (ISO 8601 with a zone), ask for. Raises ValueError."""
    if "from" in asked or "to" in asked:
        start, end = (_aware(asked.get(name, "")) for name in ("from", "to"))
        if start >= end:
            raise ValueError("`from` must lie before `to`.")
        return start, end
    key = asked.get("range", DEFAULT_RANGE)
    if key not in RANGES:
        raise ValueError(f"`range` must be one of {', '.join(RANGES)}.")
    length = RANGES[key][1]
    if length:
        return now - length, now
    ends = Reading.objects.filter(sensor=sensor).aggregate(first=Min("timestamp"), last=Max("timestamp"))
    return ends["first"] or now, ends["last"] or now


def read(sensor: Sensor, start: datetime, end: datetime) -> Series:
    """The readings of the window, both ends included, oldest first."""
    rows = Reading.objects.filter(sensor=sensor, timestamp__range=(start, end)).order_by("timestamp")
    points = list(rows.values_list("timestamp", "value")[: MAX_POINTS + 1])
    if len(points) <= MAX_POINTS:
        return Series(sensor, start, end, points, None)
    width = max((end - start).total_seconds() / BUCKETS, 1e-6)
    with connection.cursor() as cursor:
        cursor.execute(EXTREMES, {"sensor": sensor.pk, "start": start, "end": end, "width": width})
        extremes = {(at, value) for pair in cursor.fetchall() for value, at in pair}
    points = [(datetime.fromtimestamp(at, UTC), value) for at, value in sorted(extremes)]
    return Series(sensor, start, end, points, width)


def _aware(text: str) -> datetime:
    at = parse_datetime(text)
    if at is None or at.tzinfo is None:
        raise ValueError("`from` and `to` must both be ISO 8601 times with a zone, e.g. 2026-03-01T09:00:00Z.")
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("`from` and `to` must be times of the years 1 to 9999.") from error

"""A stretch of one sensor's readings for a chart: never more than MAX_POINTS, and no peak is lost on the way.

The readings themselves are looked at up to RAW_READINGS of them; beyond that their hourly summary is.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
from django.conf import settings
from django.db.models import Max, Min
from numpy.typing import NDArray

from sensors import places, summary
from sensors.arrays import numpy_cursor
from sensors.errors import Refused
from sensors.models import HourlySummary, Reading, Sensor
from sensors.models.limited import lines
from sensors.summary import Hours
from sensors.timescale.rebuild import HOUR_US
from sensors.wall_clock import in_address
from sensors.wording import flags_in_words, for_machines

Resolution = Literal["auto", "raw"]

MAX_POINTS = 1000
MIN_POINTS = 10
# Of the readings that are no part of the line a chart needs only some: that there are any, and when.
MAX_DOUBTED = 200
# So many are read and reduced within a tenth of a second (measured): a day at 2 Hz, a month at one every 11 s.
RAW_READINGS = 250_000
# A few hours make no curve: shorter windows show the readings however many they are.
SHORT_WINDOW = timedelta(hours=6)
# What one request may cost at most.
MOST_RAW_READINGS = 5_000_000
MOST_HOURS = 10_000

RANGES: dict[str, tuple[str, timedelta | None]] = {
    "1h": ("1 h", timedelta(hours=1)),
    "6h": ("6 h", timedelta(hours=6)),
    "24h": ("24 h", timedelta(hours=24)),
    "7d": ("7 d", timedelta(days=7)),
    "30d": ("30 d", timedelta(days=30)),
    "all": ("All", None),
}
DEFAULT_RANGE = "24h"

Column = NDArray[Any]


@dataclass(frozen=True)
class Doubted:
    """Readings below QUALITY_THRESHOLD, and their flags. One impossible value would flatten the line of all others."""

    times: NDArray[np.int64]
    values: NDArray[np.float64]
    flags: NDArray[np.int64]

    def as_json(self) -> dict[str, Any]:
        return {
            "times": _iso(self.times),
            "values": self.values.tolist(),
            "why": [flags_in_words(flags) for flags in self.flags.tolist()],
        }


NOTHING_DOUBTED = Doubted(np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))


@dataclass(frozen=True)
class Series:
    sensor: Sensor
    start: datetime
    end: datetime
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    # Seconds that one pair of points stands for; None when every reading is there.
    bucket_seconds: float | None
    hourly: bool = False
    doubted: Doubted = NOTHING_DOUBTED

    def as_json(self) -> dict[str, Any]:
        """Times are ISO 8601 in UTC; a gap longer than `gap_seconds` is a gap in the data, not a slow sensor."""
        step = max(self.bucket_seconds or 0, self.sensor.cadence_seconds or 0)
        return {
            "sensor": self.sensor.pk,
            "unit": self.sensor.unit,
            "timezone": str(self.sensor.site.timezone),
            "from": for_machines(self.start),
            "to": for_machines(self.end),
            "resolution": "hourly" if self.hourly else "raw",
            "bucket_seconds": self.bucket_seconds,
            "gap_seconds": 5 * step or None,
            "times": _iso(self.times),
            "values": self.values.tolist(),
            "doubted": self.doubted.as_json(),
            "limits": lines(self.sensor.limits),
        }


def _iso(times: NDArray[np.int64]) -> list[str]:
    return [for_machines(datetime.fromtimestamp(us / 1e6, UTC)) for us in times.tolist()]


def fitting_range(newest: datetime | None, now: datetime) -> str:
    """The range a chart opens with: the default, or the shortest one that still shows the newest reading."""
    if newest is None or newest >= now - (RANGES[DEFAULT_RANGE][1] or timedelta.max):
        return DEFAULT_RANGE
    return next(key for key, (_, length) in RANGES.items() if length is None or newest >= now - length)


def window(sensor: Sensor, asked: dict[str, str], now: datetime) -> tuple[datetime, datetime]:
    """The window that `range`, or else `from` and `to` (ISO 8601 with a zone), ask for. Raises ValueError."""
    if "from" in asked or "to" in asked:
        start, end = (_end(name, asked) for name in ("from", "to"))
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
    # Summaries outlive readings.
    oldest = HourlySummary.objects.filter(sensor=sensor).order_by("bucket").values_list("bucket", flat=True)[:1]
    firsts = [at for at in (ends["first"], *oldest) if at]
    return min(firsts, default=now), ends["last"] or now


def read(
    sensor: Sensor,
    start: datetime,
    end: datetime,
    points: int = MAX_POINTS,
    resolution: Resolution = "auto",
    *,
    user_id: int | None = None,
) -> Series:
    """The readings of the window, both ends included, oldest first, as at most `points` points.

    Readings below QUALITY_THRESHOLD stand apart (`doubted`), except in hours, whose extremes are those of all readings.

    Beyond that, buckets of equal width keep their lowest and highest value. Where they come from hours, a point stands
    near the middle of its hour. Raises Refused when `resolution` is "raw" and the window holds too many readings, or
    when the user who asks (None: nobody does) has too many reads of more than RAW_READINGS running.
    """
    hours = summary.hours([sensor.pk], start, end + timedelta(microseconds=1))
    expected = int(hours.count.sum())
    many = expected > RAW_READINGS and end - start > SHORT_WINDOW
    if resolution == "auto" and (many or expected > MOST_RAW_READINGS):
        return _from_hours(sensor, start, end, hours, points)
    if expected > MOST_RAW_READINGS:
        raise Refused("window_too_long", f"The window holds {expected:,} readings; choose a shorter one.", 422)
    costly = expected > RAW_READINGS
    with places.held("window", user_id) if costly and user_id is not None else nullcontext():
        return _look(sensor, start, end, hours, points, resolution)


def _look(sensor: Sensor, start: datetime, end: datetime, hours: Hours, points: int, resolution: Resolution) -> Series:
    times, values, qualities, flags = _readings(sensor, start, end)
    if resolution == "auto" and len(hours.bucket) and (not len(times) or hours.bucket[0] + HOUR_US <= times[0]):
        # Retention has removed readings whose summaries are still there.
        return _from_hours(sensor, start, end, hours, points)
    good = qualities >= settings.QUALITY_THRESHOLD
    doubted = _thinned(Doubted(times[~good], values[~good], flags[~good]), end - start)
    return _from_readings(sensor, start, end, times[good], values[good], doubted, points)


def hourly(sensor: Sensor, start: datetime, end: datetime) -> Hours:
    """The hours of the window; of those that it cuts, what lies in it. Raises Refused when it is too long."""
    if end - start > timedelta(hours=MOST_HOURS):
        raise Refused("window_too_long", f"Ask for {MOST_HOURS:,} hours at most, or export them.", 422)
    return summary.hours([sensor.pk], start, end + timedelta(microseconds=1))


def _readings(sensor: Sensor, start: datetime, end: datetime) -> tuple[Column, Column, Column, Column]:
    with numpy_cursor() as cursor:
        cursor.execute(
            """SELECT array_agg("timestamp"), array_agg(value), array_agg(quality), array_agg(flags::bigint) FROM (
                SELECT "timestamp", value, quality, flags FROM sensors_reading
                WHERE sensor_id = %s AND "timestamp" BETWEEN %s AND %s ORDER BY "timestamp"
            ) readings""",
            [sensor.pk, start, end],
        )
        row = cursor.fetchone()
    if row is None or row[0] is None:
        return np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0, np.int64)
    times, values, qualities, flags = row
    return times, values, qualities, flags


def _from_readings(
    sensor: Sensor, start: datetime, end: datetime, times: Column, values: Column, doubted: Doubted, points: int
) -> Series:
    if len(times) <= points:
        return Series(sensor, start, end, times, values, None, doubted=doubted)
    width = _width(end - start, points)
    keep = _extremes(times, values, width)
    return Series(sensor, start, end, times[keep], values[keep], width / 1e6, doubted=doubted)


def _thinned(doubted: Doubted, length: timedelta) -> Doubted:
    if len(doubted.times) <= MAX_DOUBTED:
        return doubted
    keep = _extremes(doubted.times, doubted.values, _width(length, MAX_DOUBTED))
    return Doubted(doubted.times[keep], doubted.values[keep], doubted.flags[keep])


def _width(length: timedelta, points: int) -> int:
    return max(-(-_us(length) // _buckets(points)), 1)


def _extremes(times: Column, values: Column, width: int) -> Column:
    """The places of the lowest and the highest value of each `width` microseconds."""
    begins = _begins(times // width)
    return np.unique(np.concatenate([_places_of_lowest(values, begins), _places_of_lowest(-values, begins)]))


def _from_hours(sensor: Sensor, start: datetime, end: datetime, hours: Hours, points: int) -> Series:
    width = max(-(-_us(end - start) // (_buckets(points) * HOUR_US)), 1) * HOUR_US
    begins = _begins(hours.bucket // width)
    low, high = _places_of_lowest(hours.min, begins), _places_of_lowest(-hours.max, begins)
    # Where one hour has both, the rise or fall of that hour says which came first.
    rising = np.where(hours.first <= hours.last, 1, -1)
    quarter = np.where(low == high, rising[low], 0) * HOUR_US // 4
    times = np.concatenate([hours.bucket[low] - quarter, hours.bucket[high] + quarter]) + HOUR_US // 2
    values = np.concatenate([hours.min[low], hours.max[high]])
    times = np.clip(times, round(start.timestamp() * 1e6), round(end.timestamp() * 1e6))
    order = np.argsort(times, kind="stable")
    return Series(sensor, start, end, times[order], values[order], width / 1e6, hourly=True)


def _buckets(points: int) -> int:
    """Two points (lowest, highest) a bucket; two buckets less, as they are aligned to the clock, not to the window."""
    return max(points // 2 - 2, 1)


def _begins(numbers: Column) -> Column:
    """Where in sorted bucket numbers a new one begins."""
    return np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))


def _places_of_lowest(values: Column, begins: Column) -> Column:
    """The place of the (first) lowest value of each stretch that begins at `begins`."""
    lowest = np.minimum.reduceat(values, begins)
    is_lowest = np.flatnonzero(values == np.repeat(lowest, np.diff(begins, append=len(values))))
    first: Column = is_lowest[np.searchsorted(is_lowest, begins)]
    return first


def _us(length: timedelta) -> int:
    return length // timedelta(microseconds=1)


def _end(name: str, asked: dict[str, str]) -> datetime:
    try:
        return in_address(asked.get(name, ""))
    except ValueError as error:
        raise ValueError(f"`{name}` {error}; `from` and `to` go together.") from error

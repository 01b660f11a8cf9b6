"""What a definition would have said of the past: the same evaluation, over stored readings."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.conf import settings

from alerts.rules.definition import Definition
from alerts.rules.evaluation import Held, held
from sensors import places
from sensors.arrays import numpy_cursor
from sensors.errors import Refused
from sensors.history import Series

# The newest readings of so long a time, so many of all sensors together: that much is read and looked at in about two
# seconds, while somebody waits.
LONGEST = timedelta(days=90)
MOST_READINGS = 1_000_000
USUAL = timedelta(days=30)


@dataclass(frozen=True)
class Backtest:
    """How often a definition would have held from `start` to `end`.

    `start` is later than asked for when nothing was read before, and when that was too much to look at (`is_cut`).
    """

    start: datetime
    end: datetime
    readings: int
    found: list[Held]
    is_cut: bool = False

    @property
    def count(self) -> int:
        return len(self.found)

    @property
    def alarms(self) -> int:
        return sum(each.alarm_at is not None for each in self.found)

    @property
    def total_seconds(self) -> float:
        return sum(each.seconds for each in self.found)

    @property
    def per_week(self) -> float:
        return self.count / max((self.end - self.start) / timedelta(weeks=1), 1e-9)


def backtest(definition: Definition, start: datetime, end: datetime, user_id: int) -> Backtest:
    """Look at stored readings from `start` to `end`. Whatever is too long is cut at its beginning.

    Raises Refused when it ends before it begins, or when the user has too many of these running.
    """
    if start >= end:
        raise Refused("empty_period", "The period ends before it begins.", 422)
    begin = max(start, end - LONGEST)
    most = MOST_READINGS // len(definition.conditions)
    with places.held("window", user_id):
        whole = [_newest(condition.sensor, begin, end, most) for condition in definition.conditions]
        # From when on no sensor's readings are missing.
        full = [int(times[0]) for times, _ in whole if len(times) == most]
        if full:
            whole = [_since(series, max(full)) for series in whole]
            begin = datetime.fromtimestamp(max(full) / 1e6, start.tzinfo)
        is_cut, readings = begin > start, sum(len(times) for times, _ in whole)
        first = min((int(times[0]) for times, _ in whole if len(times)), default=0)
        begin = max(begin, datetime.fromtimestamp(first / 1e6, start.tzinfo))
        return Backtest(begin, end, readings, held(definition, whole), is_cut)


def _newest(sensor: int, start: datetime, end: datetime, most: int) -> Series:
    with numpy_cursor() as cursor:
        cursor.execute(
            """
            SELECT coalesce(array_agg(timestamp), '{}'), coalesce(array_agg(value), '{}') FROM (
                SELECT timestamp, value FROM sensors_reading
                WHERE sensor_id = %s AND timestamp BETWEEN %s AND %s AND quality >= %s
                ORDER BY timestamp DESC LIMIT %s
            ) AS newest
            """,
            [sensor, start, end, settings.QUALITY_THRESHOLD, most],
        )
        [(times, values)] = cursor.fetchall()
    order = np.argsort(times)
    return times[order], values[order]


def _since(series: Series, first: int) -> Series:
    place = int(np.searchsorted(series[0], first))
    return series[0][place:], series[1][place:]

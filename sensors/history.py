"""Stored readings of many sensors as columns, one query for all of them.

Readings below QUALITY_THRESHOLD are left out: they are neither scored nor learned from. Times are microseconds UTC.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from django.conf import settings
from django.db import connection
from numpy.typing import NDArray

from sensors.arrays import Bigints, Doubles, Timestamps, numpy_cursor
from sensors.models import Annotation

Series = tuple[NDArray[np.int64], NDArray[np.float64]]
EMPTY: Series = (np.empty(0, np.int64), np.empty(0, np.float64))


class Window(NamedTuple):
    """From `start` (inclusive) to `stop` (exclusive), looked at once per `step`."""

    sensor: int
    start: int
    stop: int
    step: int


class Span(NamedTuple):
    """All readings from `first` to `last`, both inclusive."""

    sensor: int
    first: int
    last: int


def firsts(sensors: list[int]) -> dict[int, int]:
    """When each sensor's first stored reading was; sensors without one are missing."""
    with numpy_cursor() as cursor:
        cursor.execute(
            """
            SELECT s.id, (extract(epoch FROM r.timestamp) * 1000000)::bigint
            FROM (SELECT DISTINCT unnest(%s)) AS s(id)
            CROSS JOIN LATERAL (
                SELECT timestamp FROM sensors_reading WHERE sensor_id = s.id ORDER BY timestamp LIMIT 1
            ) r
            """,
            [Bigints(np.array(sensors, np.int64))],
        )
        return dict(cursor.fetchall())


def samples(windows: list[Window]) -> list[Series]:
    """For each window, the first good reading of every step, in time order: the cost does not grow with a sensor's
    rate.
    """
    columns = np.array(windows, np.int64).reshape(-1, 4).T
    found = [EMPTY] * len(windows)
    with numpy_cursor() as cursor:
        cursor.execute(
            """
            SELECT w.number, array_agg(r.timestamp ORDER BY r.timestamp), array_agg(r.value ORDER BY r.timestamp)
            FROM unnest(%s, %s, %s, %s) WITH ORDINALITY AS w(sensor, start, stop, step, number)
            CROSS JOIN LATERAL generate_series(
                w.start, w.stop - interval '1 microsecond', make_interval(secs => w.step)
            ) AS grid(time)
            CROSS JOIN LATERAL (
                SELECT timestamp, value FROM sensors_reading
                WHERE sensor_id = w.sensor AND timestamp >= grid.time
                    AND timestamp < least(grid.time + make_interval(secs => w.step), w.stop) AND quality >= %s
                ORDER BY timestamp LIMIT 1
            ) r
            GROUP BY w.number
            """,
            [
                Bigints(columns[0]),
                Timestamps(columns[1]),
                Timestamps(columns[2]),
                Doubles(columns[3] / 1e6),
                settings.QUALITY_THRESHOLD,
            ],
        )
        for number, timestamps, values in cursor.fetchall():
            found[number - 1] = (timestamps, values)
    return found


def unlearnable(sensors: Iterable[int]) -> dict[int, list[tuple[int, int]]]:
    """The stretches of each sensor that are not normal: excluded by a person, or a past failure of the machine.

    An annotation of an asset counts for all its sensors. Both ends are inclusive; sensors without any are missing.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT s.id, (extract(epoch FROM a.start) * 1000000)::bigint, (extract(epoch FROM a.end) * 1000000)::bigint
            FROM sensors_sensor s
            JOIN sensors_annotation a ON a.sensor_id = s.id OR (a.sensor_id IS NULL AND a.asset_id = s.asset_id)
            WHERE s.id = ANY(%s) AND a.kind = ANY(%s) AND a.removed_at IS NULL
            """,
            [sorted(sensors), [Annotation.Kind.EXCLUDED.value, Annotation.Kind.FAILURE.value]],
        )
        found: dict[int, list[tuple[int, int]]] = {}
        for sensor, start, end in cursor.fetchall():
            found.setdefault(sensor, []).append((start, end))
    return found


def spans(wanted: list[Span], context: int) -> list[Series]:
    """For each span its good readings, and up to `context` ones on either side of it, in time order."""
    columns = np.array(wanted, np.int64).reshape(-1, 3).T
    found = [EMPTY] * len(wanted)
    with numpy_cursor() as cursor:
        cursor.execute(
            """
            SELECT s.number, array_agg(r.timestamp ORDER BY r.timestamp), array_agg(r.value ORDER BY r.timestamp)
            FROM unnest(%(sensors)s, %(firsts)s, %(lasts)s) WITH ORDINALITY AS s(sensor, first, last, number)
            CROSS JOIN LATERAL (
                (SELECT timestamp, value FROM sensors_reading
                 WHERE sensor_id = s.sensor AND timestamp < s.first AND quality >= %(quality)s
                 ORDER BY timestamp DESC LIMIT %(context)s)
                UNION ALL
                (SELECT timestamp, value FROM sensors_reading
                 WHERE sensor_id = s.sensor AND timestamp BETWEEN s.first AND s.last AND quality >= %(quality)s)
                UNION ALL
                (SELECT timestamp, value FROM sensors_reading
                 WHERE sensor_id = s.sensor AND timestamp > s.last AND quality >= %(quality)s
                 ORDER BY timestamp LIMIT %(context)s)
            ) r
            GROUP BY s.number
            """,
            {
                "sensors": Bigints(columns[0]),
                "firsts": Timestamps(columns[1]),
                "lasts": Timestamps(columns[2]),
                "quality": settings.QUALITY_THRESHOLD,
                "context": context,
            },
        )
        for number, timestamps, values in cursor.fetchall():
            found[number - 1] = (timestamps, values)
    return found

"""Stored readings of many sensors as columns, one query for all of them.

Readings below QUALITY_THRESHOLD are left out: they are neither scored nor learned from. Times are microseconds UTC.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
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


@dataclass(frozen=True)
class Rows:
    """The readings of several spans as one column each, a span after the other, each in time order.

    Those of span i are the rows from `edges[i]` (inclusive) to `edges[i + 1]`. Iterating gives each span's own columns.
    """

    timestamps: NDArray[np.int64]
    values: NDArray[np.float64]
    edges: NDArray[np.int64]

    def __iter__(self) -> Iterator[Series]:
        for first, stop in pairwise(self.edges.tolist()):
            yield self.timestamps[first:stop], self.values[first:stop]


def firsts(sensors: NDArray[np.int64]) -> NDArray[np.int64]:
    """When the first stored reading of each of these sensors was; 0 for one without any."""
    distinct, places = np.unique(sensors, return_inverse=True)
    found = np.zeros(len(distinct), np.int64)
    with numpy_cursor() as cursor:
        cursor.execute(
            """
            SELECT coalesce(array_agg(s.number), '{}'), coalesce(array_agg(r.timestamp), '{}')
            FROM unnest(%s) WITH ORDINALITY AS s(id, number)
            CROSS JOIN LATERAL (
                SELECT timestamp FROM sensors_reading WHERE sensor_id = s.id ORDER BY timestamp LIMIT 1
            ) r
            """,
            [Bigints(distinct)],
        )
        [(numbers, timestamps)] = cursor.fetchall()
    found[numbers - 1] = timestamps
    return found[places]


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


def spans(wanted: list[Span], context: int) -> Rows:
    """For each span its good readings, and up to `context` ones on either side of it."""
    columns = np.array(wanted, np.int64).reshape(-1, 3).T
    with numpy_cursor() as cursor:
        cursor.execute(
            """
            SELECT coalesce(array_agg(s.number), '{}'), coalesce(array_agg(r.timestamp), '{}'),
                coalesce(array_agg(r.value), '{}')
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
            """,
            {
                "sensors": Bigints(columns[0]),
                "firsts": Timestamps(columns[1]),
                "lasts": Timestamps(columns[2]),
                "quality": settings.QUALITY_THRESHOLD,
                "context": context,
            },
        )
        [(numbers, timestamps, values)] = cursor.fetchall()
    # Sorted here: the rows come nearly in order, which NumPy makes use of and PostgreSQL does not.
    order = np.lexsort((timestamps, numbers))
    edges = np.searchsorted(numbers[order], np.arange(1, len(wanted) + 2))
    return Rows(timestamps[order], values[order], edges)


def reaches(wanted: list[Span], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """When the `count`-th good reading before each span was, and the one after it, or the last that there is."""
    columns = np.array(wanted, np.int64).reshape(-1, 3).T
    with numpy_cursor() as cursor:
        cursor.execute(
            """
            SELECT array_agg(coalesce(b.at, s.first) ORDER BY s.number),
                array_agg(coalesce(a.at, s.last) ORDER BY s.number)
            FROM unnest(%(sensors)s, %(firsts)s, %(lasts)s) WITH ORDINALITY AS s(sensor, first, last, number)
            CROSS JOIN LATERAL (
                SELECT min(timestamp) AS at FROM (
                    SELECT timestamp FROM sensors_reading
                    WHERE sensor_id = s.sensor AND timestamp < s.first AND quality >= %(quality)s
                    ORDER BY timestamp DESC LIMIT %(count)s
                ) AS before
            ) b
            CROSS JOIN LATERAL (
                SELECT max(timestamp) AS at FROM (
                    SELECT timestamp FROM sensors_reading
                    WHERE sensor_id = s.sensor AND timestamp > s.last AND quality >= %(quality)s
                    ORDER BY timestamp LIMIT %(count)s
                ) AS after
            ) a
            """,
            {
                "sensors": Bigints(columns[0]),
                "firsts": Timestamps(columns[1]),
                "lasts": Timestamps(columns[2]),
                "quality": settings.QUALITY_THRESHOLD,
                "count": count,
            },
        )
        [(before, after)] = cursor.fetchall()
    return before, after

"""Readings by the hour, right at any time.

`summarise` marks the hours that a batch touched, `rebuild_due` computes marked ones again once they have been left
alone, and `hours` reads: what is marked, or not even marked yet, comes from the readings themselves.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from django.conf import settings
from django.db import connection
from numpy.typing import NDArray

from sensors.arrays import Bigints, Timestamps, numpy_cursor
from sensors.models import ReadingBatch
from sensors.timescale.operations import SUMMARY
from sensors.timescale.rebuild import FROM_READINGS, HOUR_US, KEPT_SINCE, OF_ANY_AGE, TAKEN, rebuild

# An hour is computed when nothing has changed in it for this long, and while it goes on changing, at most this often.
QUIET_SECONDS = 30
AT_MOST_EVERY_SECONDS = 600
# A fresher mark is not renewed: an hour that readings pour into costs a look-up per batch, not a write. Must be shorter
# than QUIET_SECONDS: a mark that is taken up as quiet is always renewed.
FRESH_MARK_SECONDS = 10
HOURS_AT_ONCE = 500
TURN_SECONDS = 1.0
# How many hours the nightly audit looks at: of those that the last day's batches touched, and of all.
AUDIT_TOUCHED, AUDIT_SAMPLED = 5_000, 5_000
AUDIT_BACK = timedelta(days=1)
HOURS_PER_STATEMENT = 500

MARK = """
    INSERT INTO sensors_dirtyhour (sensor_id, bucket, since, touched_at)
    SELECT sensor_id, bucket, clock_timestamp(), clock_timestamp()
    FROM (
        SELECT DISTINCT span.sensor_id, bucket
        FROM sensors_readingbatch batch
        CROSS JOIN LATERAL unnest(batch.sensors, batch.firsts, batch.lasts) AS span(sensor_id, first, last)
        CROSS JOIN LATERAL generate_series(date_trunc('hour', span.first, 'UTC'), span.last, '1 hour') AS bucket
        WHERE batch.id = ANY(%(batches)s)
    ) touched
    WHERE NOT EXISTS (
        SELECT FROM sensors_dirtyhour known
        WHERE known.sensor_id = touched.sensor_id AND known.bucket = touched.bucket
            AND known.touched_at > clock_timestamp() - make_interval(secs => %(fresh)s)
    )
    ORDER BY sensor_id, bucket
    ON CONFLICT (sensor_id, bucket) DO UPDATE SET touched_at = excluded.touched_at
"""
TAKE_DUE = """
    UPDATE sensors_dirtyhour mark SET touched_at = %(taken)s, since = now()
    FROM (
        SELECT sensor_id, bucket FROM sensors_dirtyhour
        WHERE touched_at > %(taken)s AND touched_at < now() - make_interval(secs => %(quiet)s)
            OR since < now() - make_interval(secs => %(longest)s)
        ORDER BY since LIMIT %(count)s
        FOR UPDATE SKIP LOCKED
    ) due
    WHERE mark.sensor_id = due.sensor_id AND mark.bucket = due.bucket
    RETURNING mark.sensor_id, (extract(epoch FROM mark.bucket) * 1000000)::bigint
"""
# Hours of the asked sensors that the summary lacks or has wrong: marked ones; those that batches wait to mark (live
# ones by time, as they hold nothing older than LATE_AFTER_SECONDS; a minute more, as they do not wait in the order
# they came); those that batches failed to mark, which wait for a person; and hours that the window cuts.
STALE = f"""
    SELECT sensor_id, bucket FROM sensors_dirtyhour
    WHERE sensor_id = ANY(%(sensors)s) AND bucket BETWEEN %(first)s AND %(last)s
    UNION
    SELECT sensor_id, bucket
    FROM (
        SELECT batch.received_at FROM sensors_pending pending
        JOIN sensors_readingbatch batch ON batch.id = pending.batch_id
        WHERE pending.consumer = 'summarise' AND pending.live AND pending.dead_at IS NULL
        ORDER BY pending.id LIMIT 1
    ) oldest
    CROSS JOIN unnest(%(sensors)s) AS sensor_id
    CROSS JOIN LATERAL generate_series(
        greatest(date_trunc('hour', oldest.received_at - make_interval(secs => %(late)s), 'UTC'), %(first)s),
        least(%(last)s, now() + interval '1 day'), interval '1 hour'
    ) AS bucket
    UNION
    SELECT span.sensor_id, bucket
    FROM sensors_pending pending
    JOIN sensors_readingbatch batch ON batch.id = pending.batch_id
    CROSS JOIN LATERAL unnest(batch.sensors, batch.firsts, batch.lasts) AS span(sensor_id, first, last)
    CROSS JOIN LATERAL generate_series(
        greatest(date_trunc('hour', span.first, 'UTC'), %(first)s), least(span.last, %(last)s), interval '1 hour'
    ) AS bucket
    WHERE pending.consumer = 'summarise' AND {OF_ANY_AGE}
        AND batch.sensors && %(sensors)s AND span.sensor_id = ANY(%(sensors)s)
    UNION
    SELECT sensor_id, bucket FROM unnest(%(sensors)s) AS sensor_id, unnest(%(cut)s) AS bucket
"""
HOURS = f"""
    WITH stale AS MATERIALIZED ({STALE}), hour AS (
        SELECT sensor_id, bucket, greatest(bucket, %(start)s) AS start,
            least(bucket + interval '1 hour', %(stop)s) AS stop
        FROM stale
    ), found AS (
        SELECT * FROM (
            SELECT sensor_id, bucket, count, avg, min, max, first, last, quality FROM {SUMMARY}
            WHERE sensor_id = ANY(%(sensors)s) AND bucket BETWEEN %(first)s AND %(last)s
        ) known
        WHERE NOT EXISTS (
            SELECT FROM stale WHERE stale.sensor_id = known.sensor_id AND stale.bucket = known.bucket
        )
        UNION ALL
        {FROM_READINGS}
    )
    SELECT {
    ", ".join(
        f"array_agg({column} ORDER BY sensor_id, bucket)"
        for column in ("sensor_id", "bucket", "count", "avg", "min", "max", "first", "last", "quality")
    )
}
    FROM found
"""
# Sums of floats depend on their order, which the two ways of computing a mean do not share.
DIFFERS = """
    (fresh.count, fresh.min, fresh.max, fresh.first, fresh.last)
        IS DISTINCT FROM (known.count, known.min, known.max, known.first, known.last)
    OR abs(fresh.avg - known.avg) > 1e-9 * greatest(abs(fresh.min), abs(fresh.max))
    OR abs(fresh.quality - known.quality) > 1e-9
"""
# An hour whose readings were removed for their age cannot be compared.
AUDIT = f"""
    WITH hour AS (
        SELECT asked.sensor_id, bucket, bucket AS start, bucket + interval '1 hour' AS stop
        FROM unnest(%(sensors)s, %(buckets)s) AS asked(sensor_id, bucket)
        JOIN sensors_sensor ON sensors_sensor.id = asked.sensor_id
        WHERE coalesce(bucket >= {KEPT_SINCE}, true)
    ), fresh AS ({FROM_READINGS})
    INSERT INTO sensors_dirtyhour (sensor_id, bucket, since, touched_at)
    SELECT hour.sensor_id, hour.bucket, now(), now()
    FROM hour
    LEFT JOIN fresh USING (sensor_id, bucket)
    LEFT JOIN {SUMMARY} known ON known.sensor_id = hour.sensor_id AND known.bucket = hour.bucket
    WHERE {DIFFERS}
    ON CONFLICT DO NOTHING
"""
RECENTLY_TOUCHED = """
    SELECT sensor_id, (extract(epoch FROM bucket) * 1000000)::bigint
    FROM (
        SELECT DISTINCT span.sensor_id, bucket
        FROM sensors_readingbatch batch
        CROSS JOIN LATERAL unnest(batch.sensors, batch.firsts, batch.lasts) AS span(sensor_id, first, last)
        CROSS JOIN LATERAL generate_series(date_trunc('hour', span.first, 'UTC'), span.last, '1 hour') AS bucket
        WHERE batch.received_at > %s
    ) touched
    ORDER BY random() LIMIT %s
"""


@dataclass(frozen=True)
class Hours:
    """Columns of hourly rows, by sensor and in time order: `bucket` in microseconds UTC, values in the sensors' units.

    `quality` is the mean of the hour's qualities, 0..1.
    """

    sensor: NDArray[np.int64]
    bucket: NDArray[np.int64]
    count: NDArray[np.int64]
    avg: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    first: NDArray[np.float64]
    last: NDArray[np.float64]
    quality: NDArray[np.float64]


def summarise(batches: list[ReadingBatch]) -> None:
    """Mark the hours that these batches touched: a consumer of the outbox."""
    with connection.cursor() as cursor:
        cursor.execute(MARK, {"batches": [batch.pk for batch in batches], "fresh": FRESH_MARK_SECONDS})


def mark_window(sensors: list[int], start: datetime, end: datetime) -> None:
    """Mark every hour of these sensors from `start` to `end`, for readings that no batch tells of."""
    buckets = np.arange(_hour_of(start), _us(end) + 1, HOUR_US)
    with numpy_cursor() as cursor:
        cursor.execute(
            """INSERT INTO sensors_dirtyhour (sensor_id, bucket, since, touched_at)
            SELECT sensor_id, bucket, now(), now() FROM unnest(%s) AS sensor_id, unnest(%s) AS bucket
            ON CONFLICT (sensor_id, bucket) DO UPDATE SET touched_at = excluded.touched_at""",
            [Bigints(np.array(sensors, np.int64)), Timestamps(buckets)],
        )


def rebuild_due(quiet_seconds: float = QUIET_SECONDS) -> int:
    """Compute marked hours again that are due, for a turn at most; returns how many.

    May run in any number of processes. One that is killed leaves its hours marked; they are due again after
    AT_MOST_EVERY_SECONDS. Must not run inside a transaction.
    """
    deadline = time.monotonic() + TURN_SECONDS
    done = 0
    while time.monotonic() < deadline:
        taken = _take_due(quiet_seconds)
        if not len(taken):
            break
        # Taken and committed: whatever is stored from here on renews the mark, which then outlives the computation.
        rebuild(taken[:, 0], taken[:, 1])
        done += len(taken)
    return done


def _take_due(quiet_seconds: float) -> NDArray[np.int64]:
    with connection.cursor() as cursor:
        limits = {"quiet": quiet_seconds, "longest": AT_MOST_EVERY_SECONDS, "count": HOURS_AT_ONCE}
        cursor.execute(TAKE_DUE, {"taken": TAKEN, **limits})
        return np.array(cursor.fetchall(), np.int64).reshape(-1, 2)


def hours(sensors: list[int], start: datetime, stop: datetime) -> Hours:
    """The hours of these sensors from `start` (inclusive) to `stop` (exclusive); of cut hours, what lies in the window.

    Right whatever the workers have done so far; each hour they have not seen to costs a look at its readings.
    """
    first, last = _hour_of(start), (_us(stop) - 1) // HOUR_US * HOUR_US
    cut = {first} if first < _us(start) else set()
    if last + HOUR_US > _us(stop):
        cut.add(last)
    with numpy_cursor() as cursor:
        cursor.execute(
            HOURS,
            {
                "sensors": Bigints(np.array(sensors, np.int64)),
                "start": start,
                "stop": stop,
                "first": _datetime(first),
                "last": _datetime(last),
                "cut": Timestamps(np.array(sorted(cut), np.int64)),
                "late": settings.LATE_AFTER_SECONDS + 60,
            },
        )
        row = cursor.fetchone()
    if row is None or row[0] is None:
        empty: list[NDArray[Any]] = [np.empty(0, np.int64)] * 3 + [np.empty(0)] * 6
        return Hours(*empty)
    return Hours(*row)


def audit(now: datetime) -> int:
    """Compare summary and readings, for hours that batches touched lately and for random ones; returns how many differ.

    Those are marked, so that readers have them from the readings at once and `rebuild_due` puts them right.
    """
    with connection.cursor() as cursor:
        cursor.execute(RECENTLY_TOUCHED, [now - AUDIT_BACK, AUDIT_TOUCHED])
        touched = np.array(cursor.fetchall(), np.int64).reshape(-1, 2)
        cursor.execute("SELECT id FROM sensors_sensor")
        sensors = np.array(cursor.fetchall(), np.int64).ravel()
    asked = np.unique(np.concatenate([touched, _sample(sensors, now)]), axis=0)
    differing = 0
    for part in np.split(asked, range(HOURS_PER_STATEMENT, len(asked), HOURS_PER_STATEMENT)):
        with numpy_cursor() as cursor:
            cursor.execute(
                AUDIT,
                {
                    "sensors": Bigints(part[:, 0]),
                    "buckets": Timestamps(part[:, 1]),
                    "now": now,
                    "retention": settings.RETENTION_DAYS,
                },
            )
            differing += cursor.rowcount
    return differing


def _sample(sensors: NDArray[np.int64], now: datetime) -> NDArray[np.int64]:
    """Random hours of random sensors, as far back as readings are kept by default."""
    if not len(sensors):
        return np.empty((0, 2), np.int64)
    chance = np.random.default_rng()
    hours_back = chance.integers(2, 24 * (settings.RETENTION_DAYS or 180), AUDIT_SAMPLED)
    return np.column_stack([chance.choice(sensors, AUDIT_SAMPLED), _hour_of(now) - hours_back * HOUR_US])


def _us(at: datetime) -> int:
    return round(at.timestamp() * 1e6)


def _hour_of(at: datetime) -> int:
    return _us(at) // HOUR_US * HOUR_US


def _datetime(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)

"""Computing hours of the summary again: rows of a table on plain PostgreSQL, a refresh of the aggregate on TimescaleDB.

Summaries outlive the readings they were made of (`sensors.retention`): an hour whose readings were removed keeps its.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from numpy.typing import NDArray

from sensors.arrays import Bigints, Timestamps, numpy_cursor
from sensors.timescale.operations import SUMMARY

HOUR_US = 3_600_000_000
# One refresh is one piece of work for the server.
REFRESH_HOURS = 24
# Marked hours whose refresh would lose summaries stay marked, and are looked at again after this time.
PUT_OFF = timedelta(days=1)
# The mark of an hour that is being computed; whoever changes a reading meanwhile sets it to the present.
TAKEN = datetime(1970, 1, 1, tzinfo=UTC)

# `hour` is what is asked for: sensor_id, bucket, and the part of the hour that counts.
FROM_READINGS = """
    SELECT hour.sensor_id, hour.bucket, whole.count, whole.avg, whole.min, whole.max,
        first.value AS first, last.value AS last, whole.quality
    FROM hour
    CROSS JOIN LATERAL (
        SELECT count(*) AS count, avg(value) AS avg, min(value) AS min, max(value) AS max, avg(quality) AS quality
        FROM sensors_reading
        WHERE sensor_id = hour.sensor_id AND "timestamp" >= hour.start AND "timestamp" < hour.stop
    ) whole
    CROSS JOIN LATERAL (
        SELECT value FROM sensors_reading
        WHERE sensor_id = hour.sensor_id AND "timestamp" >= hour.start AND "timestamp" < hour.stop
        ORDER BY "timestamp" LIMIT 1
    ) first
    CROSS JOIN LATERAL (
        SELECT value FROM sensors_reading
        WHERE sensor_id = hour.sensor_id AND "timestamp" >= hour.start AND "timestamp" < hour.stop
        ORDER BY "timestamp" DESC LIMIT 1
    ) last
"""
# When readings of a sensor become too old to be kept; NULL: never.
KEPT_SINCE = """
    CASE WHEN coalesce(retention_days, %(retention)s) > 0
    THEN %(now)s - make_interval(days => least(coalesce(retention_days, %(retention)s), 100000)::int) END
"""
# Work whose readings may be of any age. Each arm has a partial index of its own; `NOT live OR dead` would have none.
OF_ANY_AGE = "(NOT pending.live AND pending.dead_at IS NULL OR pending.dead_at IS NOT NULL)"
# Stretches of readings that the summary may not have counted yet, however old: marked hours, and what batches of
# history wait to mark, or failed to (a dead letter may be tried again).
UNSUMMARISED = f"""
    SELECT sensor_id, bucket AS first, bucket + interval '1 hour' - interval '1 microsecond' AS last
    FROM sensors_dirtyhour
    UNION ALL
    SELECT span.sensor_id, date_trunc('hour', span.first, 'UTC'), span.last
    FROM sensors_pending pending
    JOIN sensors_readingbatch batch ON batch.id = pending.batch_id
    CROSS JOIN LATERAL unnest(batch.sensors, batch.firsts, batch.lasts) AS span(sensor_id, first, last)
    WHERE pending.consumer = 'summarise' AND {OF_ANY_AGE}
"""
REBUILD = f"""
    WITH hour AS (
        SELECT asked.sensor_id, bucket, bucket AS start, bucket + interval '1 hour' AS stop,
            coalesce(bucket < {KEPT_SINCE}, false) AS expired
        FROM unnest(%(sensors)s, %(buckets)s) AS asked(sensor_id, bucket)
        JOIN sensors_sensor ON sensors_sensor.id = asked.sensor_id
    ), fresh AS ({FROM_READINGS}), written AS (
        INSERT INTO {SUMMARY} AS known (sensor_id, bucket, count, avg, min, max, first, last, quality)
        SELECT * FROM fresh
        ON CONFLICT (sensor_id, bucket) DO UPDATE
        SET count = excluded.count, avg = excluded.avg, min = excluded.min, max = excluded.max,
            first = excluded.first, last = excluded.last, quality = excluded.quality
        WHERE excluded.count >= known.count OR EXISTS (
            SELECT FROM hour WHERE hour.sensor_id = known.sensor_id AND hour.bucket = known.bucket AND NOT hour.expired
        )
    )
    DELETE FROM {SUMMARY} known USING hour
    WHERE known.sensor_id = hour.sensor_id AND known.bucket = hour.bucket AND NOT hour.expired
        AND NOT EXISTS (SELECT FROM fresh WHERE fresh.sensor_id = hour.sensor_id AND fresh.bucket = hour.bucket)
"""
# A mark that somebody else holds is being touched: it stays.
CLEAR = """
    DELETE FROM sensors_dirtyhour WHERE (sensor_id, bucket) IN (
        SELECT sensor_id, bucket FROM sensors_dirtyhour
        JOIN unnest(%(sensors)s, %(buckets)s) AS asked(sensor_id, bucket) USING (sensor_id, bucket)
        WHERE touched_at = %(taken)s
        FOR UPDATE OF sensors_dirtyhour SKIP LOCKED
    ) AND touched_at = %(taken)s
"""
WOULD_BE_LOST = f"""
    SELECT EXISTS (
        SELECT FROM {SUMMARY} known JOIN sensors_sensor ON sensors_sensor.id = known.sensor_id
        WHERE known.bucket >= %(start)s AND known.bucket < %(stop)s AND known.bucket < {KEPT_SINCE}
        AND NOT EXISTS (
            SELECT FROM sensors_reading r WHERE r.sensor_id = known.sensor_id
            AND r."timestamp" >= known.bucket AND r."timestamp" < known.bucket + interval '1 hour'
        )
    )
"""


def rebuild(sensors: NDArray[np.int64], buckets: NDArray[np.int64]) -> None:
    """Compute these hours (microseconds UTC) from the readings, and take away the marks that nobody renewed meanwhile.

    Must not run inside a transaction: TimescaleDB refreshes in one of its own.
    """
    if _is_aggregate():
        refreshed, refused = (np.isin(buckets, hours) for hours in _refresh(buckets))
        _put_off(sensors[refused], buckets[refused])
        _clear(sensors[refreshed], buckets[refreshed])
        return
    with transaction.atomic(), numpy_cursor() as cursor:
        asked = {"sensors": Bigints(sensors), "buckets": Timestamps(buckets)}
        cursor.execute(REBUILD, asked | {"now": timezone.now(), "retention": settings.RETENTION_DAYS})
        _clear(sensors, buckets)


def _is_aggregate() -> bool:
    """Whether the summary is one: a database that was moved to TimescaleDB keeps its table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT relkind = 'v' FROM pg_class WHERE oid = %s::regclass", [SUMMARY])
        return bool(cursor.fetchone()[0])


def _clear(sensors: NDArray[np.int64], buckets: NDArray[np.int64]) -> None:
    with numpy_cursor() as cursor:
        cursor.execute(CLEAR, {"sensors": Bigints(sensors), "buckets": Timestamps(buckets), "taken": TAKEN})


def _put_off(sensors: NDArray[np.int64], buckets: NDArray[np.int64]) -> None:
    with numpy_cursor() as cursor:
        cursor.execute(
            """UPDATE sensors_dirtyhour SET since = now() + %s
            FROM unnest(%s, %s) AS asked(sensor_id, bucket)
            WHERE sensors_dirtyhour.sensor_id = asked.sensor_id AND sensors_dirtyhour.bucket = asked.bucket""",
            [PUT_OFF, Bigints(sensors), Timestamps(buckets)],
        )


def _refresh(buckets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Refresh the aggregate where hours are over; returns the refreshed hours, and those that would lose summaries.

    Hours that go on stay as they are: a refresh would end the time for which the aggregate looks at the readings.
    """
    now = timezone.now()
    hours = np.unique(buckets)
    hours = hours[hours + HOUR_US <= now.timestamp() * 1e6]
    refreshed, refused = [hours[:0]], [hours[:0]]
    with connection.cursor() as cursor:
        for run in _runs(hours):
            start, stop = (datetime.fromtimestamp(us / 1e6, UTC) for us in (int(run[0]), int(run[-1]) + HOUR_US))
            window = {"start": start, "stop": stop, "now": now}
            cursor.execute(WOULD_BE_LOST, {**window, "retention": settings.RETENTION_DAYS})
            if cursor.fetchone()[0]:
                refused.append(run)
                continue
            # Forced: the audit also finds hours that differ without TimescaleDB knowing of it.
            cursor.execute(f"CALL refresh_continuous_aggregate('{SUMMARY}', %s, %s, force => true)", [start, stop])
            refreshed.append(run)
    return np.concatenate(refreshed), np.concatenate(refused)


def _runs(hours: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Sorted hours as stretches without a gap, none longer than a refresh shall be."""
    if not len(hours):
        return []
    days = hours // (REFRESH_HOURS * HOUR_US)
    return np.split(hours, np.flatnonzero((np.diff(hours) > HOUR_US) | (np.diff(days) > 0)) + 1)

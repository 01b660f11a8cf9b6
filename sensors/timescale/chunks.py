"""Chunks of readings that hold nothing worth keeping any more. Plain PostgreSQL has none."""

from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction
from psycopg import sql

from sensors.timescale.rebuild import KEPT_SINCE, UNSUMMARISED

# Oldest first. Whole: no sensor that keeps readings of that time has any in the chunk, and the summary has them all.
EXPIRED = f"""
    SELECT chunk_schema, chunk_name, range_start, range_end FROM timescaledb_information.chunks
    WHERE hypertable_name = 'sensors_reading' AND range_end <= %(now)s AND NOT EXISTS (
        SELECT FROM sensors_sensor
        WHERE coalesce({KEPT_SINCE} < range_end, true) AND EXISTS (
            SELECT FROM sensors_reading r
            WHERE r.sensor_id = sensors_sensor.id AND r."timestamp" >= range_start AND r."timestamp" < range_end
        )
    ) AND NOT EXISTS (
        SELECT FROM ({UNSUMMARISED}) waiting WHERE waiting.first < range_end AND waiting.last >= range_start
    )
    AND range_start = coalesce(%(start)s, range_start)
    ORDER BY range_start
"""

# Whoever stores readings of that time waits no longer than this behind us, nor we behind them.
LOCK_SECONDS = 2


class Chunk(NamedTuple):
    schema: str
    name: str
    start: datetime
    end: datetime


def drop_expired(now: datetime) -> int:
    """Drop every chunk all of whose readings are older than their sensors keep them; returns how many."""
    if not connection.has_timescale():  # type: ignore[attr-defined]
        return 0
    return sum(drop(chunk, now) for chunk in expired(now))


def expired(now: datetime, start: datetime | None = None) -> list[Chunk]:
    """The chunks (or the one that begins at `start`) that hold nothing worth keeping, oldest first. On TimescaleDB."""
    with connection.cursor() as cursor:
        cursor.execute(EXPIRED, {"now": now, "retention": settings.RETENTION_DAYS, "start": start})
        return [Chunk(*row) for row in cursor.fetchall()]


def drop(chunk: Chunk, now: datetime) -> bool:
    """Drop the chunk if it still holds nothing worth keeping; returns whether it did."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{LOCK_SECONDS}s"])
        # An import may have brought readings that are kept since it was looked at; nobody adds any from here on.
        cursor.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.Identifier(chunk.schema, chunk.name)))
        if not expired(now, chunk.start):
            return False
        cursor.execute(
            "SELECT drop_chunks('sensors_reading', older_than => %s::timestamptz, newer_than => %s::timestamptz)",
            [chunk.end, chunk.start],
        )
    return True

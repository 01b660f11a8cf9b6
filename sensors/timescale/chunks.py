"""Chunks of readings that hold nothing worth keeping any more. Plain PostgreSQL has none."""

from datetime import datetime

from django.conf import settings
from django.db import connection

from sensors.timescale.rebuild import KEPT_SINCE, UNSUMMARISED

# Oldest first. Whole: no sensor that keeps readings of that time has any in the chunk, and the summary has them all.
EXPIRED = f"""
    SELECT range_start, range_end FROM timescaledb_information.chunks
    WHERE hypertable_name = 'sensors_reading' AND range_end <= %(now)s AND NOT EXISTS (
        SELECT FROM sensors_sensor
        WHERE coalesce({KEPT_SINCE} < range_end, true) AND EXISTS (
            SELECT FROM sensors_reading r
            WHERE r.sensor_id = sensors_sensor.id AND r."timestamp" >= range_start AND r."timestamp" < range_end
        )
    ) AND NOT EXISTS (
        SELECT FROM ({UNSUMMARISED}) waiting WHERE waiting.first < range_end AND waiting.last >= range_start
    )
    ORDER BY range_start
"""


def drop_expired(now: datetime) -> int:
    """Drop every chunk all of whose readings are older than their sensors keep them; returns how many."""
    if not connection.has_timescale():  # type: ignore[attr-defined]
        return 0
    with connection.cursor() as cursor:
        cursor.execute(EXPIRED, {"now": now, "retention": settings.RETENTION_DAYS})
        chunks = cursor.fetchall()
        for start, end in chunks:
            cursor.execute(
                "SELECT drop_chunks('sensors_reading', older_than => %s::timestamptz, newer_than => %s::timestamptz)",
                [end, start],
            )
    return len(chunks)

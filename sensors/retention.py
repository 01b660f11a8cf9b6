"""How long things are kept: readings as their sensors say, records of finished work for days."""

import time
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet

from sensors.models import IdempotentRequest, Quarantined, ReadingBatch
from sensors.timescale import chunks
from sensors.timescale.rebuild import KEPT_SINCE

# One statement removes at most so many rows: what it locks and logs stays small, and readers notice nothing.
ROWS_AT_ONCE = 20_000
# A run ends after this long; the next one goes on.
TURN_SECONDS = 20.0
IDEMPOTENT_HOURS = 24
QUARANTINE_DAYS = 30

EXPIRED_SENSORS = f"""
    SELECT sensor.id, sensor.kept_since
    FROM (SELECT id, {KEPT_SINCE} AS kept_since FROM sensors_sensor) sensor
    CROSS JOIN LATERAL (
        SELECT "timestamp" FROM sensors_reading WHERE sensor_id = sensor.id ORDER BY "timestamp" LIMIT 1
    ) oldest
    WHERE oldest."timestamp" < sensor.kept_since
"""
REMOVE_OLDEST = """
    DELETE FROM sensors_reading WHERE sensor_id = %(sensor)s AND "timestamp" < coalesce(
        (SELECT least("timestamp", %(before)s) FROM sensors_reading WHERE sensor_id = %(sensor)s
         ORDER BY "timestamp" OFFSET %(rows)s LIMIT 1),
        %(before)s
    )
"""


def remove_old_rows(now: datetime) -> None:
    """Remove what has been kept long enough, for a turn at most. Hourly summaries of removed readings stay."""
    deadline = time.monotonic() + TURN_SECONDS
    chunks.drop_expired(now)
    remove_readings(now, deadline)
    finished = ReadingBatch.objects.filter(
        received_at__lt=now - timedelta(days=settings.BATCH_RETENTION_DAYS), pending__isnull=True
    )
    delete_in_steps(finished, deadline)
    delete_in_steps(IdempotentRequest.objects.filter(created_at__lt=now - timedelta(hours=IDEMPOTENT_HOURS)), deadline)
    delete_in_steps(Quarantined.objects.filter(settled_at__lt=now - timedelta(days=QUARANTINE_DAYS)), deadline)


def remove_readings(now: datetime, deadline: float) -> int:
    """Remove readings older than their sensor keeps them, until `deadline` (monotonic seconds); returns how many."""
    removed = 0
    with connection.cursor() as cursor:
        cursor.execute(EXPIRED_SENSORS, {"now": now, "retention": settings.RETENTION_DAYS})
        for sensor, kept_since in cursor.fetchall():
            left = True
            while left and time.monotonic() < deadline:
                cursor.execute(REMOVE_OLDEST, {"sensor": sensor, "before": kept_since, "rows": ROWS_AT_ONCE})
                left = cursor.rowcount >= ROWS_AT_ONCE
                removed += cursor.rowcount
    return removed


def delete_in_steps(rows: "QuerySet[Any]", deadline: float) -> None:
    """Delete these rows a few thousand at a time, until `deadline` (monotonic seconds)."""
    while time.monotonic() < deadline:
        step = list(rows.order_by("pk").values_list("pk", flat=True)[: ROWS_AT_ONCE // 10])
        if not step:
            return
        rows.model._default_manager.filter(pk__in=step).only("pk").delete()

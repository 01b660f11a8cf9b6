"""How long things are kept: readings as their sensors say, records of finished work for days."""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet

from sensors.models import IdempotentRequest, Quarantined, ReadingBatch
from sensors.timescale import chunks
from sensors.timescale.compression import unlimited_decompression
from sensors.timescale.rebuild import KEPT_SINCE, UNSUMMARISED

logger = logging.getLogger(__name__)

# One statement removes at most so many rows: what it locks and logs stays small, and readers notice nothing.
ROWS_AT_ONCE = 20_000
# Each kind of row has so long in a run; the next run goes on.
TURN_SECONDS = 20.0
IDEMPOTENT_HOURS = 24
QUARANTINE_DAYS = 30

EXPIRED_SENSORS = f"""
    SELECT sensor.id, oldest."timestamp", sensor.kept_since
    FROM (SELECT id, {KEPT_SINCE} AS kept_since FROM sensors_sensor) sensor
    CROSS JOIN LATERAL (
        SELECT "timestamp" FROM sensors_reading WHERE sensor_id = sensor.id ORDER BY "timestamp" LIMIT 1
    ) oldest
    WHERE oldest."timestamp" < sensor.kept_since
"""
STEP_END = """
    SELECT "timestamp" FROM sensors_reading
    WHERE sensor_id = %(sensor)s AND "timestamp" >= %(start)s AND "timestamp" < %(before)s
    ORDER BY "timestamp" OFFSET %(rows)s LIMIT 1
"""
# Both limits are constants: TimescaleDB unpacks only what lies between them. Readings that the summary does not have
# yet would leave no trace: they stay until it has them.
REMOVE_STEP = f"""
    DELETE FROM sensors_reading
    WHERE sensor_id = %(sensor)s AND "timestamp" >= %(start)s AND "timestamp" < %(end)s
        AND date_trunc('hour', "timestamp", 'UTC') NOT IN (
            SELECT generate_series(
                greatest(first, date_trunc('hour', %(start)s, 'UTC')), least(last, %(end)s), interval '1 hour'
            )
            FROM ({UNSUMMARISED}) waiting WHERE sensor_id = %(sensor)s
        )
"""


def remove_old_rows(now: datetime) -> None:
    """Remove what has been kept long enough, for a turn at most. Hourly summaries of removed readings stay."""
    finished = ReadingBatch.objects.filter(
        received_at__lt=now - timedelta(days=settings.BATCH_RETENTION_DAYS), pending__isnull=True
    )
    answered = IdempotentRequest.objects.filter(created_at__lt=now - timedelta(hours=IDEMPOTENT_HOURS))
    settled = Quarantined.objects.filter(settled_at__lt=now - timedelta(days=QUARANTINE_DAYS))
    _attempt("chunks", lambda: chunks.drop_expired(now))
    _attempt("readings", lambda: remove_readings(now, time.monotonic() + TURN_SECONDS))
    _attempt("batches", lambda: delete_in_steps(finished, time.monotonic() + TURN_SECONDS))
    _attempt("answers to requests", lambda: delete_in_steps(answered, time.monotonic() + TURN_SECONDS))
    _attempt("settled rows", lambda: delete_in_steps(settled, time.monotonic() + TURN_SECONDS))


def _attempt(what: str, work: Callable[[], int | None]) -> int:
    """What cannot be removed shall not keep the rest for ever."""
    try:
        return work() or 0
    except Exception:
        logger.exception("old rows could not be removed", extra={"what": what})
        return 0


def remove_readings(now: datetime, deadline: float) -> int:
    """Remove readings older than their sensor keeps them, until `deadline` (monotonic seconds); returns how many."""
    with connection.cursor() as cursor:
        cursor.execute(EXPIRED_SENSORS, {"now": now, "retention": settings.RETENTION_DAYS})
        expired = cursor.fetchall()
    return sum(
        _attempt(f"readings of sensor {sensor}", partial(_remove_from, sensor, oldest, kept_since, deadline))
        for sensor, oldest, kept_since in expired
    )


def _remove_from(sensor: int, start: datetime | None, before: datetime, deadline: float) -> int:
    removed = 0
    while start and time.monotonic() < deadline:
        step, start = _remove_step(sensor, start, before)
        removed += step
    return removed


def _remove_step(sensor: int, start: datetime, before: datetime) -> tuple[int, datetime | None]:
    """Remove a sensor's first readings since `start`; returns how many, and where to go on, None at `before`."""
    step: dict[str, Any] = {"sensor": sensor, "start": start, "before": before, "rows": ROWS_AT_ONCE}
    with transaction.atomic(), connection.cursor() as cursor:
        unlimited_decompression()
        cursor.execute(STEP_END, step)
        row = cursor.fetchone()
        cursor.execute(REMOVE_STEP, step | {"end": row[0] if row else before})
        return cursor.rowcount, row[0] if row else None


def delete_in_steps(rows: "QuerySet[Any]", deadline: float) -> None:
    """Delete these rows a few thousand at a time, until `deadline` (monotonic seconds)."""
    while time.monotonic() < deadline:
        step = list(rows.order_by("pk").values_list("pk", flat=True)[: ROWS_AT_ONCE // 10])
        if not step:
            return
        rows.model._default_manager.filter(pk__in=step).only("pk").delete()

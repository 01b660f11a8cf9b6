"""What many processes do to the summary at once; tests/timescale/test_summary.py has everything else."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.db import connection

from sensors import outbox, summary
from sensors.arrays import Bigints, Timestamps, numpy_cursor
from sensors.models import DirtyHour, HourlySummary, Reading
from sensors.timescale.rebuild import UNSUMMARISED
from tests.timescale.records import make_sensor, store

START = datetime(2026, 3, 2, tzinfo=UTC)


MANY_PENDING = """
    WITH batch AS (
        INSERT INTO sensors_readingbatch
            (received_at, source, mode, accepted, duplicates, corrected, sensors, firsts, lasts)
        SELECT now(), 'test', CASE WHEN n % 200 = 0 THEN 'history' ELSE 'live' END, 1, 0, 0, array[n % 50],
            array[now() - interval '5 days'], array[now() - interval '5 days']
        FROM generate_series(1, 20000) n RETURNING id
    )
    INSERT INTO sensors_pending (batch_id, consumer, live, due_at, attempts, error, dead_at)
    SELECT id, consumer, id % 200 <> 0, now(), 0, '', CASE WHEN id % 1000 = 1 THEN now() END
    FROM batch CROSS JOIN unnest(array['score', 'watch', 'summarise']) AS consumer
"""


@pytest.mark.django_db
@pytest.mark.parametrize("query", [summary.STALE, UNSUMMARISED], ids=["stale hours", "not summed up yet"])
def test_what_waits_to_be_summed_up_is_found_by_indexes_however_much_else_waits(query: str) -> None:
    now = datetime.now(UTC)
    window = {"first": now - timedelta(days=7), "last": now, "late": 3660}
    asked = {"sensors": Bigints(np.array([7])), "cut": Timestamps(np.empty(0, np.int64)), **window}
    with numpy_cursor() as cursor:
        cursor.execute(MANY_PENDING)
        cursor.execute("ANALYZE sensors_pending, sensors_readingbatch")
        cursor.execute(f"EXPLAIN {query}", asked)
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert {"pending_waiting", "pending_dead"} <= set(re.findall(r"\w+", plan))
    assert "Seq Scan on sensors_pending" not in plan


@pytest.mark.django_db(transaction=True)
def test_readings_that_pour_in_while_hours_are_computed_are_all_in_the_summary() -> None:
    sensors = [make_sensor(f"pump.{number}") for number in range(4)]

    def pour(offset: int) -> None:
        try:
            for number in range(25):
                for sensor in sensors if offset % 2 else reversed(sensors):
                    store(sensor, START + timedelta(seconds=offset + 4 * number), [float(number)] * 3, seconds=3600)
                outbox.drain("summarise")
        finally:
            connection.close()

    def compute(_: int) -> None:
        try:
            for _ in range(40):
                # Hours that were marked a moment ago are taken at once, whether they rest or not.
                DirtyHour.objects.update(since=START)
                summary.rebuild_due(quiet_seconds=0)
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as threads:
        work = [threads.submit(pour, offset) for offset in range(4)] + [threads.submit(compute, n) for n in range(2)]
        for each in work:
            each.result()
    while outbox.drain("summarise"):
        pass
    DirtyHour.objects.update(since=START)
    while summary.rebuild_due(quiet_seconds=0):
        pass
    assert not DirtyHour.objects.exists()
    kept = HourlySummary.objects.filter(sensor__in=sensors)
    assert sum(kept.values_list("count", flat=True)) == Reading.objects.count() == 4 * 4 * 25 * 3

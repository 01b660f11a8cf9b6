"""What many processes do to the summary at once; tests/timescale/test_summary.py has everything else."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from sensors import outbox, summary
from sensors.models import DirtyHour, HourlySummary, Reading
from tests.timescale.records import make_sensor, store

START = datetime(2026, 3, 2, tzinfo=UTC)


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

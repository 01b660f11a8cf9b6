import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone

from sensors import outbox, retention, summary
from sensors.models import HourlySummary, IdempotentRequest, Pending, Quarantined, Reading, ReadingBatch, Sensor
from sensors.timescale import chunks
from tests.conftest import User
from tests.timescale.records import make_sensor, record, store

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture(autouse=True)
def half_a_year(settings: LazySettings) -> None:
    settings.RETENTION_DAYS = 180


def days_of(sensor: Sensor, now: datetime) -> list[int]:
    """How many days ago each reading was, oldest first."""
    times = Reading.objects.filter(sensor=sensor).order_by("timestamp").values_list("timestamp", flat=True)
    return [(now - at).days for at in times]


def remove(now: datetime) -> int:
    """Removes expired readings; returns how many chunks went whole."""
    dropped = chunks.drop_expired(now)
    retention.remove_readings(now, time.monotonic() + 60)
    return dropped


def test_readings_go_when_they_are_too_old_and_their_summaries_stay() -> None:
    now = timezone.now()
    sensor = make_sensor(retention_days=None)
    for age in (200, 181, 179, 1):
        store(sensor, now - timedelta(days=age, minutes=5), [1.0])
    outbox.drain("summarise")
    summary.rebuild_due(quiet_seconds=0)
    remove(now)
    assert days_of(sensor, now) == [179, 1]
    assert HourlySummary.objects.filter(sensor=sensor).count() == 4
    assert summary.hours([sensor.pk], now - timedelta(days=300), now).count.tolist() == [1, 1, 1, 1]


def test_a_sensor_may_keep_its_readings_longer_shorter_or_for_ever() -> None:
    now = timezone.now()
    kept = {name: make_sensor(name, retention_days=days) for name, days in (("ever", 0), ("long", 400), ("short", 2))}
    for sensor in kept.values():
        for age in (500, 300, 1):
            record(sensor, now - timedelta(days=age, minutes=5), [1.0])
    remove(now)
    ages = {name: days_of(sensor, now) for name, sensor in kept.items()}
    assert ages == {"ever": [500, 300, 1], "long": [300, 1], "short": [1]}


def test_much_is_removed_in_steps_and_a_run_that_is_over_leaves_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 10)
    now = timezone.now()
    sensor, keeper = make_sensor(retention_days=None), make_sensor("keeper")
    for one in (sensor, keeper):
        record(one, now - timedelta(days=200), [1.0] * 35)
    assert retention.remove_readings(now, time.monotonic()) == 0
    assert retention.remove_readings(now, time.monotonic() + 60) == 35
    assert Reading.objects.count() == 35


def test_readings_stay_until_the_summary_has_them() -> None:
    now = timezone.now()
    sensor = make_sensor(retention_days=30)
    old = (now - timedelta(days=40)).replace(minute=0, second=0, microsecond=0)
    record(sensor, old - timedelta(hours=1), [1.0] * 60)
    store(sensor, old, [2.0] * 60)
    remove(now)
    assert Reading.objects.filter(value=2.0).count() == 60
    assert not Reading.objects.filter(value=1.0).exists()
    Pending.objects.filter(consumer="summarise").update(dead_at=now)
    remove(now)
    assert Reading.objects.count() == 60
    Pending.objects.update(dead_at=None)
    outbox.drain("summarise")
    remove(now)
    assert Reading.objects.count() == 60
    summary.rebuild_due(quiet_seconds=0)
    remove(now)
    assert not Reading.objects.exists()
    assert summary.hours([sensor.pk], old, now).count.tolist() == [60]


def test_what_cannot_be_removed_does_not_keep_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    now = timezone.now()
    stuck, other = make_sensor("a.stuck", retention_days=30), make_sensor("b.other", retention_days=30)
    for sensor in (stuck, other, make_sensor("keeper")):
        record(sensor, now - timedelta(days=40), [1.0])
    old = now - timedelta(days=8)
    ReadingBatch.objects.create(received_at=old, accepted=1, sensors=[], firsts=[], lasts=[], source="test")
    with refusing_to_delete(stuck):
        retention.remove_old_rows(now)
    assert (days_of(stuck, now), days_of(other, now)) == ([40], [])
    assert not ReadingBatch.objects.exists()
    assert f"readings of sensor {stuck.pk}" in [getattr(record, "what", "") for record in caplog.records]


@contextmanager
def refusing_to_delete(sensor: Sensor) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(
            """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'stuck'; END $$;
            CREATE TRIGGER stuck BEFORE DELETE ON sensors_reading FOR EACH ROW WHEN (OLD.sensor_id = %s)
            EXECUTE FUNCTION refuse()""",
            [sensor.pk],
        )
        try:
            yield
        finally:
            cursor.execute("DROP TRIGGER stuck ON sensors_reading; DROP FUNCTION refuse()")


def test_with_retention_switched_off_everything_stays(settings: LazySettings) -> None:
    settings.RETENTION_DAYS = 0
    now = timezone.now()
    sensor = make_sensor(retention_days=None)
    record(sensor, now - timedelta(days=4000), [1.0])
    assert remove(now) == 0
    assert len(days_of(sensor, now)) == 1


def test_records_of_finished_work_go_and_of_unfinished_work_stay() -> None:
    now = timezone.now()
    old = now - timedelta(days=8)
    spans = {"accepted": 1, "sensors": [], "firsts": [], "lasts": [], "source": "test"}
    done = ReadingBatch.objects.create(received_at=old, **spans)
    waiting = ReadingBatch.objects.create(received_at=old, **spans)
    Pending.objects.create(batch=waiting, consumer="score")
    fresh = ReadingBatch.objects.create(received_at=now, **spans)
    retention.remove_old_rows(now)
    assert set(ReadingBatch.objects.all()) == {waiting, fresh}
    assert done not in ReadingBatch.objects.all()


def test_answers_to_requests_go_after_a_day_and_settled_rows_after_a_month() -> None:
    now = timezone.now()
    user = User.objects.create_user("line-1")
    for key, hours in (("old", 25), ("new", 23)):
        IdempotentRequest.objects.create(user=user, key=key, digest=b"x", created_at=now - timedelta(hours=hours))
    for code, days in (("old", 31), ("new", 29), ("waiting", None)):
        settled = now - timedelta(days=days) if days else None
        Quarantined.objects.create(
            source="test",
            code=code,
            payload={},
            digest=code.encode(),
            settled_at=settled,
            received_at=now - timedelta(days=99),
        )
    retention.remove_old_rows(now)
    assert set(IdempotentRequest.objects.values_list("key", flat=True)) == {"new"}
    assert set(Quarantined.objects.values_list("code", flat=True)) == {"new", "waiting"}

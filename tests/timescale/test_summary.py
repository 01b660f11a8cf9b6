from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone

from sensors import outbox, summary
from sensors.models import DirtyHour, HourlySummary, Pending, Reading, Sensor
from sensors.summary import Hours
from tests.timescale.records import DAY, HOUR, make_sensor, record, store

pytestmark = pytest.mark.usefixtures("engine")


def read(sensor: Sensor, start: datetime = DAY, stop: datetime = DAY + 24 * HOUR) -> Hours:
    return summary.hours([sensor.pk], start, stop)


def mark() -> None:
    outbox.drain("summarise")


def compute() -> None:
    mark()
    summary.rebuild_due(quiet_seconds=0)


def kept(sensor: Sensor) -> dict[datetime, int]:
    """What stands in the summary itself, readings left aside."""
    return dict(HourlySummary.objects.filter(sensor=sensor).order_by("bucket").values_list("bucket", "count"))


def test_an_hour_says_how_many_what_lowest_highest_first_last_and_how_good() -> None:
    sensor = make_sensor()
    store(sensor, DAY, [5.0, 1.0, 9.0, 3.0], seconds=900)
    Reading.objects.filter(sensor=sensor, value=9.0).update(quality=0.0)
    compute()
    row = HourlySummary.objects.get(sensor=sensor)
    assert (row.bucket, row.count, row.min, row.max, row.first, row.last) == (DAY, 4, 1.0, 9.0, 5.0, 3.0)
    assert (row.avg, row.quality) == (pytest.approx(4.5), pytest.approx(0.75))


def assert_equal(found: Hours, expected: Hours) -> None:
    for name, column in vars(expected).items():
        np.testing.assert_allclose(vars(found)[name], column, rtol=1e-12, err_msg=name)


def test_readers_are_right_before_anything_was_marked_after_it_and_after_the_computation() -> None:
    sensor = make_sensor()
    values = [20.0 + i % 13 for i in range(300)]
    store(sensor, DAY + timedelta(minutes=30), values)
    unmarked = read(sensor)
    assert unmarked.count.tolist() == [30, 60, 60, 60, 60, 30]
    mark()
    assert DirtyHour.objects.count() == 6
    assert_equal(read(sensor), unmarked)
    compute()
    assert not DirtyHour.objects.exists()
    assert_equal(read(sensor), unmarked)
    assert list(kept(sensor).values()) == [30, 60, 60, 60, 60, 30]


def test_live_readings_are_seen_at_once_although_no_worker_runs() -> None:
    sensor = make_sensor()
    now = timezone.now()
    store(sensor, now - timedelta(minutes=2), [1.0, 2.0])
    assert Pending.objects.filter(consumer="summarise", live=True).exists()
    assert read(sensor, now - 2 * HOUR, now + HOUR).count.sum() == 2


@pytest.mark.parametrize("live", [True, False])
def test_readings_that_could_not_be_marked_are_read_all_the_same(live: bool) -> None:
    sensor = make_sensor()
    store(sensor, DAY, [1.0] * 10)
    compute()
    store(sensor, DAY + timedelta(minutes=20), [2.0] * 10)
    Pending.objects.filter(consumer="summarise").update(dead_at=timezone.now(), live=live)
    assert read(sensor).count.tolist() == [20]


def test_late_readings_change_an_hour_that_was_computed() -> None:
    sensor = make_sensor()
    store(sensor, DAY, [1.0, 2.0])
    compute()
    store(sensor, DAY + timedelta(minutes=30), [99.0])
    assert read(sensor).max.tolist() == [99.0]
    compute()
    assert kept(sensor) == {DAY: 3}
    assert HourlySummary.objects.get(sensor=sensor).max == 99.0


def test_a_window_that_cuts_an_hour_has_only_what_lies_in_the_window() -> None:
    sensor = make_sensor()
    store(sensor, DAY, [float(i) for i in range(180)])
    compute()
    found = read(sensor, DAY + timedelta(minutes=30), DAY + timedelta(minutes=90))
    assert found.count.tolist() == [30, 30]
    assert (found.first[0], found.last[-1]) == (30.0, 89.0)


def test_several_sensors_come_in_one_go_and_others_stay_out() -> None:
    one, two, other = (make_sensor(name) for name in ("one", "two", "other"))
    for sensor in (one, two, other):
        store(sensor, DAY, [1.0] * 120)
    found = summary.hours([two.pk, one.pk], DAY, DAY + 24 * HOUR)
    assert found.sensor.tolist() == sorted([one.pk] * 2 + [two.pk] * 2)


def test_an_hour_is_computed_only_when_it_was_left_alone() -> None:
    sensor = make_sensor()
    store(sensor, DAY, [1.0])
    mark()
    assert summary.rebuild_due() == 0
    DirtyHour.objects.update(touched_at=timezone.now() - timedelta(seconds=summary.QUIET_SECONDS + 1))
    assert summary.rebuild_due() == 1
    assert kept(sensor) == {DAY: 1}


def test_an_hour_that_never_rests_is_computed_now_and_then() -> None:
    store(make_sensor(), DAY, [1.0])
    mark()
    DirtyHour.objects.update(since=timezone.now() - timedelta(seconds=summary.AT_MOST_EVERY_SECONDS + 1))
    assert summary.rebuild_due() == 1


def test_a_mark_made_during_the_computation_outlives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sensor = make_sensor()
    store(sensor, DAY, [1.0])
    mark()
    compute_hours = summary.rebuild

    def store_meanwhile(*hours: Any) -> None:
        compute_hours(*hours)
        store(sensor, DAY + timedelta(minutes=1), [7.0])
        mark()

    monkeypatch.setattr(summary, "rebuild", store_meanwhile)
    monkeypatch.setattr(summary, "TURN_SECONDS", 0.0001)
    summary.rebuild_due(quiet_seconds=0)
    assert read(sensor).max.tolist() == [7.0]
    monkeypatch.undo()
    summary.rebuild_due(quiet_seconds=0)
    assert kept(sensor) == {DAY: 2}


def test_a_mark_made_between_taking_and_computing_outlives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sensor = make_sensor()
    store(sensor, DAY, [1.0])
    mark()
    taken = summary._take_due(0)
    store(sensor, DAY + timedelta(minutes=1), [7.0])
    mark()
    summary.rebuild(taken[:, 0], taken[:, 1])
    assert DirtyHour.objects.count() == 1


def test_a_worker_that_dies_after_taking_hours_leaves_them_to_others() -> None:
    sensor = make_sensor()
    store(sensor, DAY, [1.0])
    mark()
    assert len(summary._take_due(0)) == 1
    assert summary.rebuild_due(quiet_seconds=0) == 0
    DirtyHour.objects.update(since=timezone.now() - timedelta(seconds=summary.AT_MOST_EVERY_SECONDS + 1))
    assert summary.rebuild_due(quiet_seconds=0) == 1
    assert kept(sensor) == {DAY: 1}


def test_an_hour_whose_readings_are_gone_loses_its_row() -> None:
    sensor = make_sensor(retention_days=0)
    store(sensor, DAY, [1.0])
    compute()
    Reading.objects.all().delete()
    summary.mark_window([sensor.pk], DAY, DAY)
    compute()
    assert kept(sensor) == {}
    assert not len(read(sensor).count)


def test_an_hour_whose_readings_grew_too_old_keeps_its_row() -> None:
    sensor = make_sensor(retention_days=30)
    old = (timezone.now() - timedelta(days=40)).replace(minute=0, second=0, microsecond=0)
    store(sensor, old, [1.0, 2.0])
    compute()
    Reading.objects.all().delete()
    summary.mark_window([sensor.pk], old, old)
    compute()
    assert kept(sensor) == {old: 2}


def test_the_audit_finds_what_changed_without_a_mark_and_has_it_computed() -> None:
    sensor = make_sensor()
    now = timezone.now()
    begin = (now - timedelta(days=2)).replace(minute=0, second=0, microsecond=0)
    store(sensor, begin, [1.0] * 120)
    compute()
    assert summary.audit(now) == 0
    Reading.objects.filter(sensor=sensor, timestamp__lt=begin + HOUR).update(value=2.0)
    assert summary.audit(now) == 1
    compute()
    assert HourlySummary.objects.get(sensor=sensor, bucket=begin).avg == 2.0
    assert summary.audit(now) == 0


def test_the_audit_also_finds_hours_that_are_missing(settings: LazySettings) -> None:
    settings.RETENTION_DAYS = 1
    sensor = make_sensor(retention_days=None)
    now = timezone.now()
    record(sensor, now - timedelta(hours=20), [1.0] * 1200)
    with connection.cursor() as cursor:
        # On TimescaleDB hours after the last refresh are never missing.
        if connection.has_timescale_community():  # type: ignore[attr-defined]
            cursor.execute(
                "CALL refresh_continuous_aggregate('sensor_readings_summary_hourly', %s, %s)", [now - 3 * HOUR, now]
            )
    assert summary.audit(now) > 10


def test_times_of_any_zone_fall_into_hours_of_utc() -> None:
    sensor = make_sensor()
    store(sensor, datetime(2026, 3, 2, 5, 45, tzinfo=UTC), [1.0, 2.0], seconds=1800)
    compute()
    assert [bucket.minute for bucket in kept(sensor)] == [0, 0]

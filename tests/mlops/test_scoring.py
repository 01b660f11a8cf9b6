import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from alerts import lifecycle
from alerts.models import Alert, Severity, State
from maintenance import work_orders
from mlops.models import Anomaly, Baseline
from sensors import lookup, outbox
from sensors.columns import Columns
from sensors.ingest import Stored, store_batch
from sensors.models import Pending, Reading, ReadingBatch, Sensor
from tests.conftest import Plant, make_user

LIVE, HISTORY = ReadingBatch.Mode.LIVE, ReadingBatch.Mode.HISTORY


def columns(sensor: Sensor, start: datetime, values: np.ndarray, step_seconds: float = 60) -> Columns:
    count = len(values)
    return Columns(
        sensor_ids=[sensor.sensor_id],
        codes=np.zeros(count, np.int64),
        timestamps=np.rint((start.timestamp() + np.arange(count) * step_seconds) * 1e6).astype(np.int64),
        values=np.asarray(values, float),
        qualities=np.ones(count),
        unit_names=[],
        units=np.full(count, -1),
        indexes=np.arange(count),
    )


def store(sensor: Sensor, start: datetime, values: Any, mode: ReadingBatch.Mode = LIVE, step: float = 60) -> Stored:
    return store_batch(columns(sensor, start, np.asarray(values, float), step), source="test", mode=mode)


def noise(count: int, level: float = 2.0, sd: float = 0.1, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(level, sd, count)


@pytest.fixture(autouse=True)
def only_scoring(settings: LazySettings) -> None:
    settings.OUTBOX_CONSUMERS = {"score": settings.OUTBOX_CONSUMERS["score"]}


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def vibration(north: Plant, now: datetime) -> Sensor:
    """The pump's vibration with two quiet days behind it, scored."""
    store(north.vibration, now - timedelta(days=2), noise(2 * 1440 - 60), HISTORY)
    outbox.drain("score")
    assert not Anomaly.objects.exists()
    return north.vibration


def test_a_lasting_deviation_raises_one_alert_with_its_evidence(vibration: Sensor, now: datetime) -> None:
    store(vibration, now - timedelta(minutes=9), [2.0, 2.1, 6.0, 6.2, 6.1, 6.3])
    outbox.drain("score")
    alert = Alert.objects.get()
    assert (alert.state, alert.historical, alert.sensor, alert.site) == (
        State.OPEN,
        False,
        vibration,
        vibration.asset.site,
    )
    assert alert.severity == Severity.CRITICAL  # Far beyond the limit, on an asset of high criticality.
    assert alert.evidence["peak_value"] == 6.3
    assert alert.evidence["hits"] == 4
    assert abs(alert.evidence["expected"] - 2.0) < 0.05
    assert "above normal: 6.3 mm/s" in alert.title
    assert Anomaly.objects.get().alert == alert


def test_two_anomalous_readings_are_not_enough(vibration: Sensor, now: datetime) -> None:
    store(vibration, now - timedelta(minutes=9), [2.0, 2.8, 2.8, 2.0, 2.0])
    outbox.drain("score")
    assert not Alert.objects.exists()


def test_a_single_extreme_reading_raises_a_low_alert(vibration: Sensor, now: datetime) -> None:
    store(vibration, now - timedelta(minutes=9), [2.0, 9.0, 2.0])
    outbox.drain("score")
    assert Alert.objects.get().severity == Severity.LOW


def test_readings_of_an_event_that_come_one_by_one_make_one_alert(vibration: Sensor, now: datetime) -> None:
    for minute in range(8):
        store(vibration, now - timedelta(minutes=9 - minute), [3.5 + minute / 10])
        outbox.drain("score")
    alert = Alert.objects.get()
    assert alert.occurrences == 1
    anomaly = Anomaly.objects.get()
    assert anomaly.peak_value == 4.2
    assert (anomaly.end - anomaly.start) == timedelta(minutes=7)


def test_scoring_the_same_batch_again_changes_nothing(vibration: Sensor, now: datetime) -> None:
    stored = store(vibration, now - timedelta(minutes=9), [3.5] * 5)
    outbox.drain("score")
    before = (list(Anomaly.objects.values()), list(Alert.objects.values("occurrences", "severity", "title")))
    Pending.objects.create(batch_id=stored.batch_id, consumer="score")
    outbox.drain("score")
    assert (list(Anomaly.objects.values()), list(Alert.objects.values("occurrences", "severity", "title"))) == before


def test_the_order_and_merging_of_batches_do_not_change_the_anomalies(north: Plant, now: datetime) -> None:
    values = np.concatenate([noise(1440), noise(30, level=4.0), noise(1000), noise(20, level=0.5), noise(300)])
    start = now - timedelta(minutes=len(values) + 120)
    for first in range(0, len(values), 97):
        store(north.vibration, start + timedelta(minutes=first), values[first : first + 97], HISTORY)
    batches = list(Pending.objects.filter(consumer="score").values_list("batch", flat=True))
    fields = ("start", "end", "peak_at", "peak_value", "peak_score", "decision", "confidence")
    results = []
    for together in (1000, 1, 3):
        random.Random(8).shuffle(batches)
        Pending.objects.all().delete()
        for first in range(0, len(batches), together):
            for batch in batches[first : first + together]:
                Pending.objects.create(batch_id=batch, consumer="score", live=False)
            while outbox.drain("score"):
                pass
        results.append(list(Anomaly.objects.order_by("start").values(*fields)))
        assert Alert.objects.count() == 2
        Anomaly.objects.all().delete()
        Alert.objects.all().delete()
        Baseline.objects.all().delete()
    assert len(results[0]) == 2
    assert results[0] == results[1] == results[2]


def test_history_is_recorded_as_resolved_and_counts_nowhere(north: Plant, now: datetime) -> None:
    start = now - timedelta(days=3)
    store(north.vibration, start, np.concatenate([noise(1800), noise(10, level=5)]), HISTORY)
    outbox.drain("score")
    alert = Alert.objects.get()
    assert (alert.historical, alert.state) == (True, State.RESOLVED)
    assert not Alert.objects.unresolved().exists()
    assert start + timedelta(minutes=1800) == alert.opened_at


def test_live_readings_that_come_hours_late_are_history(vibration: Sensor, now: datetime) -> None:
    store(vibration, now - timedelta(hours=30, seconds=20), [6.0] * 6, step=5)
    outbox.drain("score")
    assert Alert.objects.get().historical


def test_the_late_part_of_an_event_that_is_open_belongs_to_it(vibration: Sensor, now: datetime) -> None:
    store(vibration, now - timedelta(minutes=10), [6.0] * 6)
    outbox.drain("score")
    store(vibration, now - timedelta(minutes=80, seconds=20), [7.0] * 6)
    outbox.drain("score")
    alert = Alert.objects.get()
    assert (alert.state, alert.historical) == (State.OPEN, False)
    assert alert.began_at == now - timedelta(minutes=80, seconds=20)


def test_a_late_middle_reading_confirms_an_event(vibration: Sensor, now: datetime) -> None:
    start = now - timedelta(minutes=9)
    store(vibration, start, [2.8])
    store(vibration, start + timedelta(minutes=2), [2.8, 2.0, 2.0])
    outbox.drain("score")
    assert not Alert.objects.exists()
    store(vibration, start + timedelta(minutes=1), [2.8])
    outbox.drain("score")
    assert Alert.objects.exists()


def test_a_batch_that_bridges_two_events_of_one_alert_leaves_it_open(vibration: Sensor, now: datetime) -> None:
    store(vibration, now - timedelta(minutes=50), [6.0] * 3, step=5)
    outbox.drain("score")
    Anomaly.objects.update(start=now - timedelta(hours=8), end=now - timedelta(hours=7))
    store(vibration, now - timedelta(minutes=2), [6.0] * 3, step=5)
    outbox.drain("score")
    assert (Anomaly.objects.count(), Alert.objects.get().occurrences) == (2, 2)
    store(vibration, now - timedelta(hours=4), [6.0] * 3, step=5)
    outbox.drain("score")
    assert Anomaly.objects.count() == 1
    assert Alert.objects.get().state == State.OPEN


def test_history_of_a_sensor_with_a_resolved_alert_is_scored(vibration: Sensor, now: datetime) -> None:
    store(vibration, now - timedelta(minutes=9), [6.0] * 6)
    outbox.drain("score")
    lifecycle.resolve(Alert.objects.get())
    store(vibration, now - timedelta(days=1), [6.0] * 6, HISTORY, step=7)
    outbox.drain("score")
    assert Anomaly.objects.filter(historical=True).exists()


def test_readings_of_poor_quality_are_neither_scored_nor_learned_from(vibration: Sensor, now: datetime) -> None:
    Sensor.objects.update(range_high=5)
    lookup.forget()
    store(vibration, now - timedelta(minutes=9), [6.0] * 6)
    outbox.drain("score")
    assert not Anomaly.objects.exists()


def test_work_in_progress_on_the_asset_raises_no_alert(vibration: Sensor, now: datetime) -> None:
    technician = make_user("technician", vibration.asset.site)
    asset = vibration.asset
    order = work_orders.WorkOrder.objects.create(
        state="approved", site=asset.site, asset=asset, title="Oil change", created_by=technician
    )
    work_orders.start(order, technician)
    store(vibration, timezone.now() - timedelta(seconds=10), [6.0] * 6, step=5)
    outbox.drain("score")
    assert not Alert.objects.exists()
    assert Anomaly.objects.get().decision == Anomaly.Decision.FALSE_POSITIVE


def test_a_fault_after_the_maintenance_alerts(vibration: Sensor, now: datetime) -> None:
    technician = make_user("technician", vibration.asset.site)
    asset = vibration.asset
    order = work_orders.WorkOrder.objects.create(
        site=asset.site,
        asset=asset,
        title="Oil change",
        created_by=technician,
        state="closed",
        started_at=now - timedelta(minutes=50),
        closed_at=now - timedelta(minutes=40),
    )
    store(vibration, order.started_at + timedelta(minutes=1), [6.0] * 6)
    outbox.drain("score")
    store(vibration, now - timedelta(minutes=9), [6.0] * 6)
    outbox.drain("score")
    assert Alert.objects.get().state == State.OPEN
    assert {row.decision for row in Anomaly.objects.all()} == {
        Anomaly.Decision.CREDIBLE,
        Anomaly.Decision.FALSE_POSITIVE,
    }


def test_starting_the_work_an_alert_asked_for_does_not_make_it_a_false_alarm(vibration: Sensor, now: datetime) -> None:
    technician = make_user("technician", vibration.asset.site)
    store(vibration, now - timedelta(minutes=9), [6.0] * 6)
    outbox.drain("score")
    alert = Alert.objects.get()
    work_orders.start(work_orders.propose_for_alert(alert, technician, approved=True), technician)
    store(vibration, timezone.now(), [6.0] * 4, step=1)
    outbox.drain("score")
    assert alert.anomalies.get().decision == Anomaly.Decision.CREDIBLE


def test_a_blip_while_a_sensor_is_new_does_not_hide_what_follows(north: Plant, now: datetime) -> None:
    start = now - timedelta(minutes=58)
    store(north.vibration, start, [2.0] * 14 + [3.0] * 3 + [2.0] * 3, step=2)
    outbox.drain("score")
    store(north.vibration, start + timedelta(minutes=2), noise(500), step=5)
    outbox.drain("score")
    store(north.vibration, now - timedelta(minutes=9), [8.0] * 30, step=5)
    outbox.drain("score")
    assert Alert.objects.unresolved().exists()


@pytest.mark.parametrize("value", [12.0, 1e15])
def test_the_first_movement_of_a_machine_that_always_stood_still_harms_nobody(
    north: Plant, now: datetime, value: float
) -> None:
    store(north.vibration, now - timedelta(minutes=59), [0.0] * 50)
    store(north.vibration, now - timedelta(minutes=5), [value] * 4)
    outbox.drain("score")
    assert not Pending.objects.filter(consumer="score").exists()


def test_alerts_of_assets_and_sensors_with_long_names_fit(vibration: Sensor, now: datetime) -> None:
    type(vibration.asset).objects.update(name="A" * 100)
    Sensor.objects.update(name="S" * 100)
    store(vibration, now - timedelta(minutes=9), [6.0] * 6)
    outbox.drain("score")
    assert len(Alert.objects.get().title) == 200


def test_the_alert_tells_the_latest_of_its_event(vibration: Sensor, now: datetime) -> None:
    store(vibration, now - timedelta(minutes=9), [6.0] * 3)
    outbox.drain("score")
    store(vibration, now - timedelta(minutes=6), [50.0] * 3)
    outbox.drain("score")
    assert Alert.objects.get().evidence["peak_value"] == 50.0


def test_a_sensor_whose_clock_runs_ahead_alerts_again_after_a_resolution(vibration: Sensor, now: datetime) -> None:
    store(vibration, now - timedelta(minutes=1), [6.0] * 6)  # Up to four minutes ahead.
    outbox.drain("score")
    lifecycle.resolve(Alert.objects.get())
    Alert.objects.update(resolved_at=now - timedelta(minutes=2))
    store(vibration, now + timedelta(minutes=4, seconds=1), [6.0] * 5, step=5)
    outbox.drain("score")
    assert Alert.objects.unresolved().count() == 1


@pytest.mark.django_db(transaction=True)
def test_workers_that_score_at_once_make_one_anomaly_and_one_alert(north: Plant) -> None:
    now = timezone.now()
    for sensor in (north.vibration, north.temperature):
        store(sensor, now - timedelta(days=2), noise(2 * 1440 - 60), HISTORY)
    while outbox.drain("score"):
        pass
    for minute in range(40):
        for sensor in (north.vibration, north.temperature):
            store(sensor, now - timedelta(minutes=45 - minute), [6.0 + minute / 10])

    def work(_: int) -> int:
        try:
            return outbox.drain("score")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as workers:
        done = sum(workers.map(work, range(8)))
    assert (done, Pending.objects.filter(consumer="score").count()) == (80, 0)
    assert sorted(Anomaly.objects.values_list("sensor", flat=True)) == sorted(
        [north.vibration.pk, north.temperature.pk]
    )
    assert Alert.objects.unresolved().count() == 2


def test_after_a_resolution_the_same_event_does_not_alert_again_but_a_new_one_does(
    vibration: Sensor, now: datetime
) -> None:
    store(vibration, now - timedelta(minutes=9), [6.0] * 6)
    outbox.drain("score")
    lifecycle.resolve(Alert.objects.get())
    Alert.objects.update(resolved_at=now - timedelta(minutes=3))
    store(vibration, now - timedelta(minutes=3), [6.0])  # Still running down.
    outbox.drain("score")
    assert Alert.objects.count() == 1
    store(vibration, now - timedelta(minutes=1), [6.0] * 4, step=15)
    outbox.drain("score")
    assert Alert.objects.unresolved().count() == 1
    assert Alert.objects.count() == 2


def test_in_its_first_day_a_sensor_must_deviate_three_times_as_far(north: Plant, now: datetime) -> None:
    store(north.vibration, now - timedelta(hours=4), noise(200))
    store(north.vibration, now - timedelta(minutes=9), [2.9] * 6)
    outbox.drain("score")
    assert not Anomaly.objects.exists()


def test_the_turn_of_a_slow_swing_in_the_first_hours_is_no_anomaly(north: Plant, now: datetime) -> None:
    minutes = np.arange(360)
    swing = 20 + 5 * np.cos(2 * np.pi * minutes / 1440) + np.random.default_rng(6).normal(0, 0.05, 360)
    for first in range(0, 360, 20):
        store(north.temperature, now - timedelta(minutes=370 - first), swing[first : first + 20])
        outbox.drain("score")
    assert not Anomaly.objects.exists()


def test_a_stream_of_seconds_is_judged_within_a_minute_of_its_first_reading(north: Plant, now: datetime) -> None:
    store(north.vibration, now - timedelta(seconds=60), noise(50), step=1)
    store(north.vibration, now - timedelta(seconds=10), [8.0] * 5, step=1)
    outbox.drain("score")
    assert Alert.objects.get().state == State.OPEN


def test_a_baseline_is_learned_once_per_block(vibration: Sensor, now: datetime) -> None:
    store(vibration, now - timedelta(seconds=20), [2.0] * 4, step=5)
    outbox.drain("score")
    blocks = Baseline.objects.count()
    store(vibration, now, [2.0])
    outbox.drain("score")
    assert Baseline.objects.count() - blocks <= 1  # One more only if the hour has just turned.


def test_scoring_many_sensors_takes_as_many_queries_as_scoring_one(
    north: Plant, now: datetime, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    sensors = [
        Sensor.objects.create(asset=north.pump, sensor_id=f"many.{number}", kind="generic", unit="1")
        for number in range(30)
    ]
    for sensor in sensors:
        store(sensor, now - timedelta(minutes=40), noise(40))
    with django_assert_max_num_queries(21):
        outbox.drain("score")


def test_times_are_utc(vibration: Sensor, now: datetime) -> None:
    store(vibration, now - timedelta(minutes=9), [6.0] * 6)
    outbox.drain("score")
    start = datetime.fromisoformat(Alert.objects.get().evidence["start"])
    assert start.tzinfo == UTC


def test_a_batch_whose_readings_are_gone_by_now_is_done_with(vibration: Sensor, now: datetime) -> None:
    store(vibration, now - timedelta(minutes=9), [6.0] * 6)
    Reading.objects.all().delete()
    outbox.drain("score")
    assert not Pending.objects.filter(consumer="score").exists()

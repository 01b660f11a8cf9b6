"""What a discovered sensor sent before somebody placed it is judged afterwards."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from alerts.models import Alert
from mlops.models import Anomaly
from sensors import afresh, lookup, outbox, placement
from sensors.discovery import waiting_room
from sensors.models import Pending, Reading, ReadingBatch, Sensor
from sensors.querysets import PendingQuerySet
from tests.conftest import Plant
from tests.locks import wait_until_waiting
from tests.readings import HISTORY, MINUTE, noise, store


@pytest.fixture
def now() -> datetime:
    return timezone.now().replace(microsecond=0)


@pytest.fixture
def found(north: Plant) -> Sensor:
    """A sensor that waits to be placed."""
    room = waiting_room(north.site.pk)
    about = {"kind": "generic", "unit": "1", "status": Sensor.Status.DISCOVERED}
    sensor = Sensor.objects.create(asset=room, sensor_id="north.new", **about)
    lookup.forget()
    return sensor


def drain() -> None:
    while outbox.drain("score"):
        pass


def pending() -> PendingQuerySet:
    return Pending.objects.filter(consumer="score")


def place(sensor: Sensor, plant: Plant, people: dict[str, User]) -> None:
    placement.place(sensor, plant.pump, people["engineer"])


def deviating(count: int, first: int, length: int) -> np.ndarray:
    """Ordinary values, but for `length` of them from `first` on."""
    values = noise(count)
    values[first : first + length] = 90.0
    return values


def test_an_anomaly_of_the_time_before_is_recorded_as_past_and_nobody_is_told(
    found: Sensor, north: Plant, people: dict[str, User], now: datetime
) -> None:
    store(found, now - 120 * MINUTE, 3 * 1440, MINUTE, HISTORY, values=deviating(3 * 1440, 2500, 20))
    drain()
    assert not Anomaly.objects.exists()
    place(found, north, people)
    drain()
    anomaly = Anomaly.objects.get()
    assert (anomaly.sensor, anomaly.historical, anomaly.peak_value) == (found, True, 90.0)
    alert = Alert.objects.get()
    assert (alert.historical, alert.state, alert.asset) == (True, "resolved", north.pump)


def test_one_that_goes_on_alerts_with_the_first_new_reading(
    found: Sensor, north: Plant, people: dict[str, User], now: datetime
) -> None:
    store(found, now - MINUTE, 3 * 1440, MINUTE, HISTORY, values=deviating(3 * 1440, 3 * 1440 - 10, 10))
    place(found, north, people)
    drain()
    assert not Alert.objects.unresolved().exists()
    store(found, now, 1, MINUTE, values=[90.0])
    drain()
    assert Alert.objects.unresolved().get().sensor == found


def test_other_sensors_of_the_same_batches_are_not_judged_again(
    found: Sensor, north: Plant, people: dict[str, User], now: datetime
) -> None:
    for sensor in (found, north.temperature):
        store(sensor, now - 120 * MINUTE, 600, MINUTE, HISTORY)
    drain()
    place(found, north, people)
    assert {sensor for batch in ReadingBatch.objects.filter(pending__consumer="score") for sensor in batch.sensors} == {
        found.pk
    }


def test_many_readings_are_seen_to_in_batches_that_leave_none_out(
    found: Sensor, north: Plant, people: dict[str, User], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(afresh, "MAX_READINGS", 250)
    for end in (now - timedelta(days=9), now - timedelta(days=3), now):
        store(found, end, 400, MINUTE, HISTORY)
    pending().delete()
    place(found, north, people)
    batches = [row.batch for row in pending().select_related("batch").order_by("pk")]
    assert 4 <= len(batches) <= 6
    assert sum(batch.accepted for batch in batches) == 1200
    assert max(batch.accepted for batch in batches) <= 250 + 60
    assert not any(row.live for row in pending())
    spans = [span for batch in batches for span in zip(batch.firsts, batch.lasts, strict=True)]
    assert sum(Reading.objects.filter(sensor=found, timestamp__range=span).count() for span in spans) == 1200
    assert sum(((last - first) for first, last in spans), timedelta()) < timedelta(hours=3 * 8)
    assert spans[-1][1] == now


@pytest.mark.parametrize("step", ["ignore", "place"])
def test_nothing_is_enqueued_for_one_that_is_ignored_or_has_sent_nothing(
    found: Sensor, north: Plant, people: dict[str, User], now: datetime, step: str
) -> None:
    if step == "ignore":
        store(found, now, 10, MINUTE)
        pending().delete()
        placement.ignore(found, people["engineer"])
    else:
        place(found, north, people)
    assert not pending().exists()


@pytest.mark.django_db(transaction=True)
def test_a_batch_that_is_scored_while_its_sensor_is_placed_is_not_passed_over(
    found: Sensor, north: Plant, people: dict[str, User], now: datetime
) -> None:
    store(found, now - 30 * MINUTE, 3 * 1440, MINUTE, HISTORY)

    def score() -> None:
        try:
            outbox.drain("score")
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            place(found, north, people)
            # Comes in after placing has looked at what is stored, and is scored before placing is committed.
            Pending.objects.filter(batch__source="placement").delete()
            with ThreadPoolExecutor(1) as other:
                other.submit(_store_elsewhere, found, now).result()
            work = threads.submit(score)
            wait_until_waiting(1, work)
            assert not work.done()
        work.result()
    assert Anomaly.objects.get().alert.asset == north.pump  # type: ignore[union-attr]


def _store_elsewhere(sensor: Sensor, now: datetime) -> None:
    try:
        store(sensor, now, 10, MINUTE, values=[90.0] * 10)
    finally:
        connection.close()

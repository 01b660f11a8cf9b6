from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import numpy as np
import pytest
from django.db import connection, transaction
from django.utils import timezone

from sensors import outbox, profiles
from sensors.ingest import store_batch
from sensors.models import ApiKey, Pending, ReadingBatch, Sensor, SensorProfile
from tests.conftest import Plant, make_user
from tests.locks import wait_until_waiting
from tests.readings import HISTORY, MINUTE, SECOND, columns, deliver, noise, store

pytestmark = pytest.mark.django_db


def profile(sensor: Sensor) -> SensorProfile:
    return SensorProfile.objects.get(sensor=sensor)


def test_live_readings_say_when_and_from_whom_a_sensor_was_heard(north: Plant) -> None:
    now = timezone.now()
    key, _ = ApiKey.issue(make_user("integration", north.site), "gateway", ["ingest"])
    stored = store(north.temperature, now, 3, SECOND)
    ReadingBatch.objects.update(sent_by=key)
    outbox.drain("watch")
    found = profile(north.temperature)
    assert (found.live_since, found.last_at, found.sent_by) == (now - 2 * SECOND, now, key)
    assert found.last_received_at == ReadingBatch.objects.get(pk=stored.batch_id).received_at
    assert not SensorProfile.objects.filter(sensor=north.vibration).exists()


def test_history_is_learned_from_but_not_heard(north: Plant) -> None:
    now = timezone.now()
    store(north.temperature, now - timedelta(days=3), 100, MINUTE, HISTORY)
    outbox.drain("watch")
    profiles.learn_due(now)
    found = profile(north.temperature)
    assert (found.last_at, found.last_received_at, found.live_since) == (None, None, None)
    assert (found.readings, found.cadence_seconds) == (100, 60)


def test_a_profile_is_learned_from_what_the_sensor_does(north: Plant) -> None:
    now = timezone.now()
    values = noise(400)
    store(north.temperature, now, 400, 2 * SECOND, values=values)
    outbox.drain("watch")
    assert profiles.learn_due(now) == 1
    found = profile(north.temperature)
    assert found.cadence_seconds == pytest.approx(2)
    assert found.noise == pytest.approx(0.5, rel=0.2)
    assert (found.low, found.high) == pytest.approx(np.percentile(values, [1, 99]))
    assert (found.repeat_share, found.quality) == (0, 1)
    assert found.completeness == pytest.approx(1)


def test_too_few_readings_teach_nothing(north: Plant) -> None:
    now = timezone.now()
    store(north.temperature, now, 29, SECOND)
    outbox.drain("watch")
    profiles.learn_due(now)
    assert profile(north.temperature).cadence_seconds is None


def test_what_was_learned_is_learned_again_when_the_readings_have_doubled_and_not_before(north: Plant) -> None:
    now = timezone.now()
    store(north.temperature, now, 100, SECOND)
    outbox.drain("watch")
    assert profiles.learn_due(now) == 1
    assert profiles.learn_due(now) == 0
    later = now + 101 * SECOND
    deliver(north.temperature, later, 100)
    outbox.drain("watch")
    assert profiles.learn_due(now + 99 * SECOND) == 0
    assert profiles.learn_due(later) == 1
    assert profile(north.temperature).readings == 200


def test_the_cadence_of_imported_history_gives_way_to_that_of_live_readings(north: Plant) -> None:
    now = timezone.now()
    store(north.temperature, now - timedelta(hours=2), 500, 2 * MINUTE, HISTORY)
    outbox.drain("watch")
    profiles.learn_due(now)
    assert profile(north.temperature).cadence_seconds == 120
    for i in range(45):
        deliver(north.temperature, now + 2 * SECOND * i, 1)
    outbox.drain("watch")
    profiles.learn_due(now + 90 * SECOND)
    assert profile(north.temperature).cadence_seconds == pytest.approx(2)


def test_completeness_counts_what_should_have_come_since_the_sensor_is_live(north: Plant) -> None:
    now = timezone.now()
    store(north.temperature, now - timedelta(hours=2), 500, 2 * MINUTE, HISTORY)
    times = [now - timedelta(minutes=50) + SECOND * i for i in range(3000) if i % 1000 >= 250]
    store_batch(columns(north.temperature, times, noise(len(times))), source="test")
    outbox.drain("watch")
    profiles.learn_due(now)
    assert profile(north.temperature).completeness == pytest.approx(2250 / 2750, abs=0.02)


def test_readings_of_poor_quality_do_not_teach_what_is_normal(north: Plant) -> None:
    now = timezone.now()
    Sensor.objects.update(range_low=0)
    store(north.temperature, now, 100, SECOND, values=np.where(np.arange(100) % 4, noise(100), -40))
    outbox.drain("watch")
    profiles.learn_due(now)
    found = profile(north.temperature)
    assert found.low is not None
    assert found.low > 50
    assert found.quality == 0.75


def test_a_gateway_that_delivers_every_five_minutes_is_known_to_do_so(north: Plant) -> None:
    now = timezone.now()
    for i in range(5):
        deliver(north.temperature, now + 5 * MINUTE * (i - 4), 300)
        outbox.drain("watch")
    found = profile(north.temperature)
    assert found.arrival_seconds == pytest.approx(300)


def test_an_outage_does_not_pass_for_the_usual_pause(north: Plant) -> None:
    now = timezone.now()
    for i in range(5):
        deliver(north.temperature, now - 50 * MINUTE + 20 * SECOND * i)
        outbox.drain("watch")
    deliver(north.temperature, now)
    outbox.drain("watch")
    found = profile(north.temperature)
    assert found.arrival_seconds == pytest.approx(100)


def test_learning_takes_the_longest_waiting_first_and_leaves_the_rest_for_next_time(
    north: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    monkeypatch.setattr(profiles, "LEARN_AT_ONCE", 1)
    for sensor in (north.temperature, north.vibration):
        store(sensor, now, 50, SECOND)
    outbox.drain("watch")
    assert [profiles.learn_due(now) for _ in range(3)] == [1, 1, 0]
    assert SensorProfile.objects.filter(cadence_seconds__isnull=False).count() == 2


@pytest.mark.django_db(transaction=True)
def test_workers_that_note_and_learn_the_same_sensors_at_once_do_not_wait_in_a_circle(north: Plant) -> None:
    now = timezone.now()
    sensors = [
        Sensor.objects.create(asset=north.pump, sensor_id=f"s{i}", kind="temperature", unit="°C") for i in range(20)
    ]
    for i in range(40):
        order = sensors if i % 2 else sensors[::-1]
        for sensor in order[:10]:
            deliver(sensor, now - timedelta(seconds=600 - 5 * i), 5)

    def work(number: int) -> None:
        try:
            if number % 3:
                outbox.drain("watch")
            else:
                profiles.learn_due(timezone.now())
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as workers:
        list(workers.map(work, range(12)))
    outbox.drain("watch")
    assert not Pending.objects.filter(consumer="watch").exists()
    assert SensorProfile.objects.filter(last_at__isnull=False).count() == 20


@pytest.mark.django_db(transaction=True)
def test_profiles_stay_locked_from_the_first_one_until_all_are_written(north: Plant) -> None:
    now = timezone.now()
    first, last = sorted([north.temperature.pk, north.vibration.pk])
    for sensor in (north.temperature, north.vibration):
        store(sensor, now, 50, SECOND)
    outbox.drain("watch")

    def locked(sensor: int) -> SensorProfile:
        return SensorProfile.objects.select_for_update(of=("self",), no_key=True).get(sensor=sensor)

    def learn() -> None:
        try:
            profiles.learn_due(now)
        finally:
            connection.close()

    def look() -> datetime | None:
        try:
            with transaction.atomic():
                return locked(first).learned_at
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as workers:
        with transaction.atomic():
            locked(last)
            learning = workers.submit(learn)
            wait_until_waiting(1, learning)
            looking = workers.submit(look)
            wait_until_waiting(2, learning, looking)
        learning.result()
        assert looking.result() == now

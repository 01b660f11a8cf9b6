from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import pytest
from django.core.cache import cache
from django.db import connection
from django.utils import timezone

from sensors import faults
from sensors.models import ApiKey, Asset, Pending, QualityPolicy, ReadingBatch, Sensor, SensorFault, SensorProfile
from tests.conftest import Plant, make_user
from tests.readings import HOUR, MINUTE, SECOND

pytestmark = pytest.mark.django_db


@pytest.fixture
def now() -> datetime:
    """The platform has been looking for a day."""
    now = timezone.now()
    listening(since=now - timedelta(days=1), until=now)
    return now


def listening(since: datetime, until: datetime) -> None:
    cache.set("silence:looked", (until, since), timeout=None)


def heard(sensor: Sensor, at: datetime, every: float = 2, key: ApiKey | None = None) -> None:
    """What the profile of a sensor that delivers every so many seconds says when it was last heard at `at`."""
    SensorProfile.objects.update_or_create(
        sensor=sensor,
        defaults={
            "last_at": at,
            "last_received_at": at,
            "live_since": at,
            "sent_by": key,
            "cadence_seconds": every,
            "arrival_seconds": every,
        },
    )


def look(now: datetime) -> None:
    """As the beat does: after a break of less than a minute."""
    since = (cache.get("silence:looked") or (None, now))[1]
    listening(since, now)
    faults.look(now)


def sensors_on(asset: Asset, count: int, name: str = "t") -> list[Sensor]:
    return [
        Sensor.objects.create(asset=asset, sensor_id=f"{asset.pk}.{name}{i}", kind="temperature", unit="°C")
        for i in range(count)
    ]


def key_of(plant: Plant) -> ApiKey:
    return ApiKey.issue(make_user("integration", plant.site), "gateway 7", ["ingest"])[0]


def open_faults() -> Iterable[SensorFault]:
    return SensorFault.objects.open().order_by("pk")


@pytest.mark.parametrize(
    ("every", "after", "silent"),
    [(2, 59, False), (2, 61, True), (60, 299, False), (60, 301, True), (3600, 4 * 3600, False)],
)
def test_a_sensor_is_silent_after_five_of_its_intervals_and_a_minute_at_least(
    north: Plant, now: datetime, every: float, after: float, silent: bool
) -> None:
    heard(north.temperature, now - timedelta(seconds=after), every)
    look(now)
    assert SensorFault.objects.filter(kind="silent", sensor=north.temperature).exists() == silent


def test_it_is_said_once_however_often_one_looks_and_ends_when_a_reading_comes(north: Plant, now: datetime) -> None:
    last = now - 2 * MINUTE
    heard(north.temperature, last)
    for i in range(3):
        look(now + 10 * SECOND * i)
    fault = SensorFault.objects.get()
    assert (fault.began_at, fault.noticed_at, fault.site, fault.ended_at) == (last, now, north.site, None)
    assert "every 2 s" in fault.detail
    heard(north.temperature, now + 31 * SECOND)
    look(now + 32 * SECOND)
    fault.refresh_from_db()
    assert fault.ended_at == now + 32 * SECOND
    look(now + 3 * MINUTE)
    assert SensorFault.objects.count() == 2


def test_a_reading_that_came_at_the_very_time_the_silence_began_does_not_end_it(north: Plant, now: datetime) -> None:
    last = now - 2 * MINUTE
    heard(north.temperature, last)
    look(now)
    heard(north.temperature, last)
    look(now + SECOND)
    assert open_faults().count() == 1


def test_a_stated_cadence_counts_before_any_is_learned(north: Plant, now: datetime) -> None:
    Sensor.objects.update(cadence_seconds=30)
    SensorProfile.objects.create(sensor=north.temperature, last_received_at=now - 3 * MINUTE)
    look(now)
    assert open_faults().get().sensor == north.temperature


def test_sensors_that_were_never_heard_or_are_not_in_use_are_not_silent(north: Plant, now: datetime) -> None:
    SensorProfile.objects.create(sensor=north.temperature, cadence_seconds=2)
    heard(north.vibration, now - HOUR)
    for status in (Sensor.Status.RETIRED, Sensor.Status.DISCOVERED):
        Sensor.objects.update(status=status)
        look(now)
    assert not SensorFault.objects.exists()


def test_a_sensor_that_was_heard_only_once_is_not_expected_again(north: Plant, now: datetime) -> None:
    heard(north.temperature, now - 10 * HOUR)
    SensorProfile.objects.update(arrival_seconds=None)
    look(now)
    assert not SensorFault.objects.exists()


def test_retiring_a_silent_sensor_ends_its_silence(north: Plant, now: datetime) -> None:
    heard(north.temperature, now - HOUR)
    look(now)
    Sensor.objects.update(status=Sensor.Status.RETIRED)
    look(now + 10 * SECOND)
    assert not open_faults()


def test_a_site_may_wait_longer_or_not_watch_at_all(north: Plant, south: Plant, now: datetime) -> None:
    QualityPolicy.objects.create(site=north.site, silent_factor=None)
    QualityPolicy.objects.create(site=south.site, silent_grace_seconds=600)
    for plant in (north, south):
        heard(plant.temperature, now - 5 * MINUTE)
    look(now)
    assert not SensorFault.objects.exists()
    look(now + 6 * MINUTE)
    assert open_faults().get().sensor == south.temperature


def test_after_a_break_of_the_platform_everybody_gets_their_time_again(north: Plant, now: datetime) -> None:
    heard(north.temperature, now - HOUR)
    listening(since=now - timedelta(days=1), until=now - HOUR)
    faults.look(now)
    look(now + 50 * SECOND)
    assert not SensorFault.objects.exists()
    look(now + 61 * SECOND)
    assert open_faults().get().began_at == now - HOUR


def test_a_platform_that_has_just_started_waits(north: Plant) -> None:
    now = timezone.now()
    heard(north.temperature, now - HOUR)
    cache.clear()
    faults.look(now)
    assert not SensorFault.objects.exists()


def test_a_silence_that_was_known_before_a_break_stays_one(north: Plant, now: datetime) -> None:
    heard(north.temperature, now - HOUR)
    look(now)
    cache.clear()
    faults.look(now + HOUR)
    assert open_faults().count() == 1


def test_batches_that_still_wait_to_be_noted_are_not_taken_for_silence(north: Plant, now: datetime) -> None:
    heard(north.temperature, now - 3 * MINUTE)
    batch = ReadingBatch.objects.create(
        source="test", accepted=1, sensors=[1], firsts=[now], lasts=[now], received_at=now - 150 * SECOND
    )
    waiting = Pending.objects.create(batch=batch, consumer="watch")
    look(now)
    assert not SensorFault.objects.exists()
    waiting.delete()
    look(now)
    assert open_faults().count() == 1


def test_a_batch_that_failed_for_good_does_not_stop_the_watch(north: Plant, now: datetime) -> None:
    heard(north.temperature, now - 3 * MINUTE)
    batch = ReadingBatch.objects.create(
        source="test", accepted=1, sensors=[1], firsts=[now], lasts=[now], received_at=now - HOUR
    )
    Pending.objects.create(batch=batch, consumer="watch", dead_at=now)
    look(now)
    assert open_faults().count() == 1


def test_a_worker_that_finds_another_one_looking_does_nothing(north: Plant, now: datetime) -> None:
    heard(north.temperature, now - HOUR)
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('look for sensor faults', 0))")
        look(now)
        assert not SensorFault.objects.exists()
    finally:
        other.close()
    look(now)
    assert open_faults().count() == 1


def test_many_sensors_of_a_sender_that_fall_silent_together_are_one_fault(north: Plant, now: datetime) -> None:
    gateway = key_of(north)
    fan = Asset.objects.create(site=north.site, name="Fan")
    sensors = [*sensors_on(north.pump, 3), *sensors_on(fan, 3)]
    for i, sensor in enumerate(sensors):
        heard(sensor, now - 2 * MINUTE - i * SECOND, key=gateway)
    look(now)
    whole = open_faults().get(sensor=None)
    assert (whole.sender, whole.site, whole.asset) == (gateway, north.site, None)
    assert whole.began_at == now - 2 * MINUTE
    assert whole.detail == "6 of its sensors fell silent together."
    assert set(whole.parts.values_list("sensor", flat=True)) == {sensor.pk for sensor in sensors}
    look(now + 10 * SECOND)
    assert open_faults().filter(sensor=None).count() == 1


def test_sensors_of_an_asset_that_come_from_several_senders_are_one_fault_of_the_asset(
    north: Plant, now: datetime
) -> None:
    for sensor in sensors_on(north.pump, 4):
        heard(sensor, now - 2 * MINUTE)
    look(now)
    whole = open_faults().get(sensor=None)
    assert (whole.asset, whole.sender, whole.parts.count()) == (north.pump, None, 4)


@pytest.mark.parametrize(("silent", "heard_again"), [(2, 0), (3, 3), (5, 6)])
def test_a_few_or_no_more_than_half_are_faults_of_their_own(
    north: Plant, now: datetime, silent: int, heard_again: int
) -> None:
    gateway = key_of(north)
    for i, sensor in enumerate(sensors_on(north.pump, silent + heard_again)):
        heard(sensor, now - (2 * MINUTE if i < silent else SECOND), key=gateway)
    look(now)
    assert not open_faults().filter(sensor=None).exists()
    assert open_faults().filter(part_of=None).count() == silent


def test_those_that_died_at_other_times_are_no_part_of_it(north: Plant, now: datetime) -> None:
    for i, sensor in enumerate(sensors_on(north.pump, 4)):
        heard(sensor, now - 2 * MINUTE - HOUR * i)
    look(now)
    assert open_faults().filter(part_of=None, sensor__isnull=False).count() == 4


def test_sensors_of_an_asset_that_fell_silent_in_two_goes_are_one_fault(north: Plant, now: datetime) -> None:
    for i, sensor in enumerate(sensors_on(north.pump, 8)):
        heard(sensor, now - (3 * HOUR if i < 5 else HOUR), every=10)
    for i in range(3):
        look(now + 10 * SECOND * i)
    whole = open_faults().get(sensor=None)
    assert (whole.asset, whole.began_at, whole.parts.count()) == (north.pump, now - 3 * HOUR, 8)


def test_sensors_of_a_sender_that_fell_silent_in_two_goes_are_one_fault(north: Plant, now: datetime) -> None:
    gateway = key_of(north)
    for i, sensor in enumerate(sensors_on(north.pump, 9)):
        heard(sensor, now - (HOUR * (3 if i < 5 else 1) if i < 8 else 10 * HOUR), key=gateway)
    look(now)
    whole = open_faults().get(sensor=None)
    assert (whole.sender, whole.parts.count()) == (gateway, 8)
    # The lone one was gone long before.
    assert open_faults().filter(part_of=None, sensor__isnull=False).count() == 1


def test_an_owner_whose_group_cannot_be_opened_does_not_stop_the_others(
    north: Plant, south: Plant, now: datetime
) -> None:
    for sensor in [*sensors_on(north.pump, 3), *sensors_on(south.pump, 3)]:
        heard(sensor, now - 2 * MINUTE)
    elsewhere = SensorFault.objects.create(kind="silent", asset=north.pump, site=south.site, began_at=now)
    heard(north.vibration, now - HOUR)
    SensorFault.objects.create(
        kind="silent", sensor=north.vibration, site=north.site, part_of=elsewhere, began_at=now - HOUR
    )
    look(now)
    assert open_faults().get(sensor=None, asset=south.pump).parts.count() == 3
    assert open_faults().filter(part_of=None, sensor__asset=north.pump).count() == 3


def test_slow_sensors_join_the_group_when_their_time_has_come(north: Plant, now: datetime) -> None:
    gateway = key_of(north)
    quick, slow = sensors_on(north.pump, 3, "quick"), sensors_on(north.pump, 4, "slow")
    for sensor in quick:
        heard(sensor, now - 2 * MINUTE, key=gateway)
    for sensor in slow:
        heard(sensor, now - 8 * MINUTE, every=600, key=gateway)
    look(now)
    # Nobody knows yet of the slow ones, so they do not count as heard.
    whole = open_faults().get(sensor=None)
    assert whole.parts.count() == 3
    look(now + 43 * MINUTE)
    assert whole.parts.count() == 7
    assert open_faults().filter(sensor=None).get() == whole


def test_in_whichever_order_they_fall_silent_they_become_one(north: Plant, now: datetime) -> None:
    gateway = key_of(north)
    first, *others = sensors_on(north.pump, 4)
    heard(first, now - 70 * SECOND, key=gateway)
    for sensor in others:
        heard(sensor, now - 40 * SECOND, key=gateway)
    look(now)
    assert open_faults().get().part_of is None
    look(now + 30 * SECOND)
    assert open_faults().get(sensor=None).parts.count() == 4


def test_an_assets_fault_is_taken_over_when_its_whole_sender_turns_out_to_be_silent(
    north: Plant, now: datetime
) -> None:
    gateway = key_of(north)
    fan = Asset.objects.create(site=north.site, name="Fan")
    pump_sensors, fan_sensors = sensors_on(north.pump, 3), sensors_on(fan, 4)
    for sensor in pump_sensors:
        heard(sensor, now - 2 * MINUTE, key=gateway)
    for sensor in fan_sensors:
        heard(sensor, now - 30 * SECOND, key=gateway)
    look(now)
    of_asset = open_faults().get(sensor=None)
    assert of_asset.asset == north.pump
    look(now + MINUTE)
    of_sender = open_faults().get(sensor=None)
    assert (of_sender.sender, of_sender.parts.filter(sensor__isnull=False).count()) == (gateway, 7)
    of_asset.refresh_from_db()
    assert (of_asset.part_of, of_asset.ended_at) == (of_sender, now + MINUTE)


def test_a_group_ends_when_half_are_back_and_those_that_stay_away_are_on_their_own_later(
    north: Plant, now: datetime
) -> None:
    gateway = key_of(north)
    sensors = sensors_on(north.pump, 5)
    for sensor in sensors:
        heard(sensor, now - 2 * MINUTE, key=gateway)
    look(now)
    whole = open_faults().get(sensor=None)
    for sensor in sensors[:2]:
        heard(sensor, now + 9 * SECOND, key=gateway)
    look(now + 10 * SECOND)
    whole.refresh_from_db()
    assert whole.ended_at is None
    for sensor in sensors[:3]:
        heard(sensor, now + 19 * SECOND, key=gateway)
    look(now + 20 * SECOND)
    whole.refresh_from_db()
    assert whole.ended_at == now + 20 * SECOND
    assert [fault.part_of for fault in open_faults()] == [whole, whole]
    for sensor in sensors[:3]:
        heard(sensor, now + 90 * SECOND, key=gateway)
    look(now + 91 * SECOND)
    assert [(fault.sensor, fault.part_of) for fault in open_faults()] == [(sensors[3], None), (sensors[4], None)]


@pytest.fixture
def count_queries(django_assert_num_queries: Callable[..., object]) -> Callable[..., object]:
    return django_assert_num_queries


def test_the_queries_of_a_look_do_not_depend_on_how_many_sensors_there_are(
    north: Plant, now: datetime, django_assert_max_num_queries: Callable[..., object]
) -> None:
    gateway = key_of(north)
    for i, sensor in enumerate(sensors_on(north.pump, 40)):
        heard(sensor, now - (2 * MINUTE if i < 15 else SECOND), key=gateway)
    with django_assert_max_num_queries(24):  # type: ignore[attr-defined]
        look(now)
    assert open_faults().count() == 15

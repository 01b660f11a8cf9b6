from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from sensors import faults, lookup, outbox, profiles
from sensors.models import Reading, Sensor, SensorFault
from sensors.quality import Flag
from tests.conftest import Plant
from tests.readings import HISTORY, MINUTE, SECOND, noise, store

pytestmark = pytest.mark.django_db
Kind = SensorFault.Kind


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def temperature(north: Plant, now: datetime) -> Sensor:
    """A sensor with a range and a learned profile that has been live for a while."""
    Sensor.objects.update(range_low=0, range_high=120)
    lookup.forget()
    store(north.temperature, now - 10 * MINUTE, 200, SECOND)
    outbox.drain("watch")
    profiles.learn_due(now)
    lookup.forget()
    return north.temperature


def take_in(sensor: Sensor, values: Any, last: datetime) -> None:
    store(sensor, last, len(values), SECOND, values=values)
    outbox.drain("watch")
    faults.look(last)


def kinds_open() -> list[str]:
    return list(SensorFault.objects.open().order_by("pk").values_list("kind", flat=True))


def test_a_sensor_in_order_has_no_fault(temperature: Sensor, now: datetime) -> None:
    take_in(temperature, noise(60), now)
    assert not SensorFault.objects.exists()


def test_a_broken_sensor_reads_what_cannot_be_and_that_is_one_fault(temperature: Sensor, now: datetime) -> None:
    take_in(temperature, [-40.0] * 60, now)
    fault = SensorFault.objects.get()
    assert (fault.kind, fault.sensor, fault.site) == (Kind.OUT_OF_RANGE, temperature, temperature.site)
    assert "below 0 °C or above 120.0 °C" in fault.detail
    assert "-40.00 °C" in fault.detail
    faults.look(now)
    assert SensorFault.objects.count() == 1


def test_a_sensor_that_repeats_itself_is_stuck_since_it_first_said_so(temperature: Sensor, now: datetime) -> None:
    take_in(temperature, [*noise(50), *[61.2] * 40], now)
    fault = SensorFault.objects.get()
    assert (fault.kind, fault.began_at) == (Kind.STUCK, now - 39 * SECOND)
    assert fault.detail == "Every reading is exactly 61.20 °C, although its values usually vary."


def test_many_lone_spikes_are_an_erratic_sensor_and_a_few_are_not(temperature: Sensor, now: datetime) -> None:
    values = noise(40)
    values[[25, 30]] = 100
    take_in(temperature, values, now - MINUTE)
    assert kinds_open() == []
    values = noise(40)
    values[22:39:3] = 100
    take_in(temperature, values, now)
    assert kinds_open() == [Kind.ERRATIC]


def test_a_sender_whose_clock_runs_ahead_is_a_fault_of_its_own(temperature: Sensor, now: datetime) -> None:
    take_in(temperature, noise(20), now + 3 * MINUTE)
    assert kinds_open() == [Kind.CLOCK]


def test_a_fault_ends_when_the_last_ten_readings_are_clean(temperature: Sensor, now: datetime) -> None:
    take_in(temperature, [-40.0] * 20, now - MINUTE)
    take_in(temperature, noise(9), now - 30 * SECOND)
    assert kinds_open() == [Kind.OUT_OF_RANGE]
    take_in(temperature, noise(1), now - 20 * SECOND)
    assert kinds_open() == []
    assert SensorFault.objects.get().ended_at == now - 20 * SECOND


def test_one_fault_follows_another_of_a_different_kind(temperature: Sensor, now: datetime) -> None:
    take_in(temperature, [61.2] * 40, now - MINUTE)
    assert kinds_open() == [Kind.STUCK]
    take_in(temperature, noise(20) + 500, now)
    assert kinds_open() == [Kind.OUT_OF_RANGE]


def test_a_hot_machine_is_no_faulty_sensor(temperature: Sensor, now: datetime) -> None:
    take_in(temperature, noise(60) + 40, now)
    assert not SensorFault.objects.exists()


def test_history_raises_no_faults(north: Plant, now: datetime) -> None:
    Sensor.objects.update(range_low=0)
    lookup.forget()
    store(north.temperature, now, 100, SECOND, HISTORY, values=np.full(100, -40.0))
    outbox.drain("watch")
    faults.look(now)
    assert not SensorFault.objects.exists()
    assert Reading.objects.filter(flags=Flag.OUT_OF_RANGE).count() == 100


def test_bad_history_before_the_first_live_readings_raises_none_either(north: Plant, now: datetime) -> None:
    Sensor.objects.update(range_low=0)
    lookup.forget()
    store(north.temperature, now - 10 * SECOND, 100, SECOND, HISTORY, values=np.full(100, -40.0))
    store(north.temperature, now, 5, SECOND)
    while outbox.drain("watch"):
        pass
    faults.look(now)
    assert not SensorFault.objects.exists()


@pytest.mark.parametrize("status", [Sensor.Status.DISCOVERED, Sensor.Status.RETIRED])
def test_only_sensors_in_use_have_faults(temperature: Sensor, now: datetime, status: str) -> None:
    take_in(temperature, [-40.0] * 20, now - MINUTE)
    assert kinds_open() == [Kind.OUT_OF_RANGE]
    Sensor.objects.update(status=status)
    faults.look(now)
    assert kinds_open() == []
    faults.look(now + MINUTE)
    assert SensorFault.objects.count() == 1


def test_a_time_within_a_fault_is_one_to_distrust(temperature: Sensor, now: datetime) -> None:
    hour = timedelta(hours=1)
    about = {"site": temperature.site, "sensor": temperature, "began_at": now - 3 * hour}
    fault = SensorFault.objects.create(kind=Kind.STUCK, ended_at=now - hour, **about)
    assert faults.distrusted(temperature.pk, now - 4 * hour, now - 2 * hour)
    assert faults.distrusted(temperature.pk, now - 2 * hour, now)
    assert not faults.distrusted(temperature.pk, now - hour + SECOND, now)
    assert not faults.distrusted(temperature.pk, now - 5 * hour, now - 4 * hour)
    SensorFault.objects.filter(pk=fault.pk).update(kind=Kind.SILENT)
    assert not faults.distrusted(temperature.pk, now - 4 * hour, now)

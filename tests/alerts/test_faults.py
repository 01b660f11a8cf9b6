from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from alerts import evidence, lifecycle
from alerts.faults import pull_faults
from alerts.models import Alert, Severity, State
from sensors.models import ApiKey, Asset, Sensor, SensorFault
from tests.conftest import Plant, make_user

pytestmark = pytest.mark.django_db
Kind = SensorFault.Kind
MINUTE = timedelta(minutes=1)


@pytest.fixture
def now() -> datetime:
    return timezone.now()


def fault(plant: Plant, now: datetime, kind: str = Kind.SILENT, **about: Any) -> SensorFault:
    about = {"site": plant.site, "sensor": plant.temperature, "began_at": now - 3 * MINUTE} | about
    return SensorFault.objects.create(kind=kind, noticed_at=now - MINUTE, **about)


def group(plant: Plant, now: datetime, parts: int) -> tuple[SensorFault, list[SensorFault]]:
    sender, _ = ApiKey.issue(make_user("integration", plant.site), "gateway 7", ["ingest"])
    whole = fault(plant, now, sensor=None, sender=sender)
    sensors = [
        Sensor.objects.create(asset=plant.pump, sensor_id=f"t{i}", name=f"Sensor {i}", kind="temperature", unit="°C")
        for i in range(parts)
    ]
    return whole, [fault(plant, now, sensor=sensor, part_of=whole) for sensor in sensors]


def end(fault: SensorFault, now: datetime) -> None:
    SensorFault.objects.filter(pk=fault.pk).update(ended_at=now)


@pytest.mark.parametrize(
    ("kind", "alert_kind", "words"),
    [
        (Kind.SILENT, Alert.Kind.SILENT, "Temperature of Pump P-101 is silent"),
        (Kind.STUCK, Alert.Kind.SENSOR_FAULT, "Temperature of Pump P-101 is stuck"),
        (Kind.OUT_OF_RANGE, Alert.Kind.SENSOR_FAULT, "Temperature of Pump P-101 reads out of range"),
        (Kind.ERRATIC, Alert.Kind.SENSOR_FAULT, "Temperature of Pump P-101 jumps erratically"),
        (Kind.CLOCK, Alert.Kind.SENSOR_FAULT, "Temperature of Pump P-101 has a wrong clock"),
    ],
)
def test_an_open_fault_raises_one_alert_however_often_one_looks(
    north: Plant, now: datetime, kind: str, alert_kind: str, words: str
) -> None:
    fault(north, now, kind)
    pull_faults(now)
    pull_faults(now)
    alert = Alert.objects.get()
    assert (alert.kind, alert.title, alert.severity, alert.occurrences) == (alert_kind, words, Severity.MEDIUM, 1)
    assert (alert.asset, alert.sensor, alert.state) == (north.pump, north.temperature, State.OPEN)


def test_a_fault_of_a_moment_needs_nobody(north: Plant, now: datetime) -> None:
    SensorFault.objects.filter(pk=fault(north, now).pk).update(noticed_at=now)
    pull_faults(now)
    assert not Alert.objects.exists()
    pull_faults(now + MINUTE)
    assert Alert.objects.exists()


def test_on_an_asset_of_low_criticality_it_is_of_low_severity(north: Plant, now: datetime) -> None:
    Asset.objects.update(criticality=Asset.Criticality.LOW)
    fault(north, now)
    pull_faults(now)
    assert Alert.objects.get().severity == Severity.LOW


def test_when_the_fault_ends_its_alert_is_resolved(north: Plant, now: datetime) -> None:
    silent, stuck = fault(north, now), fault(north, now, Kind.STUCK)
    pull_faults(now)
    end(silent, now)
    end(stuck, now)
    pull_faults(now)
    assert not Alert.objects.unresolved().exists()
    reasons = {alert.kind: alert.transitions.last() for alert in Alert.objects.all()}
    assert {kind: step and (step.reason, step.by) for kind, step in reasons.items()} == {
        Alert.Kind.SILENT: ("Readings come in again.", None),
        Alert.Kind.SENSOR_FAULT: ("Its last readings are clean again.", None),
    }


def test_the_sensors_of_a_silent_sender_raise_one_alert_together(north: Plant, now: datetime) -> None:
    group(north, now, 3)
    pull_faults(now)
    alert = Alert.objects.get()
    assert alert.title == "Nothing comes from gateway 7 any more: 3 sensors are silent"
    assert (alert.kind, alert.severity, alert.site) == (Alert.Kind.SILENT, Severity.MEDIUM, north.site)


def test_a_silent_sender_of_many_sensors_is_of_high_severity(north: Plant, now: datetime) -> None:
    group(north, now, 10)
    pull_faults(now)
    assert Alert.objects.get().severity == Severity.HIGH


def test_a_silent_asset_raises_one_alert(north: Plant, now: datetime) -> None:
    whole = fault(north, now, sensor=None, asset=north.pump)
    fault(north, now, part_of=whole)
    fault(north, now, sensor=north.vibration, part_of=whole)
    pull_faults(now)
    alert = Alert.objects.get()
    assert (alert.title, alert.asset) == ("Pump P-101: 2 sensors are silent", north.pump)


def test_single_alerts_give_way_to_the_one_of_a_group_that_forms_later(north: Plant, now: datetime) -> None:
    single = fault(north, now)
    pull_faults(now)
    first = Alert.objects.get()
    whole, _ = group(north, now, 3)
    SensorFault.objects.filter(pk=single.pk).update(part_of=whole)
    pull_faults(now)
    first.refresh_from_db()
    left = Alert.objects.unresolved().get()
    assert left.title.startswith("Nothing comes from gateway 7")
    assert first.transitions.last().reason == f"Part of alert {left.pk}."  # type: ignore[union-attr]


def test_a_sensor_that_outlasts_its_group_alerts_again(north: Plant, now: datetime) -> None:
    single = fault(north, now)
    pull_faults(now)
    whole, _ = group(north, now, 3)
    SensorFault.objects.filter(pk=single.pk).update(part_of=whole)
    pull_faults(now)
    SensorFault.objects.exclude(pk=single.pk).update(ended_at=now)
    SensorFault.objects.filter(pk=single.pk).update(part_of=None)
    pull_faults(now)
    assert Alert.objects.unresolved().get().dedup_key == f"fault:{single.pk}"


def test_what_a_person_resolved_is_not_raised_again(north: Plant, people: dict[str, User], now: datetime) -> None:
    fault(north, now)
    pull_faults(now)
    lifecycle.resolve(Alert.objects.get(), lifecycle.Actor(people["operator"]), "It is being replaced.")
    pull_faults(now)
    assert not Alert.objects.unresolved().exists()


def test_a_retired_sensor_is_given_as_the_reason(north: Plant, now: datetime) -> None:
    found = fault(north, now)
    pull_faults(now)
    Sensor.objects.update(status=Sensor.Status.RETIRED)
    end(found, now)
    pull_faults(now)
    assert Alert.objects.get().transitions.last().reason == "The sensor is no longer in use."  # type: ignore[union-attr]


def test_the_page_of_the_alert_says_what_is_wrong_and_nothing_of_the_machine(
    client: Client, north: Plant, people: dict[str, User], now: datetime
) -> None:
    fault(north, now, Kind.STUCK, detail="Every reading is exactly 61.2 °C.")
    pull_faults(now)
    alert = Alert.objects.get()
    said = evidence.sentences(alert.evidence, north.site.timezone)
    assert said[0].startswith("Since ")
    assert said[1:] == [
        "Every reading is exactly 61.2 °C.",
        "This is about the sensor, not the machine: its readings are kept, but neither scored nor learned from.",
    ]
    client.force_login(people["viewer"])
    page = client.get(alert.get_absolute_url()).content.decode()
    assert "Every reading is exactly 61.2 °C." in page
    assert "expected" not in page


def test_the_page_of_a_silent_sender_names_its_sensors(
    client: Client, north: Plant, people: dict[str, User], now: datetime
) -> None:
    group(north, now, 12)
    pull_faults(now)
    client.force_login(people["viewer"])
    page = client.get(Alert.objects.get().get_absolute_url()).content.decode()
    assert "No reading has come since" in page
    assert "Sensor 0 of Pump P-101" in page
    assert "and 2 more." in page

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from sensors import lookup
from sensors.access import Sender
from sensors.formats import json
from sensors.ingest import Stored, store_batch
from sensors.models import Quarantined, Reading, Sensor, Site
from tests.conftest import Plant, make_plant, make_user

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def program(north: Plant) -> User:
    return make_user("integration", north.site)


def send(user: User, *rows: dict[str, Any], **sender: Any) -> Stored:
    rows = tuple({"timestamp": NOON, "value": 20.5, **row} for row in rows)
    options = {"discovers": True, **sender}
    return store_batch(json.parse(msgspec.json.encode(rows)), source="test", sender=Sender(user=user, **options))


def codes(stored: Stored) -> list[str]:
    return [row.code for row in stored.rejected]


def test_an_unknown_sensor_is_created_with_its_readings_and_waits_to_be_placed(program: User, north: Plant) -> None:
    stored = send(program, {"sensor_id": "line2/p7.bearing", "unit": "degC"})
    sensor = Sensor.objects.discovered().get()
    assert stored.accepted == 1
    assert (sensor.sensor_id, sensor.kind, sensor.unit, sensor.site) == (
        "line2/p7.bearing",
        "temperature",
        "°C",
        north.site,
    )
    assert sensor.asset.name == "Not yet placed"
    assert Reading.objects.get().sensor == sensor


@pytest.mark.parametrize(
    ("sensor_id", "unit", "kind", "own_unit"),
    [
        ("p7_temp", None, "temperature", "°C"),
        ("p7.motorCurrent", None, "current", "A"),
        ("p7.vib.de", None, "vibration", "mm/s"),
        ("p7.x", "bar", "pressure", "bar"),
        ("p7.flow", "l/min", "flow", "l/min"),
        ("p7.x", None, "generic", "1"),
        ("template", None, "generic", "1"),
        ("p7.speed", "Hz", "speed", "Hz"),
        ("p7.temp", "bar", "pressure", "bar"),
        ("p7.x", "m/s²", "generic", "m/s²"),
    ],
)
def test_kind_and_unit_follow_from_the_unit_or_else_the_key(
    program: User, sensor_id: str, unit: str | None, kind: str, own_unit: str
) -> None:
    send(program, {"sensor_id": sensor_id, "unit": unit})
    sensor = Sensor.objects.discovered().get()
    assert (sensor.kind, sensor.unit) == (kind, own_unit)


def test_a_key_that_does_not_discover_gets_a_refusal(program: User) -> None:
    assert codes(send(program, {"sensor_id": "new"}, discovers=False)) == ["unknown_sensor"]
    assert not Sensor.objects.discovered().exists()


def test_with_several_sites_the_key_has_to_name_one(program: User, south: Plant) -> None:
    south.site.members.add(program)
    assert codes(send(program, {"sensor_id": "new"})) == ["unknown_sensor"]
    assert send(program, {"sensor_id": "new"}, site_id=south.site.pk).accepted == 1
    assert Sensor.objects.discovered().get().site == south.site


def test_two_sites_may_use_the_same_key_for_their_own_sensors(program: User, north: Plant, south: Plant) -> None:
    Sensor.objects.create(asset=south.pump, sensor_id=north.temperature.sensor_id, kind="temperature", unit="°C")
    row = {"sensor_id": north.temperature.sensor_id}
    assert send(program, row).accepted == 1
    south.site.members.add(program)
    lookup.forget()
    assert codes(send(program, row)) == ["ambiguous_sensor"]
    assert send(program, {**row, "timestamp": datetime.now(UTC)}, site_id=north.site.pk).accepted == 1
    assert {reading.sensor for reading in Reading.objects.all()} == {north.temperature}


@pytest.mark.parametrize(
    ("sensor_id", "unit", "code"), [("no spaces", None, "invalid_sensor_id"), ("x", "furlong", "unknown_unit")]
)
def test_what_cannot_be_a_sensor_is_refused(program: User, sensor_id: str, unit: str | None, code: str) -> None:
    assert codes(send(program, {"sensor_id": sensor_id, "unit": unit}, {"sensor_id": "good"})) == [code]
    assert Sensor.objects.discovered().count() == 1


def test_the_units_of_a_new_sensor_that_its_key_speaks_of_are_named_beside_an_unknown_one(program: User) -> None:
    (refused,) = send(program, {"sensor_id": "p101.temp", "unit": "furlong"}).rejected
    assert refused.detail == "Unit 'furlong' is not known; known are °C, °F, K."


def test_a_sender_of_nonsense_cannot_fill_the_plant_with_sensors(program: User, settings: LazySettings) -> None:
    settings.DISCOVERY_LIMIT = 3
    stored = send(program, *({"sensor_id": f"s{number}"} for number in range(5)))
    assert (stored.accepted, codes(stored)) == (3, ["too_many_discovered"] * 2)
    assert Quarantined.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_sensor_that_vanished_with_its_transaction_is_not_remembered() -> None:
    program = make_user("integration", make_plant("North").site)
    with transaction.atomic(), transaction.atomic():
        assert send(program, {"sensor_id": "new"}).accepted == 1
        transaction.set_rollback(True)
    assert send(program, {"sensor_id": "new"}).accepted == 1
    assert Reading.objects.get().sensor_id == Sensor.objects.discovered().get().pk


@pytest.mark.django_db(transaction=True)
def test_a_new_sensor_is_remembered_also_within_transactions() -> None:
    """Every bulk request with an Idempotency-Key is one; a plant begins with a thousand new sensors."""
    plant = make_plant("North")
    sender = Sender(user=make_user("integration", plant.site))
    with transaction.atomic():
        Site.objects.create(name="This transaction writes")
        known = lookup.known_sensors([plant.temperature.sensor_id], sender)
        with CaptureQueriesContext(connection) as queries:
            assert lookup.known_sensors([plant.temperature.sensor_id], sender) == known
    assert len(queries) == 0


def test_many_sensors_that_cannot_be_are_refused_each_with_its_reason(program: User, settings: LazySettings) -> None:
    settings.DISCOVERY_LIMIT = 1
    stored = send(program, *({"sensor_id": f"no {n}"} for n in range(3)), *({"sensor_id": f"s{n}"} for n in range(3)))
    assert [row.code for row in stored.rejected] == ["invalid_sensor_id"] * 3 + ["too_many_discovered"] * 2

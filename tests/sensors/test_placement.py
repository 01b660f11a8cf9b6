from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from sensors import placement
from sensors.discovery import waiting_room
from sensors.errors import Refused
from sensors.models import Asset, AuditEntry, Reading, Sensor
from tests.conftest import Plant, make_user


def found(plant: Plant, key: str, **about: Any) -> Sensor:
    """A sensor as discovery creates it, with two readings."""
    room = waiting_room(plant.site.pk)
    about = {"kind": "generic", "unit": "1"} | about
    sensor = Sensor.objects.create(asset=room, sensor_id=key, status=Sensor.Status.DISCOVERED, **about)
    now = timezone.now()
    Reading.objects.bulk_create(
        Reading(sensor=sensor, timestamp=now - timedelta(minutes=i), value=20 + i) for i in range(2)
    )
    return sensor


@pytest.fixture
def browser(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["engineer"])
    return client


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("north.p101.flow", "Pump P-101"),  # a neighbour's key begins so
        ("hall1/P101/flow", "Pump P-101"),  # the name says so
        ("hall1/P102/flow", None),
        ("north.flow", "Pump P-101"),  # it is the only asset with such sensors
        ("south.flow", None),
    ],
)
def test_a_key_suggests_where_its_sensor_belongs(north: Plant, key: str, expected: str | None) -> None:
    sensor = found(north, key)
    suggested = placement.suggestions([sensor]).get(sensor.pk)
    assert (suggested.name if suggested else None) == expected


def test_a_beginning_that_several_assets_share_suggests_none(north: Plant) -> None:
    fan = Asset.objects.create(site=north.site, name="Fan")
    Sensor.objects.create(asset=fan, sensor_id="north.fan.speed", kind="speed", unit="rpm")
    assert placement.suggestions([found(north, "north.flow")]) == {}


def test_nothing_of_another_site_is_suggested(north: Plant, south: Plant) -> None:
    sensor, unclear = found(south, "north.p101.flow"), found(south, "north.flow")
    assert placement.suggestions([sensor, unclear]) == {sensor.pk: south.pump}


def test_a_sensor_is_placed_and_what_it_was_is_written_down(people: dict[str, User], north: Plant) -> None:
    sensor = found(north, "x", kind="temperature", unit="°C")
    placement.place(sensor, north.pump, people["engineer"], name="Oil", kind="temperature", unit="°F")
    sensor.refresh_from_db()
    assert (sensor.status, sensor.asset, sensor.name, sensor.unit) == ("active", north.pump, "Oil", "°F")
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject, entry.by) == ("place", f"sensor {sensor.pk}", people["engineer"])
    assert (entry.detail["before"]["unit"], entry.detail["after"]["unit"]) == ("°C", "°F")


def test_a_sensor_is_placed_by_one_person_only(people: dict[str, User], north: Plant) -> None:
    sensor, same = found(north, "x"), Sensor.objects.discovered().get()
    placement.place(sensor, north.pump, people["engineer"])
    with pytest.raises(Refused) as answer:
        placement.ignore(same, people["engineer"])
    assert answer.value.code == "already_placed"
    assert Sensor.objects.get(pk=sensor.pk).status == "active"


def bulk(client: Client, action: str, *sensors: Sensor, **more: Any) -> HttpResponse:
    form = {"action": action, "sensors": [sensor.pk for sensor in sensors], **more}
    answer: HttpResponse = client.post(reverse("sensors:discovered"), form)
    return answer


def test_the_page_shows_what_each_sends(browser: Client, north: Plant) -> None:
    found(north, "oil.flow", kind="flow", unit="l/min")
    page = browser.get(reverse("sensors:discovered")).content.decode()
    assert "Flow in l/min" in page
    assert "2 values, lately 20.00 l/min to 21.00 l/min" in page
    assert "<polyline" in page


def test_many_are_placed_at_once_on_an_asset_or_as_suggested(browser: Client, north: Plant) -> None:
    sensors = [found(north, key) for key in ("a.x", "a.y", "north.p101.flow")]
    assert bulk(browser, "place", *sensors[:2], asset=north.pump.pk).status_code == 302
    assert bulk(browser, "suggested", *sensors[2:]).status_code == 302
    assert {sensor.sensor_id for sensor in north.pump.sensors.active()} >= {"a.x", "a.y", "north.p101.flow"}


def test_many_are_placed_on_a_new_machine(browser: Client, north: Plant) -> None:
    sensors = [found(north, key) for key in ("a.x", "a.y")]
    bulk(browser, "place", *sensors, new_asset="Fan F-7", parent=north.pump.pk)
    fan = Asset.objects.get(name="Fan F-7")
    assert (fan.parent, fan.site, fan.sensors.active().count()) == (north.pump, north.site, 2)


def test_ignored_sensors_are_retired(browser: Client, north: Plant) -> None:
    sensor = found(north, "a.x")
    bulk(browser, "ignore", sensor)
    sensor.refresh_from_db()
    assert sensor.status == "retired"
    assert AuditEntry.objects.get().action == "ignore"


@pytest.mark.parametrize("target", [{}, {"new_asset": "Fan", "asset": "own"}, {"asset": "other"}])
def test_a_target_that_is_none_is_explained_and_the_choice_is_kept(
    browser: Client, north: Plant, south: Plant, target: dict[str, Any]
) -> None:
    sensor = found(north, "a.x")
    places = {"own": north.pump.pk, "other": south.pump.pk}
    answer = bulk(browser, "place", sensor, **{name: places.get(value, value) for name, value in target.items()})
    assert answer.status_code == 422
    assert f'value="{sensor.pk}" id="pick-{sensor.pk}" aria-label="Choose a.x" checked' in answer.content.decode()
    assert Sensor.objects.discovered().count() == 1


def test_nothing_chosen_is_said(browser: Client, north: Plant) -> None:
    found(north, "a.x")
    answer = bulk(browser, "place", asset=north.pump.pk)
    assert "Choose sensors in the list first." in answer.content.decode()


def test_a_sensor_of_one_site_cannot_be_put_on_an_asset_of_another(client: Client, north: Plant, south: Plant) -> None:
    client.force_login(make_user("engineer", north.site, south.site))
    sensor = found(north, "a.x")
    page = client.post(
        reverse("sensors:discovered"), {"action": "place", "sensors": [sensor.pk], "asset": south.pump.pk}, follow=True
    )
    assert "A sensor stays at its site" in page.content.decode()
    assert Sensor.objects.discovered().get() == sensor


def test_a_sensor_of_another_site_is_neither_seen_nor_placed(browser: Client, north: Plant, south: Plant) -> None:
    sensor = found(south, "a.secret")
    assert "secret" not in browser.get(reverse("sensors:discovered")).content.decode()
    bulk(browser, "place", sensor, asset=north.pump.pk)
    assert Sensor.objects.discovered().get() == sensor


def test_kind_unit_and_name_are_corrected_while_placing(browser: Client, north: Plant) -> None:
    sensor = found(north, "a.x")
    url = reverse("sensors:place", args=[sensor.pk])
    answer = browser.post(url, {"name": "Oil", "kind": "flow", "unit": "l/min", "asset": north.pump.pk})
    assert answer.headers["Location"] == reverse("sensors:connect", args=[sensor.pk])
    sensor.refresh_from_db()
    assert (sensor.name, sensor.kind, sensor.unit) == ("Oil", "flow", "l/min")
    assert browser.get(url).headers["Location"] == north.pump.get_absolute_url()


def test_a_machine_that_exists_elsewhere_is_not_made_twice(browser: Client, north: Plant) -> None:
    hall = Asset.objects.create(site=north.site, name="Hall")
    sensor = found(north, "a.x")
    form = {"kind": "flow", "unit": "l/min", "new_asset": "Pump P-101", "parent": hall.pk}
    answer = browser.post(reverse("sensors:place", args=[sensor.pk]), form)
    assert answer.status_code == 422
    assert "already, elsewhere" in answer.content.decode()


def test_the_page_costs_the_same_with_one_and_with_ten_sensors(browser: Client, north: Plant) -> None:
    counts = []
    for keys in (["a.0"], [f"a.{i}" for i in range(1, 10)]):
        for key in keys:
            found(north, key)
        with CaptureQueriesContext(connection) as queries:
            assert browser.get(reverse("sensors:discovered")).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_those_that_wait_are_announced_to_who_can_place_them(
    client: Client, people: dict[str, User], north: Plant
) -> None:
    found(north, "a.x")
    for role, told in (("engineer", True), ("viewer", False)):
        client.force_login(people[role])
        for page in ("sensors:overview", "sensors:assets"):
            assert ("1 sensor waits to be placed" in client.get(reverse(page)).content.decode()) is told


# ---- through the API and the admin


def patch(client: Client, sensor: Sensor, **change: Any) -> HttpResponse:
    answer: HttpResponse = client.patch(f"/api/v1/sensors/{sensor.pk}/", change, content_type="application/json")
    return answer


def test_a_program_places_a_discovered_sensor(browser: Client, north: Plant) -> None:
    sensor = found(north, "a.x")
    change = {"status": "active", "asset": north.pump.pk, "kind": "flow", "unit": "m³/h"}
    assert patch(browser, sensor, **change).status_code == 200
    sensor.refresh_from_db()
    assert (sensor.status, sensor.asset, sensor.unit) == ("active", north.pump, "m³/h")
    assert AuditEntry.objects.get().action == "place"
    assert patch(browser, sensor, unit="l/min").json()["errors"][0]["code"] == "fixed"
    assert patch(browser, sensor, status="discovered").json()["errors"][0]["code"] == "fixed"


def test_the_admin_places_a_discovered_sensor(browser: Client, north: Plant) -> None:
    sensor = found(north, "a.x")
    form = {"asset": north.pump.pk, "sensor_id": "a.x", "kind": "flow", "unit": "m³/h", "status": "active"}
    answer = browser.post(reverse("admin:sensors_sensor_change", args=[sensor.pk]), form)
    assert answer.status_code == 302
    sensor.refresh_from_db()
    assert (sensor.status, sensor.unit) == ("active", "m³/h")
    assert AuditEntry.objects.get().by == User.objects.get(username__startswith="engineer")


def test_the_admin_writes_down_which_discovered_sensors_it_retires(browser: Client, north: Plant) -> None:
    sensors = [found(north, "a.x"), north.temperature]
    form = {"action": "retire", "_selected_action": [sensor.pk for sensor in sensors]}
    answer = browser.post(reverse("admin:sensors_sensor_changelist"), form, follow=True)
    assert b"2 retired." in answer.content
    assert {Sensor.objects.get(pk=sensor.pk).status for sensor in sensors} == {"retired"}
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject) == ("ignore", f"sensor {sensors[0].pk}")
    form["_selected_action"] = [found(north, "a.y").pk]
    answer = browser.post(reverse("admin:sensors_sensor_changelist") + "?status=discovered", form, follow=True)
    assert b"1 retired." in answer.content

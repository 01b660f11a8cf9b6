import json
import shlex
import tomllib
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from sensors import snippets
from sensors.models import Quarantined, Reading, Sensor
from sensors.mqtt import Template
from tests.conftest import Plant

BASE = "https://plant.example"


@pytest.fixture
def technician(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["technician"])
    return client


def url(sensor: Sensor) -> str:
    return reverse("sensors:connect", args=[sensor.pk])


def texts(sensor: Sensor) -> dict[str, str]:
    return {snippet.name: snippet.text for snippet in snippets.for_sensor(sensor, BASE, 61.5)}


def test_the_snippets_carry_this_sensor_and_this_installation(north: Plant) -> None:
    for name, text in texts(north.temperature).items():
        assert "north.p101.temperature" in text, name
        assert "plant.example" in text, name


def test_the_python_snippet_compiles_and_the_telegraf_lines_are_toml(north: Plant) -> None:
    compile(texts(north.temperature)["Python"], "snippet", "exec")
    lines = tomllib.loads(texts(north.temperature)["Telegraf"])
    assert lines["inputs"]["exec"][0]["tags"] == {"sensor_id": "north.p101.temperature", "unit": "°C"}
    assert lines["outputs"]["influxdb_v2"][0]["urls"] == [BASE]


def test_the_body_that_curl_sends_is_a_reading(north: Plant) -> None:
    body = texts(north.temperature)["curl"].partition("-d '")[2].rpartition("'")[0]
    (reading,) = json.loads(body.replace("'$(date -u +%Y-%m-%dT%H:%M:%SZ)'", "2026-01-01T00:00:00Z"))
    assert reading["sensor_id"] == "north.p101.temperature"
    assert (reading["value"], reading["unit"]) == (61.5, "°C")


def test_a_sensor_without_a_unit_names_none(north: Plant) -> None:
    Sensor.objects.filter(pk=north.temperature.pk).update(kind="generic", unit="1")
    north.temperature.refresh_from_db()
    assert all("unit" not in text for text in texts(north.temperature).values())


@pytest.mark.parametrize("template", ["plant/{site}/{sensor...}", "factory/+/{site}/{sensor}", "{site}/all/#"])
def test_the_topic_is_one_the_bridge_listens_to(north: Plant, settings: LazySettings, template: str) -> None:
    settings.MQTT_URL, settings.MQTT_TOPICS = "mqtt://broker.example:1883", [template]
    Sensor.objects.filter(pk=north.temperature.pk).update(sensor_id="hall-2/p101/temperature")
    north.temperature.refresh_from_db()
    words = shlex.split(texts(north.temperature)["MQTT"])
    assert words[words.index("-h") + 1] == "broker.example"
    place = Template.parse(template).place(words[words.index("-t") + 1])
    assert place is not None
    assert place.site == "North"
    message = json.loads(words[words.index("-m") + 1])
    assert message == {"sensor_id": "hall-2/p101/temperature", "value": 61.5, "unit": "°C"}


def test_the_box_waits_and_turns_green_with_the_first_reading(technician: Client, north: Plant) -> None:
    page = technician.get(url(north.temperature)).content.decode()
    assert "Waiting for the first reading" in page
    assert "http://testserver/api/v1/readings/" in page
    Reading.objects.create(sensor=north.temperature, timestamp=timezone.now(), value=61.5)
    partial = technician.get(url(north.temperature), headers={"HX-Request": "true"}).content.decode()
    assert "message success" in partial
    assert "61.50 °C" in partial
    assert "<html" not in partial


def test_a_connection_that_fell_silent_is_not_green(technician: Client, north: Plant) -> None:
    Reading.objects.create(sensor=north.temperature, timestamp=timezone.now() - timedelta(hours=2), value=61.5)
    page = technician.get(url(north.temperature)).content.decode()
    assert "No new readings" in page
    assert "message success" not in page


def test_a_refusal_of_this_sensors_readings_is_told_to_who_may_see_it(
    client: Client, people: dict[str, User], north: Plant
) -> None:
    payload = {"sensor_id": north.temperature.sensor_id, "unit": "bar"}
    Quarantined.objects.create(
        site=north.site, source="api", code="unit_mismatch", detail="Wrong unit.", payload=payload, digest=b"1"
    )
    for role, told in (("technician", True), ("viewer", False)):
        client.force_login(people[role])
        assert ("Wrong unit." in client.get(url(north.temperature)).content.decode()) is told
    client.force_login(people["technician"])
    assert "Wrong unit." not in client.get(url(north.vibration)).content.decode()


def test_who_may_make_keys_is_led_there(client: Client, people: dict[str, User], north: Plant) -> None:
    make = reverse("admin:sensors_apikey_add")
    for role, led in (("admin", True), ("engineer", False)):
        client.force_login(people[role])
        assert (make in client.get(url(north.temperature)).content.decode()) is led


def test_a_page_that_is_empty_leads_here(technician: Client, north: Plant) -> None:
    for page in (north.temperature.get_absolute_url(), north.pump.get_absolute_url()):
        assert url(north.temperature) in technician.get(page).content.decode()

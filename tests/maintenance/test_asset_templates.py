from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from maintenance import asset_templates, starters
from maintenance.models import AssetTemplate, FailureMode
from sensors.errors import Refused
from sensors.models import Asset, AssetClass, Sensor
from tests.alerts.test_views import text
from tests.conftest import Plant


@pytest.fixture
def engineer(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["engineer"])
    return client


@pytest.fixture
def by(people: dict[str, User]) -> User:
    return people["engineer"]


def template(name: str = "Pump with motor") -> AssetTemplate:
    return AssetTemplate.objects.get(name=name)


@pytest.mark.parametrize("name", starters.TEMPLATES)
def test_what_is_shipped_can_be_carried_out(north: Plant, by: User, name: str) -> None:
    template(name).full_clean()
    made = asset_templates.create(template(name), by, site=north.site, name="New", key_prefix="new")
    assert made.sensors.count() == len(starters.TEMPLATES[name][1])


def test_a_new_installation_knows_how_pumps_fail(db: None) -> None:
    codes = set(FailureMode.objects.filter(asset_class__name="Pump").values_list("code", flat=True))
    assert {"VIB", "ELP", "ELU", "INL", "FTS", "PLU"} <= codes
    assert FailureMode.objects.filter(asset_class=None, code="BRD").exists()


def test_a_plants_own_list_is_left_as_it_is(db: None) -> None:
    from django.apps import apps

    FailureMode.objects.exclude(code="VIB").delete()
    starters.provide(apps)
    assert set(FailureMode.objects.values_list("code", flat=True)) == {"VIB"}


def test_a_template_makes_the_asset_its_sensors_their_limits_and_plans(north: Plant, by: User) -> None:
    made = asset_templates.create(
        template(), by, site=north.site, name="Pump P-102", key_prefix="p102", parent=north.pump
    )
    assert (made.asset_class, made.parent) == (AssetClass.objects.get(name="Pump"), north.pump)
    sensor = Sensor.objects.get(sensor_id="p102.motor.vibration")
    assert (sensor.site, sensor.unit, sensor.warn_high, sensor.machine_class) == (
        north.site,
        "mm/s",
        2.8,
        "group 2 rigid",
    )
    assert set(made.plans.values_list("title", "trigger")) == {
        ("Grease the bearings", "calendar"),
        ("Look at it: a limit was passed", "condition"),
    }


def refused(north: Plant, by: User, **about: Any) -> Refused:
    asked = {"site": north.site, "name": "Pump P-102", "key_prefix": "p102"} | about
    with pytest.raises(Refused) as refusal:
        asset_templates.create(template(), by, **asked)
    return refusal.value


def test_a_name_or_key_that_is_taken_makes_nothing_and_says_which(north: Plant, south: Plant, by: User) -> None:
    before = Asset.objects.count()
    assert refused(north, by, name="Pump P-101").errors[0]["field"] == "name"
    Sensor.objects.create(asset=north.pump, sensor_id="p102.flow", kind="flow", unit="m³/h")
    taken = refused(north, by)
    assert taken.errors[0]["field"] == "key_prefix"
    assert taken.detail == "p102.flow: Another sensor of this site has this key." or "Flow" in taken.detail
    assert refused(north, by, parent=south.pump, key_prefix="other").errors[0]["field"] == "parent"
    assert Asset.objects.count() == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1], "Give an object with the lists"),
        ({"sensor": []}, "There is no part called sensor."),
        ({"sensors": ["flow"]}, "sensors: each is an object."),
        ({"sensors": [{"kind": "flow", "unit": "m³/h"}]}, "give it a key."),
        ({"sensors": [{"key": "a", "kind": "flow", "unit": "m³/h"}] * 2}, "Two sensors have the key a."),
        ({"sensors": [{"key": "a", "kind": "flow", "unit": "furlong"}]}, "is not a valid choice"),
        (
            {"sensors": [{"key": "a", "kind": "flow", "unit": "m³/h", "warn_high": 9, "alarm_high": 8}]},
            "From the lowest",
        ),
        ({"sensors": [{"key": "a", "kind": "flow", "unit": "m³/h", "warn_high": "x"}]}, "must be a float"),
        ({"sensors": [{"key": "a", "kind": "flow", "unit": "m³/h", "site": 1}]}, "sensors have no site."),
        ({"plans": [{"title": "Grease it"}]}, "Grease it: "),
        (
            {"plans": [{"title": "Oil it", "trigger": "meter", "sensor": "hours"}]},
            "give it the key of a sensor",
        ),
        ({"failure_modes": [{"code": "", "name": "x"}]}, "cannot be blank"),
    ],
)
def test_a_template_that_could_not_be_carried_out_is_refused(db: None, content: Any, said: str) -> None:
    own = AssetTemplate(name="Own", asset_class=AssetClass.objects.get(name="Pump"), content=content)
    with pytest.raises(ValidationError) as refusal:
        own.full_clean()
    assert said in " ".join(refusal.value.messages)


def test_engineers_set_up_an_asset_with_one_form(engineer: Client, north: Plant) -> None:
    page = reverse("maintenance:new-asset")
    assert "Pump with motor" in text(engineer, page)
    sent = {"template": template().pk, "site": north.site.pk, "name": "Pump P-102", "key_prefix": "p102"}
    answer = engineer.post(page, sent)
    made = Asset.objects.get(name="Pump P-102")
    assert (answer.status_code, answer.headers["Location"]) == (302, made.get_absolute_url())
    again = engineer.post(page, sent)
    assert again.status_code == 400
    assert "already exists" in again.content.decode()


def test_programs_set_up_an_asset_too(engineer: Client, north: Plant) -> None:
    url = f"/api/v1/asset-templates/{template().pk}/create_asset/"
    sent = {"site": north.site.pk, "name": "Pump P-102", "key_prefix": "p102"}
    assert engineer.post(url, sent, content_type="application/json").status_code == 201
    again = engineer.post(url, sent, content_type="application/json")
    assert (again.status_code, again.json()["code"]) == (422, "not_created")


def test_everybody_reads_how_classes_fail(client: Client, people: dict[str, User], north: Plant) -> None:
    client.force_login(people["viewer"])
    page = text(client, reverse("maintenance:classes"))
    assert "External leakage of the process medium" in page
    assert "from memory" in page
    rows = client.get("/api/v1/failure-modes/", {"code": "PLU"}).json()["results"]
    assert [row["name"] for row in rows] == ["Plugged or choked"]

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from sensors.models import ApiKey, Asset, Pending, ReadingBatch, Sensor
from tests.conftest import Plant, make_plant

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def engineer(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["engineer"])
    return client


@pytest.fixture
def atlantis(db: None) -> Plant:
    """Another site, whose name appears nowhere else."""
    plant = make_plant("Atlantis")
    Asset.objects.filter(pk=plant.pump.pk).update(name="Atlantis pump")
    return plant


def act(client: Client, model: str, action: str, *rows: Any) -> HttpResponse:
    form = {"action": action, "_selected_action": [row.pk for row in rows]}
    answer: HttpResponse = client.post(reverse(f"admin:{model}_changelist"), form, follow=True)
    return answer


@pytest.mark.parametrize("path", ["sensors/site/", "sensors/asset/", "sensors/sensor/", "sensors/asset/add/"])
def test_neither_lists_nor_filters_nor_choices_show_another_site(
    engineer: Client, north: Plant, atlantis: Plant, path: str
) -> None:
    answer = engineer.get(f"/admin/{path}")
    assert answer.status_code == 200
    assert b"atlantis" not in answer.content.lower()


@pytest.mark.parametrize("field", [("asset", "parent"), ("asset", "site"), ("sensor", "asset")])
def test_autocompletion_offers_visible_rows_only(
    engineer: Client, north: Plant, atlantis: Plant, field: tuple[str, str]
) -> None:
    query = {"app_label": "sensors", "model_name": field[0], "field_name": field[1]}
    names = [row["text"] for row in engineer.get("/admin/autocomplete/", query).json()["results"]]
    assert names == (["North"] if field[1] == "site" else ["Pump P-101"])


def asset_form(plant: Plant, **change: Any) -> dict[str, Any]:
    form = {"site": plant.site.pk, "name": "Fan", "level": "machine", "criticality": 2}
    return form | {"sensors-TOTAL_FORMS": 0, "sensors-INITIAL_FORMS": 0} | change


def test_an_engineer_makes_an_asset_with_its_sensors(engineer: Client, north: Plant) -> None:
    sensor = {"sensor_id": "fan", "kind": "sound", "unit": "dB", "status": "active"}
    form = asset_form(north) | {"sensors-TOTAL_FORMS": 1} | {f"sensors-0-{name}": sensor[name] for name in sensor}
    assert engineer.post("/admin/sensors/asset/add/", form).status_code == 302
    assert Sensor.objects.get(sensor_id="fan").asset.name == "Fan"


@pytest.mark.parametrize("change", ["site", "parent"])
def test_a_posted_form_cannot_point_at_another_site(
    engineer: Client, north: Plant, atlantis: Plant, change: str
) -> None:
    other = {"site": atlantis.site.pk, "parent": atlantis.pump.pk}[change]
    answer = engineer.post("/admin/sensors/asset/add/", asset_form(north, **{change: other}))
    assert b"not one of the available choices" in answer.content
    assert not Asset.objects.filter(name="Fan").exists()


def test_the_form_refuses_what_the_model_refuses(engineer: Client, north: Plant) -> None:
    path = reverse("admin:sensors_asset_change", args=[north.pump.pk])
    answer = engineer.post(path, asset_form(north, parent=north.pump.pk))
    assert b"An asset cannot be part of itself." in answer.content


def test_retiring_a_sensor_keeps_it(engineer: Client, north: Plant, atlantis: Plant) -> None:
    answer = act(engineer, "sensors_sensor", "retire", north.temperature, atlantis.temperature)
    assert b"1 retired." in answer.content
    assert set(Sensor.objects.active()) == {north.vibration, atlantis.temperature, atlantis.vibration}


def test_a_technician_cannot_retire(client: Client, people: dict[str, User], north: Plant) -> None:
    client.force_login(people["technician"])
    act(client, "sensors_sensor", "retire", north.temperature)
    assert north.temperature in Sensor.objects.active()


def test_nothing_can_be_deleted_even_by_a_superuser(client: Client, north: Plant) -> None:
    client.force_login(User.objects.create_superuser("boss"))
    assert (
        client.post(reverse("admin:sensors_sensor_delete", args=[north.vibration.pk]), {"post": "yes"}).status_code
        == 403
    )
    act(client, "sensors_sensor", "delete_selected", north.vibration)
    assert Sensor.objects.filter(pk=north.vibration.pk).exists()


def test_the_sensor_leads_to_its_readings(engineer: Client, north: Plant) -> None:
    page = engineer.get(reverse("admin:sensors_sensor_change", args=[north.vibration.pk]))
    assert reverse("sensors:readings", args=[north.vibration.pk]) in page.content.decode()


def dead_letter(plant: Plant, consumer: str) -> Pending:
    batch = ReadingBatch.objects.create(
        source="test", accepted=1, sensors=[plant.temperature.pk], firsts=[NOON], lasts=[NOON]
    )
    return Pending.objects.create(batch=batch, consumer=consumer, attempts=4, dead_at=NOON, error="It <broke>.")


def test_a_dead_letter_shows_its_error_and_can_be_tried_again(engineer: Client, north: Plant, atlantis: Plant) -> None:
    dead, elsewhere = dead_letter(north, "score"), dead_letter(atlantis, "score")
    page = engineer.get("/admin/sensors/pending/?state=dead").content.decode()
    assert "It &lt;broke&gt;." in page
    assert "1 pending work" in page or "1 result" in page
    act(engineer, "sensors_pending", "try_again", dead, elsewhere)
    assert list(Pending.objects.dead()) == [elsewhere]
    assert engineer.get("/admin/sensors/pending/?state=waiting").content.decode().count("score") >= 1


def test_a_new_key_is_shown_once_and_works(client: Client, people: dict[str, User]) -> None:
    client.force_login(people["admin"])
    form = {
        "user": people["integration"].pk,
        "name": "gateway",
        "scopes": ["ingest", "read"],
        "requests_per_second": 7,
    }
    page = client.post("/admin/sensors/apikey/add/", form, follow=True).content.decode()
    found = re.search(r"sm_[\w-]{43}", page)
    assert found
    assert Client().get("/api/v1/sites/", headers={"X-API-Key": found.group()}).status_code == 200
    row = ApiKey.objects.get()
    assert (row.requests_per_second, row.discovers, row.site) == (7, False, None)
    for path in (reverse("admin:sensors_apikey_change", args=[row.pk]), "/admin/sensors/apikey/"):
        page = client.get(path).content.decode()
        assert found.group() not in page
        assert row.digest not in page


def test_a_key_for_somebody_with_more_rights_cannot_be_made(client: Client, people: dict[str, User]) -> None:
    client.force_login(people["admin"])
    boss = User.objects.create_superuser("boss")
    answer = client.post("/admin/sensors/apikey/add/", {"user": boss.pk, "name": "x", "scopes": ["write"]})
    assert b"not one of the available choices" in answer.content
    assert not ApiKey.objects.exists()


def test_only_the_limits_of_a_key_can_be_changed(
    client: Client, people: dict[str, User], north: Plant, south: Plant
) -> None:
    client.force_login(people["admin"])
    row, _ = ApiKey.issue(people["integration"], "gateway", ["read"])
    form = {"user": people["admin"].pk, "name": "mine", "scopes": ["write"], "requests_per_second": 5}
    page = reverse("admin:sensors_apikey_change", args=[row.pk])
    client.post(page, form | {"site": north.site.pk})
    row.refresh_from_db()
    assert (row.user, row.name, row.scopes, row.revoked_at) == (people["integration"], "gateway", ["read"], None)
    assert (row.requests_per_second, row.site) == (5, north.site)
    assert b"no member of this site" in client.post(page, form | {"site": south.site.pk}).content
    act(client, "sensors_apikey", "revoke", row)
    assert not ApiKey.objects.usable().exists()

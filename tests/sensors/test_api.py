import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from sensors.formats import json as json_format
from sensors.ingest import store_batch
from sensors.models import Asset, Pending, Reading, ReadingBatch, Sensor
from tests.conftest import Plant, make_user

NOON = "2026-03-01T12:00:00Z"


@pytest.fixture
def engineer(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["engineer"])
    return client


def send(client: Client, *rows: dict[str, Any]) -> HttpResponse:
    answer: HttpResponse = client.post("/api/v1/readings/", list(rows), content_type="application/json")
    return answer


def row(sensor: Sensor, at: str = NOON, value: Any = 20.5, **more: Any) -> dict[str, Any]:
    return {"sensor_id": sensor.sensor_id, "timestamp": at, "value": value, **more}


def test_readings_are_stored_and_counted(engineer: Client, north: Plant) -> None:
    now = timezone.now().isoformat()
    answer = send(engineer, row(north.temperature, now), row(north.vibration, now))
    batch = ReadingBatch.objects.get()
    assert answer.status_code == 201
    assert answer.json() == {"batch": batch.pk, "accepted": 2, "duplicates": 0, "rejected": []}
    assert batch.mode == "live"
    assert Reading.objects.count() == 2


def test_one_reading_may_come_without_a_list(engineer: Client, north: Plant) -> None:
    answer = engineer.post("/api/v1/readings/", row(north.temperature), content_type="application/json; charset=utf-8")
    assert answer.status_code == 201


def test_sending_again_is_harmless(engineer: Client, north: Plant) -> None:
    send(engineer, row(north.temperature))
    answer = send(engineer, row(north.temperature))
    assert (answer.status_code, answer.json()["duplicates"]) == (200, 1)


def test_good_rows_are_stored_beside_bad_ones(engineer: Client, north: Plant) -> None:
    answer = send(engineer, row(north.temperature), row(north.temperature, value="hot"))
    assert answer.status_code == 201
    assert [(bad["index"], bad["code"]) for bad in answer.json()["rejected"]] == [(1, "invalid_value")]


def test_when_nothing_is_good_the_answer_is_an_error_that_names_every_row(engineer: Client, north: Plant) -> None:
    answer = send(engineer, row(north.temperature, unit="furlong"), row(north.temperature, at="2026-03-01T12:00:00"))
    body = answer.json()
    assert (answer.status_code, body["code"]) == (422, "readings_rejected")
    assert [(bad["index"], bad["code"]) for bad in body["errors"]] == [(0, "unknown_unit"), (1, "naive_timestamp")]


def test_a_sensor_of_another_site_is_as_good_as_none(engineer: Client, north: Plant, south: Plant) -> None:
    answer = send(engineer, row(south.temperature))
    assert [bad["code"] for bad in answer.json()["errors"]] == ["unknown_sensor"]
    assert not Reading.objects.exists()


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_json_is_taken(engineer: Client, content_type: str) -> None:
    answer = engineer.generic("POST", "/api/v1/readings/", b"[]", content_type)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_broken_json_is_refused_whole(engineer: Client) -> None:
    answer = engineer.post("/api/v1/readings/", b'[{"sensor_id"', content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")


def test_a_batch_tells_what_became_of_it(engineer: Client, north: Plant, settings: LazySettings) -> None:
    settings.OUTBOX_CONSUMERS = {"score": settings.OUTBOX_CONSUMERS["score"]}
    batch = send(engineer, row(north.temperature)).json()["batch"]
    states = []
    for change in (None, {"dead_at": NOON, "attempts": 4, "error": "secret"}, "done"):
        if change == "done":
            Pending.objects.all().delete()
        elif change:
            Pending.objects.update(**change)
        answer = engineer.get(f"/api/v1/batches/{batch}/").json()
        assert (answer["accepted"], "secret" in str(answer)) == (1, False)
        assert [work["consumer"] for work in answer["work"]] == list(settings.OUTBOX_CONSUMERS)
        states.append({work["state"] for work in answer["work"]})
    assert states == [{"waiting"}, {"dead"}, {"done"}]


def test_a_batch_with_a_sensor_of_another_site_is_hidden(engineer: Client, north: Plant, south: Plant) -> None:
    rows = json.dumps([row(north.temperature), row(south.temperature)]).encode()
    stored = store_batch(json_format.parse(rows), source="test")
    assert engineer.get(f"/api/v1/batches/{stored.batch_id}/").status_code == 404


def test_readings_come_newest_first_within_the_asked_period(engineer: Client, north: Plant) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    Reading.objects.bulk_create(
        Reading(sensor=north.temperature, timestamp=start + timedelta(hours=hour), value=hour) for hour in range(24)
    )
    path = f"/api/v1/sensors/{north.temperature.pk}/readings/"
    period = {"from": "2026-03-01T06:00:00Z", "to": "2026-03-01T12:00:00+00:00"}
    page = engineer.get(path, {**period, "page_size": 4}).json()
    assert [reading["value"] for reading in page["results"]] == [11, 10, 9, 8]
    rest = engineer.get(page["next"]).json()
    assert [reading["value"] for reading in rest["results"]] == [7, 6]
    assert rest["next"] is None
    assert rest["results"][-1] == {"timestamp": "2026-03-01T06:00:00Z", "value": 6.0, "quality": 1.0}


def test_a_period_without_a_time_zone_is_refused(engineer: Client, north: Plant) -> None:
    period = {"from": "2026-03-01T06:00:00", "to": "noon"}
    answer = engineer.get(f"/api/v1/sensors/{north.temperature.pk}/readings/", period)
    assert complaints(answer) == [("from", "naive_timestamp"), ("to", "invalid")]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"t", "v"}),
        ("kind=vibration", {"v"}),
        ("status=retired", set()),
        ("sensor_id=north.p101.temperature", {"t"}),
        ("site={site}", {"t", "v"}),
        ("asset={asset}&kind=temperature", {"t"}),
        ("site={other}", set()),
    ],
)
def test_sensors_can_be_filtered(engineer: Client, north: Plant, south: Plant, query: str, found: set[str]) -> None:
    query = query.format(site=north.site.pk, asset=north.pump.pk, other=south.site.pk)
    names = {"t": north.temperature.pk, "v": north.vibration.pk}
    rows = engineer.get(f"/api/v1/sensors/?{query}").json()["results"]
    assert {row["id"] for row in rows} == {names[name] for name in found}


def complaints(answer: HttpResponse) -> list[tuple[str, str]]:
    assert answer.status_code == 400, answer.content
    return [(error["field"], error["code"]) for error in answer.json()["errors"]]


def patch(client: Client, kind: str, pk: int, **change: Any) -> HttpResponse:
    answer: HttpResponse = client.patch(f"/api/v1/{kind}/{pk}/", change, content_type="application/json")
    return answer


def test_an_engineer_sets_up_an_asset_with_a_sensor(engineer: Client, north: Plant) -> None:
    asset = {"site": north.site.pk, "parent": north.pump.pk, "name": "Bearing", "level": "component"}
    made = engineer.post("/api/v1/assets/", asset, content_type="application/json").json()
    sensor = {"asset": made["id"], "sensor_id": "b1", "kind": "vibration", "unit": "mm/s", "range_low": 0}
    answer = engineer.post("/api/v1/sensors/", sensor, content_type="application/json")
    assert answer.status_code == 201
    assert Sensor.objects.get(sensor_id="b1").asset.parent == north.pump


def test_an_asset_cannot_be_part_of_itself(engineer: Client, north: Plant) -> None:
    child = Asset.objects.create(site=north.site, parent=north.pump, name="Bearing")
    assert complaints(patch(engineer, "assets", north.pump.pk, parent=child.pk)) == [("parent", "circular")]
    assert complaints(patch(engineer, "assets", child.pk, parent=child.pk)) == [("parent", "circular")]


def test_assets_and_sensors_stay_at_their_site(client: Client, north: Plant, south: Plant) -> None:
    client.force_login(make_user("engineer", north.site, south.site))
    Asset.objects.filter(pk=south.pump.pk).update(name="Pump P-201")
    assert complaints(patch(client, "assets", north.pump.pk, site=south.site.pk)) == [("site", "fixed")]
    assert complaints(patch(client, "assets", north.pump.pk, parent=south.pump.pk)) == [("parent", "other_site")]
    assert complaints(patch(client, "sensors", north.vibration.pk, asset=south.pump.pk)) == [("asset", "fixed")]


def test_what_another_site_owns_cannot_be_pointed_at(engineer: Client, north: Plant, south: Plant) -> None:
    assert complaints(patch(engineer, "assets", north.pump.pk, parent=south.pump.pk)) == [("parent", "does_not_exist")]
    assert complaints(patch(engineer, "sensors", north.vibration.pk, asset=south.pump.pk)) == [
        ("asset", "does_not_exist")
    ]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"unit": "K"}, ("unit", "fixed")),
        ({"unit": "furlong"}, ("unit", "invalid_choice")),
        ({"sensor_id": "north.p101.vibration"}, ("sensor_id", "unique")),
        ({"sensor_id": "a b"}, ("sensor_id", "invalid")),
        ({"cadence_seconds": 0}, ("cadence_seconds", "invalid")),
        ({"range_low": 5, "range_high": 5}, ("range_high", "invalid")),
        ({"range_low": "NaN"}, ("range_low", "invalid")),
        ({"range_high": "inf"}, ("range_high", "invalid")),
        ({"range_high": 10**400}, ("range_high", "overflow")),
    ],
)
def test_a_sensor_that_makes_no_sense_is_refused(
    engineer: Client, north: Plant, change: dict[str, Any], complaint: tuple[str, str]
) -> None:
    assert complaints(patch(engineer, "sensors", north.temperature.pk, **change)) == [complaint]


def test_a_sensor_can_be_retired(engineer: Client, north: Plant) -> None:
    assert patch(engineer, "sensors", north.temperature.pk, status="retired").status_code == 200
    assert send(engineer, row(north.temperature)).json()["errors"][0]["code"] == "sensor_retired"


@pytest.mark.parametrize("value", ["-1e300000", "1.5", "1e9999", "-1", "x", "9" * 30])
def test_an_id_that_is_no_id_is_refused_at_once(engineer: Client, value: str) -> None:
    assert engineer.get("/api/v1/assets/", {"site": value}).status_code == 400


def test_an_endless_number_for_a_foreign_key_is_refused(engineer: Client) -> None:
    answer = engineer.post("/api/v1/assets/", '{"site": 1e999, "name": "x"}', content_type="application/json")
    assert answer.status_code == 400


def test_a_chart_of_impossible_times_is_refused(engineer: Client, north: Plant) -> None:
    url = reverse("sensors:series", args=[north.temperature.pk])
    times = {"from": "0001-01-01T00:00:00+14:00", "to": "2026-01-01T00:00:00Z"}
    assert engineer.get(url, times).status_code == 400


def test_more_readings_than_a_request_may_hold_are_refused_with_413(engineer: Client) -> None:
    body = "[" + ",".join(["0"] * 50_001) + "]"
    answer = engineer.post("/api/v1/readings/", body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_readings")

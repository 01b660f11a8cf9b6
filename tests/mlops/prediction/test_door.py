"""The fast way to ask models, in this process and without a pool: who gets as far as that, and who does not."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from mlops.prediction.door import PATH, PredictDoor
from sensors.doors.bare import Keys
from sensors.models import ApiKey
from tests.conftest import Plant, make_plant, make_user
from tests.sensors.test_fast_door import ask, django

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def door() -> Iterator[PredictDoor]:
    door = PredictDoor(django)
    door.threads = ThreadPoolExecutor(1)
    door.keys = Keys(door.threads)
    yield door
    door.threads.submit(lambda: connection.close()).result()
    door.threads.shutdown()


@pytest.fixture
def plant() -> Plant:
    return make_plant("Fast")


def a_key(plant: Plant, role: str = "integration", scope: str = "read") -> str:
    return ApiKey.issue(make_user(role, plant.site), "fast", [scope], requests_per_second=0)[1]


def code(door: Any, key: str, body: Any, **headers: str) -> tuple[int, str]:
    status, answer, _ = asyncio.run(ask(door, PATH, key, json.dumps(body).encode(), **headers))
    return status, json.loads(answer)["code"] if status != 299 else ""


def test_a_program_with_a_key_gets_to_the_pool(door: PredictDoor, plant: Plant) -> None:
    # None listens here.
    assert code(door, a_key(plant), {"sensor": plant.temperature.sensor_id}) == (503, "predict_unavailable")


def test_everybody_else_is_django_s(door: PredictDoor, plant: Plant) -> None:
    assert code(door, "", {"sensor": 1}) == (299, "")
    status, *_ = asyncio.run(ask(door, "/api/v1/models/", a_key(plant), b"", method="GET"))
    assert status == 299


@pytest.mark.parametrize(
    ("role", "scope", "expected"),
    [("integration", "ingest", (403, "scope_missing")), ("viewer", "read", (403, "permission_denied"))],
)
def test_keys_without_the_right_are_refused(
    door: PredictDoor, plant: Plant, role: str, scope: str, expected: tuple[int, str]
) -> None:
    assert code(door, a_key(plant, role, scope), {"sensor": 1}) == expected
    assert code(door, "sm_nobody", {"sensor": 1}) == (401, "invalid_api_key")


def test_a_key_of_one_site_knows_no_sensor_of_another(door: PredictDoor, plant: Plant) -> None:
    other = make_plant("Other")
    assert code(door, a_key(plant), {"sensor": other.temperature.pk}) == (404, "unknown_sensor")


def test_refusals_have_the_one_shape(door: PredictDoor, plant: Plant) -> None:
    key = a_key(plant)
    assert code(door, key, {"model": "m"}) == (400, "invalid")
    assert code(door, key, {"sensor": 1}, content_type="text/plain") == (415, "unsupported_media_type")
    status, answer, headers = asyncio.run(ask(door, PATH, key, b"{"))
    assert (status, set(json.loads(answer))) == (400, {"code", "detail", "errors", "request_id"})
    assert headers[b"x-request-id"].decode() == json.loads(answer)["request_id"]

"""The bare ASGI application in this process; tests/flows/test_doors.py drives it in a running platform."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import connection

from sensors.doors import asgi
from sensors.doors.asgi import FastDoor
from sensors.doors.bare import Keys
from sensors.models import ApiKey, Reading, ReadingBatch
from tests.conftest import Plant, make_plant, make_user

pytestmark = pytest.mark.django_db(transaction=True)
READINGS, WRITE = "/api/v1/readings/", "/api/v2/write"


async def django(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"Django"})


@pytest.fixture
def plant() -> Plant:
    return make_plant("Fast")


@pytest.fixture
def key(plant: Plant) -> str:
    return ApiKey.issue(make_user("integration", plant.site), "fast", ["ingest"], requests_per_second=0)[1]


@pytest.fixture
def door() -> Iterator[FastDoor]:
    door = FastDoor(django)
    door.threads = ThreadPoolExecutor(1)
    door.keys = Keys(door.threads)
    yield door
    door.threads.submit(lambda: connection.close()).result()
    door.threads.shutdown()


async def ask(
    door: FastDoor, path: str, key: str, *parts: bytes, method: str = "POST", pause: float = 0, **headers: str
) -> Any:
    """Status, body and headers of the answer; the request's body comes in these parts, after a pause."""
    lines = {"content-type": "application/json", "content-length": str(sum(map(len, parts))), **headers}
    if key:
        lines["x-api-key"] = key
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in lines.items()],
    }
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if messages:
        messages[-1]["more_body"] = False
    else:
        messages = [{"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(pause)
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await door(scope, receive, send)
    answer = dict(sent[0]["headers"])
    return sent[0]["status"], sent[1].get("body", b""), answer


def body(plant: Plant, *seconds: int) -> bytes:
    sensor_id = plant.temperature.sensor_id
    rows = [
        {"sensor_id": sensor_id, "timestamp": f"2026-03-01T12:00:{second:02d}Z", "value": second} for second in seconds
    ]
    return json.dumps(rows).encode()


def test_requests_that_come_together_are_one_transaction(door: FastDoor, plant: Plant, key: str) -> None:
    async def rush() -> Any:
        first = asyncio.create_task(ask(door, READINGS, key, body(plant, 0)))
        await asyncio.sleep(0)
        return await asyncio.gather(first, *(ask(door, READINGS, key, body(plant, n)) for n in range(1, 9)))

    answers = asyncio.run(rush())
    assert [status for status, *_ in answers] == [201] * 9
    assert [json.loads(answer)["accepted"] for _, answer, _ in answers] == [1] * 9
    assert Reading.objects.count() == 9
    assert ReadingBatch.objects.count() < 9
    assert not door.sharing, "Nothing is kept of a key that has gone quiet."


def test_what_is_not_for_it_goes_on_to_django(door: FastDoor, plant: Plant, key: str) -> None:
    async def run() -> list[int]:
        return [
            (await ask(door, READINGS, "", body(plant, 1)))[0],
            (await ask(door, READINGS, key, b"", method="GET"))[0],
            (await ask(door, "/api/v1/sites/", key, b""))[0],
        ]

    assert asyncio.run(run()) == [299] * 3


def test_a_large_body_in_parts_is_stored(door: FastDoor, plant: Plant, key: str) -> None:
    sent = body(plant, *range(60)).ljust(asgi.SMALL_BYTES + 1)
    status, answer, _ = asyncio.run(ask(door, READINGS, key, sent[:100], sent[100:]))
    assert (status, json.loads(answer)["accepted"]) == (201, 60)


def test_line_protocol_is_answered_without_a_body_and_counts_refused_rows(
    door: FastDoor, plant: Plant, key: str
) -> None:
    line = f"m,sensor_id={plant.temperature.sensor_id} value=1 1772366400000000000\n".encode()
    status, answer, headers = asyncio.run(ask(door, WRITE, key, line + b"nonsense\n"))
    assert (status, answer, headers[b"x-readings-rejected"]) == (204, b"", b"1")
    status, answer, _ = asyncio.run(ask(door, WRITE, key, b"nonsense\n"))
    assert (status, json.loads(answer)["code"]) == (422, "readings_rejected")
    assert json.loads(answer)["message"]


def test_too_many_waiting_requests_are_turned_away(
    door: FastDoor, plant: Plant, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi, "MAX_WAITING", 2)

    async def rush() -> Any:
        return await asyncio.gather(*(ask(door, READINGS, key, body(plant, n)) for n in range(10)))

    answers = asyncio.run(rush())
    refused = [(status, json.loads(answer)["code"], headers) for status, answer, headers in answers if status != 201]
    assert refused
    assert {(status, code) for status, code, _ in refused} == {(503, "server_busy")}
    assert all(headers[b"retry-after"] == b"2" for *_, headers in refused)
    assert Reading.objects.count() == 10 - len(refused)


@pytest.mark.parametrize("limit", ["MAX_HELD_BYTES", "MAX_HELD_BYTES_OF_KEY"])
def test_slow_senders_of_large_bodies_cannot_hold_all_the_memory(
    door: FastDoor, plant: Plant, key: str, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    large = body(plant, 1).ljust(asgi.SMALL_BYTES + 1)
    monkeypatch.setattr(asgi, limit, len(large) + 1)

    async def run() -> Any:
        slow = asyncio.create_task(ask(door, READINGS, key, large, pause=0.2))
        await asyncio.sleep(0.1)
        turned_away = await ask(door, READINGS, key, large)
        small = await ask(door, READINGS, key, body(plant, 2))
        return turned_away, small, await slow, await ask(door, READINGS, key, large)

    turned_away, small, slow, again = asyncio.run(run())
    assert (turned_away[0], json.loads(turned_away[1])["code"]) == (503, "server_busy")
    assert [small[0], slow[0], again[0]] == [201, 201, 200]
    assert not door.held


def test_repeats_of_a_request_do_not_keep_others_waiting(door: FastDoor, plant: Plant, key: str) -> None:
    """The first is held up in the database; its repeats wait for it, everybody else is served."""
    lock = psycopg.connect(**connection.get_connection_params())
    lock.execute(
        "INSERT INTO sensors_idempotentrequest (user_id, key, digest, status, created_at) "
        "SELECT user_id, 'k', '', 0, now() FROM sensors_apikey"
    )
    door.threads.shutdown()
    door.threads = ThreadPoolExecutor(2)
    door.keys = Keys(door.threads)

    async def run() -> Any:
        repeats = [asyncio.create_task(ask(door, READINGS, key, body(plant, 1), idempotency_key="k")) for _ in range(4)]
        await asyncio.sleep(0.3)
        other = await asyncio.wait_for(ask(door, READINGS, key, body(plant, 2)), 10)
        lock.rollback()
        return other, await asyncio.gather(*repeats)

    try:
        other, repeats = asyncio.run(run())
    finally:
        lock.close()
        for _ in range(2):
            door.threads.submit(lambda: connection.close()).result()
    assert other[0] == 201
    assert [status for status, *_ in repeats] == [201] * 4
    assert sum(b"idempotent-replayed" in headers for *_, headers in repeats) == 3


@pytest.mark.parametrize("size", [0, asgi.SMALL_BYTES + 1])
def test_a_sender_that_hangs_up_leaves_nothing_behind(door: FastDoor, plant: Plant, key: str, size: int) -> None:
    status, answer, _ = asyncio.run(ask(door, READINGS, key, content_length=str(size)))
    assert (status, json.loads(answer)["code"]) == (400, "disconnected")
    assert not Reading.objects.exists()


def test_a_failure_nobody_expected_is_answered_and_the_next_request_served(
    door: FastDoor, plant: Plant, key: str, settings: Any
) -> None:
    tolerance, settings.FUTURE_TOLERANCE_SECONDS = settings.FUTURE_TOLERANCE_SECONDS, "a mistake"
    status, answer, _ = asyncio.run(ask(door, READINGS, key, body(plant, 1)))
    assert (status, json.loads(answer)["code"]) == (500, "server_error")
    settings.FUTURE_TOLERANCE_SECONDS = tolerance
    assert asyncio.run(ask(door, READINGS, key, body(plant, 1)))[0] == 201

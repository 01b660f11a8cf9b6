import asyncio
from typing import Any

import pytest

from config import address_limit, body_limit
from config.address_limit import AddressLimit
from config.body_limit import BodyLimit
from sensors import limits
from sensors.imports import ask_for_room


@pytest.fixture(autouse=True)
def nobody_was_here() -> None:
    limits.addresses._buckets.clear()


async def application(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def scope(address: str, path: str = "/api/v1/sites/", **headers: str) -> dict[str, Any]:
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": "POST", "path": path, "client": (address, 1), "headers": lines}


async def ask(asked: Any, request: dict[str, Any], *, hang: bool = False) -> tuple[int, dict[bytes, bytes]]:
    """Status and headers of the answer; a hanging request never sends its body."""
    sent: list[Any] = []

    async def receive() -> Any:
        if hang:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await asked(request, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"])


def statuses(limit: AddressLimit, *requests: dict[str, Any]) -> list[int]:
    async def run() -> list[int]:
        return [(await ask(limit, request))[0] for request in requests]

    return asyncio.run(run())


def test_an_address_that_asks_too_often_is_told_when_to_come_back_and_others_are_not() -> None:
    limit = AddressLimit(application, 2, 0)
    assert statuses(limit, *[scope("10.0.0.1")] * 3, scope("10.0.0.2")) == [200, 200, 429, 200]
    status, headers = asyncio.run(ask(limit, scope("10.0.0.1")))
    assert (status, headers[b"retry-after"]) == (429, b"1")


def test_pages_are_not_counted() -> None:
    assert statuses(AddressLimit(application, 1, 0), *[scope("10.0.0.1", "/assets/")] * 5) == [200] * 5


@pytest.mark.parametrize(("proxies", "expected"), [(0, [200, 429]), (1, [200, 200]), (2, [200, 429])])
def test_behind_proxies_the_address_is_what_the_outermost_of_them_saw(proxies: int, expected: list[int]) -> None:
    limit = AddressLimit(application, 1, proxies)
    through = [scope("10.9.9.9", x_forwarded_for=f"1.1.1.1, 2.2.2.2, 3.3.3.{number}") for number in (1, 2)]
    assert statuses(limit, *through) == expected


def test_one_address_cannot_hold_all_places_with_half_sent_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_limit, "MAX_OPEN", 3)
    limit = AddressLimit(application, 100, 0)

    async def run() -> Any:
        hanging = [asyncio.create_task(ask(limit, scope("10.0.0.1"), hang=True)) for _ in range(3)]
        await asyncio.sleep(0)
        answers = await ask(limit, scope("10.0.0.1")), await ask(limit, scope("10.0.0.2"))
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        return answers, await ask(limit, scope("10.0.0.1"))

    (same, other), later = asyncio.run(run())
    assert [same[0], other[0], later[0]] == [429, 200, 200]
    assert not limit.open


def test_a_small_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "SMALL_SECONDS", 0.01)

    async def nobody(_: Any) -> bool:
        return False

    limit = BodyLimit(application, 10_000, 10_000, nobody, ask_for_room)
    request = scope("10.0.0.1", "/api/v1/readings/", content_length="10")
    assert asyncio.run(ask(limit, request, hang=True))[0] == 408

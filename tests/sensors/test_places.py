import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from sensors import export, places, series, summary, valkey
from sensors.errors import Refused
from sensors.export import Table
from sensors.models import Reading
from tests.conftest import Plant

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
HOLD_ALL = """
import time, django
django.setup()
from sensors import places
for _ in range(3):
    places.take("export", 7)
print("taken", flush=True)
time.sleep(60)
"""
pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")


@pytest.fixture(autouse=True)
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LEASE_SECONDS", 2)
    for key in valkey.client().scan_iter("sm:places:*"):
        valkey.client().delete(key)


def take_all(user_id: int = 7) -> list[places.Place]:
    return [places.take("export", user_id) for _ in range(places.MOST["export"])]


def test_a_user_has_so_many_places_and_another_has_as_many() -> None:
    held = take_all()
    with pytest.raises(Refused) as refused:
        places.take("export", 7)
    assert (refused.value.code, refused.value.status, refused.value.headers) == (
        "too_many_at_once",
        429,
        {"Retry-After": "10"},
    )
    take_all(user_id=8)
    held[0].give_back()
    places.take("export", 7)


def test_a_place_that_is_kept_does_not_fade_and_one_that_is_not_does() -> None:
    kept, *_ = take_all()
    deadline = time.monotonic() + 10
    taken = 0
    while taken < 2 and time.monotonic() < deadline:
        assert kept.keep()
        time.sleep(0.2)
        try:
            places.take("export", 7)
        except Refused:
            continue
        taken += 1
    assert taken == 2
    with pytest.raises(Refused):
        places.take("export", 7)


def test_whoever_lost_a_place_has_it_again_when_one_is_free() -> None:
    late = take_all()[0]
    time.sleep(3.1)
    others = take_all()
    assert not late.keep()
    others[0].give_back()
    assert late.keep()


def test_a_process_that_is_killed_takes_no_places_along() -> None:
    script = HOLD_ALL.replace("for _", "places.LEASE_SECONDS = 2\nfor _")
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"taken\n"
        with pytest.raises(Refused):
            places.take("export", 7)
        process.kill()
    time.sleep(3.1)
    take_all()


def test_nothing_is_limited_while_valkey_is_away(settings: LazySettings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    valkey.client.cache_clear()
    try:
        for _ in range(10):
            places.take("export", 7).give_back()
    finally:
        valkey.client.cache_clear()


def lines() -> Table:
    def pieces() -> Iterator[list[Any]]:
        for number in range(5):
            yield [[number]]

    return Table("things", {"number": "integer"}, pieces, lambda: 5)


def test_an_export_has_a_place_until_it_is_sent_or_given_up() -> None:
    async def begin(answer: Any) -> None:
        pieces = aiter(answer.streaming_content)
        await anext(pieces)
        await pieces.aclose()

    for _ in range(places.MOST["export"] + 1):
        async_to_sync(begin)(export.download(lines(), "csv", user_id=7))
        b"".join(export.download(lines(), "csv", user_id=7))  # type: ignore[arg-type]
    take_all()
    with pytest.raises(Refused):
        export.download(lines(), "csv", user_id=7)


@pytest.fixture
def viewer(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["viewer"])
    return client


@pytest.mark.parametrize("path", ["api:asset-export", "api:sensor-series-export"])
def test_one_export_too_many_is_told_when_to_come_again(
    viewer: Client, people: dict[str, User], north: Plant, path: str
) -> None:
    take_all(people["viewer"].pk)
    answer = viewer.get(reverse(path, args=[north.temperature.pk] if "series" in path else []))
    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (429, "too_many_at_once", "10")


@pytest.mark.parametrize("path", ["api:sensor-series", "sensors:series"])
def test_very_long_windows_are_limited_and_others_are_not(
    viewer: Client, people: dict[str, User], north: Plant, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    Reading.objects.bulk_create(
        Reading(sensor=north.temperature, timestamp=NOON + timedelta(seconds=i), value=1.0) for i in range(20)
    )
    summary.mark_window([north.temperature.pk], NOON, NOON + timedelta(minutes=1))
    for _ in range(places.MOST["window"]):
        places.take("window", people["viewer"].pk)

    def ask() -> HttpResponse:
        window = {"from": "2026-07-01T12:00:00Z", "to": "2026-07-01T13:00:00Z"}
        answer: HttpResponse = viewer.get(reverse(path, args=[north.temperature.pk]), window)
        return answer

    assert ask().status_code == 200
    monkeypatch.setattr(series, "RAW_READINGS", 10)
    answer: Any = ask()
    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (429, "too_many_at_once", "2")

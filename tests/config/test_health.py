import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.cache import cache
from django.db import connection
from django.test import Client

from config import celery, health
from config.tasks import background_heartbeat, heartbeat, messages_heartbeat
from mlops.prediction import asking
from sensors import valkey
from sensors.heartbeat import KEY, Pulse

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def fresh_answers(settings: LazySettings) -> Iterator[None]:
    """No answer is kept from one test to the next."""
    health._last = None
    yield
    health._last = None


def beat_everywhere() -> None:
    heartbeat()
    background_heartbeat()
    messages_heartbeat()
    valkey.client().set(asking.ALIVE, "1", ex=asking.ALIVE_SECONDS)


def ask(client: Client) -> tuple[int, dict[str, Any]]:
    response = client.get("/health")
    return response.status_code, response.json()


@pytest.mark.django_db
def test_with_everything_well_it_says_ok_to_anybody(client: Client) -> None:
    beat_everywhere()
    status, answer = ask(client)
    assert (status, answer["status"]) == (200, "ok")
    assert {name: check["state"] for name, check in answer["checks"].items()} == {
        "database": "ok",
        "cache": "ok",
        "broker": "ok",
        "worker": "ok",
        "background": "ok",
        "messages": "ok",
        "channels": "ok",
        "predict": "ok",
        "models": "ok",
    }


@pytest.mark.django_db
def test_without_a_pool_that_answers_for_models_it_is_degraded_but_serves(client: Client) -> None:
    beat_everywhere()
    valkey.client().delete(asking.ALIVE)
    status, answer = ask(client)
    assert (status, answer["status"], answer["checks"]["predict"]["state"]) == (200, "degraded", "degraded")


@pytest.mark.django_db
@pytest.mark.parametrize("program", [health.WORKER, health.BACKGROUND, health.MESSAGES])
@pytest.mark.parametrize("age_seconds", [None, health.HEARTBEAT_OLD_SECONDS + 5])
def test_without_a_recent_heartbeat_of_a_worker_it_is_degraded_but_serves(
    client: Client, program: str, age_seconds: int | None
) -> None:
    beat_everywhere()
    cache.set(health.heartbeat_key(program), age_seconds and time.time() - age_seconds)
    status, answer = ask(client)
    assert (status, answer["status"], answer["checks"][program]["state"]) == (200, "degraded", "degraded")


def test_a_background_worker_that_is_busy_for_minutes_beats_meanwhile() -> None:
    threading.Thread(target=celery._beat_while_busy, daemon=True).start()
    celery._begin_work()
    deadline = time.monotonic() + 5
    while cache.get(health.heartbeat_key(health.BACKGROUND)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    celery._end_work()
    assert health._beaten(cache.get(health.heartbeat_key(health.BACKGROUND)))["state"] == "ok"


def lose_database(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")


def lose_cache(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": NOWHERE}}


def lose_broker(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.REDIS_URL = NOWHERE


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("part", "lose"), [("database", lose_database), ("cache", lose_cache), ("broker", lose_broker)]
)
def test_without_a_needed_part_it_fails_fast_and_tells_no_secrets(
    part: str,
    lose: Callable[[LazySettings, pytest.MonkeyPatch], None],
    client: Client,
    settings: LazySettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lose(settings, monkeypatch)
    started = time.monotonic()
    status, answer = ask(client)
    assert (status, answer["status"], answer["checks"][part]["state"]) == (503, "failed", "failed")
    assert time.monotonic() - started < 5
    assert "127.0.0.1" not in str(answer)


@pytest.mark.django_db
def test_a_silent_mlflow_is_degraded(client: Client, settings: LazySettings) -> None:
    beat_everywhere()
    settings.MLFLOW_TRACKING_URI = "http://127.0.0.1:1"
    status, answer = ask(client)
    assert (status, answer["status"], answer["checks"]["mlflow"]["state"]) == (200, "degraded", "failed")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("connected", "age_seconds", "state"),
    [
        (True, 0, "ok"),
        (False, 0, "degraded"),
        (True, health.HEARTBEAT_OLD_SECONDS + 5, "degraded"),
        (None, 0, "degraded"),
    ],
)
def test_where_messages_are_taken_in_the_bridge_is_part_of_it(
    client: Client, settings: LazySettings, connected: bool | None, age_seconds: int, state: str
) -> None:
    beat_everywhere()
    settings.MQTT_URL = "mqtt://127.0.0.1:1883"
    valkey.client().delete(KEY)
    if connected is not None:
        Pulse().beat(connected)
        valkey.client().hset(KEY, "at", str(time.time() - age_seconds))
    status, answer = ask(client)
    found = answer["checks"]["mqtt_bridge"]
    assert (status, answer["status"], found["state"], found["connected"]) == (200, state, state, bool(connected))


def test_a_bridge_without_valkey_goes_on(settings: LazySettings) -> None:
    settings.REDIS_URL = NOWHERE
    valkey.client.cache_clear()
    try:
        Pulse().beat(True)
    finally:
        valkey.client.cache_clear()


@pytest.mark.django_db
def test_many_questions_at_once_cost_one_check(client: Client) -> None:
    assert ask(client) == ask(client)


def test_only_reading_is_allowed(client: Client) -> None:
    assert client.post("/health").status_code == 405

"""What /health answers: each part the platform leans on, with its state and how long it took to answer."""

import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import psycopg
import redis
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis.backoff import NoBackoff
from redis.retry import Retry

from mlops.prediction import asking
from mlops.registry import figures
from mlops.registry.address import address
from sensors import heartbeat

logger = logging.getLogger(__name__)

# A part that has not answered by then counts as failed.
TIMEOUT_SECONDS = 2
# Beat (through both workers) and the MQTT bridge send a heartbeat every 5 s; six missed ones are no accident.
HEARTBEAT_OLD_SECONDS = 30
# Anybody may ask, so a flood of questions must not become a flood of database connections.
KEEP_ANSWER_SECONDS = 1.0
WORKER, BACKGROUND, MESSAGES = "worker", "background", "messages"

Check = dict[str, Any]

_lock = threading.Lock()
_last: tuple[float, dict[str, Any]] | None = None


@login_not_required
@never_cache
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """503 when readings cannot be taken in (database, cache or broker), 200 when they can: `ok` or `degraded`."""
    answer = _recent_report()
    return JsonResponse(answer, status=503 if answer["status"] == "failed" else 200)


def record_heartbeat(program: str) -> None:
    cache.set(heartbeat_key(program), time.time(), timeout=None)


def heartbeat_key(program: str) -> str:
    return f"heartbeat:{program}"


def report() -> dict[str, Any]:
    """Ask every part, all at once, each for at most `TIMEOUT_SECONDS`. Says which part fails, never why."""
    needed: dict[str, Callable[[], None]] = {"database": _ask_database, "cache": _ask_cache, "broker": _ask_broker}
    useful: dict[str, Callable[[], None]] = {"channels": _ask_channels}
    if settings.MLFLOW_TRACKING_URI:
        useful["mlflow"] = _ask_mlflow
    asked = {**needed, **useful}
    with ThreadPoolExecutor(len(asked)) as pool:
        checks = dict(zip(asked, pool.map(_timed, asked.keys(), asked.values()), strict=True))
    cache_answers = checks["cache"]["state"] == "ok"
    for program in (WORKER, BACKGROUND, MESSAGES):
        checks[program] = _beaten(cache.get(heartbeat_key(program)) if cache_answers else None)
    if settings.PREDICT_PROCESSES:
        checks["predict"] = {"state": "ok" if cache_answers and asking.is_answered() else "degraded"}
    checks["models"] = _models(cache_answers)
    if settings.MQTT_URL:
        checks["mqtt_bridge"] = _mqtt_bridge(checks["broker"]["state"] == "ok")
    if any(checks[name]["state"] != "ok" for name in needed):
        status = "failed"
    elif any(check["state"] != "ok" for check in checks.values()):
        status = "degraded"
    else:
        status = "ok"
    return {"status": status, "checks": checks}


def _recent_report() -> dict[str, Any]:
    global _last
    with _lock:
        if _last is None or time.monotonic() - _last[0] > KEEP_ANSWER_SECONDS:
            answer = report()
            _last = time.monotonic(), answer
        return _last[1]


def _timed(name: str, ask: Callable[[], None]) -> Check:
    started = time.perf_counter()
    try:
        ask()
        state = "ok"
    except Exception as error:
        # The reason may hold addresses or accounts; it is for the log, not for whoever asks.
        logger.warning("health: %s does not answer: %s", name, error)
        state = "failed"
    return {"state": state, "latency_ms": round((time.perf_counter() - started) * 1000, 1)}


def _ask_database() -> None:
    _query("SELECT 1")


def _ask_channels() -> None:
    """Their page names those that fail; here anybody may ask."""
    if failing := _query("SELECT count(*) FROM alerts_channel WHERE enabled AND paused_until IS NOT NULL"):
        raise LookupError(f"{failing} channels to people fail")


def _query(statement: str) -> Any:
    # A connection of its own: the pool would wait longer for a database that is gone than anybody waits for /health.
    params = connection.get_connection_params() | {
        "connect_timeout": TIMEOUT_SECONDS,
        "tcp_user_timeout": TIMEOUT_SECONDS * 1000,
        "options": f"-c statement_timeout={TIMEOUT_SECONDS * 1000}",
    }
    with psycopg.connect(**params) as database:
        row = database.execute(statement).fetchone()
    return row[0] if row else None


def _ask_cache() -> None:
    cache.set("health", "here", timeout=TIMEOUT_SECONDS)
    if cache.get("health") != "here":
        raise LookupError("what was written was not found again")


def _ask_broker() -> None:
    with redis.Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=TIMEOUT_SECONDS,
        socket_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    ) as broker:
        broker.ping()


def _ask_mlflow() -> None:
    # Not by httpx, which costs the web process 20 MB.
    base, unix_socket = address(settings.MLFLOW_TRACKING_URI)
    place = urlsplit(base)
    kind = HTTPSConnection if place.scheme == "https" else HTTPConnection
    mlflow = kind(place.hostname or "", place.port, timeout=TIMEOUT_SECONDS)
    with closing(mlflow):
        if unix_socket:
            mlflow.sock = socket.socket(socket.AF_UNIX)
            mlflow.sock.settimeout(TIMEOUT_SECONDS)
            mlflow.sock.connect(unix_socket)
        # Its own /health answers without its database.
        mlflow.request("GET", f"{place.path}/api/2.0/mlflow/registered-models/search?max_results=1")
        answer = mlflow.getresponse()
    if answer.status != HTTPStatus.OK:
        raise LookupError(f"MLflow answers {answer.status}")


def _mqtt_bridge(valkey_answers: bool) -> Check:
    """Degraded when the bridge does not run, hangs, or listens to no broker: what comes in elsewhere is taken in."""
    beat = heartbeat.last() if valkey_answers else None
    check = _beaten(beat.at if beat else None) | {"connected": bool(beat and beat.connected)}
    return check if check["connected"] else check | {"state": "degraded"}


def _beaten(at: float | None) -> Check:
    """The state of a part that sends heartbeats, by its newest one (seconds since 1970)."""
    if at is None:
        return {"state": "degraded", "seconds_since_heartbeat": None}
    age = max(0.0, time.time() - at)
    return {"state": "ok" if age <= HEARTBEAT_OLD_SECONDS else "degraded", "seconds_since_heartbeat": round(age, 1)}


def _models(cache_answers: bool) -> Check:
    """How many deployed models cannot be loaded, so that an older version or the built-in detector serves instead."""
    if not cache_answers:
        return {"state": "degraded", "not_loaded": None}
    try:
        count = len(figures.troubles())
    except redis.RedisError:
        return {"state": "degraded", "not_loaded": None}
    return {"state": "degraded" if count else "ok", "not_loaded": count}

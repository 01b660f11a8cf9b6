"""How the models in service do, counted over all workers: hits, loads, times, fallbacks, and who serves in whose place.

Kept in Valkey, read by the page and by /health. While Valkey is away nothing is counted and everything goes on.
"""

import json
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import redis

from sensors import valkey

# Counts are passed on at most once a second: a warm look-up must not wait for a network.
PASS_ON_SECONDS = 1.0
# A fallback is reported again every time it is tried; without news it ends after this.
TROUBLE_SECONDS = 300
TROUBLE = "sm:models:trouble"
EVICTED = "sm:models:evicted"
EVICTED_SECONDS = 24 * 3600

_waiting: Counter[tuple[int, str]] = Counter()
_passed_on = 0.0
_lock = threading.Lock()


def count(version: int, what: str, by: int = 1) -> None:
    """`what`: "hits" of the memory, "disk" and "downloads" for where else it came from, "loads" (both) and the time
    they took as "load_us", "fallbacks" when something else served.
    """
    with _lock:
        _waiting[version, what] += by


def is_due() -> bool:
    return time.monotonic() - _passed_on >= PASS_ON_SECONDS


def pass_on() -> dict[int, float]:
    """Add what was counted here to what all have counted; returns when which versions were evicted (epoch seconds)."""
    global _passed_on
    _passed_on = time.monotonic()
    with _lock:
        counted = dict(_waiting)
        _waiting.clear()
    with suppress(redis.RedisError), valkey.client().pipeline(transaction=False) as pipe:
        for (version, what), number in counted.items():
            pipe.hincrby(_key(version), what, number)
        pipe.hgetall(EVICTED)
        return {int(version): float(at) for version, at in pipe.execute()[-1].items()}
    return {}


def trouble(deployment: int, reason: str, served_by: str) -> None:
    news = json.dumps({"at": time.time(), "reason": reason, "served_by": served_by})
    with suppress(redis.RedisError):
        valkey.client().hset(TROUBLE, str(deployment), news)


def recovered(deployment: int) -> None:
    with suppress(redis.RedisError):
        valkey.client().hdel(TROUBLE, str(deployment))


def troubles() -> dict[int, dict[str, Any]]:
    """By deployment: `reason` and `served_by`, of those in trouble now. Raises redis.RedisError."""
    found = {int(key): json.loads(news) for key, news in valkey.client().hgetall(TROUBLE).items()}
    return {key: news for key, news in found.items() if time.time() - news["at"] < TROUBLE_SECONDS}


def evict(version: int) -> None:
    """Tell all workers to forget their copies, in memory and on disk, within a second. Raises redis.RedisError."""
    with valkey.client().pipeline() as pipe:
        pipe.hset(EVICTED, str(version), str(time.time()))
        pipe.expire(EVICTED, EVICTED_SECONDS)
        pipe.execute()


def of_versions(versions: list[int]) -> dict[int, dict[str, int]]:
    """What was counted for each version. Raises redis.RedisError."""
    with valkey.client().pipeline(transaction=False) as pipe:
        for version in versions:
            pipe.hgetall(_key(version))
        rows = pipe.execute()
    return {
        version: {key.decode(): int(number) for key, number in row.items()}
        for version, row in zip(versions, rows, strict=True)
    }


def _key(version: int) -> str:
    return f"sm:models:{version}"

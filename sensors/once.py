"""Things that need saying only once in a while, whichever process says them: a mark in Valkey that fades by itself.

Django's cache would open a new connection in every request (under ASGI its backends live as long as the request); this
client is shared by the whole process and its threads.
"""

from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry


def first(mark: str, seconds: int) -> bool:
    """True for whoever comes first; False for everybody else until `seconds` have passed or the mark was cleared.

    Raises redis.RedisError when Valkey is away.
    """
    return bool(_client().set(_key(mark), 1, nx=True, ex=seconds))


def clear(mark: str) -> None:
    """Whoever comes next is the first again. Raises redis.RedisError when Valkey is away."""
    _client().delete(_key(mark))


def _key(mark: str) -> str:
    return f"sm:once:{mark}"


@cache
def _client() -> redis.Redis:
    # No retries: every caller has another way if this one fails, and a sender waits for the answer.
    retry = Retry(NoBackoff(), 0)
    return redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=2, retry=retry)

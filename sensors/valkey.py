"""The connection pool to Valkey of a process and its threads, for short questions beside a request.

Django's cache would open a new connection in every request (under ASGI its backends live as long as the request).
"""

from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry


@cache
def client(timeout_seconds: float = 2) -> redis.Redis:
    """Raises redis.RedisError from every command while Valkey is away, after so many seconds at most.

    Who waits for something to be put into a list needs a longer timeout than the wait, and gets a pool for it.
    """
    # No retries: every caller has another way if this one fails, and a sender waits for the answer.
    retry = Retry(NoBackoff(), 0)
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=timeout_seconds, retry=retry
    )

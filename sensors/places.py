"""How many costly reads a user may have running at once, whichever web processes serve them.

Each one takes a place in Valkey and gives it back at its end. A place fades when it is not kept, so that a process that
is killed takes none along. While Valkey is away nothing is limited: a missing count must not keep people from their
readings.
"""

import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import redis

from sensors import valkey
from sensors.errors import Refused

logger = logging.getLogger(__name__)

Kind = Literal["export", "window"]

# What two cores do side by side without crowding out readings that come in: 20,000 rows of a file cost 0.05 s, a window
# of five million readings a second and 200 MB.
MOST: dict[Kind, int] = {"export": 3, "window": 2}
NAMES: dict[Kind, str] = {"export": "exports", "window": "very long windows"}
# Longer than the slowest piece of an export takes to make.
LEASE_SECONDS = 60
RETRY_AFTER_SECONDS: dict[Kind, int] = {"export": 10, "window": 2}

# By the clock of Valkey, which is the same for every process.
TAKE = """
    local now = tonumber(redis.call('TIME')[1])
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
    local held = redis.call('ZSCORE', KEYS[1], ARGV[1])
    if not held and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
    redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
    redis.call('EXPIRE', KEYS[1], ARGV[3])
    return 1
"""


@dataclass
class Place:
    """One of the places that a user has for reads of this kind."""

    kind: Kind
    user_id: int
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    taken_at: float = float("-inf")

    def keep(self) -> bool:
        """Have the place for another LEASE_SECONDS, also when it had faded; False when others have them all now."""
        if time.monotonic() < self.taken_at + LEASE_SECONDS / 4:
            return True
        try:
            kept = valkey.client().eval(TAKE, 1, self._key, self.token, str(MOST[self.kind]), str(LEASE_SECONDS))
        except redis.RedisError as error:
            logger.warning("reads are not limited: %s", error)
            kept = 1
        if kept:
            self.taken_at = time.monotonic()
        return bool(kept)

    def give_back(self) -> None:
        try:
            valkey.client().zrem(self._key, self.token)
        except redis.RedisError as error:
            logger.warning("a place fades by itself: %s", error)

    @property
    def _key(self) -> str:
        return f"sm:places:{self.kind}:{self.user_id}"


def take(kind: Kind, user_id: int) -> Place:
    """A place, to be given back. Raises Refused (429) when the user has as many as one may have."""
    place = Place(kind, user_id)
    if not place.keep():
        detail = f"You have {MOST[kind]} {NAMES[kind]} running, which is the limit; try again when one is done."
        raise Refused("too_many_at_once", detail, 429, retry_after_seconds=RETRY_AFTER_SECONDS[kind])
    return place


@contextmanager
def held(kind: Kind, user_id: int) -> Iterator[None]:
    """Have a place for the length of the block, which is no longer than a lease. Raises Refused (429)."""
    place = take(kind, user_id)
    try:
        yield
    finally:
        place.give_back()

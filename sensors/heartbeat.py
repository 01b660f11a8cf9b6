"""The MQTT bridge's sign of life, for whoever asks how the platform is: when it was sent, and if there is a broker."""

import logging
import time
from dataclasses import dataclass

import redis

from sensors import valkey

logger = logging.getLogger(__name__)

EVERY_SECONDS = 5.0
KEY = "sm:mqtt-bridge"


@dataclass(frozen=True)
class Heartbeat:
    at: float
    connected: bool


class Pulse:
    """Sends a heartbeat when one is due, or when what it says has changed. Never raises: readings come first."""

    def __init__(self) -> None:
        self.sent_at = float("-inf")
        self.said: bool | None = None

    def beat(self, connected: bool) -> None:
        if connected == self.said and time.monotonic() < self.sent_at + EVERY_SECONDS:
            return
        # Also after a failure: a Valkey that hangs shall not hold readings up at every turn.
        self.sent_at, self.said = time.monotonic(), connected
        try:
            valkey.client().hset(KEY, mapping={"at": time.time(), "connected": int(connected)})
        except redis.RedisError as error:
            logger.warning("heartbeat not sent: %s", error)


def last() -> Heartbeat | None:
    """The newest heartbeat of any bridge; None when there never was one. Raises redis.RedisError."""
    found = valkey.client().hmget(KEY, "at", "connected")
    at, connected = found if isinstance(found, list) else (None, None)
    return Heartbeat(float(at), connected == b"1") if at else None

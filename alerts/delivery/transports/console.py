"""A line in the log of the program that sends, for a first look and for those who collect logs anyway."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from alerts.delivery.transports import Message, Send
from alerts.models import Channel

logger = logging.getLogger(__name__)


@contextmanager
def opened(channel: Channel) -> Iterator[Send]:
    def send(message: Message, to: str) -> None:
        logger.warning("%s", message.short, extra={"key": str(message.key), "channel": channel.name, "to": to})

    yield send

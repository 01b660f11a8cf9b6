"""The ways in which a message leaves: one module each, which knows nothing of rows and attempts.

`opened(channel)` gives a function that sends one message after the other; a transport that has a connection keeps it in
between. It raises `TemporaryFailure` when trying again may help, `PermanentFailure` when it cannot.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from typing import Any
from uuid import UUID

from alerts.models import Channel


class Failure(Exception):
    """A message was not sent. Its text is shown to people: no secrets in it."""


class TemporaryFailure(Failure):
    """Trying again may help, but not before `retry_after_seconds` if the receiver has said so."""

    def __init__(self, detail: str, retry_after_seconds: int | None = None) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class NotTakenNow(TemporaryFailure):
    """The way works, but this one message did not go through, a full mailbox for example: others will."""


class PermanentFailure(Failure):
    """The same again would fail again: somebody has to change something."""


class NotSetUp(PermanentFailure):
    """The installation has nothing to send by, by choice or because it is new."""


@dataclass(frozen=True)
class Message:
    """What one message says, in the forms that receivers want it.

    `key` is the same in every attempt, so that a receiver can tell a repeat. `group` is what messages on one matter
    have in common. `short` is one line of at most 320 characters with the address of the page. `alerts` are plain
    values (alerts.delivery.messages.ITEM_VARIABLES).
    """

    key: UUID
    kind: str
    group: str
    severity: str
    subject: str
    text: str
    html: str
    short: str
    url: str
    made_at: datetime
    alerts: list[dict[str, Any]] = field(default_factory=list)


# Takes a message and the address of a person, which is empty where the channel is a place.
Send = Callable[[Message, str], None]
MODULES = {
    Channel.Kind.CONSOLE: "alerts.delivery.transports.console",
    Channel.Kind.EMAIL: "alerts.delivery.transports.email",
    Channel.Kind.WEBHOOK: "alerts.delivery.transports.webhook",
    Channel.Kind.APPRISE: "alerts.delivery.transports.apprise",
}


def opened(channel: Channel) -> AbstractContextManager[Send]:
    """The way to send by this channel, for a number of messages."""
    way: AbstractContextManager[Send] = import_module(MODULES[Channel.Kind(channel.kind)]).opened(channel)
    return way

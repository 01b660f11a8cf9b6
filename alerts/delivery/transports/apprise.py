"""Chats, SMS, push and on-call services, by Apprise. Imported only by the program that sends: 0.4 s and 26 MB."""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import quote

from alerts.delivery import secrets
from alerts.delivery.transports import Message, PermanentFailure, Send, TemporaryFailure, network, services
from alerts.models import Channel

# What Apprise's plug-ins write into the log of a refusal: "... error=403."
STATUS = re.compile(r"error[ =:]+(\d{3})\b")
# ... and when an address is not one that the service could reach: "There were no Pushover targets to notify."
NOBODY = re.compile(r"\bno (\S+ ){0,3}(targets|recipients|topics|channels|rooms)\b", re.IGNORECASE)
TRUNCATE = "truncate"
_here = threading.local()


@contextmanager
def opened(channel: Channel) -> Iterator[Send]:
    def send(message: Message, to: str) -> None:
        url = secrets.decrypt(channel.secret).get("url", "")
        service = services.of(url)
        if service is None:
            raise PermanentFailure("its address is not that of a service which may be used")
        title, body = ("", message.short) if service.is_short else (message.subject, message.text)
        _notify(service.name, url.replace(services.TO, quote(to, safe="")), title, body)

    yield send


def _notify(name: str, url: str, title: str, body: str) -> None:
    """Apprise answers yes or no; the status of a no stands in its log only."""
    with network.line(public_only=True) as line, line.at_most(network.SEND_SECONDS), _listening() as heard:
        plugin = _plugin(url)
        if plugin is None:
            raise PermanentFailure(f"{name} does not know an address like this; see Apprise’s description of it")
        plugin.overflow_mode = TRUNCATE
        taken = plugin.notify(body=body, title=title)
    if taken:
        return
    statuses = [int(status) for text in heard for status in STATUS.findall(text)]
    if not statuses and any(NOBODY.search(text) for text in heard):
        raise PermanentFailure(f"{name} cannot reach this address")
    if not statuses:
        raise TemporaryFailure(f"{name} does not answer")
    if 400 <= statuses[-1] < 500 and statuses[-1] not in (408, 425, 429):
        raise PermanentFailure(f"{name} answers {statuses[-1]}")
    raise TemporaryFailure(f"{name} answers {statuses[-1]}")


def _plugin(url: str) -> Any:
    """Apprise's own object for an address; None when it cannot read it. Nothing of it is kept on disk."""
    apprise = _library()
    asset = apprise.AppriseAsset(
        app_id="Smart Maintenance",
        app_desc="Smart Maintenance",
        app_url="",
        storage_mode="memory",
        # Files of this machine.
        allow_templates=False,
        http_redirects=False,
        default_service_retry=0,
    )
    return apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)


@cache
def _library() -> Any:
    import apprise

    # Its log quotes addresses and answers; what it says is listened to here, and goes nowhere else.
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    logger.addHandler(_Listener())
    return apprise


class _Listener(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if (heard := getattr(_here, "heard", None)) is not None:
            heard.append(record.getMessage())


@contextmanager
def _listening() -> Iterator[list[str]]:
    """What is logged in this thread meanwhile."""
    heard: list[str] = []
    _here.heard = heard
    try:
        yield heard
    finally:
        del _here.heard

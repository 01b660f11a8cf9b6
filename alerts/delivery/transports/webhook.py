"""A signed POST of JSON to an address of the receiver's choice.

`X-Signature` is `sha256=` and the HMAC-SHA256 of timestamp, a point and the body under the channel's signing key;
`X-Timestamp` are seconds since 1970, so that a receiver can refuse what is old; `Idempotency-Key` is the same in every
attempt.
"""

import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.utils import parsedate_to_datetime
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import SplitResult, urlsplit

from alerts.delivery import secrets
from alerts.delivery.transports import Message, PermanentFailure, Send, TemporaryFailure, network
from alerts.models import Channel

MAX_ANSWER_BYTES = 4096
# 4xx that say "later" instead of "never".
LATER = {408, 425, 429}
# A receiver that asks for more patience than this is asked again anyway.
MAX_RETRY_AFTER_SECONDS = 3600


@contextmanager
def opened(channel: Channel) -> Iterator[Send]:
    def send(message: Message, to: str) -> None:
        secret = secrets.decrypt(channel.secret)
        url, key = secret.get("url", ""), secret.get("signing_key", "")
        with network.line(public_only=True) as line, line.at_most(network.SEND_SECONDS):
            try:
                _post(url, key, message, to)
            except (OSError, HTTPException, ValueError) as error:
                raise TemporaryFailure(f"the receiver does not answer ({type(error).__name__})") from error

    yield send


def body_of(message: Message, to: str) -> bytes:
    """The JSON that is sent."""
    sent = {
        "id": str(message.key),
        "kind": message.kind,
        "group": message.group,
        "severity": message.severity,
        "subject": message.subject,
        "text": message.text,
        "url": message.url,
        "made_at": message.made_at.isoformat(),
        "to": to,
        "alerts": message.alerts,
    }
    return json.dumps(sent).encode()


def signature(key: str, timestamp: str, body: bytes) -> str:
    """What `X-Signature` holds.

    >>> signature("key", "0", b"{}")
    'sha256=7314351dd949aa7ec06f50fc2c96e618291447672c9b7f10b49d1ce46dad00b3'
    """
    return "sha256=" + hmac.new(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _post(url: str, key: str, message: Message, to: str) -> None:
    place, body, now = urlsplit(url), body_of(message, to), str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Smart-Maintenance",
        "Connection": "close",
        "Idempotency-Key": str(message.key),
        "X-Timestamp": now,
        "X-Signature": signature(key, now, body),
    }
    with closing(_connection(place)) as connection:
        connection.request("POST", (place.path or "/") + (f"?{place.query}" if place.query else ""), body, headers)
        answer = connection.getresponse()
        answer.read(MAX_ANSWER_BYTES)
    _require_taken(answer)


def _connection(place: SplitResult) -> HTTPConnection:
    host = place.hostname or ""
    if place.scheme == "https":
        return HTTPSConnection(host, place.port, timeout=network.CONNECT_SECONDS, context=_tls())
    return HTTPConnection(host, place.port, timeout=network.CONNECT_SECONDS)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _require_taken(answer: HTTPResponse) -> None:
    status = answer.status
    if 200 <= status < 300:
        return
    detail = f"the receiver answers {status}"
    if 300 <= status < 400:
        raise PermanentFailure(f"{detail}; redirects are not followed")
    if status >= 500 or status in LATER:
        raise TemporaryFailure(detail, retry_after(answer.headers.get("Retry-After"), time.time()))
    raise PermanentFailure(detail)


def retry_after(said: str | None, now: float) -> int | None:
    """How many seconds a receiver asks to wait, by number or by date; None when it says nothing that makes sense.

    >>> retry_after("120", 0), retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 0), retry_after("soon", 0)
    (120, 60, None)
    """
    if not said:
        return None
    try:
        seconds = int(said) if said.strip().isdecimal() else parsedate_to_datetime(said).timestamp() - now
    except ValueError:
        return None
    return int(min(max(seconds, 0), MAX_RETRY_AFTER_SECONDS))

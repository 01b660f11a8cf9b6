"""Refuses request bodies that are too large before they take memory or disk."""

import asyncio
import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sensors.doors import requests as doors
from sensors.errors import Refused

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
MayUpload = Callable[[dict[str, Any]], Awaitable[bool]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)

# Many clients read the answer only after they have sent everything. So much of a refused body is read and thrown away
# for them, so that they see the answer instead of a broken connection.
DISCARD_BYTES = 512 * 1024 * 1024
DISCARD_SECONDS = 30
# A body that is not complete after this long is given up: until then it holds memory or disk, and nobody has logged in.
RECEIVE_SECONDS = 60
# Readings come in bulk; forms and everything else are small.
BULK_PATHS = doors.PATHS
# Files are larger than anything else, so only who may upload them may send them (config.uploads).
UPLOAD_PATHS = ("/imports/", "/api/v1/imports/")
# For a gigabyte through 3 Mbit/s.
UPLOAD_SECONDS = 3600
MAX_OTHER_BYTES = 1024 * 1024
SMALL_BYTES, SMALL_SECONDS = 4096, 10
# When nobody could say who asks.
RETRY_SECONDS = 5


class _TooLargeError(Exception):
    pass


class BodyLimit:
    """Wraps an ASGI application: a body that is too large is answered with 413, whether announced or not.

    `max_bytes` holds for the doors that take readings in bulk, `max_upload_bytes` for those that take files, if
    `may_upload` says so of the request's scope; others take MAX_OTHER_BYTES at most. A body that does not come to its
    end within RECEIVE_SECONDS (a file: UPLOAD_SECONDS) is answered with 408.
    """

    def __init__(self, application: Application, max_bytes: int, max_upload_bytes: int, may_upload: MayUpload) -> None:
        self.application = application
        self.max_bytes = max_bytes
        self.max_upload_bytes = max_upload_bytes
        self.may_upload = may_upload

    async def _limits(self, scope: dict[str, Any]) -> tuple[int, float]:
        """How many bytes the body may have, and how many seconds it may take."""
        if scope["path"] in BULK_PATHS:
            return self.max_bytes, RECEIVE_SECONDS
        if scope["path"] in UPLOAD_PATHS and scope["method"] == "POST" and await self.may_upload(scope):
            return self.max_upload_bytes, UPLOAD_SECONDS
        return min(self.max_bytes, MAX_OTHER_BYTES), RECEIVE_SECONDS

    async def _small(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """The server takes no more bytes than were announced; only the time has to be watched."""
        # One timer a request: a timeout around each message costs a seventh of what a single reading does.
        late = False
        task = asyncio.current_task()
        assert task

        def give_up() -> None:
            nonlocal late
            late = True
            task.cancel()

        timer = asyncio.get_running_loop().call_later(SMALL_SECONDS, give_up)

        async def timely_receive() -> Message:
            message = await receive()
            if not message.get("more_body"):
                timer.cancel()
            return message

        try:
            await self.application(scope, timely_receive, send)
        except asyncio.CancelledError:
            if not late:
                raise
            task.uncancel()
            await refuse(send, None, _too_slow(SMALL_SECONDS))
        finally:
            timer.cancel()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        try:
            max_bytes, seconds = await self._limits(scope)
        except Refused as error:
            refusal = Refusal(error.status, error.code, error.detail, RETRY_SECONDS)
            await refuse(send, None if b"expect" in headers else receive, refusal)
            return
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > max_bytes:
            # Who asks "may I?" first sends nothing after a no.
            await refuse(send, None if b"expect" in headers else receive, _too_large(max_bytes))
            return
        if announced.isdigit() and 0 < int(announced) <= SMALL_BYTES and scope["path"] in BULK_PATHS:
            await self._small(scope, receive, send)
            return
        received = 0
        complete = False
        answered = False
        deadline = asyncio.get_running_loop().time() + seconds

        async def counting_receive() -> Message:
            nonlocal received, complete
            async with asyncio.timeout_at(None if complete else deadline):
                message = await receive()
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > max_bytes:
                raise _TooLargeError
            return message

        async def noting_send(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.application(scope, counting_receive, noting_send)
        except (_TooLargeError, TimeoutError) as error:
            if answered or complete:
                raise
            if isinstance(error, TimeoutError):
                await refuse(send, None, _too_slow(seconds))
            else:
                await refuse(send, receive, _too_large(max_bytes))


@dataclass(frozen=True)
class Refusal:
    status: int
    code: str
    detail: str
    retry_after_seconds: int | None = None


def _too_slow(seconds: float) -> Refusal:
    return Refusal(408, "body_too_slow", f"The request body did not arrive within {seconds:g} seconds.")


def _too_large(max_bytes: int) -> Refusal:
    detail = f"The request body may have {max_bytes} bytes; send it in parts. (Files: by who may import.)"
    return Refusal(413, "body_too_large", detail)


async def refuse(send: Send, receive: Receive | None, refusal: Refusal) -> None:
    request_id = uuid.uuid4().hex
    logger.warning("request refused: %s", refusal.code, extra={"request_id": request_id})
    body = json.dumps(
        {
            "code": refusal.code,
            "detail": refusal.detail,
            "errors": [],
            "request_id": request_id,
        }
    ).encode()
    # No content-length: the server would end the connection as soon as that many bytes are out.
    headers = [
        (b"content-type", b"application/json"),
        (b"connection", b"close"),
        (b"x-request-id", request_id.encode()),
    ]
    if refusal.retry_after_seconds is not None:
        headers.append((b"retry-after", str(refusal.retry_after_seconds).encode()))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": receive is not None})
    if receive is not None:
        await _discard(receive)
        await send({"type": "http.response.body", "body": b""})


async def _discard(receive: Receive) -> None:
    discarded = 0
    try:
        async with asyncio.timeout(DISCARD_SECONDS):
            while discarded < DISCARD_BYTES:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
                discarded += len(message["body"])
    except TimeoutError:
        return

"""Refuses request bodies that are too large before they take memory or disk."""

import asyncio
import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sensors.doors import requests as doors
from sensors.errors import Refused
from sensors.files import MAX_FILE_BYTES

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AskForRoom = Callable[[int], None]
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
# Documents and photos that belong to something: larger than a form, small beside an import.
DOCUMENT_PATHS = re.compile(r"/assets/\d+/documents/|/work-orders/\d+/attach/|/api/v1/attachments/")
# For a gigabyte through 3 Mbit/s.
UPLOAD_SECONDS = 3600
# Django keeps the body in a file, and then the form's file in another one, before it lets go of the first.
COPIES_ON_DISK = 2
# After so many bytes of a file it is asked again whether the rest has room: others send files, too.
ROOM_STEP_BYTES = 16 * 1024 * 1024
MAX_OTHER_BYTES = 1024 * 1024
SMALL_BYTES, SMALL_SECONDS = 4096, 10
# When nobody could say who asks.
RETRY_SECONDS = 5


class _TooLargeError(Exception):
    pass


class _NoRoomError(Exception):
    """`refused` says so in words."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.detail)
        self.refused = refused


class _Limits(NamedTuple):
    """How many bytes a body may have, how many seconds it may take, and whether it is a file."""

    max_bytes: int
    seconds: float
    is_file: bool = False


class BodyLimit:
    """Wraps an ASGI application: a body that is too large is answered with 413, whether announced or not.

    `max_bytes` holds for the doors that take readings in bulk, `max_upload_bytes` for those that take files, a document
    has MAX_FILE_BYTES, both if `may_upload` says so of the request's scope; others take MAX_OTHER_BYTES at most. A body
    that does not come to its end within RECEIVE_SECONDS (a file: UPLOAD_SECONDS) is answered with 408. A file that has
    no room on the disk, as `ask_for_room` says of its bytes, is refused with that answer, before the first byte where
    its length is announced.
    """

    def __init__(
        self,
        application: Application,
        max_bytes: int,
        max_upload_bytes: int,
        may_upload: MayUpload,
        ask_for_room: AskForRoom,
    ) -> None:
        self.application = application
        self.max_bytes = max_bytes
        self.max_upload_bytes = max_upload_bytes
        self.may_upload = may_upload
        self.ask_for_room = ask_for_room

    async def _limits(self, scope: dict[str, Any]) -> _Limits:
        if scope["path"] in BULK_PATHS:
            return _Limits(self.max_bytes, RECEIVE_SECONDS)
        if scope["path"] in UPLOAD_PATHS and scope["method"] == "POST" and await self.may_upload(scope):
            return _Limits(self.max_upload_bytes, UPLOAD_SECONDS, is_file=True)
        if DOCUMENT_PATHS.fullmatch(scope["path"]) and scope["method"] == "POST" and await self.may_upload(scope):
            return _Limits(MAX_FILE_BYTES + MAX_OTHER_BYTES, RECEIVE_SECONDS, is_file=True)
        return _Limits(min(self.max_bytes, MAX_OTHER_BYTES), RECEIVE_SECONDS)

    def _ask_for_rest(self, announced: int, received: int) -> None:
        """Raises _NoRoomError when what is still to be written of a file has no room."""
        try:
            self.ask_for_room(COPIES_ON_DISK * max(announced, received) - received)
        except Refused as refused:
            raise _NoRoomError(refused) from refused

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
            max_bytes, seconds, is_file = await self._limits(scope)
        except Refused as error:
            refusal = Refusal(error.status, error.code, error.detail, RETRY_SECONDS)
            await refuse(send, None if b"expect" in headers else receive, refusal)
            return
        length = headers.get(b"content-length", b"0")
        announced = int(length) if length.isdigit() else 0
        try:
            if announced > max_bytes:
                raise _TooLargeError
            if is_file:
                self._ask_for_rest(announced, 0)
        except (_TooLargeError, _NoRoomError) as error:
            # Who asks "may I?" first sends nothing after a no.
            await refuse(send, None if b"expect" in headers else receive, _refusal(error, max_bytes))
            return
        if 0 < announced <= SMALL_BYTES and scope["path"] in BULK_PATHS:
            await self._small(scope, receive, send)
            return
        received = asked = 0
        complete = False
        answered = False
        deadline = asyncio.get_running_loop().time() + seconds

        async def counting_receive() -> Message:
            nonlocal received, asked, complete
            async with asyncio.timeout_at(None if complete else deadline):
                message = await receive()
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > max_bytes:
                raise _TooLargeError
            if is_file and received > asked + ROOM_STEP_BYTES:
                asked = received
                self._ask_for_rest(announced, received)
            return message

        async def noting_send(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.application(scope, counting_receive, noting_send)
        except (_TooLargeError, _NoRoomError, TimeoutError) as error:
            if answered or complete:
                raise
            if isinstance(error, TimeoutError):
                await refuse(send, None, _too_slow(seconds))
            else:
                await refuse(send, receive, _refusal(error, max_bytes))


@dataclass(frozen=True)
class Refusal:
    status: int
    code: str
    detail: str
    retry_after_seconds: int | None = None


def _too_slow(seconds: float) -> Refusal:
    return Refusal(408, "body_too_slow", f"The request body did not arrive within {seconds:g} seconds.")


def _refusal(error: _TooLargeError | _NoRoomError, max_bytes: int) -> Refusal:
    if isinstance(error, _NoRoomError):
        return Refusal(error.refused.status, error.refused.code, error.refused.detail)
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

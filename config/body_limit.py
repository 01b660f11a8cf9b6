"""Refuses request bodies that are too large before they take memory or disk."""

import asyncio
import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)

# Many clients read the answer only after they have sent everything. So much of a refused body is read and thrown away
# for them, so that they see the answer instead of a broken connection.
DISCARD_BYTES = 512 * 1024 * 1024
DISCARD_SECONDS = 30


class _TooLargeError(Exception):
    pass


class BodyLimit:
    """Wraps an ASGI application: a body of more than `max_bytes` is answered with 413, whether announced or not."""

    def __init__(self, application: Application, max_bytes: int) -> None:
        self.application = application
        self.max_bytes = max_bytes

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self.max_bytes:
            # Who asks "may I?" first sends nothing after a no.
            await self._refuse(send, None if b"expect" in headers else receive)
            return
        received = 0
        answered = False

        async def counting_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise _TooLargeError
            return message

        async def noting_send(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.application(scope, counting_receive, noting_send)
        except _TooLargeError:
            if answered:
                raise
            await self._refuse(send, receive)

    async def _refuse(self, send: Send, receive: Receive | None) -> None:
        request_id = uuid.uuid4().hex
        logger.warning("request refused: body too large", extra={"request_id": request_id})
        body = json.dumps(
            {
                "code": "body_too_large",
                "detail": f"The request body may have {self.max_bytes} bytes; send the readings in several requests.",
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
        await send({"type": "http.response.start", "status": 413, "headers": headers})
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

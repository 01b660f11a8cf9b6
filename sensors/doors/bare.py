"""What the bare ASGI applications beside Django share: who sends, what they sent, and how they are answered."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from sensors.access import Principal, authenticate_key, key_in, recent_principal
from sensors.doors.intake import database_in_reach
from sensors.doors.requests import error_of
from sensors.errors import Refused

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Result = TypeVar("Result")
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)


def headers_of(scope: Scope) -> dict[str, str]:
    """By name in lower case."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def key_of(headers: dict[str, str]) -> str | None:
    return key_in(headers.get("x-api-key"), headers.get("authorization"))


def new_request_id() -> str:
    """No secret; asking the system for randomness would let other threads go first, each time."""
    return f"{random.getrandbits(128):032x}"


class Keys:
    """Whose keys these are, looked up in one of `threads` when that was not done lately."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        self._lookups: dict[str, asyncio.Task[Principal | None]] = {}

    async def principal(self, key: str, scope: str, permission: str) -> Principal:
        """Raises Refused (401, 403) unless the key has the scope, and its user the permission."""
        known, principal = recent_principal(key)
        if not known:
            # One look for all requests that come with the key meanwhile, whoever of them goes away.
            if key not in self._lookups:
                self._lookups[key] = asyncio.create_task(in_thread(self._threads, _authenticate, key))
                self._lookups[key].add_done_callback(lambda _: self._lookups.pop(key))
            principal = await asyncio.shield(self._lookups[key])
        if principal is None:
            raise Refused("invalid_api_key", "This API key is unknown or revoked.", 401)
        if scope not in principal.scopes:
            raise Refused("scope_missing", f"This API key lacks the scope '{scope}'.", 403)
        if permission not in principal.permissions and not principal.user.is_superuser:
            raise Refused("permission_denied", f"The user of this API key lacks the permission {permission}.", 403)
        return principal


def _authenticate(key: str) -> Principal | None:
    with database_in_reach():
        return authenticate_key(key)


async def in_thread(threads: ThreadPoolExecutor, work: Callable[..., Result], *arguments: Any) -> Result:
    return await asyncio.get_running_loop().run_in_executor(threads, safely, work, *arguments)


def safely(work: Callable[..., Result], *arguments: Any) -> Result:
    """What nobody expected becomes an error like the others; its cause is for the log."""
    try:
        return work(*arguments)
    except Refused:
        raise
    except Exception as error:
        logger.exception("unexpected failure of a door")
        detail = "The server failed; its log has more under the time of this request."
        raise Refused("server_error", detail, 500) from error


async def body_of(receive_message: Receive) -> bytes:
    message = await receive_message()
    if not message.get("more_body"):
        return _chunk(message)
    chunks = [_chunk(message)]
    while message.get("more_body"):
        message = await receive_message()
        chunks.append(_chunk(message))
    return b"".join(chunks)


def _chunk(message: Any) -> bytes:
    if message["type"] == "http.disconnect":
        raise Refused("disconnected", "The connection ended before the request did.", 400)
    chunk: bytes = message.get("body", b"")
    return chunk


async def respond_refused(send: Send, path: str, refused: Refused, request_id: str) -> None:
    headers = refused.headers | ({"WWW-Authenticate": "X-API-Key"} if refused.status == 401 else {})
    await respond(send, refused.status, msgspec.json.encode(error_of(path, refused, request_id)), headers, request_id)


async def respond(send: Send, status: int, body: bytes, headers: dict[str, str], request_id: str) -> None:
    lines = [
        (b"content-type", b"application/json"),
        (b"x-request-id", request_id.encode()),
        *((name.lower().encode(), value.encode()) for name, value in headers.items()),
    ]
    if status != 204:
        lines.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})

"""The fast way in: programs with an API key are served by this bare ASGI application, not by Django's.

Django's request cycle costs more than storing a reading does. Small requests that come at the same time from the same
key share one transaction, and so one flush of the disk; each is answered when that is on disk.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl
from weakref import WeakValueDictionary

import msgspec
from django.conf import settings

from sensors.access import Principal, authenticate_key, key_in, recent_principal, require_rate
from sensors.columns import Columns
from sensors.doors.intake import Answer, Delivery, answer_to, database_in_reach, receive
from sensors.doors.requests import LINE_PROTOCOL_PATH, PATHS, Incoming, error_of, require_good
from sensors.errors import Refused
from sensors.ingest import store_together

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Result = TypeVar("Result")
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)

# Requests up to this size wait for each other and share a transaction; larger ones are worth one of their own.
SMALL_BYTES = 4096
# Rows in one shared transaction: it must not take long, everybody in it waits.
MAX_SHARED_ROWS = 1000
# While one transaction of a key is under way, another one begins when so many requests wait.
TRANSACTIONS, ENOUGH_WAITING = 2, 6
# Threads that store, each with a database connection; what comes in beyond that waits.
THREADS = 4
# Large bodies that are being received or wait for a thread, in bytes, in all and of one key: slow senders cost memory.
MAX_HELD_BYTES, MAX_HELD_BYTES_OF_KEY = 256 * 1024**2, 96 * 1024**2
# Small requests that may wait at once.
MAX_WAITING = 2000


class FastDoor:
    """Takes POSTs of readings that show an API key; everything else goes on to `django`."""

    def __init__(self, django: Application) -> None:
        self.django = django
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="door")
        self.lookups: dict[str, asyncio.Task[Principal | None]] = {}
        self.held: dict[int | None, int] = {}
        self.repeats: WeakValueDictionary[tuple[int | None, str], asyncio.Lock] = WeakValueDictionary()
        self.sharing: dict[int | None, _Sharing] = {}

    async def __call__(self, scope: Scope, receive_message: Receive, send: Send) -> None:
        path = scope["path"]
        if path not in PATHS or scope["method"] != "POST":
            await self.django(scope, receive_message, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        key = key_in(headers.get("x-api-key"), headers.get("authorization"))
        if key is None:
            await self.django(scope, receive_message, send)
            return
        # No secret; asking the system for randomness would let other threads go first, each time.
        request_id = f"{random.getrandbits(128):032x}"
        try:
            answer = await self._serve(scope, headers, key, receive_message)
            await _send_answer(send, path, answer, request_id)
        except Refused as refused:
            await _send_refusal(send, path, refused, request_id)

    async def _serve(self, scope: Scope, headers: dict[str, str], key: str, receive_message: Receive) -> Answer:
        principal = await self._principal(key)
        require_rate(principal)
        asked = scope["query_string"].decode("latin-1")
        query = dict(parse_qsl(asked, keep_blank_values=True)) if asked else {}
        is_small = headers.get("content-length", "").isdigit() and int(headers["content-length"]) <= SMALL_BYTES
        if not is_small:
            return await self._serve_large(scope["path"], query, headers, principal, receive_message)
        body = await _body(receive_message)
        delivery = Incoming(scope["path"], query, headers, body, principal).delivery()
        if delivery.idempotency_key is not None or delivery.on_conflict != "keep" or "content-encoding" in headers:
            return await self._receive(delivery)
        return await self._share(principal, delivery)

    async def _principal(self, key: str) -> Principal:
        known, principal = recent_principal(key)
        if not known:
            # One look for all requests that come with the key meanwhile, whoever of them goes away.
            if key not in self.lookups:
                self.lookups[key] = asyncio.create_task(self._in_thread(_authenticate, key))
                self.lookups[key].add_done_callback(lambda _: self.lookups.pop(key))
            principal = await asyncio.shield(self.lookups[key])
        if principal is None:
            raise Refused("invalid_api_key", "This API key is unknown or revoked.", 401)
        if "ingest" not in principal.scopes:
            raise Refused("scope_missing", "This API key lacks the scope 'ingest'.", 403)
        if "sensors.add_reading" not in principal.permissions and not principal.user.is_superuser:
            raise Refused("permission_denied", "The user of this API key may not send readings.", 403)
        return principal

    async def _serve_large(
        self, path: str, query: dict[str, str], headers: dict[str, str], principal: Principal, receive_message: Receive
    ) -> Answer:
        announced = headers.get("content-length", "")
        size = int(announced) if announced.isdigit() else settings.MAX_BODY_BYTES
        held = self.held.get(principal.key_id, 0)
        if sum(self.held.values()) + size > MAX_HELD_BYTES or held + size > MAX_HELD_BYTES_OF_KEY:
            raise _overloaded()
        self.held[principal.key_id] = held + size
        try:
            body = await _body(receive_message)
            return await self._receive(Incoming(path, query, headers, body, principal).delivery())
        finally:
            self.held[principal.key_id] -= size
            if not self.held[principal.key_id]:
                del self.held[principal.key_id]

    async def _receive(self, delivery: Delivery) -> Answer:
        """Store one request by itself. Repeats of it wait here for the first, not in a thread."""
        if delivery.idempotency_key is None:
            return await self._in_thread(receive, delivery)
        repeats = self.repeats.setdefault((delivery.sender.key_id, delivery.idempotency_key), asyncio.Lock())
        async with repeats:
            return await self._in_thread(receive, delivery)

    async def _share(self, principal: Principal, delivery: Delivery) -> Answer:
        columns = _safely(delivery.parse)
        sharing = self.sharing.setdefault(principal.key_id, _Sharing())
        if len(sharing.waiting) >= MAX_WAITING:
            raise _overloaded()
        request = _Waiting(principal, delivery.source, columns, asyncio.get_running_loop().create_future())
        sharing.waiting.append(request)
        if not sharing.tasks or (len(sharing.tasks) < TRANSACTIONS and len(sharing.waiting) >= ENOUGH_WAITING):
            sharing.tasks.add(asyncio.create_task(self._drain(principal.key_id, sharing)))
        return await request.answer

    async def _drain(self, key_id: int | None, sharing: "_Sharing") -> None:
        """Store what waits under a key, all that has gathered at a time, until nothing does."""
        try:
            while sharing.waiting:
                await self._store(sharing.next_to_store())
        finally:
            sharing.tasks.discard(asyncio.current_task())
            if not sharing.tasks:
                del self.sharing[key_id]

    async def _store(self, requests: "list[_Waiting]") -> None:
        try:
            answers = await self._in_thread(_store_together, requests)
        except Exception as error:
            for request in requests:
                if not request.answer.done():
                    request.answer.set_exception(error)
            return
        for request, answer in zip(requests, answers, strict=True):
            # A sender that hung up has cancelled its own.
            if not request.answer.done():
                request.answer.set_result(answer)

    async def _in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self.threads, _safely, work, *arguments)


@dataclass
class _Waiting:
    """A small request that waits for its turn."""

    principal: Principal
    source: str
    columns: Columns
    answer: "asyncio.Future[Answer]"


@dataclass
class _Sharing:
    """The requests of one key that wait, and the tasks that store them."""

    waiting: deque[_Waiting] = field(default_factory=deque)
    tasks: "set[asyncio.Task[None] | None]" = field(default_factory=set)

    def next_to_store(self) -> list[_Waiting]:
        """The requests that make the next transaction, taken from those that wait."""
        taken, rows = [], 0
        source = self.waiting[0].source
        while self.waiting and rows < MAX_SHARED_ROWS and self.waiting[0].source == source:
            taken.append(self.waiting.popleft())
            rows += len(taken[-1].columns) + len(taken[-1].columns.rejected)
        return taken


def _safely(work: Callable[..., Result], *arguments: Any) -> Result:
    """What nobody expected becomes an error like the others; its cause is for the log."""
    try:
        return work(*arguments)
    except Refused:
        raise
    except Exception as error:
        logger.exception("unexpected failure of a door")
        detail = "The server failed; its log has more under the time of this request."
        raise Refused("server_error", detail, 500) from error


def _authenticate(key: str) -> Principal | None:
    with database_in_reach():
        return authenticate_key(key)


def _store_together(requests: list[_Waiting]) -> list[Answer]:
    first = requests[0]
    with database_in_reach():
        stored = store_together([r.columns for r in requests], source=first.source, sender=first.principal)
    return [answer_to(one) for one in stored]


def _overloaded() -> Refused:
    return Refused("server_busy", "Too many requests wait already; send this one again.", 503, retry_after_seconds=2)


async def _body(receive_message: Receive) -> bytes:
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


async def _send_answer(send: Send, path: str, answer: Answer, request_id: str) -> None:
    require_good(answer)
    if path == LINE_PROTOCOL_PATH:
        headers = answer.headers | {"X-Readings-Rejected": str(len(answer.stored["rejected"]))}
        await _respond(send, 204, b"", headers, request_id)
    else:
        await _respond(send, answer.status, msgspec.json.encode(answer.stored), answer.headers, request_id)


async def _send_refusal(send: Send, path: str, refused: Refused, request_id: str) -> None:
    headers = refused.headers | ({"WWW-Authenticate": "X-API-Key"} if refused.status == 401 else {})
    await _respond(send, refused.status, msgspec.json.encode(error_of(path, refused, request_id)), headers, request_id)


async def _respond(send: Send, status: int, body: bytes, headers: dict[str, str], request_id: str) -> None:
    lines = [
        (b"content-type", b"application/json"),
        (b"x-request-id", request_id.encode()),
        *((name.lower().encode(), value.encode()) for name, value in headers.items()),
    ]
    if status != 204:
        lines.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})

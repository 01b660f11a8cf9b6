"""The fast way in: programs with an API key are served by this bare ASGI application, not by Django's.

Django's request cycle costs more than storing a reading does. Small requests that come at the same time from the same
key share one transaction, and so one flush of the disk; each is answered when that is on disk.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl
from weakref import WeakValueDictionary

import msgspec
from django.conf import settings

from sensors.access import Principal, require_rate
from sensors.columns import Columns
from sensors.doors.bare import (
    Application,
    Keys,
    Receive,
    Result,
    Scope,
    Send,
    body_of,
    headers_of,
    in_thread,
    key_of,
    new_request_id,
    respond,
    respond_refused,
    safely,
)
from sensors.doors.intake import Answer, Delivery, answer_to, database_in_reach, receive
from sensors.doors.requests import LINE_PROTOCOL_PATH, PATHS, Incoming, require_good
from sensors.errors import Refused
from sensors.ingest import store_together

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
        self.keys = Keys(self.threads)
        self.held: dict[int | None, int] = {}
        self.repeats: WeakValueDictionary[tuple[int | None, str], asyncio.Lock] = WeakValueDictionary()
        self.sharing: dict[int | None, _Sharing] = {}

    async def __call__(self, scope: Scope, receive_message: Receive, send: Send) -> None:
        path = scope["path"]
        if path not in PATHS or scope["method"] != "POST":
            await self.django(scope, receive_message, send)
            return
        headers = headers_of(scope)
        key = key_of(headers)
        if key is None:
            await self.django(scope, receive_message, send)
            return
        request_id = new_request_id()
        try:
            answer = await self._serve(scope, headers, key, receive_message)
            await _send_answer(send, path, answer, request_id)
        except Refused as refused:
            await respond_refused(send, path, refused, request_id)

    async def _serve(self, scope: Scope, headers: dict[str, str], key: str, receive_message: Receive) -> Answer:
        principal = await self.keys.principal(key, "ingest", "sensors.add_reading")
        require_rate(principal)
        asked = scope["query_string"].decode("latin-1")
        query = dict(parse_qsl(asked, keep_blank_values=True)) if asked else {}
        is_small = headers.get("content-length", "").isdigit() and int(headers["content-length"]) <= SMALL_BYTES
        if not is_small:
            return await self._serve_large(scope["path"], query, headers, principal, receive_message)
        body = await body_of(receive_message)
        delivery = Incoming(scope["path"], query, headers, body, principal).delivery()
        if delivery.idempotency_key is not None or delivery.on_conflict != "keep" or "content-encoding" in headers:
            return await self._receive(delivery)
        return await self._share(principal, delivery)

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
            body = await body_of(receive_message)
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
        columns = safely(delivery.parse)
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
        return await in_thread(self.threads, work, *arguments)


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


def _store_together(requests: list[_Waiting]) -> list[Answer]:
    first = requests[0]
    with database_in_reach():
        stored = store_together([r.columns for r in requests], source=first.source, sender=first.principal)
    return [answer_to(one) for one in stored]


def _overloaded() -> Refused:
    return Refused("server_busy", "Too many requests wait already; send this one again.", 503, retry_after_seconds=2)


async def _send_answer(send: Send, path: str, answer: Answer, request_id: str) -> None:
    require_good(answer)
    if path == LINE_PROTOCOL_PATH:
        headers = answer.headers | {"X-Readings-Rejected": str(len(answer.stored["rejected"]))}
        await respond(send, 204, b"", headers, request_id)
    else:
        await respond(send, answer.status, msgspec.json.encode(answer.stored), answer.headers, request_id)

"""The live channel of an open page: hints of the sites its reader may see, and nothing else."""

import asyncio
import logging
import random
import time
from importlib import import_module
from typing import Any

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.contrib.auth.models import User

from sensors.live import person_group, site_group
from sensors.models import Site

logger = logging.getLogger(__name__)

# Close codes of our own (RFC 6455 leaves 4000-4999 to applications); static/js/live.js knows them.
SIGNED_OUT = 4401
TRY_AGAIN = 1013


class LiveConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """Sends `{"topic", "asset"}`; an `asset` of null means any. Whatever the page sends is ignored."""

    # A topic goes out at most this often; what comes in between is merged and sent at the end.
    SECONDS_BETWEEN_HINTS = 0.5
    # How long somebody who was signed out, deactivated or taken off a site may still see hints.
    SECONDS_BETWEEN_CHECKS = 45.0
    # After a change of rights that the platform has seen.
    SECONDS_BEFORE_CHECK = 0.3

    async def connect(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._sent_at: dict[str, float] = {}
        self._held: dict[str, int | None] = {}
        self._groups: set[str] = set()
        self._check_is_due = False
        self._turn = asyncio.Lock()
        user = self.scope.get("user")
        if user is None or not user.is_authenticated:
            await self.close()
            return
        await self._follow(user)
        await self.accept()
        self._start(self._check_again_and_again())

    async def disconnect(self, code: int) -> None:
        for task in self._tasks:
            task.cancel()
        for group in self._groups:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **_: Any) -> None:
        """The page has nothing to say here."""

    async def hint(self, event: dict[str, Any]) -> None:
        """Called by the channel layer for each hint of a site that this page follows."""
        topic, asset = event["topic"], event["asset"]
        if topic in self._held:
            self._held[topic] = asset if self._held[topic] == asset else None
            return
        wait = self._sent_at.get(topic, -self.SECONDS_BETWEEN_HINTS) + self.SECONDS_BETWEEN_HINTS - time.monotonic()
        if wait <= 0:
            await self._forward(topic, asset)
        else:
            self._held[topic] = asset
            self._start(self._forward_later(topic, wait))

    async def _forward_later(self, topic: str, wait: float) -> None:
        await asyncio.sleep(wait)
        await self._forward(topic, self._held.pop(topic))

    async def _forward(self, topic: str, asset: int | None) -> None:
        self._sent_at[topic] = time.monotonic()
        await self.send_json({"topic": topic, "asset": asset})

    async def rights(self, event: dict[str, Any]) -> None:
        """Called by the channel layer when what the reader may see has changed."""
        if not self._check_is_due:
            self._check_is_due = True
            self._start(self._check_soon())

    async def _check_soon(self) -> None:
        # Django says that somebody logs out before it ends the session.
        await asyncio.sleep(self.SECONDS_BEFORE_CHECK)
        self._check_is_due = False
        await self._check()

    async def _check_again_and_again(self) -> None:
        open_still = True
        while open_still:
            # Pages that connected at the same time are not all checked at the same time.
            await asyncio.sleep(self.SECONDS_BETWEEN_CHECKS * random.uniform(0.5, 1))  # noqa: S311
            open_still = await self._check()

    async def _check(self) -> bool:
        """Ask again who the reader is and what they may see; False when that ends the channel."""
        try:
            # One after the other: of two checks the later one must have the last word.
            async with self._turn:
                user = await self._reader_now()
                if user is not None:
                    await self._follow(user)
                    return True
            await self.close(SIGNED_OUT)
        except Exception:
            # Without an answer nobody may go on listening; the page connects again and is asked who it is.
            logger.warning("live check failed", exc_info=True)
            await self.close(TRY_AGAIN)
        return False

    async def _reader_now(self) -> User | None:
        """Whoever the session belongs to by now: nobody after a logout, a new password or a deactivation."""
        session = import_module(settings.SESSION_ENGINE).SessionStore(self.scope["session"].session_key)
        user = await get_user({"session": session})
        return user if user.is_authenticated else None

    async def _follow(self, user: User) -> None:
        """Join the groups of the sites `user` may see now, leave the others.

        Joining again is deliberate: the layer forgets groups after a day, and all of them when Valkey restarts.
        """
        sites: set[int] = await database_sync_to_async(_visible_sites)(user)
        groups = {person_group(user.pk), *map(site_group, sites)}
        for group in self._groups - groups:
            await self.channel_layer.group_discard(group, self.channel_name)
        for group in groups:
            await self.channel_layer.group_add(group, self.channel_name)
        self._groups = groups

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _visible_sites(user: User) -> set[int]:
    return set(Site.objects.visible_to(user).values_list("pk", flat=True))

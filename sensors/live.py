"""Hints to open pages: "something about alerts of this site has changed". The page then fetches what it shows.

A hint carries no data, so losing one costs freshness and never truth, and nobody can learn from one what they may not
see. One thread of the process sends them, so that nobody waits for it; what comes up meanwhile is merged.
"""

import asyncio
import atexit
import logging
import threading
import time
from collections.abc import Iterable
from functools import partial
from typing import Any, Literal

from channels.layers import get_channel_layer
from django.db import transaction

from sensors import once

logger = logging.getLogger(__name__)

SEND_SECONDS = 2.0
# A burst of alerts is one hint. Pages are told twice a second at most, so nobody notices.
SECONDS_BETWEEN_ROUNDS = 0.1
Topic = Literal["alerts", "work", "readings"]

# What waits to be sent, by group and topic: the asset in question, None for several.
_held: dict[tuple[str, str], int | None] = {}
_lock = threading.Lock()
_wake = threading.Event()
_all_sent = threading.Event()
_sender: threading.Thread | None = None
# Not a topic of pages: whoever listens is to be asked again what they may see.
RIGHTS = "rights"


def site_group(site_id: int) -> str:
    return f"site-{site_id}"


def person_group(user_id: int) -> str:
    return f"person-{user_id}"


def publish(topic: Topic, *, site_id: int, asset_id: int | None = None) -> None:
    """Tell the open pages of a site once the present transaction is committed. Never raises, never waits."""
    transaction.on_commit(lambda: _hold(site_group(site_id), topic, asset_id), robust=True)


def publish_readings(site_ids: set[int]) -> None:
    """Tell the open pages of these sites that readings came in, at most once a second per site."""
    for site_id in site_ids:
        try:
            if once.first(f"live:readings:{site_id}", 1):
                _hold(site_group(site_id), "readings", None)
        except Exception:
            logger.warning("hint not sent", exc_info=True, extra={"topic": "readings", "site": site_id})


def rights_changed(user_ids: Iterable[int]) -> None:
    """What these people may see has changed, or who they are: once that is committed their open pages are checked."""
    for user_id in user_ids:
        transaction.on_commit(partial(_hold, person_group(user_id), RIGHTS, None), robust=True)


def _hold(group: str, topic: str, asset_id: int | None) -> None:
    global _sender
    with _lock:
        _held[group, topic] = asset_id if _held.get((group, topic), asset_id) == asset_id else None
        _all_sent.clear()
        # Looked at each time: a forked process starts without the thread of its parent.
        if _sender is None or not _sender.is_alive():
            _sender = threading.Thread(target=_send_again_and_again, name="hints", daemon=True)
            _sender.start()
    _wake.set()


def _send_again_and_again() -> None:
    # One loop for good: the layer keeps its connections per loop.
    loop = asyncio.new_event_loop()
    while True:
        _wake.wait()
        _wake.clear()
        with _lock:
            round_of_hints = dict(_held)
            _held.clear()
        for (group, topic), asset_id in round_of_hints.items():
            loop.run_until_complete(_send(group, _message(topic, asset_id)))
        with _lock:
            if not _held:
                _all_sent.set()
        time.sleep(SECONDS_BETWEEN_ROUNDS)


def _message(topic: str, asset_id: int | None) -> dict[str, Any]:
    return {"type": "rights"} if topic == RIGHTS else {"type": "hint", "topic": topic, "asset": asset_id}


async def _send(group: str, message: dict[str, Any]) -> None:
    # A connection kept from before a restart of Valkey breaks at its first use; the second try has a new one.
    for last_try in (False, True):
        try:
            # The layer's sockets have no timeout of their own.
            await asyncio.wait_for(get_channel_layer().group_send(group, message), SEND_SECONDS)
            return
        except Exception:
            # Pages also refresh by themselves when their socket comes back.
            if last_try:
                logger.warning("hint not sent", exc_info=True, extra={"group": group, "hint": message})


@atexit.register
def _finish() -> None:
    """A command that ends right after its last commit has its hints sent."""
    if _sender is not None and _sender.is_alive():
        _all_sent.wait(SEND_SECONDS)

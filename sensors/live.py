"""Hints to open pages: "something about alerts of this site has changed". The page then fetches what it shows.

A hint carries no data, so losing one costs freshness and never truth, and nobody can learn from one what they may not
see. One thread of the process sends them, so that nobody waits for it; what comes up meanwhile is merged.
"""

import asyncio
import atexit
import logging
import threading
import time
from typing import Literal

from channels.layers import get_channel_layer
from django.db import transaction

from sensors import once

logger = logging.getLogger(__name__)

SEND_SECONDS = 2.0
# A burst of alerts is one hint. Pages are told twice a second at most, so nobody notices.
SECONDS_BETWEEN_ROUNDS = 0.1
Topic = Literal["alerts", "work", "readings"]

# By topic and site: the asset in question, None for several.
_held: dict[tuple[Topic, int], int | None] = {}
_lock = threading.Lock()
_wake = threading.Event()
_sender: threading.Thread | None = None


def site_group(site_id: int) -> str:
    return f"site-{site_id}"


def publish(topic: Topic, *, site_id: int, asset_id: int | None = None) -> None:
    """Tell the open pages of a site once the present transaction is committed. Never raises, never waits."""
    transaction.on_commit(lambda: _hold(topic, site_id, asset_id), robust=True)


def publish_readings(site_ids: set[int]) -> None:
    """Tell the open pages of these sites that readings came in, at most once a second per site."""
    for site_id in site_ids:
        try:
            if once.first(f"live:readings:{site_id}", 1):
                _hold("readings", site_id, None)
        except Exception:
            logger.warning("hint not sent", exc_info=True, extra={"topic": "readings", "site": site_id})


def _hold(topic: Topic, site_id: int, asset_id: int | None) -> None:
    global _sender
    with _lock:
        _held[topic, site_id] = asset_id if _held.get((topic, site_id), asset_id) == asset_id else None
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
        for (topic, site_id), asset_id in round_of_hints.items():
            loop.run_until_complete(_send(topic, site_id, asset_id))
        time.sleep(SECONDS_BETWEEN_ROUNDS)


async def _send(topic: Topic, site_id: int, asset_id: int | None) -> None:
    hint = {"type": "hint", "topic": topic, "asset": asset_id}
    # A connection kept from before a restart of Valkey breaks at its first use; the second try has a new one.
    for last_try in (False, True):
        try:
            # The layer's sockets have no timeout of their own.
            await asyncio.wait_for(get_channel_layer().group_send(site_group(site_id), hint), SEND_SECONDS)
            return
        except Exception:
            # Pages also refresh by themselves when their socket comes back.
            if last_try:
                logger.warning("hint not sent", exc_info=True, extra={"topic": topic, "site": site_id})


@atexit.register
def _finish() -> None:
    """A command that ends right after its last commit has its hints sent."""
    deadline = time.monotonic() + SEND_SECONDS
    while _held and time.monotonic() < deadline:
        time.sleep(SECONDS_BETWEEN_ROUNDS)

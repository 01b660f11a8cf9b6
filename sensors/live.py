"""Hints to open pages: "something about alerts of this site has changed". The page then fetches what it shows.

A hint carries no data, so losing one costs freshness and never truth, and nobody can learn from one what they may not
see.
"""

import asyncio
import logging
from typing import Any, Literal

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

from sensors import once

logger = logging.getLogger(__name__)

SEND_SECONDS = 2.0
Topic = Literal["alerts", "work", "readings"]


def site_group(site_id: int) -> str:
    return f"site-{site_id}"


def publish(topic: Topic, *, site_id: int, asset_id: int | None = None) -> None:
    """Tell the open pages of a site once the present transaction is committed. Never raises."""
    transaction.on_commit(lambda: _send(topic, site_id, asset_id), robust=True)


def publish_readings(site_ids: set[int]) -> None:
    """Tell the open pages of these sites that readings came in, at most once a second per site."""
    for site_id in site_ids:
        try:
            if once.first(f"live:readings:{site_id}", 1):
                _send("readings", site_id, None)
        except Exception:
            logger.warning("hint not sent", exc_info=True, extra={"topic": "readings", "site": site_id})


async def _group_send(group: str, hint: dict[str, Any]) -> None:
    # The layer's sockets have no timeout of their own, and a person may be waiting behind this.
    await asyncio.wait_for(get_channel_layer().group_send(group, hint), SEND_SECONDS)


def _send(topic: Topic, site_id: int, asset_id: int | None) -> None:
    hint = {"type": "hint", "topic": topic, "asset": asset_id}
    try:
        async_to_sync(_group_send)(site_group(site_id), hint)
    except Exception:
        # Pages also refresh by themselves when their socket comes back; a broker that is down must not fail the caller.
        logger.warning("hint not sent", exc_info=True, extra={"topic": topic, "site": site_id})

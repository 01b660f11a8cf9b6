"""Asks workers to look now. A request that is lost costs a second: sweeps find what waits in its rows."""

import logging

from celery import current_app
from django.db import transaction

from sensors import once

logger = logging.getLogger(__name__)

# With no worker listening, one reminder in this many seconds waits in the queue.
NUDGE_SECONDS = 5
MARK = "nudge:tell"


def tell() -> None:
    """Have it seen who is to be told, once the present transaction is committed. Never raises."""
    transaction.on_commit(_tell, robust=True)


def _tell() -> None:
    try:
        if once.first(MARK, NUDGE_SECONDS):
            current_app.send_task("alerts.tasks.tell", expires=NUDGE_SECONDS)
    except Exception:
        logger.warning("nudge not sent; the sweep will find who is to be told", exc_info=True)


def looking() -> None:
    """Somebody looks now: what is committed from here on is announced again. Never raises."""
    try:
        once.clear(MARK)
    except Exception:
        logger.warning("nudge not cleared", exc_info=True)

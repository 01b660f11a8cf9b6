"""Asks workers to look now. A request that is lost costs a second: sweeps find what waits in its rows."""

import logging
from functools import partial

from celery import current_app
from django.db import transaction

from sensors import once

logger = logging.getLogger(__name__)

# With no worker listening, one reminder in this many seconds waits in the queue.
NUDGE_SECONDS = 5
TELL, DELIVER = "tell", "deliver"


def tell() -> None:
    """Have it seen who is to be told, once the present transaction is committed. Never raises."""
    transaction.on_commit(partial(_ask, TELL), robust=True)


def deliver() -> None:
    """Have messages sent that are due, once the present transaction is committed. Never raises."""
    transaction.on_commit(partial(_ask, DELIVER), robust=True)


def _ask(task: str) -> None:
    try:
        if once.first(_mark(task), NUDGE_SECONDS):
            current_app.send_task(f"alerts.tasks.{task}", expires=NUDGE_SECONDS)
    except Exception:
        logger.warning("nudge not sent; the sweep will find what waits", exc_info=True, extra={"task_name": task})


def looking(task: str) -> None:
    """Somebody looks now: what is committed from here on is announced again. Never raises."""
    try:
        once.clear(_mark(task))
    except Exception:
        logger.warning("nudge not cleared", exc_info=True)


def _mark(task: str) -> str:
    return f"nudge:{task}"

"""Nudges: a task is asked for now, rather than at its next sweep.

A nudge that is lost costs nothing but time: sweeps find in the rows what waits. Nothing here raises.
"""

import logging

from celery import current_app

from sensors import once

logger = logging.getLogger(__name__)

# With no worker listening, one reminder in this many seconds waits in the queue, not one per cause.
SECONDS = 5


def send(task: str, *args: str) -> None:
    """Ask for the task with these arguments, unless somebody has asked already and nobody has looked since."""
    try:
        if once.first(_mark(task, args), SECONDS):
            current_app.send_task(task, args, expires=SECONDS)
    except Exception:
        logger.warning("nudge not sent; the sweep will find what waits", exc_info=True, extra={"task_name": task})


def looking(task: str, *args: str) -> None:
    """Somebody looks now: what is committed from here on is announced again."""
    try:
        once.clear(_mark(task, args))
    except Exception:
        logger.warning("nudge not cleared", exc_info=True, extra={"task_name": task})


def _mark(task: str, args: tuple[str, ...]) -> str:
    return ":".join(("nudge", task, *args))

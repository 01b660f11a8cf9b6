"""The outbox: work that stored readings cause, kept as rows beside the readings and drained by Celery.

A `Pending` row is written in the transaction of its batch and deleted in the transaction that did the work, so a
process that dies at any point leaves either both or neither. Messages to Celery only say "look now"; the sweep finds
the rest.
"""

import logging
from collections.abc import Callable

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from sensors import once
from sensors.models import Pending, ReadingBatch

logger = logging.getLogger(__name__)

Consumer = Callable[[list[ReadingBatch]], None]

# Batches claimed together are merged by the consumer; both limits bound one transaction's length and memory.
MAX_BATCHES = 200
MAX_READINGS = 100_000
# With no worker listening, one reminder in this many seconds waits in the queue, not one per batch.
NUDGE_SECONDS = 5


def nudge() -> None:
    """Ask the workers to look at the outbox now. Never raises: a lost nudge is made up for by the sweep."""
    from sensors.tasks import drain as drain_task

    for consumer in settings.OUTBOX_CONSUMERS:
        try:
            if once.first(_nudge_mark(consumer), NUDGE_SECONDS):
                drain_task.apply_async((consumer,), expires=NUDGE_SECONDS)
        except Exception:
            logger.warning("nudge not sent; the sweep will find the work", extra={"consumer": consumer})


def drain(consumer: str) -> int:
    """Do the due work of a consumer until there is none left; returns the number of batches seen to.

    May run in any number of processes at once: each claims its own rows.
    """
    try:
        # Before the first look, so that whatever is committed after it is announced again.
        once.clear(_nudge_mark(consumer))
    except Exception:
        logger.warning("nudge not cleared", extra={"consumer": consumer})
    work: Consumer = import_string(settings.OUTBOX_CONSUMERS[consumer])
    done = 0
    while claimed := _drain_once(consumer, work):
        done += claimed
    return done


def _nudge_mark(consumer: str) -> str:
    return f"nudge:{consumer}"


def _drain_once(consumer: str, work: Consumer) -> int:
    with transaction.atomic():
        rows = _claim(consumer)
        if rows and _attempt(work, rows) is not None:
            # One of them is bad: alone, each shows which, and the others pass it.
            for row in rows:
                if error := _attempt(work, [row]):
                    row.record_failure(error)
        return len(rows)


def _claim(consumer: str) -> list[Pending]:
    """Lock the oldest due rows, live ones first; live and history are never mixed."""
    due = Pending.objects.waiting().filter(consumer=consumer, due_at__lte=timezone.now())
    rows = list(
        due.select_for_update(skip_locked=True, of=("self",))
        .select_related("batch")
        .order_by("-live", "pk")[:MAX_BATCHES]
    )
    claimed: list[Pending] = []
    readings = 0
    for row in rows:
        if row.live != rows[0].live or readings >= MAX_READINGS:
            break
        claimed.append(row)
        readings += row.batch.accepted
    return claimed


def _attempt(work: Consumer, rows: list[Pending]) -> str | None:
    """Do the work of these rows, or nothing at all and return why."""
    try:
        with transaction.atomic():
            work([row.batch for row in rows])
            Pending.objects.filter(pk__in=[row.pk for row in rows]).delete()
    except Exception as error:
        logger.exception("work failed", extra={"batches": [row.batch_id for row in rows], "consumer": rows[0].consumer})
        return f"{type(error).__name__}: {error}"
    return None

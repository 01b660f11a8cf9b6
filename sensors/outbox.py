"""The outbox: work that stored readings cause, kept as rows beside the readings and drained by Celery.

A `Pending` row is written in the transaction of its batch and deleted in the transaction that did the work, so a
process that dies at any point leaves either both or neither. Messages to Celery only say "look now"; the sweep finds
the rest.
"""

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.module_loading import import_string
from numpy.typing import NDArray

from sensors import once
from sensors.arrays import Bigints, any_of, numpy_cursor
from sensors.models import Pending, ReadingBatch
from sensors.querysets import PendingQuerySet

logger = logging.getLogger(__name__)

# Takes batches of one mode; where they hold readings is loaded when asked for (`spans`).
Consumer = Callable[[list[ReadingBatch]], None]

# Batches claimed together are merged by the consumer; these bound one transaction's length and memory. Batches of
# history are large, and what one worker has locked no other can take.
MAX_LIVE_BATCHES = 500
MAX_HISTORY_BATCHES = 10
MAX_READINGS = 100_000
# A task ends after this long, so that heartbeats and other consumers get their turn between two pieces of a large
# import.
TURN_SECONDS = 1.0
# With no worker listening, one reminder in this many seconds waits in the queue, not one per batch.
NUDGE_SECONDS = 5
EMPTY = np.empty(0, np.int64)


def nudge() -> None:
    """Ask the workers to look at the outbox now. Never raises: a lost nudge is made up for by the sweep."""
    for consumer in settings.OUTBOX_CONSUMERS:
        _nudge(consumer)


def _nudge(consumer: str) -> None:
    try:
        if once.first(_nudge_mark(consumer), NUDGE_SECONDS):
            current_app.send_task("sensors.tasks.drain", (consumer,), expires=NUDGE_SECONDS)
    except Exception:
        logger.warning("nudge not sent; the sweep will find the work", extra={"consumer": consumer})


def drain(consumer: str) -> int:
    """Do the work of a consumer that is due now, for a turn at most; returns the number of batches seen to.

    May run in any number of processes at once: each claims its own rows. What a turn leaves is announced again. What
    comes in meanwhile has its own nudge: seen to at once it would be many small pieces of work, not a few large ones.
    """
    try:
        # Before the first look, so that whatever is committed after it is announced again.
        once.clear(_nudge_mark(consumer))
    except Exception:
        logger.warning("nudge not cleared", extra={"consumer": consumer})
    work: Consumer = import_string(settings.OUTBOX_CONSUMERS[consumer])
    deadline = time.monotonic() + TURN_SECONDS
    done = 0
    newest = Pending.objects.filter(consumer=consumer).aggregate(newest=Max("pk"))["newest"]
    while newest and (claimed := _drain_once(consumer, work, newest)):
        done += claimed
        if time.monotonic() > deadline:
            _nudge(consumer)
            break
    return done


def _nudge_mark(consumer: str) -> str:
    return f"nudge:{consumer}"


def _drain_once(consumer: str, work: Consumer, newest: int) -> int:
    with transaction.atomic():
        rows = _claim(consumer, newest)
        if not rows or _attempt(work, rows) is None:
            return len(rows)
    # One of them is bad. Each alone, in a transaction of its own, shows which, and the others pass it.
    for row in rows:
        with transaction.atomic():
            for locked in _due(consumer).filter(pk=row.pk):
                if error := _attempt(work, [locked]):
                    locked.record_failure(error)
    return len(rows)


def _due(consumer: str) -> PendingQuerySet:
    due = Pending.objects.waiting().filter(consumer=consumer, due_at__lte=timezone.now())
    rows = due.select_for_update(skip_locked=True, of=("self",)).select_related("batch").order_by("pk")
    return rows.defer("batch__sensors", "batch__firsts", "batch__lasts")


class Spans(NamedTuple):
    """Where batches hold readings, a row per batch and stretch. `batches` counts them in the order they were asked for;
    `firsts` and `lasts` are inclusive, in microseconds UTC.
    """

    batches: NDArray[np.int64]
    sensors: NDArray[np.int64]
    firsts: NDArray[np.int64]
    lasts: NDArray[np.int64]


def spans(batches: list[ReadingBatch]) -> Spans:
    """The stretches of readings of these batches, for consumers that need them.

    `drain` hands batches over without: it looks at more than it takes, and what 20 batches of 1,000 sensors hold costs
    more to read than marking their hours does.
    """
    with numpy_cursor() as cursor:
        cursor.execute(
            "SELECT id, sensors, firsts, lasts FROM sensors_readingbatch WHERE id = ANY(%s)",
            [Bigints(np.array([batch.pk for batch in batches], np.int64))],
        )
        found = {row[0]: row[1:] for row in cursor.fetchall()}
    columns = [found[batch.pk] for batch in batches]
    numbers = np.repeat(np.arange(len(batches)), [len(sensors) for sensors, _, _ in columns])
    sensors, firsts, lasts = (np.concatenate([column[i] for column in columns] or [EMPTY]) for i in range(3))
    return Spans(numbers, sensors, firsts, lasts)


def _claim(consumer: str, newest: int) -> list[Pending]:
    """Lock the oldest due rows: live ones, or history where no live ones wait; the two are never mixed."""
    due = _due(consumer).filter(pk__lte=newest)
    rows = list(due.filter(live=True)[:MAX_LIVE_BATCHES]) or list(due.filter(live=False)[:MAX_HISTORY_BATCHES])
    claimed: list[Pending] = []
    readings = 0
    for row in rows:
        if readings >= MAX_READINGS:
            break
        claimed.append(row)
        readings += row.batch.accepted
    return claimed


def _attempt(work: Consumer, rows: list[Pending]) -> str | None:
    """Do the work of these rows, or nothing at all and return why."""
    try:
        with transaction.atomic():
            work([row.batch for row in rows])
            Pending.objects.filter(pk__in=any_of([row.pk for row in rows])).delete()
    except Exception as error:
        logger.exception("work failed", extra={"batches": [row.batch_id for row in rows], "consumer": rows[0].consumer})
        return f"{type(error).__name__}: {error}"
    return None

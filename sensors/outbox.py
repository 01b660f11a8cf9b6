"""The outbox: work that stored readings cause, kept as rows beside the readings and drained by Celery.

A `Pending` row is written in the transaction of its batch and deleted in the transaction that did the work, so a
process that dies at any point leaves either both or neither. Messages to Celery only say "look now"; the sweep finds
the rest.

Live batches and history have tasks and workers of their own, so that months of history delay nothing that is live.
"""

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

import numpy as np
from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.module_loading import import_string
from numpy.typing import NDArray

from sensors import nudges
from sensors.arrays import Bigints, any_of, numpy_cursor
from sensors.checks import SPAN_GAP_US
from sensors.models import Pending, ReadingBatch
from sensors.querysets import PendingQuerySet

logger = logging.getLogger(__name__)

# Takes batches of one mode; where they hold readings is loaded when asked for (`spans`).
Consumer = Callable[[list[ReadingBatch]], None]

Mode = ReadingBatch.Mode
TASKS = {Mode.LIVE: "sensors.tasks.drain", Mode.HISTORY: "sensors.tasks.drain_history"}

# Batches claimed together are merged by the consumer; these bound one transaction's memory. Batches of history are
# large, and what one worker has locked no other can take.
MAX_BATCHES = {Mode.LIVE: 500, Mode.HISTORY: 10}
# How long a transaction may take is bounded by claiming half as many readings after one that took longer, and twice as
# many after one that took less than half of it: a reading costs some consumers and models a hundred times what it
# costs others, and what ten thousand sensors cost is shared by more readings. Live readings of the same sensors wait
# for history's locks.
PIECE_SECONDS = {Mode.LIVE: 2.0, Mode.HISTORY: 0.3}
PIECE_READINGS = {Mode.LIVE: (100_000, 500_000), Mode.HISTORY: (20_000, 100_000)}
# A task ends after this long, so that heartbeats and other consumers get their turn between two pieces of a large
# import.
TURN_SECONDS = 1.0
# Live work that has waited for so long is behind; what is done in the background gives way to it for so long.
BEHIND, GIVE_WAY_SECONDS = timedelta(seconds=0.5), 3.0
EMPTY = np.empty(0, np.int64)


# By consumer and mode, how many readings this process claims at once.
_piece_readings: dict[tuple[str, Mode], int] = {}


def nudge() -> None:
    """Ask the workers to look now at the live part of the outbox that somebody waits for.

    Never raises: a lost nudge is made up for by the sweep, which is soon enough for history and for other consumers.
    Each look costs 8 ms whatever it finds, so that a few large ones take a fraction of what many small ones would.
    """
    for consumer in settings.OUTBOX_URGENT:
        nudges.send(TASKS[Mode.LIVE], consumer)


def drain(consumer: str, *modes: Mode) -> int:
    """Do the work of a consumer that is due now, for a turn at most; returns the number of batches seen to.

    Without `modes`, everything live and then history. May run in any number of processes at once: each claims its own
    rows. What a turn leaves is announced again. What comes in meanwhile has its own nudge: seen to at once it would be
    many small pieces of work, not a few large ones.
    """
    modes = modes or (Mode.LIVE, Mode.HISTORY)
    work: Consumer = import_string(settings.OUTBOX_CONSUMERS[consumer])
    deadline = time.monotonic() + TURN_SECONDS
    for mode in modes:
        nudges.looking(TASKS[mode], consumer)
    done = 0
    newest = Pending.objects.filter(consumer=consumer).aggregate(newest=Max("pk"))["newest"]
    for mode in modes:
        while newest and time.monotonic() < deadline and (claimed := _drain_once(consumer, work, mode, newest)):
            done += claimed
        if time.monotonic() >= deadline:
            nudges.send(TASKS[mode], consumer)
    return done


def with_history() -> list[str]:
    """The consumers for which history waits, in the order of the settings: mostly none, every second."""
    waiting = set(Pending.objects.waiting().filter(live=False).values_list("consumer", flat=True).distinct())
    return [consumer for consumer in settings.OUTBOX_CONSUMERS if consumer in waiting]


def give_way() -> None:
    """Wait until no live work is behind, but not for longer than a few seconds: history gets done in the end.

    Its worker has a lower priority than others, but the database does as much for it as for them.
    """
    deadline = time.monotonic() + GIVE_WAY_SECONDS
    live = Pending.objects.waiting().filter(live=True)
    while time.monotonic() < deadline and live.filter(due_at__lt=timezone.now() - BEHIND).exists():
        time.sleep(0.1)


def _drain_once(consumer: str, work: Consumer, mode: Mode, newest: int) -> int:
    most = _piece_readings.get((consumer, mode), PIECE_READINGS[mode][0])
    begun = time.monotonic()
    with transaction.atomic():
        rows = _claim(consumer, mode, newest, most)
        if not rows or _attempt(work, rows) is None:
            _piece_readings[consumer, mode] = _next_piece(rows, most, mode, time.monotonic() - begun)
            return len(rows)
    # One of them is bad. Each alone, in a transaction of its own, shows which, and the others pass it.
    for row in rows:
        with transaction.atomic():
            for locked in _due(consumer, mode).filter(pk=row.pk):
                if error := _attempt(work, [locked]):
                    locked.record_failure(error)
    return len(rows)


def _next_piece(rows: list[Pending], most: int, mode: Mode, seconds: float) -> int:
    """How many readings to claim next, after `rows` of at most `most` readings took so long."""
    fewest, limit = PIECE_READINGS[mode]
    if seconds > PIECE_SECONDS[mode]:
        return max(most // 2, fewest)
    is_full = sum(row.batch.accepted for row in rows) >= most
    return min(most * 2, limit) if is_full and seconds < PIECE_SECONDS[mode] / 2 else most


def _due(consumer: str, mode: Mode) -> PendingQuerySet:
    due = Pending.objects.waiting().filter(consumer=consumer, live=mode == Mode.LIVE, due_at__lte=timezone.now())
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


class Stretches(NamedTuple):
    """Where batches hold readings, ordered by sensor and time; both ends are inclusive, in microseconds UTC."""

    sensors: NDArray[np.int64]
    firsts: NDArray[np.int64]
    lasts: NDArray[np.int64]


def stretches(batches: list[ReadingBatch]) -> Stretches:
    """The spans of these batches; those of one sensor that touch are one."""
    _, sensors, firsts, lasts = spans(batches)
    # Sorted apart from each other, the k-th first and the k-th last of a sensor tell where nothing is left to go on.
    order = np.lexsort((firsts, sensors))
    sensors, firsts, lasts = sensors[order], firsts[order], lasts[np.lexsort((lasts, sensors))]
    parted = (sensors[1:] != sensors[:-1]) | (firsts[1:] > lasts[:-1] + SPAN_GAP_US)
    begins, ends = np.append(True, parted)[: len(sensors)], np.append(parted, True)[: len(sensors)]
    return Stretches(sensors[begins], firsts[begins], lasts[ends])


def _claim(consumer: str, mode: Mode, newest: int, most: int) -> list[Pending]:
    """Lock the oldest due rows of a mode, of about so many readings; live batches and history are never mixed."""
    claimed: list[Pending] = []
    readings = 0
    for row in _due(consumer, mode).filter(pk__lte=newest)[: MAX_BATCHES[mode]]:
        if readings >= most:
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

import time
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone

from sensors import once, outbox, tasks
from sensors.models import Pending, ReadingBatch

LIVE, HISTORY = ReadingBatch.Mode.LIVE, ReadingBatch.Mode.HISTORY
POISON = "poison"
seen: list[int] = []


def consumer(batches: list[ReadingBatch]) -> None:
    """A consumer that leaves a trace in the database and fails on poisoned batches."""
    for batch in batches:
        ReadingBatch.objects.filter(pk=batch.pk).update(duplicates=7)
        seen.append(batch.pk)
    if any(batch.source == POISON for batch in batches):
        raise ValueError("bad batch")


def broken_query(batches: list[ReadingBatch]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1/0")


@pytest.fixture(autouse=True)
def consumers(settings: LazySettings) -> None:
    seen.clear()
    settings.OUTBOX_CONSUMERS = {"test": f"{__name__}.consumer", "broken": f"{__name__}.broken_query"}
    settings.OUTBOX_URGENT = ("test",)


def batch(source: str = "test", mode: ReadingBatch.Mode = LIVE, consumer: str = "test", accepted: int = 1) -> Pending:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    stored = ReadingBatch.objects.create(
        source=source, mode=mode, accepted=accepted, sensors=[1], firsts=[at], lasts=[at]
    )
    return Pending.objects.create(batch=stored, consumer=consumer, live=mode == LIVE)


pytestmark = pytest.mark.django_db


def test_work_that_succeeds_is_gone() -> None:
    batch()
    batch()
    assert outbox.drain("test") == 2
    assert not Pending.objects.exists()


def test_live_batches_come_before_older_history() -> None:
    history, live = batch(mode=HISTORY), batch()
    outbox.drain("test")
    assert seen == [live.batch_id, history.batch_id]


@pytest.mark.parametrize("mode", [LIVE, HISTORY])
def test_a_worker_for_one_mode_leaves_the_other_alone(mode: ReadingBatch.Mode) -> None:
    batches = {LIVE: batch(), HISTORY: batch(mode=HISTORY)}
    assert outbox.drain("test", mode) == 1
    assert seen == [batches[mode].batch_id]


def test_the_sweeps_of_both_workers_find_everything_without_a_nudge(settings: LazySettings) -> None:
    del settings.OUTBOX_CONSUMERS["broken"]
    live, history = batch(), batch(mode=HISTORY)
    tasks.sweep()
    assert seen == [live.batch_id]
    tasks.sweep_history()
    assert seen == [live.batch_id, history.batch_id]


@pytest.mark.parametrize(("waiting_seconds", "gives_way"), [(0, False), (5, True)])
def test_what_is_done_in_the_background_waits_for_live_work_that_is_behind_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, waiting_seconds: int, gives_way: bool
) -> None:
    monkeypatch.setattr(outbox, "GIVE_WAY_SECONDS", 0.3)
    batch()
    Pending.objects.update(due_at=timezone.now() - timedelta(seconds=waiting_seconds))
    history = batch(mode=HISTORY)
    begun = time.monotonic()
    tasks.drain_history("test")
    assert (time.monotonic() - begun >= 0.3) == gives_way
    assert seen == [history.batch_id]


def test_transactions_get_shorter_when_they_take_too_long_and_longer_when_there_is_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "_piece_readings", {})
    monkeypatch.setattr(outbox, "PIECE_READINGS", {LIVE: (10_000, 40_000)})
    for _ in range(20):
        batch(accepted=10_000)
    monkeypatch.setattr(outbox, "PIECE_SECONDS", {LIVE: 1e9})
    claimed = [outbox._drain_once("test", consumer, LIVE, 10**9) for _ in range(4)]
    monkeypatch.setattr(outbox, "PIECE_SECONDS", {LIVE: 0.0})
    claimed += [outbox._drain_once("test", consumer, LIVE, 10**9) for _ in range(3)]
    assert claimed == [1, 2, 4, 4, 4, 2, 1]


def test_a_bad_batch_is_found_among_good_ones_and_these_pass() -> None:
    good, bad, other = batch(), batch(POISON), batch()
    outbox.drain("test")
    assert set(ReadingBatch.objects.filter(duplicates=7)) == {good.batch, other.batch}
    left = Pending.objects.get()
    assert (left.batch_id, left.attempts, left.error) == (bad.batch_id, 1, "ValueError: bad batch")


def test_a_bad_batch_is_tried_again_after_2_4_and_6_seconds_and_then_waits_for_a_person() -> None:
    batch(POISON)
    waits = []
    for _ in range(3):
        before = timezone.now()
        assert outbox.drain("test") == 1
        waits.append(round((Pending.objects.get().due_at - before) / timedelta(seconds=1)))
        assert outbox.drain("test") == 0  # Not due yet.
        Pending.objects.update(due_at=timezone.now())
    outbox.drain("test")
    assert waits == [2, 4, 6]
    assert Pending.objects.dead().count() == 1
    Pending.objects.update(due_at=timezone.now())
    assert outbox.drain("test") == 0


def test_a_dead_letter_can_be_put_back_to_work() -> None:
    dead = batch(POISON)
    for _ in range(4):
        Pending.objects.update(due_at=timezone.now())
        outbox.drain("test")
    ReadingBatch.objects.update(source="mended")
    dead.refresh_from_db()
    dead.try_again()
    outbox.drain("test")
    assert not Pending.objects.exists()


def test_a_database_error_in_one_batch_does_not_break_the_transaction_of_the_rest() -> None:
    batch(consumer="broken")
    outbox.drain("broken")
    assert Pending.objects.get().attempts == 1


def test_work_of_one_consumer_goes_on_when_another_fails() -> None:
    batch(consumer="broken")
    batch()
    outbox.drain("broken")
    assert outbox.drain("test") == 1


@pytest.mark.django_db(transaction=True)
def test_rows_claimed_by_one_worker_are_passed_over_by_another() -> None:
    taken = batch()
    free = batch()
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT 1 FROM sensors_pending WHERE id = %s FOR UPDATE", [taken.pk])
            assert outbox.drain("test") == 1
        assert seen == [free.batch_id]
    finally:
        other.close()
    assert outbox.drain("test") == 1


def test_until_a_worker_looks_a_second_nudge_is_not_sent() -> None:
    outbox.nudge()
    assert not once.first("nudge:sensors.tasks.drain:test", 1)
    outbox.drain("test")
    assert once.first("nudge:sensors.tasks.drain:test", 1)


def test_ids_of_failed_batches_and_the_reason_survive_a_long_error() -> None:
    pending = batch()
    pending.record_failure("x" * 10_000)
    assert len(Pending.objects.get().error) == 2000

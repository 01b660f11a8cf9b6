"""The same readings make the same anomalies, in whatever pieces and order they come in and whoever scores them."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.models import Alert
from mlops import scoring
from mlops.models import Anomaly, Baseline
from sensors import outbox
from sensors.ingest import store_batch
from sensors.models import Pending, Reading, ReadingBatch, Sensor
from tests.conftest import Plant
from tests.mlops.test_model_scoring import MINUTE, NOW, serve, swing, trained, worker
from tests.mlops.test_scoring import HISTORY, LIVE, noise, only_scoring, store
from tests.readings import columns

__all__ = ["only_scoring", "worker"]

COUNT = 60
SAME = ("sensor", "start", "end", "peak_at", "peak_value", "peak_score", "circumstances", "decision", "confidence")
way = {"order": st.integers(0, 10**6), "pieces": st.integers(1, 25), "seed": st.integers(0, 10**6)}
several = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Stream:
    """Readings of a sensor, calm and disturbed, with pauses; some disturbances are only just confirmed."""

    def __init__(self, sensor: Sensor, seed: int, usual: np.ndarray, step: timedelta, pause: timedelta) -> None:
        rng = np.random.default_rng(seed)
        self.sensor, count = sensor, len(usual)
        paused = np.cumsum(rng.random(count) < 0.03)
        self.times = [NOW - 100 * MINUTE + step * i + pause * int(paused[i]) for i in range(count)]
        # Mostly disturbances that only some of their neighbours confirm.
        rare = rng.choice([0.05, 0.2, 0.5])
        off = rng.choice([0.0, 0.6, 0.8, 1.5], count, p=[1 - rare, 0.6 * rare, 0.3 * rare, 0.1 * rare])
        self.values = usual + off

    def store(self, rows: list[int], mode: ReadingBatch.Mode) -> None:
        rows = sorted(rows)
        batch = columns(self.sensor, [self.times[row] for row in rows], self.values[rows])
        store_batch(batch, source="test", mode=mode)
        # Which readings pass for spikes depends on what was stored before them; here all are the same every time.
        Reading.objects.filter(sensor=self.sensor).exclude(flags=0).update(flags=0, quality=1.0)


def drain() -> None:
    while outbox.drain("score"):
        pass


def found() -> list[dict[str, Any]]:
    kept = Anomaly.objects.exclude(circumstances=Anomaly.Circumstances.WITHDRAWN)
    return list(kept.order_by("sensor", "start", "circumstances").values(*SAME))


@contextmanager
def undone() -> Iterator[None]:
    """What is done inside never happened."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def all_at_once(stream: Stream, mode: ReadingBatch.Mode) -> tuple[list[dict[str, Any]], list[Baseline]]:
    with undone():
        stream.store(list(range(len(stream.times))), mode)
        drain()
        return found(), list(Baseline.objects.all())


def in_pieces(stream: Stream, mode: ReadingBatch.Mode, order: random.Random, pieces: int) -> None:
    """Rows side by side or far apart, in any order, scored now and then; some work is lost and done again."""
    parts: list[list[int]] = [[] for _ in range(pieces)]
    interleaved = order.random() < 0.5
    for row in range(len(stream.times)):
        parts[order.randrange(pieces) if interleaved else row * pieces // len(stream.times)].append(row)
    order.shuffle(parts)
    for part in filter(None, parts):
        stream.store(part, mode)
        if order.random() < 0.3:
            with undone():
                outbox.drain("score")
        if order.random() < 0.5:
            outbox.drain("score")
    drain()


def check(stream: Stream, mode: ReadingBatch.Mode, order: random.Random, pieces: int) -> None:
    expected, baselines = all_at_once(stream, mode)
    with undone():
        # A baseline is learned from what is there when it is first needed, and then kept.
        Baseline.objects.bulk_create(baselines, ignore_conflicts=True)
        in_pieces(stream, mode, order, pieces)
        assert found() == expected
        assert not Pending.objects.exists()


@pytest.fixture
def vibration(north: Plant) -> Sensor:
    store(north.vibration, NOW - timedelta(days=2), noise(2 * 1440 - 150), HISTORY)
    drain()
    return north.vibration


@pytest.mark.parametrize(("mode", "pause"), [(LIVE, 10 * MINUTE / 60), (HISTORY, timedelta(hours=7))])
@given(**way, few=st.sampled_from([0, scoring.FEW]))
@several
def test_pieces_in_any_order_make_the_anomalies_of_the_whole(
    vibration: Sensor, mode: ReadingBatch.Mode, pause: timedelta, order: int, pieces: int, seed: int, few: int
) -> None:
    usual = noise(COUNT, seed=seed)
    step = MINUTE / 2 if mode == LIVE else 5 * MINUTE
    stream = Stream(vibration, seed, usual, step, pause)
    shift = NOW - stream.times[-1] - MINUTE
    stream.times = [at + shift for at in stream.times]
    with pytest.MonkeyPatch.context() as patch:
        # Readings are looked at with their neighbours at once, or by themselves first.
        patch.setattr(scoring, "FEW", few)
        check(stream, mode, random.Random(order), pieces)


@given(**way)
@several
def test_so_do_they_where_a_model_serves(north: Plant, order: int, pieces: int, seed: int) -> None:
    with undone():
        store(north.vibration, NOW - timedelta(minutes=2500), swing(2400), HISTORY)
        Pending.objects.all().delete()
        serve(north.vibration, trained().artifact)
        usual = swing(2400 + COUNT, seed=3)[2400:]
        stream = Stream(north.vibration, seed, usual, MINUTE, timedelta())
        stream.values[20:50] = 10 + np.random.default_rng(seed).normal(0, 0.2, 30)
        check(stream, HISTORY, random.Random(order), pieces)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", range(4))
def test_two_workers_make_the_anomalies_of_one(north: Plant, seed: int) -> None:
    sensors = (north.vibration, north.temperature)
    order = random.Random(seed)

    def score(work: Callable[[], None]) -> list[dict[str, Any]]:
        for model in (Alert, Anomaly):
            model.objects.all().delete()
        Pending.objects.all().delete()
        batches = list(ReadingBatch.objects.values_list("pk", flat=True))
        order.shuffle(batches)
        for batch in batches:
            Pending.objects.create(batch_id=batch, consumer="score", live=False)
        work()
        assert not Pending.objects.exists()
        return found()

    def by_two() -> None:
        def one(_: int) -> None:
            try:
                drain()
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as workers:
            list(workers.map(one, range(2)))

    for sensor in sensors:
        stream = Stream(sensor, seed, noise(COUNT, seed=seed), 5 * MINUTE, timedelta(hours=7))
        stream.times = [at + (NOW - stream.times[-1]) for at in stream.times]
        store(sensor, stream.times[0] - timedelta(days=2), noise(2 * 1440 - 10), HISTORY)
        drain()
        for first in range(0, COUNT, 4):
            stream.store(list(range(first, first + 4)), HISTORY)
    expected = score(drain)
    assert expected
    assert score(by_two) == expected

"""How fast one worker process scores: from rows in the database to anomalies in the database.

Every sensor is read once a second and has two days behind it; fleets of more sensors are read for a shorter time, so
that the number of readings is the same. In each fleet ten sensors leave their normal level for a while. The first
seconds of each sensor are scored beforehand, so that its baseline is there and so are those of the readings that count
as neighbours, as in a plant that runs; baselines that fall due later are learned inside the measurement. Nothing else
runs: one process scores, beside PostgreSQL.

The baseline is a bare read of the same rows, in pieces of the size that scoring claims.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.ingest import row

READINGS = int(os.environ.get("READINGS", "1000000"))
FLEETS = (10, 100, 1000, 10_000)
ROWS_PER_BATCH = 5000
STATISTICAL_GOAL, ENSEMBLE_GOAL = 100_000, 20_000
# The cost of a reading may differ by so much from that in a fleet of 1,000 sensors. It is counted in CPU time, which
# does not depend on what else the machine does.
CONSTANT_WITHIN = 0.25
HISTORY = timedelta(days=2)
HISTORY_STEP = timedelta(minutes=10)
PERIOD_SECONDS = 60
SECONDS_BEFOREHAND = 5
DISTURBED = 10
# Away from the ends of what scoring claims at once, or some fleets' anomalies would be written twice, others' once.
DISTURBED_AT = 0.65
FILL = """
    INSERT INTO sensors_reading (sensor_id, "timestamp", value, quality, flags)
    SELECT sensor, time, 20 + (random() + random() + random() - 1.5) * 2, 1, 0
    FROM unnest(%s) AS sensor CROSS JOIN generate_series(%s::timestamptz, %s::timestamptz, %s::interval) AS time
"""


class Fleet:
    """Sensors of one site with a past of two days, and their `readings` readings from `start` on."""

    def __init__(self, name: str, sensors: int, readings: int, swings: float = 0.0) -> None:
        from sensors.models import Asset, Sensor, Site

        self.seconds = readings // sensors
        self.readings = self.seconds * sensors
        self.start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=self.seconds)
        self.swings = swings
        site = Site.objects.create(name=name)
        machine = Asset.objects.create(site=site, name="Machine")
        self.kind = "vibration" if swings else "temperature"
        unit = "mm/s" if swings else "°C"
        made = Sensor.objects.bulk_create(
            Sensor(site=site, asset=machine, sensor_id=f"{name}.{n}", kind=self.kind, unit=unit) for n in range(sensors)
        )
        self.pks = [sensor.pk for sensor in made]
        self.sensor_ids = [sensor.sensor_id for sensor in made]

    def fill_the_past(self) -> None:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(FILL, [self.pks, self.start - HISTORY, self.start - HISTORY_STEP, HISTORY_STEP])
            cursor.execute("ANALYZE sensors_reading")

    def store(self, first: int, stop: int) -> None:
        """Store the readings with these numbers, in the order in which they were measured."""
        from sensors.columns import Columns
        from sensors.ingest import store_batch

        count = len(self.pks)
        for begin in range(first, stop, ROWS_PER_BATCH):
            numbers = np.arange(begin, min(begin + ROWS_PER_BATCH, stop))
            seconds = numbers // count
            store_batch(
                Columns(
                    sensor_ids=self.sensor_ids,
                    codes=numbers % count,
                    timestamps=round(self.start.timestamp() * 1e6) + seconds * 1_000_000,
                    values=self.values(numbers % count, seconds),
                    qualities=np.ones(len(numbers)),
                    unit_names=[],
                    units=np.full(len(numbers), -1),
                    indexes=numbers,
                ),
                source="benchmark",
            )

    def values(self, codes: NDArray[np.int64], seconds: NDArray[np.int64]) -> NDArray[np.float64]:
        noise = np.random.default_rng(codes[0] + len(self.pks) * seconds[0]).normal(0, 1, len(codes))
        swing = self.swings * np.sin(seconds * 2 * np.pi / PERIOD_SECONDS + codes)
        begin = DISTURBED_AT * self.seconds
        lately = (seconds >= begin) & (seconds < begin + 20)
        return np.where(lately & (codes < DISTURBED), 45 + noise, 20 + swing + noise)


@dataclass(frozen=True)
class Spent:
    """By the clock, and of processors by the worker and by its connection to the database."""

    seconds: float
    worker_seconds: float
    database_seconds: float


def spent(work: Callable[[], object]) -> Spent:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [(pid,)] = cursor.fetchall()
    processes = psutil.Process(), psutil.Process(pid)
    before = [process.cpu_times() for process in processes]
    begin = time.perf_counter()
    work()
    seconds = time.perf_counter() - begin
    after = [process.cpu_times() for process in processes]
    return Spent(seconds, *(b.user + b.system - a.user - a.system for a, b in zip(before, after, strict=True)))


def drain() -> None:
    from sensors import outbox

    while outbox.drain("score"):
        pass


def read(fleet: Fleet) -> None:
    """Nothing but read the fleet's rows, 100,000 at once."""
    from sensors.arrays import numpy_cursor

    pieces = max(fleet.readings // 100_000, 1)
    edges = [fleet.start + timedelta(seconds=fleet.seconds * n / pieces) for n in range(pieces + 1)]
    with numpy_cursor() as cursor:
        for since, until in pairwise(edges):
            cursor.execute(
                "SELECT array_agg(sensor_id), array_agg(timestamp), array_agg(value) FROM sensors_reading "
                "WHERE sensor_id = ANY(%s) AND timestamp >= %s AND timestamp < %s",
                [fleet.pks, since, until],
            )
            cursor.fetchall()


def scored(fleet: Fleet) -> tuple[Spent, float, int]:
    """What scoring the fleet cost, the seconds of merely reading it, and the number of readings."""
    fleet.fill_the_past()
    beforehand = SECONDS_BEFOREHAND * len(fleet.pks)
    fleet.store(0, beforehand)
    drain()
    fleet.store(beforehand, fleet.readings)
    cost = spent(drain)
    _check(fleet)
    return cost, spent(lambda: read(fleet)).seconds, fleet.readings - beforehand


def _check(fleet: Fleet) -> None:
    """The disturbed sensors have their anomaly, and nothing was left undone."""
    from mlops.models import Anomaly
    from sensors.models import Pending

    disturbed = set(fleet.pks[:DISTURBED])
    found = set(Anomaly.objects.filter(sensor__in=fleet.pks).values_list("sensor", flat=True))
    assert disturbed <= found, f"{len(disturbed - found)} disturbed sensors have no anomaly."
    assert not Pending.objects.exists()


@contextmanager
def servers() -> Iterator[None]:
    """PostgreSQL and Valkey of our own, with an empty platform's tables; nothing else runs."""
    from sensors import embedded

    with tempfile.TemporaryDirectory(prefix="sm-scoring-", ignore_cleanup_errors=True) as directory:
        state_dir = Path(directory)
        state_dir.chmod(0o711)  # The servers' own account must pass through it.
        os.environ |= {"DJANGO_SETTINGS_MODULE": "config.settings", "STATE_DIR": directory}
        import django

        with embedded.running(state_dir):
            django.setup()
            from django.core.management import call_command

            call_command("migrate", verbosity=0)
            yield


@contextmanager
def only_scoring() -> Iterator[None]:
    """Stored batches are work for scoring alone, and are live however long ago they were measured."""
    from django.test import override_settings

    with override_settings(OUTBOX_CONSUMERS={"score": "mlops.scoring.score_batches"}, LATE_AFTER_SECONDS=10**7):
        yield


def run() -> list[dict[str, Any]]:
    results = []
    with servers(), only_scoring():
        Fleet("first", 10, 10_000).store(0, 10_000)
        drain()  # Imports and prepared statements.
        found = {sensors: scored(Fleet(f"fleet{sensors}", sensors, READINGS)) for sensors in FLEETS}
        for sensors, measured in found.items():
            goal = STATISTICAL_GOAL if sensors == 1000 else None
            results.append(_rate(f"robust statistics, {sensors:,} sensors", goal, *measured))
        costs = {sensors: _cost(*measured) for sensors, measured in found.items()}
        for sensors, cost in costs.items():
            holds = abs(cost / costs[1000] - 1) <= CONSTANT_WITHIN
            name = f"  CPU a reading, worker and database, {sensors:,}"
            results.append(row(name, cost, "us", round(costs[1000], 2), holds))
        measured = scored_by_ensemble(Fleet("swinging", 1000, READINGS, swings=5.0))
        results.append(_rate("Sub-PCA ensemble, 1,000 sensors", ENSEMBLE_GOAL, *measured))
        results.append(row("  CPU a reading, worker and database", _cost(*measured), "us", None, True))
    return results


def _rate(name: str, goal: float | None, cost: Spent, read_seconds: float, count: int) -> dict[str, Any]:
    rate = count / cost.seconds
    return row(name, rate, "readings/s", goal, not goal or rate >= goal, count / read_seconds)


def _cost(cost: Spent, read_seconds: float, count: int) -> float:
    return (cost.worker_seconds + cost.database_seconds) / count * 1e6


def scored_by_ensemble(fleet: Fleet) -> tuple[Spent, float, int]:
    """One model for all sensors of the kind, trained on such a signal, served from the worker's own copy."""
    from mlops import deployments
    from mlops.detectors.base import Frame
    from mlops.detectors.ensemble import Ensemble
    from mlops.models import ModelVersion, Purpose
    from mlops.registry import copies
    from mlops.registry.artifact import ModelArtifact, digest, packed

    seconds = np.arange(20_000)
    noise = np.random.default_rng(3).normal(0, 1, len(seconds))
    values = 20 + fleet.swings * np.sin(seconds * 2 * np.pi / PERIOD_SECONDS) + noise
    frame = Frame(seconds * 1_000_000, values[:, None], (fleet.kind,))
    artifact = ModelArtifact(
        model=Ensemble().fit(frame),
        features=frame.channels,
        threshold=25.0,
        data_fingerprint="",
        trained_from=fleet.start,
        trained_to=fleet.start,
        metrics={"median": 20.0, "spread": fleet.swings, "readings": 20_000.0, "span_seconds": 20_000.0},
    )
    content = packed(artifact)
    version = ModelVersion.objects.create(
        name="ensemble", version=1, purpose=Purpose.SENSOR_ANOMALY, sha256=digest(content), size_bytes=len(content)
    )
    copies.write(version, content)
    deployments.deploy(version, deployments.Scope(kind=fleet.kind), why="benchmark")
    return scored(fleet)

"""Assets that a model of their own watches: what their sensors show only together."""

import random
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import LazySettings
from django.utils import timezone

from alerts import lifecycle
from alerts.models import Alert, State
from maintenance import work_orders
from mlops import asset_scoring, calibration, capsule, deployments
from mlops.detectors.asset_ensemble import AssetEnsemble
from mlops.detectors.base import Frame
from mlops.grid import Grid
from mlops.models import Anomaly, Deployment, ModelVersion, Purpose, UnscoredStretch
from mlops.registry import copies, figures, loading
from mlops.registry.artifact import ModelArtifact, digest, packed
from sensors import outbox, valkey
from sensors.ingest import store_batch
from sensors.models import Pending, Reading, ReadingBatch, Sensor, SensorFault
from tests.conftest import Plant, make_user
from tests.mlops.test_scoring import HISTORY, LIVE, columns, only_scoring, store

__all__ = ["only_scoring"]

NOW = timezone.now().replace(second=0, microsecond=0)
MINUTE = timedelta(minutes=1)
# The pump runs up and down every twenty minutes; what goes wrong is that its temperature no longer follows.
BEGIN = NOW - 600 * MINUTE
PARTED = slice(240, 300)
Pieces = list[tuple[Sensor, int, int]]


def load(count: int, first: int = 0) -> np.ndarray:
    return np.sin(np.arange(first, first + count) * 2 * np.pi / 20)


def temperature(count: int, seed: int = 1) -> np.ndarray:
    return 60 + 5 * load(count) + np.random.default_rng(seed).normal(0, 0.3, count)


def vibration(count: int, seed: int = 2) -> np.ndarray:
    return 2 + 0.5 * load(count) + np.random.default_rng(seed).normal(0, 0.03, count)


def parted(count: int) -> np.ndarray:
    values = temperature(count)
    values[PARTED] = 60 - 5 * load(60, PARTED.start) + np.random.default_rng(3).normal(0, 0.3, 60)
    return values


@cache
def artifact(features: tuple[str, ...]) -> ModelArtifact:
    """Learned from ten quiet hours; the limit is twice what is exceeded in the five after them, which are few."""
    stamps = np.rint(((BEGIN - timedelta(days=3)).timestamp() + np.arange(900) * 60) * 1e6).astype(np.int64)
    columns = {name: (stamps, (temperature if "temp" in name else vibration)(900, 7)) for name in features}
    grid = Grid.learn(columns)
    frame = grid.frame(columns)
    model = AssetEnsemble().fit(frame.part(slice(600)))
    limit = calibration.calibrate(frame.timestamps[600:], model.score(frame)[600:], 1 / 30).threshold * 2
    learned = {"readings": 600.0, "span_seconds": 36_000.0}
    for name, (_, values) in columns.items():
        learned |= {f"median/{name}": float(np.median(values)), f"spread/{name}": float(np.std(values))}
    return ModelArtifact(model, features, limit, "f", BEGIN, BEGIN, preprocessing=grid, metrics=learned)


@pytest.fixture(autouse=True)
def worker(settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.MODEL_CACHE = tmp_path
    monkeypatch.setattr(loading, "memory", copies.Memory())
    monkeypatch.setattr(loading, "_failures", {})
    yield
    valkey.client().delete(figures.TROUBLE)


@pytest.fixture
def served(north: Plant) -> Deployment:
    return serve(north, artifact((north.temperature.sensor_id, north.vibration.sensor_id)))


def serve(plant: Plant, what: ModelArtifact) -> Deployment:
    content = packed(what)
    version = ModelVersion.objects.create(
        name="pump", version=1, purpose=Purpose.ASSET_ANOMALY, sha256=digest(content), size_bytes=len(content)
    )
    copies.write(version, content)
    return deployments.deploy(version, deployments.Scope(asset=plant.pump), why="test")


def drain() -> None:
    while outbox.drain("score"):
        pass
    assert not Pending.objects.exists()
    asset_scoring.score_due()
    assert not UnscoredStretch.objects.exists()


def play(plant: Plant, mode: ReadingBatch.Mode = HISTORY) -> None:
    """Ten hours of both sensors, minute by minute, in an hour of which they do not go together."""
    store(plant.temperature, BEGIN, parted(600), mode)
    store(plant.vibration, BEGIN, vibration(600), mode)


def of_assets() -> list[Any]:
    """What is held to be an event of an asset."""
    rows = Anomaly.objects.filter(asset__isnull=False).exclude(circumstances=Anomaly.Circumstances.WITHDRAWN)
    return [
        (row.start, row.end, row.peak_at, row.peak_score, row.sensor_id, row.decision) for row in rows.order_by("start")
    ]


def test_what_no_sensor_shows_alone_is_found_of_the_asset(north: Plant, served: Deployment) -> None:
    play(north)
    drain()
    anomaly = Anomaly.objects.get()
    assert (anomaly.asset, anomaly.sensor.asset) == (north.pump, north.pump)
    assert abs(anomaly.start - (BEGIN + 240 * MINUTE)) < 15 * MINUTE
    # The longest memory of its model lies in between.
    assert abs(anomaly.end - (BEGIN + 300 * MINUTE)) < 30 * MINUTE
    shares = anomaly.evidence["shares"]
    assert sum(share for _, share in shares) == pytest.approx(1)
    assert shares[0][0] == anomaly.sensor.sensor_id
    assert anomaly.evidence["model"] == "pump v1"


def test_a_live_event_raises_one_alert_that_says_which_sensors(north: Plant, served: Deployment) -> None:
    begin = NOW - 60 * MINUTE
    store(north.temperature, begin - 300 * MINUTE, temperature(300), HISTORY)
    store(north.vibration, begin - 300 * MINUTE, vibration(300), HISTORY)
    drain()
    assert not Anomaly.objects.exists()
    for first in range(0, 55, 5):
        part = slice(240 + first, 245 + first)
        store(north.temperature, begin + first * MINUTE, parted(600)[part], LIVE)
        store(north.vibration, begin + first * MINUTE, vibration(600)[part], LIVE)
        drain()
    alert = Alert.objects.get()
    assert (alert.state, alert.asset, alert.kind) == (State.OPEN, north.pump, Alert.Kind.ANOMALY)
    assert alert.title.startswith("Pump P-101 unlike itself: mostly ")
    assert alert.anomalies.get().asset == north.pump


@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_order_and_the_pieces_the_events_are_the_same(north: Plant, served: Deployment, seed: int) -> None:
    play(north)
    drain()
    whole = of_assets()
    assert len(whole) == 1
    Anomaly.objects.all().delete()
    Alert.objects.all().delete()
    Reading.objects.all().delete()
    chance = random.Random(seed)
    for sensor, first, last in cuts(north, chance):
        values = parted(600) if sensor == north.temperature else vibration(600)
        store(sensor, BEGIN + first * MINUTE, values[first:last], HISTORY)
        if chance.random() < 0.5:
            drain()
    drain()
    assert of_assets() == whole


def cuts(plant: Plant, chance: random.Random) -> Iterator[tuple[Sensor, int, int]]:
    pieces: Pieces = []
    for sensor in (plant.temperature, plant.vibration):
        at = [0, *sorted(chance.sample(range(1, 600), 7)), 600]
        pieces += [(sensor, first, last) for first, last in pairwise(at)]
    chance.shuffle(pieces)
    yield from pieces


def test_its_decision_replays_from_the_frozen_rows(north: Plant, served: Deployment) -> None:
    play(north)
    drain()
    anomaly = Anomaly.objects.get()
    assert capsule.replay(anomaly.evidence).differences == []


def test_a_sensor_that_falls_silent_is_not_waited_for(north: Plant, served: Deployment) -> None:
    store(north.vibration, BEGIN, vibration(200), HISTORY)
    store(north.temperature, BEGIN, parted(600), HISTORY)
    drain()
    assert not UnscoredStretch.objects.exists()


def test_what_a_faulty_sensor_says_is_not_the_assets(north: Plant, served: Deployment) -> None:
    SensorFault.objects.create(
        site=north.site, sensor=north.temperature, kind=SensorFault.Kind.STUCK, began_at=BEGIN, ended_at=NOW
    )
    play(north)
    drain()
    assert not Anomaly.objects.filter(asset__isnull=False).exists()


def test_work_on_the_asset_makes_an_event_of_its_own(north: Plant, served: Deployment) -> None:
    technician = make_user("technician", north.site)
    order = work_orders.propose(north.pump, technician, approved=True, title="New seal")
    work_orders.start(order, technician)
    order.refresh_from_db()
    order.steps.filter(to_state="in_progress").update(at=BEGIN)
    order.started_at = BEGIN
    order.save()
    play(north)
    drain()
    assert Anomaly.objects.get().circumstances == Anomaly.Circumstances.WORK
    assert not Alert.objects.filter(historical=False).exists()


def test_late_readings_that_explain_an_event_set_it_aside(north: Plant, served: Deployment) -> None:
    """The temperature did follow: its readings of that hour had been stored wrongly and are corrected."""
    play(north)
    drain()
    right = columns(north.temperature, BEGIN + PARTED.start * MINUTE, temperature(600)[PARTED])
    store_batch(right, source="test", mode=HISTORY, on_conflict="replace")
    drain()
    assert Anomaly.objects.get().circumstances == Anomaly.Circumstances.WITHDRAWN


def test_a_model_that_cannot_bear_the_rows_stops_nothing_and_is_seen_to_fail(north: Plant) -> None:
    good = artifact((north.temperature.sensor_id, north.vibration.sensor_id))
    deployment = serve(north, ModelArtifact(**{**vars(good), "model": Broken()}))
    play(north)
    drain()
    assert not Anomaly.objects.filter(asset__isnull=False).exists()
    trouble = figures.troubles()[deployment.pk]
    assert trouble["reason"] == "pump v1 fails on the readings of its asset"
    assert trouble["served_by"] == "what watches its sensors one by one"


class Broken:
    context = 30

    def score(self, frame: Frame) -> np.ndarray:
        raise FloatingPointError("no")

    def contributions(self, frame: Frame) -> np.ndarray:
        raise FloatingPointError("no")


def test_without_a_model_of_its_own_nothing_waits(north: Plant) -> None:
    play(north)
    while outbox.drain("score"):
        pass
    assert not UnscoredStretch.objects.exists()


def test_a_withdrawn_model_leaves_nothing_behind(north: Plant, served: Deployment) -> None:
    play(north)
    outbox.drain("score")
    assert UnscoredStretch.objects.exists()
    deployments.withdraw(served, why="test")
    drain()
    assert not Anomaly.objects.filter(asset__isnull=False).exists()


def test_resolving_its_alert_closes_what_came_before(north: Plant, served: Deployment) -> None:
    begin = NOW - 60 * MINUTE
    store(north.temperature, begin - 300 * MINUTE, temperature(300), HISTORY)
    store(north.vibration, begin - 300 * MINUTE, vibration(300), HISTORY)
    store(north.temperature, begin, parted(600)[240:280], LIVE)
    store(north.vibration, begin, vibration(600)[240:280], LIVE)
    drain()
    lifecycle.resolve(Alert.objects.get(), lifecycle.Actor(make_user("operator", north.site)))
    store(north.temperature, begin + 40 * MINUTE, temperature(600)[280:295], LIVE)
    store(north.vibration, begin + 40 * MINUTE, vibration(600)[280:295], LIVE)
    drain()
    assert Alert.objects.exclude(state=State.RESOLVED).count() == 0


def test_rows_far_apart_are_no_neighbours() -> None:
    stamps = np.array([0, 1, 2, 60, 61], np.int64) * 1_000_000
    padded = asset_scoring.with_pauses(Frame(stamps, np.ones((5, 2)), ("a", "b")), 1_000_000)
    assert len(padded) == 9
    assert np.isnan(padded.values[3:7]).all()
    assert (np.diff(padded.timestamps) > 0).all()

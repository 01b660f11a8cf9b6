"""A thousand anomalies, scored from stored readings by baselines and by a model, are decided the same again."""

from datetime import datetime, timedelta

import numpy as np
import pytest

from mlops import capsule, deployments
from mlops.detectors.autoregressive import Autoregressive
from mlops.detectors.base import Frame
from mlops.models import Anomaly, ValidationPolicy
from mlops.registry.artifact import ModelArtifact
from sensors import outbox
from sensors.columns import Columns
from sensors.ingest import store_batch
from sensors.models import Sensor
from tests.conftest import Plant
from tests.mlops.test_model_scoring import NOW, serve, swing, worker
from tests.mlops.test_scoring import HISTORY, only_scoring

__all__ = ["only_scoring", "worker"]

EACH = 500
SENSORS = 25
EVENTS = EACH // SENSORS
MODELLED_STEP, PLAIN_STEP = timedelta(minutes=1), timedelta(minutes=15)


def fleet(plant: Plant, name: str) -> list[Sensor]:
    return Sensor.objects.bulk_create(
        Sensor(site=plant.site, asset=plant.pump, sensor_id=f"{name}.{number}", kind="vibration", unit="mm/s")
        for number in range(SENSORS)
    )


def disturbed(usual: np.ndarray, first: int, gap: int, seed: int) -> np.ndarray:
    """A column per sensor, with disturbances of any height and length, `gap` rows apart and more."""
    rng = np.random.default_rng(seed)
    values = usual[:, None] + rng.normal(0, 0.2, (len(usual), SENSORS))
    for number in range(SENSORS):
        for event in range(EVENTS):
            begin, height = first + event * gap + rng.integers(0, gap // 15), rng.choice([-1, 1]) * rng.uniform(8, 40)
            values[begin : begin + rng.integers(3, 8), number] += height
    return values


def store(sensors: list[Sensor], start: datetime, step: timedelta, values: np.ndarray) -> None:
    count = values.size
    rows = np.arange(count) // SENSORS
    store_batch(
        Columns(
            sensor_ids=[sensor.sensor_id for sensor in sensors],
            codes=np.arange(count) % SENSORS,
            timestamps=round(start.timestamp() * 1e6) + rows * (step // timedelta(microseconds=1)),
            values=values.ravel(),
            qualities=np.ones(count),
            unit_names=[],
            units=np.full(count, -1),
            indexes=np.arange(count),
        ),
        source="test",
        mode=HISTORY,
    )
    while outbox.drain("score"):
        pass


def autoregressive() -> ModelArtifact:
    seconds = np.arange(2400) * 60
    frame = Frame(seconds * 1_000_000, swing(2400)[:, None], ("vibration",))
    return ModelArtifact(
        model=Autoregressive().fit(frame),
        features=frame.channels,
        threshold=8.0,
        data_fingerprint="",
        trained_from=NOW,
        trained_to=NOW,
        metrics={"median": 10.0, "spread": 5.0, "readings": 2400.0, "span_seconds": 144_000.0},
    )


@pytest.mark.timeout(300)
def test_a_thousand_anomalies_replay_to_the_same_decision(north: Plant, south: Plant) -> None:
    for plant, preset in ((north, ValidationPolicy.Preset.STRICT), (south, ValidationPolicy.Preset.FAST)):
        ValidationPolicy.objects.create(site=plant.site, preset=preset)
    rows = 2 * 96 + EVENTS * 35
    plain = disturbed(np.full(rows, 50.0), first=2 * 96, gap=35, seed=1)
    store(fleet(north, "plain"), NOW - rows * PLAIN_STEP, PLAIN_STEP, plain)
    modelled = fleet(south, "modelled")
    deployment = serve(modelled[0], autoregressive())
    deployments.deploy(deployment.version, deployments.Scope(asset=south.pump), why="test")
    rows = 200 + EVENTS * 450
    values = disturbed(swing(rows), first=200, gap=450, seed=2)
    store(modelled, NOW - rows * MODELLED_STEP, MODELLED_STEP, values)
    decisions: dict[str, int] = {}
    for anomaly in Anomaly.objects.all():
        again = capsule.replay(anomaly.evidence)
        assert (again.differences, again.decision.decision) == ([], anomaly.decision)
        assert again.decision.confidence == anomaly.confidence
        decisions[anomaly.decision] = decisions.get(anomaly.decision, 0) + 1
    assert sum(decisions.values()) >= 1000
    assert len(decisions) > 1
    assert Anomaly.objects.filter(evidence__has_key="model").count() >= EACH

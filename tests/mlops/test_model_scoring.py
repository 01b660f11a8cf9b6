"""Sensors that a trained model serves: trained on their own past, scored, replayed, and served on without it."""

from dataclasses import replace
from datetime import timedelta
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from alerts.models import Alert
from mlops import deployments, training
from mlops.detectors.base import Frame, NotEnoughData
from mlops.models import Anomaly, Baseline, Deployment, ModelVersion, Purpose
from mlops.registry import copies, loading
from mlops.registry.artifact import ModelArtifact, digest, packed
from sensors import outbox
from sensors.models import Annotation, Pending, Sensor
from tests.alerts.test_views import text
from tests.conftest import Plant, make_user
from tests.mlops.test_scoring import HISTORY, only_scoring, store

__all__ = ["only_scoring"]

MINUTE = timedelta(minutes=1)
NOW = timezone.now()
PERIOD = 60


def swing(count: int, seed: int = 3) -> np.ndarray:
    """A machine that goes up and down once an hour: what is wrong with it lies within its usual range."""
    rng = np.random.default_rng(seed)
    return 10 + 5 * np.sin(np.arange(count) * 2 * np.pi / PERIOD) + rng.normal(0, 0.2, count)


@pytest.fixture(autouse=True)
def worker(settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MODEL_CACHE = tmp_path
    monkeypatch.setattr(loading, "memory", copies.Memory())
    monkeypatch.setattr(loading, "_failures", {})


@pytest.fixture
def vibration(north: Plant) -> Sensor:
    store(north.vibration, NOW - timedelta(minutes=2500), swing(2400), HISTORY)
    Pending.objects.all().delete()
    return north.vibration


def serve(sensor: Sensor, artifact: ModelArtifact) -> Deployment:
    """Deploy an artifact of which the worker has a copy, as after its first load from MLflow."""
    content = packed(artifact)
    version = ModelVersion.objects.create(
        name="v", version=1, purpose=Purpose.SENSOR_ANOMALY, sha256=digest(content), size_bytes=len(content)
    )
    copies.write(version, content)
    return deployments.deploy(version, deployments.Scope(sensor=sensor), why="test")


@cache
def trained() -> training.Trained:
    """What is learned from the readings of `vibration`."""
    timestamps = np.rint(((NOW - 2500 * MINUTE).timestamp() + np.arange(2400) * 60) * 1e6).astype(np.int64)
    return training.train(Frame(timestamps, swing(2400)[:, None], ("vibration",)))


def stuck_in_mid_swing(sensor: Sensor, batch: int = 80) -> None:
    """80 readings, of which the last 50 no longer swing, in batches of so many."""
    values = swing(2480, seed=3)[2400:]
    values[30:] = 10 + np.random.default_rng(1).normal(0, 0.2, 50)
    for first in range(0, 80, batch):
        store(sensor, NOW - timedelta(minutes=100 - first), values[first : first + batch], HISTORY)


def drain() -> None:
    while outbox.drain("score"):
        pass


def test_a_model_finds_what_lies_within_the_usual_range(vibration: Sensor) -> None:
    found = trained()
    assert found.serves
    assert found.artifact.metrics["found"] > found.artifact.metrics["found_robust"]
    serve(vibration, found.artifact)
    stuck_in_mid_swing(vibration)
    drain()
    anomaly = Anomaly.objects.get()
    assert anomaly.start >= NOW - timedelta(minutes=71)
    assert anomaly.evidence["model"] == "v v1"
    assert anomaly.distance.endswith("× limit")
    assert not Baseline.objects.exists()


def test_its_alert_leads_to_the_models_page(vibration: Sensor, client: Client, people: dict[str, User]) -> None:
    version = serve(vibration, trained().artifact).version
    stuck_in_mid_swing(vibration)
    drain()
    client.force_login(people["engineer"])
    assert reverse("mlops:version", args=[version.pk]) in text(client, Alert.objects.get().get_absolute_url())
    client.force_login(people["viewer"])
    assert "/models/versions/" not in text(client, Alert.objects.get().get_absolute_url())


def test_without_the_model_nobody_would_have_noticed(vibration: Sensor) -> None:
    stuck_in_mid_swing(vibration)
    drain()
    assert not Anomaly.objects.exists()


def test_pieces_of_any_size_in_any_order_give_the_same_anomaly(vibration: Sensor) -> None:
    serve(vibration, trained().artifact)
    stuck_in_mid_swing(vibration, batch=7)
    batches = list(Pending.objects.values_list("batch", flat=True))
    results = []
    for order in (batches, batches[::-1], batches[::2] + batches[1::2]):
        Pending.objects.all().delete()
        for batch in order:
            Pending.objects.create(batch_id=batch, consumer="score", live=False)
            outbox.drain("score")
        fields = ("start", "end", "peak_at", "peak_value", "peak_score", "decision", "confidence")
        results.append(list(Anomaly.objects.values(*fields)))
        Anomaly.objects.all().delete()
        Alert.objects.all().delete()
    assert len(results[0]) == 1
    assert results[0] == results[1] == results[2]


def test_its_alert_is_decided_again_with_the_very_version(vibration: Sensor) -> None:
    serve(vibration, trained().artifact)
    stuck_in_mid_swing(vibration)
    drain()
    alert = Alert.objects.get()
    said = StringIO()
    call_command("replay_alert", str(alert.pk), stdout=said)
    assert "This is what was decided." in said.getvalue()
    alert.evidence["capsule"]["event"]["peak"]["basis"]["values"][-1] += 1
    alert.save()
    with pytest.raises(CommandError, match="decided otherwise: peak"):
        call_command("replay_alert", str(alert.pk), stdout=said)


def test_while_the_model_cannot_be_had_the_built_in_detector_serves(vibration: Sensor) -> None:
    deployment = serve(vibration, trained().artifact)
    copies.path_of(deployment.version).unlink()
    store(vibration, NOW - 20 * MINUTE, [40.0] * 6, HISTORY)
    drain()
    assert "model" not in Anomaly.objects.get().evidence


class Failing:
    """A detector that cannot bear what it is given."""

    context = 0

    def score(self, frame: Frame) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("change", [{"model": Failing()}, {"model": object()}, {"metrics": {}}])
def test_a_model_that_cannot_score_leaves_its_sensor_to_the_built_in_detector(
    vibration: Sensor, change: dict[str, Any]
) -> None:
    serve(vibration, replace(trained().artifact, **change))
    store(vibration, NOW - 20 * MINUTE, [40.0] * 6, HISTORY)
    drain()
    assert "model" not in Anomaly.objects.get().evidence
    assert not Pending.objects.exists()


def test_stretches_that_are_not_normal_are_not_learned_from(vibration: Sensor) -> None:
    whole = len(training.normal_readings(vibration, NOW))
    Annotation.objects.create(
        sensor=vibration, asset=vibration.asset, kind="excluded",
        start=NOW - timedelta(minutes=1000), end=NOW - timedelta(minutes=901), created_by=make_user("engineer"),
    )  # fmt: skip
    assert len(training.normal_readings(vibration, NOW)) == whole - 100  # Both ends are left out.


def test_training_twice_gives_the_same_model(vibration: Sensor) -> None:
    again = training.train(training.normal_readings(vibration, NOW)).artifact
    assert again.metrics == trained().artifact.metrics
    assert again.threshold == trained().artifact.threshold
    assert again.data_fingerprint == trained().artifact.data_fingerprint


def test_too_short_a_past_is_said_to_be_that(north: Plant) -> None:
    store(north.vibration, NOW - timedelta(minutes=100), swing(80), HISTORY)
    with pytest.raises(NotEnoughData, match="80 normal readings are too few"):
        training.train(training.normal_readings(north.vibration, NOW))
    said: Any = StringIO()
    with pytest.raises(CommandError, match="1 of 1 got no model"):
        call_command("train", north.vibration.sensor_id, stderr=said)
    assert "too few" in said.getvalue()

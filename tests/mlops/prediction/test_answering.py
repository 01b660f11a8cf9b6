"""What models of every kind answer, and why; in this process, the pool's are in test_pool."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from django.conf import LazySettings
from django.utils import timezone

from mlops import deployments
from mlops.classifiers import FailureClassifier
from mlops.deployments import Scope
from mlops.detectors.isolation_forest import IsolationForest
from mlops.explain import explain
from mlops.features.failure_rows import FailureRows
from mlops.grid import Grid
from mlops.measures import LIMIT
from mlops.models import Anomaly, Baseline, Deployment, ModelVersion, Purpose
from mlops.prediction import answering, questions
from mlops.prediction.questions import Question
from mlops.registry import copies, figures, loading
from mlops.registry.artifact import ModelArtifact
from sensors import outbox
from sensors.errors import Refused
from sensors.models import Reading, Sensor
from tests.conftest import Plant
from tests.mlops.prediction.models import a_classifier, a_detector, a_line, an_artifact, registered, shift
from tests.mlops.test_model_scoring import stuck_in_mid_swing, swing, trained
from tests.mlops.test_scoring import HISTORY, only_scoring, store

__all__ = ["only_scoring"]
pytestmark = pytest.mark.django_db
NOW = timezone.now()
ROW = {"torque": 2.0, "speed": 0.0, "wear": 1.0}


@pytest.fixture(autouse=True)
def worker(settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MODEL_CACHE = tmp_path
    monkeypatch.setattr(loading, "memory", copies.Memory())
    monkeypatch.setattr(loading, "_failures", {})
    answering._known_version.cache_clear()
    answering._deployment.cache_clear()


def answer(question: Question) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(answering.answer(question))
    return said


def of(version: ModelVersion, *rows: Any, explain: bool = False) -> dict[str, Any]:
    return answer(Question("version", version=version.pk, rows=list(rows), explain=explain))


def refusal(version: ModelVersion, *rows: Any, explain: bool = False) -> Refused:
    with pytest.raises(Refused) as caught:
        of(version, *rows, explain=explain)
    return caught.value


@pytest.mark.parametrize("algorithm", ["lightgbm", "random_forest"])
def test_a_classifier_answers_as_it_would_by_itself(algorithm: str) -> None:
    artifact = a_classifier(algorithm)
    frame, _ = shift(5, seed=2)
    said = of(registered(artifact), *frame.to_dict("records"))
    expected = artifact.model.predict_proba(frame)[:, 1]
    assert (said["model"], said["version"], said["threshold"]) == ("spindle", 1, artifact.threshold)
    np.testing.assert_allclose([row["probability"] for row in said["rows"]], expected)
    assert [row["failure_predicted"] for row in said["rows"]] == (expected >= artifact.threshold).tolist()


@pytest.mark.parametrize("algorithm", ["lightgbm", "random_forest"])
def test_an_explanation_adds_up_to_the_probability_by_feature(algorithm: str) -> None:
    artifact = a_classifier(algorithm)
    [row] = of(registered(artifact), ROW, explain=True)["rows"]
    parts = row["explanation"]["contributions"]
    assert row["explanation"]["base"] + sum(parts.values()) == pytest.approx(row["probability"])
    expected = explain(artifact.model, pd.DataFrame([ROW])).by_feature()
    assert list(parts) == list(expected)
    assert parts == pytest.approx(expected)


def test_the_order_of_features_is_free_and_null_is_unknown() -> None:
    version = registered(a_classifier())
    turned = dict(reversed(ROW.items()))
    assert of(version, turned)["rows"] == of(version, ROW)["rows"]
    assert 0 <= of(version, ROW | {"speed": None})["rows"][0]["probability"] <= 1


def test_missing_and_unexpected_features_are_all_named() -> None:
    refused = refusal(registered(a_classifier()), ROW, {"torque": 1.0, "Speed": 1.0, "noise": 2.0})
    assert (refused.status, refused.code) == (422, "feature_mismatch")
    assert "missing: speed, wear; unexpected: Speed, noise" in refused.detail
    assert {(error["field"], error["code"]) for error in refused.errors} == {
        ("rows.1.speed", "missing"),
        ("rows.1.wear", "missing"),
        ("rows.1.Speed", "unexpected"),
        ("rows.1.noise", "unexpected"),
    }


def test_text_where_a_number_belongs_is_named() -> None:
    refused = refusal(registered(a_classifier()), ROW, ROW | {"speed": "fast"})
    assert (refused.status, refused.code) == (422, "invalid_values")
    assert [error["field"] for error in refused.errors] == ["rows.1.speed"]


def test_a_column_of_words_takes_words() -> None:
    frame, labels = shift(600)
    frame["grade"] = np.where(frame["speed"] > 0, "good", "poor")
    model = FailureClassifier("lightgbm", trees=20).fit(frame, labels)
    version = registered(an_artifact(model, tuple(frame.columns)))
    said = of(version, ROW | {"grade": "poor"}, ROW | {"grade": None}, ROW | {"grade": "never seen"})
    given = pd.DataFrame([ROW | {"grade": "poor"}])
    assert said["rows"][0]["probability"] == pytest.approx(model.predict_proba(given)[0, 1])
    assert refusal(version, ROW | {"grade": "poor", "wear": "much"}).code == "invalid_values"


def test_any_other_model_is_explained_by_sampling() -> None:
    artifact = a_line()
    [row] = of(registered(artifact), ROW, explain=True)["rows"]
    assert row["probability"] == pytest.approx(artifact.model.predict_proba([list(ROW.values())])[0, 1], abs=1e-6)
    assert set(list(row["explanation"]["contributions"])[:2]) == {"torque", "wear"}
    without = registered(an_artifact(artifact.model), number=2)
    assert refusal(without, ROW, explain=True).code == "not_explainable"
    assert of(without, ROW)["rows"][0]["probability"] == pytest.approx(row["probability"], abs=1e-6)


def test_a_detector_scores_rows_with_their_times() -> None:
    version = registered(a_detector(), purpose=Purpose.ASSET_ANOMALY)
    rows = [
        {"timestamp": "2026-03-01T12:00:00Z", "a": 0.0, "b": 0.0},
        {"timestamp": "2026-03-01T13:01:00+01:00", "a": 9.0, "b": 0.0},
        {"timestamp": "2026-03-01T12:02:00Z", "a": None, "b": 0.0},
    ]
    said = of(version, *rows, explain=True)
    assert [row["anomalous"] for row in said["rows"]] == [False, True, None]
    far = said["rows"][1]
    assert far["timestamp"] == "2026-03-01T12:01:00.000000Z"
    assert next(iter(far["explanation"]["contributions"])) == "a"
    assert sum(far["explanation"]["contributions"].values()) == pytest.approx(far["score"])
    assert said["rows"][2]["score"] is None


@pytest.mark.parametrize(
    ("times", "code"),
    [
        (["2026-03-01T12:00:00"], "naive_timestamp"),
        (["yesterday"], "invalid"),
        ([12.0], "invalid"),
        ([None], "invalid"),
        (["2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"], "not_rising"),
    ],
)
def test_times_that_mean_nothing_are_refused(times: list[Any], code: str) -> None:
    version = registered(a_detector(), purpose=Purpose.ASSET_ANOMALY)
    refused = refusal(version, *({"timestamp": at, "a": 0.0, "b": 0.0} for at in times))
    assert (refused.code, refused.errors[0]["code"]) == ("invalid_values", code)
    assert refused.errors[0]["field"] == f"rows.{len(times) - 1}.timestamp"


def test_a_model_that_cannot_be_had_is_said_to_be_that() -> None:
    version = registered(a_classifier())
    copies.path_of(version).unlink()
    refused = refusal(version, ROW)
    assert (refused.status, refused.code) == (503, "model_not_loaded")


def test_an_evicted_version_is_loaded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    version = registered(a_classifier())
    of(version, ROW)
    copies.path_of(version).unlink()
    assert of(version, ROW)["version"] == 1
    figures.evict(version.pk)
    monkeypatch.setattr(figures, "_passed_on", 0.0)
    assert refusal(version, ROW).code == "model_not_loaded"


@pytest.fixture
def vibration(north: Plant) -> Sensor:
    store(north.vibration, NOW - timedelta(minutes=2500), swing(2400), HISTORY)
    return north.vibration


def serve(sensor: Sensor, artifact: ModelArtifact) -> Deployment:
    version = registered(artifact, "v", purpose=Purpose.SENSOR_ANOMALY)
    return deployments.deploy(version, Scope(sensor=sensor), why="test")


def newest(sensor: Sensor, **more: Any) -> dict[str, Any]:
    question = questions.of_sensor("sensor", sensor.pk)
    for name, value in more.items():
        setattr(question, name, value)
    return answer(question)


def scores(sensor: Sensor, minutes: int) -> dict[str, Any]:
    return answer(questions.of_scores(sensor.pk, NOW - timedelta(minutes=minutes), NOW))


def test_without_a_model_the_built_in_detector_answers_and_leaves_no_trace(vibration: Sensor) -> None:
    said = newest(vibration, newest=5)
    assert (said["model"], said["version"], len(said["rows"])) == ("the built-in detector", None, 5)
    assert {row["limit"] for row in said["rows"]} == {LIMIT}
    assert not any(row["anomalous"] for row in said["rows"])
    assert not Baseline.objects.exists()


def test_a_sensor_that_has_never_said_anything_has_no_scores(north: Plant) -> None:
    assert newest(north.vibration)["rows"] == []
    row = {"timestamp": "2026-03-01T12:00:00Z", "vibration": 3.0}
    assert newest(north.vibration, rows=[row])["rows"][0]["score"] is None


def test_rows_of_a_sensor_are_scored_as_if_they_came_next(vibration: Sensor) -> None:
    serve(vibration, trained().artifact)
    following = [
        {"timestamp": (NOW + timedelta(minutes=minute - 100)).isoformat(), "vibration": value}
        for minute, value in enumerate(swing(2500)[2400:].tolist())
    ]
    asked = newest(vibration, rows=following)
    store(vibration, NOW - timedelta(minutes=100), swing(2500)[2400:], HISTORY)
    stored = newest(vibration, newest=100)
    assert (asked["model"], asked["version"]) == ("v", 1)
    np.testing.assert_allclose(
        [row["score"] for row in asked["rows"]], [row["score"] for row in stored["rows"]], rtol=1e-9
    )
    assert asked["threshold"] == trained().artifact.threshold


@pytest.mark.parametrize("by_model", [True, False], ids=["model", "built-in"])
def test_scores_are_those_in_which_events_are_found(vibration: Sensor, by_model: bool) -> None:
    if by_model:
        serve(vibration, trained().artifact)
        stuck_in_mid_swing(vibration)
    else:
        store(vibration, NOW - timedelta(minutes=20), [40.0] * 6, HISTORY)
    while outbox.drain("score"):
        pass
    anomaly = Anomaly.objects.get()
    said = scores(vibration, 100)
    by_time = {row["timestamp"]: row for row in said["rows"]}
    peak = by_time[anomaly.peak_at.isoformat(timespec="microseconds").replace("+00:00", "Z")]
    assert peak["score"] == pytest.approx(anomaly.peak_score)
    assert peak["value"] == anomaly.peak_value
    assert peak["anomalous"]
    assert said["version"] == (1 if by_model else None)


def test_a_model_that_is_none_of_a_sensor_is_refused(vibration: Sensor) -> None:
    serve(vibration, a_classifier())
    with pytest.raises(Refused, match="no model of a sensor"):
        newest(vibration)


@pytest.fixture
def readings(north: Plant) -> dict[str, tuple[Any, Any]]:
    """Two days of both sensors of the pump, a reading every five minutes up to now; as series by key."""
    rng = np.random.default_rng(5)
    start = NOW - timedelta(minutes=5 * 575)
    found = {}
    for sensor in (north.temperature, north.vibration):
        values = rng.normal(20, 1, 576)
        store(sensor, start, values, HISTORY, step=300)
        times = np.rint((start.timestamp() + np.arange(576) * 300) * 1e6).astype(np.int64)
        found[sensor.sensor_id] = (times, values)
    return found


def served_asset(plant: Plant, artifact: ModelArtifact, purpose: Purpose, **more: Any) -> dict[str, Any]:
    version = registered(artifact, "asset", purpose=purpose)
    deployment = deployments.deploy(version, Scope(asset=plant.pump), why="test")
    about = {"version": version.pk, "deployment": deployment.pk, "asset": plant.pump.pk}
    return answer(Question("asset", **about, **more))


def test_an_asset_is_scored_by_its_newest_readings_on_its_grid(
    north: Plant, readings: dict[str, tuple[Any, Any]]
) -> None:
    grid = Grid.learn(readings)
    frame = grid.frame(readings)
    detector = IsolationForest().fit(frame)
    artifact = an_artifact(detector, frame.channels, threshold=0.6, preprocessing=grid)
    said = served_asset(north, artifact, Purpose.ASSET_ANOMALY, newest=20, explain=True)
    expected = detector.score(frame)[-20:]
    np.testing.assert_allclose([row["score"] for row in said["rows"]], expected, rtol=1e-9)
    assert set(said["rows"][0]["explanation"]["contributions"]) == set(readings)
    assert said["asset"] == north.pump.pk


def test_an_asset_has_the_probability_of_a_failure_by_its_newest_readings(
    north: Plant, readings: dict[str, tuple[Any, Any]]
) -> None:
    rows = FailureRows(Grid.learn(readings), tuple(readings))
    _, features = rows.of(readings)
    labels = (np.arange(len(features)) % 3 == 0).astype(np.int64)
    model = FailureClassifier("lightgbm", trees=20).fit(features, labels)
    artifact = an_artifact(model, tuple(features.columns), preprocessing=rows)
    said = served_asset(north, artifact, Purpose.FAILURE, newest=3)
    expected = model.predict_proba(features.tail(3))[:, 1]
    np.testing.assert_allclose([row["probability"] for row in said["rows"]], expected)
    assert len({row["timestamp"] for row in said["rows"]}) == 3


def test_an_asset_that_has_said_nothing_has_no_rows(north: Plant, readings: dict[str, tuple[Any, Any]]) -> None:
    Reading.objects.all().delete()
    grid = Grid.learn(readings)
    detector = IsolationForest().fit(grid.frame(readings))
    artifact = an_artifact(detector, tuple(readings), preprocessing=grid)
    assert served_asset(north, artifact, Purpose.ASSET_ANOMALY)["rows"] == []


def test_a_model_that_makes_no_rows_of_readings_must_be_sent_some(north: Plant) -> None:
    with pytest.raises(Refused, match="send rows"):
        served_asset(north, a_classifier(), Purpose.FAILURE)

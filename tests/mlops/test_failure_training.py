"""Classifiers learned from the failures that people told of."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User

from alerts.models import Alert, Severity
from maintenance.models import Verdict
from mlops import failure_training, failures, simulated_failures, trainer, training_runs
from mlops.classifiers import FailureClassifier
from mlops.detectors.base import NotEnoughData
from mlops.failure_training import Past
from mlops.failures import FAILS, FINE, LEFT_OUT, Failure
from mlops.models import Anomaly, Deployment, Purpose
from mlops.registry import loading
from mlops.training import Trained, us
from sensors.models import Annotation, Asset, Sensor
from tests.conftest import Plant, make_user
from tests.mlops.mlflow_server import Server
from tests.mlops.test_model_scoring import worker
from tests.mlops.test_scoring import HISTORY, only_scoring, store

__all__ = ["only_scoring", "worker"]

HOUR = timedelta(hours=1)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@cache
def simulated() -> Past:
    series, told = simulated_failures.simulate(NOW.timestamp())
    return Past.of(series, told, told[-1].until)


@cache
def trained() -> Trained:
    return failure_training.train(simulated(), trees=30)


def test_simulated_failures_are_foretold() -> None:
    assert trained().serves
    metrics = trained().artifact.metrics
    assert metrics["failures"] == 12
    assert metrics["failures_found"] >= 11
    assert metrics["average_precision"] > 3 * metrics["share"]
    assert metrics["brier"] < 0.5 * metrics["brier_of_share"]


def test_the_artifact_holds_all_that_is_needed_to_ask_it() -> None:
    artifact = trained().artifact
    assert isinstance(artifact.model, FailureClassifier)
    series, _ = simulated_failures.simulate(NOW.timestamp())
    times, rows = artifact.preprocessing.of(series)
    assert tuple(rows.columns) == artifact.features
    assert len(artifact.model.predict_proba(rows)) == len(times)


def test_training_twice_gives_the_same_model() -> None:
    again = failure_training.train(simulated(), trees=30)
    assert again.artifact.metrics == trained().artifact.metrics
    assert again.card == trained().card


def test_the_card_tells_how_it_did() -> None:
    card = trained().card
    assert sum(card["confusion"].values()) == sum(rows for _, _, rows in card["reliability"])
    assert sum(each["chosen"] for each in card["ways"]) == 1
    assert "vibration" in card["importance"][0]["feature"]
    assert card["precision_recall"][-1][0] == 1


def test_no_failure_is_on_both_sides_and_windows_do_not_overlap() -> None:
    past = simulated()
    learned, judged = failure_training._split(past)
    gap = past.times[judged[0]] - past.times[learned[-1]]
    assert gap > failure_training.LENGTHS[-1] * past.rows.grid.step_us
    assert past.times[learned[-1]] <= past.told[23].until < past.times[judged[0]]


def test_a_sensor_that_gives_the_answer_away_is_left_out() -> None:
    past = simulated()
    told = past.features.assign(**{"flag, mean of 12": (past.labels == FAILS).astype(float)})
    rows = replace(past.rows, channels=(*past.rows.channels, "flag"))
    found = failure_training.train(replace(past, features=told, rows=rows), trees=30)
    assert not any(name.startswith("flag") for name in found.artifact.features)
    assert found.card["left_out"]
    assert "flag" in found.card["left_out"][0]


def test_six_failures_are_needed() -> None:
    past = simulated()
    with pytest.raises(NotEnoughData, match="5 failures; 6 are needed"):
        failure_training.train(replace(past, told=past.told[:5]))


def test_labels_tell_what_follows_within_the_horizon() -> None:
    times = np.arange(0, 100)
    found = failures.labels(times, [Failure(40, 60, 65)], 10, 100)
    expected = np.full(100, FINE)
    expected[40:60], expected[60:66], expected[91:] = FAILS, LEFT_OUT, LEFT_OUT
    assert np.array_equal(found, expected)


def test_a_failure_told_of_twice_is_one(north: Plant) -> None:
    user = make_user("technician")
    for start, end in ((0, 2), (1, 5), (30, 31)):
        Annotation.objects.create(
            asset=north.pump, kind="failure", start=NOW + start * HOUR, end=NOW + end * HOUR, created_by=user
        )
    found = failures.of_asset(north.pump, NOW - HOUR, NOW + 100 * HOUR)
    assert found == [
        Failure(us(NOW), us(NOW), us(NOW + 5 * HOUR)),
        Failure(*[us(NOW + 30 * HOUR)] * 2, us(NOW + 31 * HOUR)),
    ]


def alert_with(sensor: Sensor, outcome: str) -> Alert:
    alert = Alert.objects.create(
        site=sensor.site, asset=sensor.asset, sensor=sensor, severity=Severity.HIGH, dedup_key="x", title="x"
    )
    window = {"window_start": NOW - HOUR, "window_end": NOW}
    Verdict.objects.create(asset=alert.asset, alert=alert, outcome=outcome, given_by=make_user("technician"), **window)
    return alert


@pytest.mark.parametrize(("outcome", "count"), [("fault_found", 1), ("nothing_found", 0)])
def test_a_fault_that_was_found_showed_as_long_as_its_anomalies(north: Plant, outcome: str, count: int) -> None:
    alert = alert_with(north.vibration, outcome)
    for hours in (5, 3):
        Anomaly.objects.create(
            sensor=north.vibration, alert=alert, start=NOW - hours * HOUR, end=NOW - (hours - 1) * HOUR,
            peak_at=NOW, peak_value=1, peak_score=9, decision="credible_anomaly", confidence=1,
        )  # fmt: skip
    found = failures.of_asset(north.pump, NOW - 10 * HOUR, NOW)
    assert found == [Failure(us(NOW - 5 * HOUR), us(NOW - 2 * HOUR), us(NOW))] * count


@pytest.mark.django_db
def test_too_few_failures_are_said_to_be_that(north: Plant) -> None:
    with pytest.raises(NotEnoughData, match=r"0 failures of Pump P-101 are known .* 6 are needed"):
        failure_training.past(north.pump, NOW)


@pytest.fixture
def worn_out(north: Plant) -> Asset:
    """A pump that failed eight times in as many weeks, each time after two days of wear."""
    user, rng = make_user("technician"), np.random.default_rng(2)
    hours = np.arange(0, 24 * 56, 1 / 12)
    into = hours % (24 * 7)
    worn = (
        np.clip((into - 24 * 4.5) / 48, 0, 1)
        * (into < 24 * 6.5)
        * rng.uniform(0.5, 1.2, 8)[(hours // (24 * 7)).astype(int)]
    )
    start = NOW - timedelta(days=57)
    store(north.vibration, start, 2 + 3 * worn**2 + rng.normal(0, 0.3, len(hours)), HISTORY, step=300)
    store(north.temperature, start, 50 + 4 * worn + rng.normal(0, 2, len(hours)), HISTORY, step=300)
    for week in range(8):
        failed = start + timedelta(days=7 * week + 6.5)
        Annotation.objects.create(
            asset=north.pump, kind="failure", start=failed, end=failed + 12 * HOUR, created_by=user
        )
    return north.pump


@pytest.mark.django_db
def test_what_people_marked_is_learned_registered_and_serves(
    worn_out: Asset, people: dict[str, User], mlflow: Server, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MLFLOW_TRACKING_URI = mlflow.uri
    monkeypatch.setattr(trainer.timezone, "now", lambda: NOW)
    run = training_runs.ask(worn_out, people["engineer"], Purpose.FAILURE)
    trainer.carry_out(run.pk)
    run.refresh_from_db()
    assert "failures are foretold" in run.said
    deployed = Deployment.objects.get()
    assert (deployed.asset, deployed.purpose, deployed.version) == (worn_out, Purpose.FAILURE, run.version)
    served = loading.load(deployed)
    assert served
    assert set(served.artifact.features) >= {"north.p101.vibration, mean of 12", "north.p101.temperature, slope of 72"}
    assert served.artifact.metrics["failures"] == 3

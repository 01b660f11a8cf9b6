"""Models of a whole asset: learned from its sensors together, and put into service when they find something."""

import json
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from typing import Any

import numpy as np
import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from alerts.models import Alert, Severity
from maintenance.models import Verdict
from mlops import asset_training, trainer, training_runs, trials
from mlops.detectors.base import NotEnoughData
from mlops.models import Deployment, ModelVersion, Purpose, TrainingRun
from mlops.registry import loading, versions
from sensors.errors import Refused
from sensors.models import Annotation, Asset, Sensor
from tests.alerts.test_views import text
from tests.conftest import Plant, make_user
from tests.mlops.mlflow_server import Server
from tests.mlops.test_model_scoring import worker
from tests.mlops.test_scoring import HISTORY, only_scoring, store

__all__ = ["only_scoring", "worker"]

pytestmark = pytest.mark.django_db
State = TrainingRun.State
MINUTE = timedelta(minutes=1)
NOW = timezone.now().replace(second=30, microsecond=0)
READINGS = 2400
# The last reading's cell of the grid is not complete yet.
ROWS = READINGS - 1


def together(count: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Vibration and temperature of a machine under a load that wanders: one follows from the other."""
    rng = np.random.default_rng(seed)
    load = np.sin(np.arange(count) / 9.0) + 0.5 * np.sin(np.arange(count) / 23.7)
    return 5 + load + rng.normal(0, 0.1, count), 60 + 8 * load + rng.normal(0, 0.8, count)


@pytest.fixture
def registry(mlflow: Server, settings: LazySettings) -> None:
    settings.MLFLOW_TRACKING_URI = mlflow.uri


@pytest.fixture
def pump(north: Plant) -> Asset:
    for sensor, values in zip((north.vibration, north.temperature), together(READINGS), strict=True):
        store(sensor, NOW - (READINGS + 10) * MINUTE, values, HISTORY)
    return north.pump


@pytest.mark.usefixtures("registry")
def test_what_is_asked_for_is_trained_and_serves_the_asset(
    pump: Asset, people: dict[str, User], mlflow: Server
) -> None:
    run = training_runs.ask(pump, people["engineer"], Purpose.ASSET_ANOMALY)
    trainer.carry_out(run.pk)
    run.refresh_from_db()
    assert run.state == State.DONE
    assert "of the injected faults" in run.said
    deployed = Deployment.objects.get()
    assert (deployed.version, deployed.asset, deployed.purpose) == (run.version, pump, Purpose.ASSET_ANOMALY)
    assert versions.by_alias(deployed.version.name, versions.CHAMPION) == deployed.version
    card = (mlflow.artifacts / deployed.version.path).with_name("card.json")
    assert json.loads(card.read_text()) == deployed.version.card
    served = loading.load(deployed)
    assert served
    artifact = served.artifact
    assert artifact.features == ("north.p101.temperature", "north.p101.vibration")
    assert tuple(artifact.preprocessing.tolerances_us) == artifact.features
    for name, median in (("temperature", 60), ("vibration", 5)):
        assert artifact.metrics[f"median/north.p101.{name}"] == pytest.approx(median, rel=0.05)
        assert artifact.metrics[f"spread/north.p101.{name}"] > 0
    assert artifact.metrics["readings"] == ROWS
    assert artifact.metrics["span_seconds"] == (ROWS - 1) * 60


def test_it_finds_what_lies_within_the_usual_range_of_every_channel(pump: Asset) -> None:
    trained = asset_training.train(*asset_training.normal_rows(pump, NOW))
    assert trained.serves
    assert trained.card["found"][trials.RELATION] > 0.5
    assert {each["feature"] for each in trained.card["importance"]} == set(trained.artifact.features)
    assert [each["name"] for each in trained.card["candidates"] if each["chosen"]] == [
        trained.artifact.parameters["detector"].replace("_", " ")
    ]


def test_training_twice_gives_the_same_model(pump: Asset) -> None:
    one, two = (asset_training.train(*asset_training.normal_rows(pump, NOW)) for _ in range(2))
    assert one.artifact.metrics == two.artifact.metrics
    assert one.artifact.threshold == two.artifact.threshold
    assert one.card == two.card


def noted(pump: Asset, sensor: Sensor) -> dict[str, Any]:
    since = {"start": NOW - 1000 * MINUTE, "end": NOW - 901 * MINUTE}
    return {"asset": pump, "sensor": sensor, "kind": "excluded", "created_by": make_user("engineer"), **since}


def test_what_people_excluded_of_one_sensor_is_unknown_in_that_channel_only(pump: Asset, north: Plant) -> None:
    Annotation.objects.create(**noted(pump, north.vibration))
    _, frame = asset_training.normal_rows(pump, NOW)
    unknown = np.isnan(frame.values).sum(axis=0)
    assert len(frame) == ROWS
    assert unknown[0] == 0
    assert 90 < unknown[1] <= 100  # Its last value before stands for three rows.


def test_a_stretch_in_which_a_fault_was_found_is_not_normal(pump: Asset, north: Plant) -> None:
    alert = Alert.objects.create(
        site=pump.site, asset=pump, sensor=north.vibration, severity=Severity.HIGH, dedup_key="x", title="x"
    )
    window = {"window_start": NOW - 1000 * MINUTE, "window_end": NOW - 901 * MINUTE}
    verdict = Verdict.objects.create(
        asset=alert.asset, alert=alert, outcome="fault_found", given_by=make_user("technician"), **window
    )
    assert len(asset_training.normal_rows(pump, NOW)[1]) < ROWS - 90
    verdict.outcome = "nothing_found"
    verdict.save()
    assert len(asset_training.normal_rows(pump, NOW)[1]) == ROWS


@pytest.mark.usefixtures("registry")
def test_a_failed_run_leaves_the_champion_where_it_is(
    pump: Asset, people: dict[str, User], settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = trainer.learned(pump, Purpose.ASSET_ANOMALY, NOW, str)
    champion = trainer.put_to_use(pump, Purpose.ASSET_ANOMALY, trained, str)
    working = settings.MLFLOW_TRACKING_URI

    def fails(*about: Any) -> None:
        settings.MLFLOW_TRACKING_URI = "http://127.0.0.1:1"

    # MLflow goes away at each step of a run in turn.
    for step in ("log_model", "set_alias"):
        original = getattr(versions, step)
        monkeypatch.setattr(versions, step, lambda *a, original=original, **k: (fails(), original(*a, **k))[1])
        run = training_runs.ask(pump, people["engineer"], Purpose.ASSET_ANOMALY)
        trainer.carry_out(run.pk)
        run.refresh_from_db()
        assert (run.state, run.version) == (State.FAILED, None)
        assert "MLflow does not answer" in run.said
        assert Deployment.objects.in_service().get().version == champion
        monkeypatch.setattr(versions, step, original)
        settings.MLFLOW_TRACKING_URI = working
    versions._aliases.clear()
    assert versions.by_alias(champion.name, versions.CHAMPION) == champion


def test_one_sensor_is_no_asset_to_learn(north: Plant) -> None:
    store(north.vibration, NOW - READINGS * MINUTE, together(READINGS)[0][:-10], HISTORY)
    with pytest.raises(NotEnoughData, match="1 sensors of Pump P-101 have normal readings; 2 are needed"):
        asset_training.normal_rows(north.pump, NOW)


def test_a_sensor_that_was_hardly_ever_heard_has_no_part_in_it(pump: Asset) -> None:
    late = Sensor.objects.create(asset=pump, sensor_id="north.p101.new", kind="flow", unit="m³/h")
    store(late, NOW - 100 * MINUTE, np.ones(80), HISTORY)
    assert late.sensor_id not in asset_training.normal_rows(pump, NOW)[1].channels


def test_quick_readings_are_averaged_so_that_whole_days_are_learned_from(
    pump: Asset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asset_training, "MOST_ROWS", 600)
    grid, frame = asset_training.normal_rows(pump, NOW)
    assert grid.step_us == pytest.approx(4 * 60e6, rel=0.01)
    assert (frame.timestamps[-1] - frame.timestamps[0]) / 60e6 > 0.99 * ROWS


def test_a_model_that_cries_wolf_is_not_worth_serving(pump: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trials.run

    def noisy(*about: Any) -> list[trials.Trial]:
        return [replace(trial, false_events=[slice(0, 1)] * 3) for trial in run(*about)]

    monkeypatch.setattr(trials, "run", noisy)
    trained = asset_training.train(*asset_training.normal_rows(pump, NOW))
    assert not trained.serves
    assert trained.said.startswith("None is good enough to serve: ")


@pytest.mark.parametrize(("events", "days", "quiet"), [(0, 1, True), (1, 3.5, True), (2, 3.5, False), (1, 0.5, False)])
def test_a_false_event_is_chance_or_a_sign_of_too_many(events: int, days: float, quiet: bool) -> None:
    nothing = np.empty(0)
    trial = trials.Trial("x", None, 1.0, {}, nothing, nothing, [slice(0, 1)] * events, days)  # type: ignore[arg-type]
    assert trial.is_quiet == quiet


@pytest.mark.parametrize(
    ("better", "worse"),
    [((0.5, 0), (0.9, 4)), ((0.9, 1), (0.5, 0)), ((0.7, 0), (0.7, 1)), ((0.9, 4), (0.5, 4))],
    ids=["few false events first", "then what is found", "then the quieter", "found, where all are loud"],
)
def test_candidates_are_ranked(better: tuple[float, int], worse: tuple[float, int]) -> None:
    nothing = np.empty(0)
    one, two = (
        trials.Trial("x", None, 1.0, {"offset": found}, nothing, nothing, [slice(0, 1)] * events, 3.5)  # type: ignore[arg-type]
        for found, events in (better, worse)
    )
    assert one.rank < two.rank


@pytest.mark.usefixtures("registry")
def test_the_command_takes_an_asset_by_name_or_number(pump: Asset, south: Plant) -> None:
    for name in (f"North/{pump.name}", str(pump.pk)):
        said = StringIO()
        call_command("train", "--asset", name, "--no-deploy", stdout=said)
        assert f"asset-{pump.pk} v" in said.getvalue()
    assert ModelVersion.objects.count() == 2
    assert not Deployment.objects.exists()
    assert versions.by_alias(f"asset-{pump.pk}", versions.CHALLENGER) == ModelVersion.objects.get(version=2)
    with pytest.raises(CommandError, match="2 assets have the name"):
        call_command("train", "--asset", pump.name)
    with pytest.raises(CommandError, match="Name a sensor"):
        call_command("train")


def test_an_asset_is_trained_on_the_page_and_too_little_data_is_said_there(
    client: Client, north: Plant, people: dict[str, User]
) -> None:
    client.force_login(people["engineer"])
    assert "Anomalies of an asset" in text(client, reverse("mlops:models"))
    asked = {"asset": north.pump.pk, "purpose": "asset_anomaly"}
    answer = client.post(reverse("mlops:train"), asked, follow=True)
    assert "A model of Pump P-101 is being trained" in answer.content.decode()
    trainer.carry_out(TrainingRun.objects.get().pk)
    assert "0 sensors of Pump P-101 have normal readings" in text(client, reverse("mlops:training"))


def test_an_asset_is_trained_once_at_a_time_for_a_purpose(north: Plant, people: dict[str, User]) -> None:
    training_runs.ask(north.pump, people["engineer"], Purpose.ASSET_ANOMALY)
    training_runs.ask(north.pump, people["engineer"], Purpose.FAILURE)
    with pytest.raises(Refused, match="being trained already"):
        training_runs.ask(north.pump, people["admin"], Purpose.ASSET_ANOMALY)


def test_runs_of_another_sites_assets_are_not_shown(client: Client, south: Plant, people: dict[str, User]) -> None:
    TrainingRun.objects.create(
        asset=south.pump, purpose=Purpose.ASSET_ANOMALY, state="done", said="of the south", asked_by=people["admin"]
    )
    client.force_login(people["engineer"])
    assert "of the south" not in text(client, reverse("mlops:training"))
    assert client.post(reverse("mlops:train"), {"asset": south.pump.pk}).status_code == 404

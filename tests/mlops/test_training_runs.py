"""Models that people ask for, on the page and by the command, with a real MLflow server."""

from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from mlops import trainer, training_runs
from mlops.models import Deployment, ModelVersion, TrainingRun
from mlops.registry import loading
from sensors.errors import Refused
from sensors.models import Sensor
from tests.alerts.test_views import text
from tests.conftest import Plant
from tests.mlops.mlflow_server import Server
from tests.mlops.test_model_scoring import NOW, vibration, worker
from tests.mlops.test_scoring import only_scoring

__all__ = ["only_scoring", "vibration", "worker"]

pytestmark = pytest.mark.django_db
State = TrainingRun.State


@pytest.fixture
def registry(mlflow: Server, settings: LazySettings) -> None:
    settings.MLFLOW_TRACKING_URI = mlflow.uri


@pytest.mark.usefixtures("registry")
def test_what_is_asked_for_is_trained_registered_and_serves(
    vibration: Sensor, people: dict[str, User], tmp_path: Path, settings: LazySettings
) -> None:
    run = training_runs.ask(vibration, people["engineer"])
    trainer.carry_out(run.pk)
    run.refresh_from_db()
    assert (run.state, run.version) == (State.DONE, ModelVersion.objects.get())
    assert "of the injected faults" in run.said
    deployed = Deployment.objects.get()
    assert (deployed.version, deployed.by, deployed.sensor) == (run.version, people["engineer"], vibration)
    settings.MODEL_CACHE = tmp_path / "of another worker"
    served = loading.load(deployed)
    assert served
    assert served.artifact.parameters["detector"].replace("_", " ") in run.said
    trainer.carry_out(run.pk)  # A message that came twice.
    assert ModelVersion.objects.count() == 1


@pytest.mark.usefixtures("registry")
def test_the_command_says_what_it_found_and_registers_without_deploying(vibration: Sensor) -> None:
    said = StringIO()
    call_command("train", f"North/{vibration.sensor_id}", "--no-deploy", stdout=said)
    assert "trying ensemble, 2 of 5" in said.getvalue()
    assert ModelVersion.objects.exists()
    assert not Deployment.objects.exists()
    with pytest.raises(CommandError, match="0 sensors have the key"):
        call_command("train", "nothing")


def test_with_mlflow_away_the_run_fails_and_nothing_changes(
    vibration: Sensor, people: dict[str, User], settings: LazySettings
) -> None:
    settings.MLFLOW_TRACKING_URI = "http://127.0.0.1:1"
    run = training_runs.ask(vibration, people["engineer"])
    trainer.carry_out(run.pk)
    run.refresh_from_db()
    assert run.state == State.FAILED
    assert run.said
    assert not Deployment.objects.exists()


def test_too_short_a_past_is_said_on_the_page(client: Client, north: Plant, people: dict[str, User]) -> None:
    client.force_login(people["engineer"])
    answer = client.post(reverse("mlops:train"), {"sensor": north.vibration.pk}, follow=True)
    assert "is being trained" in answer.content.decode()
    run = TrainingRun.objects.get()
    assert "every 2s" in text(client, reverse("mlops:training"))
    trainer.carry_out(run.pk)
    page = text(client, reverse("mlops:models"))
    assert "0 normal readings are too few; 500 are needed." in page
    assert "every 2s" not in page


def test_a_sensor_is_trained_once_at_a_time(north: Plant, people: dict[str, User]) -> None:
    training_runs.ask(north.vibration, people["engineer"])
    with pytest.raises(Refused, match="being trained already"):
        training_runs.ask(north.vibration, people["admin"])


def test_a_run_whose_worker_was_lost_ends_and_another_may_begin(north: Plant, people: dict[str, User]) -> None:
    run = training_runs.ask(north.vibration, people["engineer"])
    TrainingRun.objects.filter(pk=run.pk).update(state=State.RUNNING, told_at=NOW)
    training_runs.resume(NOW + timedelta(minutes=29))
    run.refresh_from_db()
    assert run.state == State.RUNNING
    training_runs.resume(NOW + timedelta(minutes=31))
    run.refresh_from_db()
    assert (run.state, run.said) == (State.FAILED, "The worker was stopped; ask again.")
    assert training_runs.ask(north.vibration, people["engineer"]).state == State.WAITING


def test_an_unforeseen_failure_ends_the_run(
    vibration: Sensor, people: dict[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = training_runs.ask(vibration, people["engineer"])
    monkeypatch.setattr(trainer.training, "CANDIDATES", ("no such detector",))
    trainer.carry_out(run.pk)
    run.refresh_from_db()
    assert (run.state, run.said) == (State.FAILED, "KeyError: the log has more.")
    assert timezone.now() - run.told_at < timedelta(minutes=1)

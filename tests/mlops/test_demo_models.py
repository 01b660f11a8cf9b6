"""The demo plant's own models, made from its past with a real MLflow server."""

import msgspec
import pytest
from celery.exceptions import Retry
from django.conf import LazySettings
from django.core.management import call_command

from mlops import demo_models, tasks
from mlops.models import Deployment, ModelVersion, Purpose
from mlops.prediction import answering
from mlops.prediction.questions import Question, Row
from mlops.registry import loading, mlflow_api
from sensors import demo
from sensors.models import Annotation, Asset, Sensor
from sensors.simulator import MOTOR
from tests.mlops.mlflow_server import Server
from tests.mlops.test_model_scoring import worker

__all__ = ["worker"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def plant(settings: LazySettings) -> None:
    settings.OUTBOX_CONSUMERS = {}
    call_command("seed_demo")


@pytest.mark.usefixtures("plant")
def test_the_demo_plant_gets_models_of_every_kind_and_only_once(mlflow: Server, settings: LazySettings) -> None:
    settings.MLFLOW_TRACKING_URI = mlflow.uri
    made = 0
    while demo_models.make_next():
        made += 1
    assert made == ModelVersion.objects.count() == 12
    kinds = set(Sensor.objects.values_list("kind", flat=True))
    assert {version.tags.get("sensor_kind") for version in ModelVersion.objects.all()} == {*kinds, None}
    motor = Asset.objects.get(name=MOTOR.name)
    serving = {row.purpose: row for row in Deployment.objects.in_service().filter(asset=motor)}
    assert set(serving) == {Purpose.ASSET_ANOMALY, Purpose.FAILURE}
    failures = serving[Purpose.FAILURE].version
    assert failures.tags["data"] == "simulated"
    assert "simulated failures" in failures.card["parameters"]["data"]
    served = loading.load(serving[Purpose.FAILURE])
    assert served
    assert len(served.artifact.features) == 30
    assert not demo_models.make_next()
    for each in serving.values():
        assert_it_answers(each.version)


def assert_it_answers(version: ModelVersion) -> None:
    """It is asked about its own example, with an explanation."""
    rows: list[Row] = [{**version.example, "timestamp": f"2026-11-01T00:{minute:02}:00Z"} for minute in range(40)]
    if version.purpose == Purpose.FAILURE:
        rows = [{**version.example}]
    said = msgspec.json.decode(answering.answer(Question("version", version=version.pk, rows=rows, explain=True)))
    assert len(said["rows"]) == len(rows)
    assert said["rows"][-1]["explanation"]
    assert not said["rows"][-1].get("failure_predicted")


@pytest.mark.usefixtures("plant")
def test_while_mlflow_starts_the_task_tries_again_later(settings: LazySettings) -> None:
    settings.MLFLOW_TRACKING_URI = "http://127.0.0.1:1"
    with pytest.raises(mlflow_api.Unavailable):
        demo_models.make_next()
    with pytest.raises(Retry):
        tasks.make_demo_models.apply(throw=True)


def test_without_a_registry_or_a_demo_plant_there_is_nothing_to_make(settings: LazySettings) -> None:
    settings.MLFLOW_TRACKING_URI = ""
    assert not demo_models.make_next()
    assert demo_models.missing() == []


@pytest.mark.usefixtures("plant")
def test_the_motors_past_fault_is_marked_as_a_failure_once() -> None:
    call_command("seed_demo")
    noted = Annotation.objects.get()
    assert (noted.asset.name, noted.kind) == (MOTOR.name, Annotation.Kind.FAILURE)
    assert (noted.end - noted.start).total_seconds() == demo.PAST_FAULT_SECONDS + 2 * demo.HISTORY_STEP_SECONDS
    assert not noted.created_by.has_usable_password()

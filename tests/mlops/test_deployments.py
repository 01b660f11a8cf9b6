"""Which version serves what, and how that changes."""

import json
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from mlops import deployments
from mlops.deployments import Scope
from mlops.models import Deployment, ModelVersion, Purpose
from sensors import valkey
from sensors.errors import Refused
from sensors.models import Site
from tests.conftest import Plant

pytestmark = pytest.mark.django_db


def a_version(number: int = 1, site: Site | None = None, purpose: Purpose = Purpose.SENSOR_ANOMALY) -> ModelVersion:
    return ModelVersion.objects.create(
        name="pump", version=number, purpose=purpose, site=site, sha256=f"{number:064}", size_bytes=1
    )


def served(plant: Plant) -> str | None:
    """The version that serves the temperature of a plant's pump."""
    found = deployments.serving_sensors([plant.temperature.pk]).get(plant.temperature.pk)
    return str(found.version) if found else None


def test_the_most_specific_scope_wins_and_what_has_none_has_no_deployment(north: Plant, south: Plant) -> None:
    scopes = [
        Scope(kind="temperature"),
        Scope(kind="temperature", site=north.site),
        Scope(asset=north.pump),
        Scope(sensor=north.temperature),
    ]
    assert served(north) is None
    for number, scope in enumerate(scopes, 1):
        deployments.deploy(a_version(number), scope, why="test")
        assert served(north) == f"pump v{number}"
    assert served(south) == "pump v1"
    assert south.vibration.pk not in deployments.serving_sensors([south.vibration.pk])


def test_all_sensors_are_looked_up_in_two_queries(north: Plant, south: Plant) -> None:
    deployments.deploy(a_version(), Scope(kind="vibration"), why="test")
    sensors = [sensor.pk for sensor in (north.temperature, north.vibration, south.vibration)]
    with CaptureQueriesContext(connection) as queries:
        found = deployments.serving_sensors(sensors)
    assert (len(queries), set(found)) == (2, {north.vibration.pk, south.vibration.pk})


def test_a_new_deployment_ends_the_one_before_and_says_who_and_why(north: Plant, people: dict[str, User]) -> None:
    scope = Scope(sensor=north.temperature)
    first = deployments.deploy(a_version(1), scope, why="first", by=people["engineer"])
    second = deployments.deploy(a_version(2), scope, why="better", by=people["admin"])
    first.refresh_from_db()
    assert (first.until, first.ended_by, first.rejected) == (second.since, people["admin"], False)
    assert "pump v2" in first.ended_why
    assert list(Deployment.objects.in_service()) == [second]


def test_the_database_itself_refuses_a_second_one_in_service(north: Plant) -> None:
    scope = Scope(kind="temperature")
    one = deployments.deploy(a_version(), scope, why="first")
    one.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        one.save()


def test_workers_are_asked_to_tell_the_registry_once_a_change_is_committed(
    north: Plant, django_capture_on_commit_callbacks: Any
) -> None:
    def asked() -> list[str]:
        queued = valkey.client().lrange(settings.BACKGROUND_QUEUE, 0, -1)
        return [json.loads(message)["headers"]["argsrepr"] for message in queued if b"name_champions" in message]

    valkey.client().delete(settings.BACKGROUND_QUEUE)
    with django_capture_on_commit_callbacks(execute=True):
        deployment = deployments.deploy(a_version(), Scope(sensor=north.temperature), why="test")
        assert asked() == []
    assert asked() == ["(['pump'],)"]
    with django_capture_on_commit_callbacks(execute=True):
        deployments.withdraw(deployment, why="It cries wolf.")
    assert len(asked()) == 2


def test_a_withdrawn_version_leaves_the_sensor_to_the_wider_scope(north: Plant) -> None:
    deployments.deploy(a_version(1), Scope(kind="temperature"), why="all")
    own = deployments.deploy(a_version(2), Scope(sensor=north.temperature), why="own")
    deployments.withdraw(own, why="It cries wolf.")
    assert served(north) == "pump v1"
    with pytest.raises(Refused):
        deployments.withdraw(own, why="again")


def test_a_rollback_brings_back_the_version_before_and_never_one_that_was_taken_back(north: Plant) -> None:
    scope = Scope(sensor=north.temperature)
    for number in (1, 2, 3):
        last = deployments.deploy(a_version(number), scope, why="test")
    back = deployments.roll_back(last, why="worse")
    assert back is not None
    assert served(north) == "pump v2"
    assert deployments.roll_back(back, why="worse, too") is not None
    assert served(north) == "pump v1"
    last_one = Deployment.objects.in_service().get()
    assert deployments.roll_back(last_one, why="all bad") is None
    assert served(north) is None


@pytest.mark.parametrize(
    ("purpose", "of_the_south", "code"),
    [(Purpose.SENSOR_ANOMALY, True, "other_site"), (Purpose.FAILURE, False, "wrong_scope")],
)
def test_a_version_serves_only_what_it_is_for(
    north: Plant, south: Plant, purpose: Purpose, of_the_south: bool, code: str
) -> None:
    version = a_version(site=south.site if of_the_south else None, purpose=purpose)
    with pytest.raises(Refused) as refusal:
        deployments.deploy(version, Scope(sensor=north.temperature), why="test")
    assert refusal.value.code == code


def test_models_of_an_asset_are_looked_up_by_purpose(north: Plant) -> None:
    deployments.deploy(a_version(purpose=Purpose.FAILURE), Scope(asset=north.pump), why="test")
    assert set(deployments.serving_assets([north.pump], Purpose.FAILURE)) == {north.pump.pk}
    assert deployments.serving_assets([north.pump], Purpose.ASSET_ANOMALY) == {}


def test_what_belongs_to_no_site_is_seen_by_members_of_any(north: Plant, south: Plant, people: dict[str, User]) -> None:
    common = deployments.deploy(a_version(), Scope(kind="flow"), why="all")
    deployments.deploy(a_version(2, south.site), Scope(sensor=south.temperature), why="theirs")
    assert list(Deployment.objects.visible_to(people["viewer"])) == [common]


@pytest.mark.parametrize("parts", [{}, {"kind": "flow", "asset": True}])
def test_a_scope_is_exactly_one_thing(north: Plant, parts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="sensor, an asset"):
        Scope(**{key: north.pump if value is True else value for key, value in parts.items()})

"""What may be asked about which model, before any model is asked."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User

from mlops import deployments
from mlops.deployments import Scope
from mlops.models import ModelVersion, Purpose
from mlops.prediction import questions
from mlops.prediction.questions import Question
from sensors.errors import Refused
from tests.conftest import Plant
from tests.mlops.test_deployments import a_version

pytestmark = pytest.mark.django_db
ROWS = [{"torque": 1.0}]


def question(user: User, site: int | None = None, **body: Any) -> Question:
    return questions.meant(questions.asked(json.dumps(body).encode()), user, site)


def refusal(user: User, site: int | None = None, **body: Any) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        question(user, site, **body)
    return caught.value.status, caught.value.code


@pytest.fixture
def operator(people: dict[str, User]) -> User:
    return people["operator"]


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"", 400, "malformed_json", ""),
        (b"{", 400, "malformed_json", ""),
        (b'{"rows": [{"a": NaN}]}', 400, "malformed_json", ""),
        (b'{"rows": [{"a": "\xff"}], "model": "m"}', 400, "malformed_json", ""),
        (b"[]", 400, "invalid", ""),
        (b"null", 400, "invalid", ""),
        (b'{"model": "m", "rows": [{"a": 1e999}]}', 400, "invalid", "rows.0"),
        (b'{"model": "m", "rows": [{"a": true}]}', 400, "invalid", "rows.0"),
        (b'{"model": "m", "rows": [{"a": 1}, 2]}', 400, "invalid", "rows.1"),
        (b'{"model": "m", "rows": {"a": 1}}', 400, "invalid", "rows"),
        (b'{"model": "m", "rows": []}', 400, "invalid", "rows"),
        (b'{"model": "m"}', 400, "invalid", "rows"),
        (b'{"rows": [{"a": 1}]}', 400, "invalid", ""),
        (b'{"model": "m", "sensor": 1, "rows": [{"a": 1}]}', 400, "invalid", ""),
        (b'{"model": "m", "rows": [{"a": 1}], "explain": 1}', 400, "invalid", "explain"),
        (b'{"model": "m", "rows": [{"a": 1}], "explian": true}', 400, "invalid", ""),
        (b'{"sensor": 1.5}', 400, "invalid", "sensor"),
        (b'{"sensor": 1, "newest": 0}', 400, "invalid", "newest"),
        (b'{"sensor": 1, "newest": 1001}', 413, "too_many_rows", ""),
        (b'{"sensor": 1, "newest": 101, "explain": true}', 413, "too_many_rows", ""),
        (b'{"sensor": 1, "newest": 1, "rows": [{"a": 1}]}', 400, "invalid", "newest"),
        (json.dumps({"model": "m", "rows": [{"a": 1}] * 1001}).encode(), 413, "too_many_rows", ""),
        (b" " * (questions.MAX_BODY_BYTES + 1), 413, "body_too_large", ""),
    ],
    ids=lambda value: value[:50].decode("latin-1") if isinstance(value, bytes) else None,
)
def test_a_wrong_body_is_refused_with_what_is_wrong(body: bytes, status: int, code: str, field: str) -> None:
    with pytest.raises(Refused) as caught:
        questions.asked(body)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert next((error["field"] for error in caught.value.errors), "").startswith(field)


def test_a_name_means_the_version_that_serves_or_else_the_newest(operator: User, north: Plant) -> None:
    versions = [a_version(number) for number in (1, 2, 3)]
    assert question(operator, model="pump", rows=ROWS).version == versions[2].pk
    deployments.deploy(versions[1], Scope(kind="temperature"), why="test")
    assert question(operator, model="pump", rows=ROWS).version == versions[1].pk
    assert question(operator, model="pump:1", rows=ROWS).version == versions[0].pk
    assert refusal(operator, model="pump:4", rows=ROWS) == (404, "unknown_model")


@pytest.mark.parametrize("name", ["", "nothing", "pump@", ":1", "@champion", "pump\0", "pump:99999999999"])
def test_an_unknown_model_is_not_found(operator: User, name: str) -> None:
    a_version()
    assert refusal(operator, model=name, rows=ROWS) == (404, "unknown_model")


def test_an_alias_is_asked_of_the_registry_and_checked_again(operator: User, north: Plant, south: Plant) -> None:
    ours, theirs = a_version(site=north.site), a_version(2, site=south.site)
    asked = question(operator, model="pump@champion", rows=ROWS)
    assert (asked.kind, asked.name, asked.alias) == ("alias", "pump", "champion")
    assert questions.by_alias(ours.pk, "pump@champion", operator).version == ours.pk
    for unseen in (theirs.pk, None):
        with pytest.raises(Refused, match="There is no model"):
            questions.by_alias(unseen, "pump@champion", operator)


def test_models_and_sensors_and_assets_of_another_site_do_not_exist(operator: User, south: Plant) -> None:
    a_version(site=south.site)
    assert refusal(operator, model="pump", rows=ROWS) == (404, "unknown_model")
    assert refusal(operator, model="pump@champion", rows=ROWS) == (404, "unknown_model")
    assert refusal(operator, sensor=south.temperature.pk) == (404, "unknown_sensor")
    assert refusal(operator, sensor=south.temperature.sensor_id) == (404, "unknown_sensor")
    assert refusal(operator, asset=south.pump.pk, rows=ROWS) == (404, "unknown_asset")


@pytest.mark.parametrize("pk", [0, -1, 2**63, 10**30])
def test_ids_that_cannot_be_are_not_found(operator: User, pk: int) -> None:
    assert refusal(operator, sensor=pk) == (404, "unknown_sensor")
    assert refusal(operator, asset=pk, rows=ROWS) == (404, "unknown_asset")


def test_a_sensor_is_asked_of_what_serves_it(operator: User, north: Plant) -> None:
    plain = question(operator, sensor=north.temperature.sensor_id)
    assert (plain.sensor, plain.version, plain.newest) == (north.temperature.pk, 0, questions.NEWEST)
    deployment = deployments.deploy(a_version(), Scope(sensor=north.temperature), why="test")
    served = question(operator, sensor=north.temperature.pk, newest=3)
    assert (served.deployment, served.version, served.newest) == (deployment.pk, deployment.version_id, 3)


def test_a_key_that_two_sites_have_must_be_told_apart(people: dict[str, User], north: Plant, south: Plant) -> None:
    south.temperature.sensor_id = north.temperature.sensor_id
    south.temperature.save()
    key, admin = north.temperature.sensor_id, people["admin"]
    assert refusal(admin, sensor=key) == (409, "ambiguous_sensor")
    assert question(admin, site=south.site.pk, sensor=key).sensor == south.temperature.pk


def test_an_asset_is_asked_of_its_model_of_failures_first(operator: User, north: Plant) -> None:
    assert refusal(operator, asset=north.pump.pk, rows=ROWS) == (404, "no_model")
    found: dict[str, ModelVersion] = {}
    for number, purpose in enumerate((Purpose.ASSET_ANOMALY, Purpose.FAILURE), 1):
        found[purpose] = a_version(number, purpose=purpose)
        deployments.deploy(found[purpose], Scope(asset=north.pump), why="test")
        asked = question(operator, asset=north.pump.pk, rows=ROWS)
        assert (asked.kind, asked.version) == ("version", found[purpose].pk)
    assert question(operator, asset=north.pump.pk).kind == "asset"

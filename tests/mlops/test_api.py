from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from mlops import deployments
from mlops.deployments import Scope
from mlops.models import Anomaly, ModelVersion
from tests.conftest import Plant

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 1),
        ("sensor={sensor}&asset={asset}&site={site}", 1),
        ("site={other}", 0),
        ("decision=credible_anomaly&historical=false", 1),
        ("decision=insufficient_data", 0),
        ("from=2026-03-01T12:00:00Z&to=2026-03-01T13:00:00Z", 1),
        ("from=2026-03-01T12:00:01Z", 0),
    ],
)
def test_anomalies_can_be_filtered(
    client: Client, north: Plant, south: Plant, people: dict[str, User], query: str, count: int
) -> None:
    for plant in (north, south):
        Anomaly.objects.create(
            sensor=plant.temperature,
            start=NOON,
            end=NOON,
            peak_at=NOON,
            peak_value=99,
            peak_score=9,
            decision="credible_anomaly",
            confidence=0.9,
        )
    client.force_login(people["viewer"])
    query = query.format(sensor=north.temperature.pk, asset=north.pump.pk, site=north.site.pk, other=south.site.pk)
    rows = client.get(f"/api/v1/anomalies/?{query}").json()["results"]
    assert [row["sensor"] for row in rows] == [north.temperature.pk] * count


@pytest.fixture
def versions(north: Plant, south: Plant) -> list[ModelVersion]:
    """Two of one model, the first of which serves the sensor of site North, and one of site South."""
    ours = [
        ModelVersion.objects.create(
            name="pump", version=number, purpose="sensor_anomaly", site=north.site, sha256=str(number), size_bytes=1,
            features=["vibration"], example={"vibration": 2.5}, metrics={"found": 0.9}, tags={"of": "pump"},
        )
        for number in (1, 2)
    ]  # fmt: skip
    theirs = ModelVersion.objects.create(
        name="fan", version=1, purpose="failure", site=south.site, sha256="3", size_bytes=1
    )
    deployments.deploy(ours[0], Scope(sensor=north.vibration), why="test")
    return [*ours, theirs]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [2, 1]),
        ("name=pump&version=1", [1]),
        ("name=fan", []),
        ("in_service=true", [1]),
        ("in_service=false", [2]),
        ("purpose=failure", []),
        ("page_size=1", [2]),
    ],
)
def test_models_can_be_filtered(
    client: Client, people: dict[str, User], versions: list[ModelVersion], query: str, numbers: list[int]
) -> None:
    client.force_login(people["operator"])
    rows = client.get(f"/api/v1/models/?{query}").json()["results"]
    assert [row["version"] for row in rows] == numbers


def test_a_version_says_what_it_wants_and_what_it_serves(
    client: Client, north: Plant, people: dict[str, User], versions: list[ModelVersion]
) -> None:
    client.force_login(people["operator"])
    found = client.get(f"/api/v1/models/{versions[0].pk}/").json()
    assert (found["features"], found["example"]) == (["vibration"], {"vibration": 2.5})
    assert [(row["sensor"], row["purpose"]) for row in found["serves"]] == [(north.vibration.pk, "sensor_anomaly")]
    assert client.get(f"/api/v1/models/{versions[2].pk}/").status_code == 404


def test_the_list_of_models_costs_the_same_queries_however_long(
    client: Client, people: dict[str, User], versions: list[ModelVersion]
) -> None:
    client.force_login(people["operator"])
    counts = []
    for query in ("version=1", ""):
        with CaptureQueriesContext(connection) as queries:
            client.get(f"/api/v1/models/?{query}")
        counts.append(len(queries))
    assert counts[0] == counts[1]

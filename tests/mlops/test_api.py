from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.test import Client

from mlops.models import Anomaly
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

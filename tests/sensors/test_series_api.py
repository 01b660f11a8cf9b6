from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from sensors import summary
from sensors.models import Reading
from tests.conftest import Plant

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
DAY = {"from": "2026-07-01T12:00:00Z", "to": "2026-07-01T18:00:00Z"}


@pytest.fixture
def ask(client: Client, people: dict[str, User], north: Plant) -> Any:
    client.force_login(people["viewer"])
    Reading.objects.bulk_create(
        Reading(sensor=north.temperature, timestamp=NOON + timedelta(seconds=10 * i), value=float(i % 50))
        for i in range(2000)
    )
    summary.mark_window([north.temperature.pk], NOON, NOON + timedelta(hours=6))
    return lambda **query: client.get(reverse("api:sensor-series", args=[north.temperature.pk]), {**DAY, **query})


def test_a_long_window_comes_as_a_thousand_points_at_most(ask: Any) -> None:
    body = ask().json()
    assert 500 < len(body["times"]) <= 1000
    assert (body["resolution"], body["unit"], max(body["values"])) == ("raw", "°C", 49.0)


def test_the_caller_says_how_many_points(ask: Any) -> None:
    body = ask(points=50).json()
    assert len(body["times"]) <= 50
    assert (max(body["values"]), min(body["values"])) == (49.0, 0.0)


def test_every_hour_comes_with_all_that_is_known_of_it(ask: Any) -> None:
    body = ask(resolution="hourly").json()
    assert body["times"][0] == "2026-07-01T12:00:00Z"
    assert body["hourly"]["count"] == [360] * 5 + [200]
    assert set(body["hourly"]) == {"count", "min", "max", "first", "last", "quality"}
    assert body["values"][0] == pytest.approx(sum(i % 50 for i in range(360)) / 360)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"points": "5"}, 400, "invalid_points"),
        ({"points": "1001"}, 400, "invalid_points"),
        ({"points": "many"}, 400, "invalid_points"),
        ({"resolution": "daily"}, 400, "invalid_resolution"),
        ({"from": "2026-07-01T12:00:00"}, 400, "invalid_window"),
        ({"from": "0001-01-01T00:00:00Z"}, 400, "invalid_window"),
        ({"to": "9999-12-31T23:59:59Z"}, 400, "invalid_window"),
        ({"to": "9999-12-31T23:59:59-12:00"}, 400, "invalid_window"),
        ({"from": "1990-07-01T12:00:00Z", "resolution": "hourly"}, 422, "window_too_long"),
    ],
)
def test_what_makes_no_sense_is_refused(ask: Any, query: dict[str, str], status: int, code: str) -> None:
    answer = ask(**query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_sensors_of_other_sites_do_not_exist(client: Client, people: dict[str, User], south: Plant) -> None:
    client.force_login(people["engineer"])
    for name in ("api:sensor-series", "api:sensor-series-export"):
        assert client.get(reverse(name, args=[south.temperature.pk])).status_code == 404

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from sensors import series
from sensors.models import Reading, Sensor
from sensors.quality import Flag
from sensors.series import Series
from tests.conftest import Plant

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def record(sensor: Sensor, values: list[float], seconds: float = 1.0) -> None:
    Reading.objects.bulk_create(
        Reading(sensor=sensor, timestamp=NOON + timedelta(seconds=seconds * i), value=value)
        for i, value in enumerate(values)
    )


def points_of(found: Series) -> list[tuple[datetime, float]]:
    times = [datetime.fromtimestamp(us / 1e6, UTC) for us in found.times.tolist()]
    return list(zip(times, found.values.tolist(), strict=True))


def test_few_readings_come_as_they_are(north: Plant) -> None:
    record(north.temperature, [1.0, 2.0, 3.0])
    found = series.read(north.temperature, NOON, NOON + HOUR)
    assert points_of(found) == [(NOON + timedelta(seconds=i), i + 1.0) for i in range(3)]
    assert found.bucket_seconds is None


def test_many_readings_become_at_most_a_thousand_points_and_keep_their_peaks(north: Plant) -> None:
    values = [20.0 + i % 7 for i in range(5000)]
    values[1234], values[4321] = 99.0, -99.0
    record(north.temperature, values)
    found = series.read(north.temperature, NOON, NOON + timedelta(seconds=4999))
    assert len(points_of(found)) <= series.MAX_POINTS
    assert (NOON + timedelta(seconds=1234), 99.0) in points_of(found)
    assert (NOON + timedelta(seconds=4321), -99.0) in points_of(found)
    assert points_of(found) == sorted(points_of(found))


def test_no_window_however_cut_gives_more_than_a_thousand_points(north: Plant) -> None:
    record(north.temperature, [float(i % 13) for i in range(4000)], seconds=0.5)

    @given(start=st.integers(0, 900_000), length=st.integers(600_000, 2_000_000))
    def check(start: int, length: int) -> None:
        first = NOON + timedelta(milliseconds=start)
        found = series.read(north.temperature, first, first + timedelta(milliseconds=length))
        assert len(points_of(found)) <= series.MAX_POINTS

    check()


def test_what_is_doubted_stands_apart_with_its_reason(ask: Any, north: Plant) -> None:
    record(north.temperature, [20.0, 1e9, 21.0])
    Reading.objects.filter(value=1e9).update(quality=0, flags=Flag.OUT_OF_RANGE)
    body = ask(range="all").json()
    assert body["values"] == [20.0, 21.0]
    assert body["doubted"] == {
        "times": ["2026-07-01T12:00:01Z"],
        "values": [1e9],
        "why": ["outside the physical range"],
    }


def test_of_many_doubted_readings_some_are_shown(north: Plant) -> None:
    record(north.temperature, [float(i % 13) for i in range(3000)])
    Reading.objects.update(quality=0.3)
    found = series.read(north.temperature, NOON, NOON + HOUR)
    assert len(found.times) == 0
    assert 10 < len(found.doubted.times) <= series.MAX_DOUBTED


def test_readings_outside_the_window_or_of_another_sensor_are_left_out(north: Plant) -> None:
    record(north.temperature, [1.0, 2.0, 3.0])
    record(north.vibration, [7.0])
    found = series.read(north.temperature, NOON + timedelta(seconds=1), NOON + timedelta(seconds=1))
    assert [value for _, value in points_of(found)] == [2.0]


@pytest.fixture
def ask(client: Client, people: dict[str, User], north: Plant) -> Any:
    client.force_login(people["viewer"])
    return lambda **query: client.get(reverse("sensors:series", args=[north.temperature.pk]), query)


def test_times_are_iso_utc_and_the_zone_and_unit_come_along(ask: Any, north: Plant) -> None:
    record(north.temperature, [61.5])
    body = ask(range="all").json()
    assert body["times"] == ["2026-07-01T12:00:00Z"]
    assert (body["values"], body["unit"], body["timezone"]) == ([61.5], "°C", "Europe/Berlin")


def test_a_window_can_be_given_by_its_ends(ask: Any, north: Plant) -> None:
    record(north.temperature, [1.0, 2.0, 3.0])
    body = ask(**{"from": "2026-07-01T14:00:01+02:00", "to": "2026-07-01T12:00:05Z"}).json()
    assert body["values"] == [2.0, 3.0]


def test_a_sensor_without_readings_has_an_empty_series(ask: Any) -> None:
    assert ask(range="all").json()["values"] == []


@pytest.mark.parametrize(
    "query",
    [
        {"range": "century"},
        {"from": "2026-07-01T12:00:00Z"},
        {"from": "2026-07-01T12:00:00", "to": "2026-07-01T13:00:00"},
        {"from": "2026-07-01T13:00:00Z", "to": "2026-07-01T12:00:00Z"},
        {"from": "2026-13-01T13:00:00Z", "to": "2026-07-01T12:00:00Z"},
    ],
)
def test_a_window_that_makes_no_sense_is_a_bad_request(ask: Any, query: dict[str, str]) -> None:
    assert ask(**query).status_code == 400

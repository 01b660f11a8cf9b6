from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.utils import timezone

from sensors import outbox, series, summary
from sensors.errors import Refused
from sensors.models import Reading
from tests.timescale.records import DAY, HOUR, make_sensor, store

pytestmark = pytest.mark.usefixtures("engine")


def compute() -> None:
    outbox.drain("summarise")
    summary.rebuild_due(quiet_seconds=0)


@pytest.fixture
def few_raw(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred readings are many."""
    monkeypatch.setattr(series, "RAW_READINGS", 100)


def test_a_long_window_is_read_by_the_hour_and_keeps_every_peak(few_raw: None) -> None:
    sensor = make_sensor()
    values = [20.0 + i % 7 for i in range(24 * 60)]
    values[300], values[1000] = 99.0, -99.0
    store(sensor, DAY, values)
    compute()
    found = series.read(sensor, DAY, DAY + 24 * HOUR)
    assert (found.hourly, found.bucket_seconds) == (True, 3600)
    assert len(found.times) == 48
    assert (found.values.max(), found.values.min()) == (99.0, -99.0)
    highest = datetime.fromtimestamp(found.times[found.values.argmax()] / 1e6, UTC)
    assert abs(highest - (DAY + timedelta(minutes=300))) < HOUR
    assert (np.diff(found.times) > 0).all()


def test_more_hours_than_points_are_joined(few_raw: None) -> None:
    sensor = make_sensor()
    store(sensor, DAY, [float(i % 11) for i in range(720)], seconds=600)
    compute()
    found = series.read(sensor, DAY, DAY + 120 * HOUR, points=50)
    assert found.hourly
    assert len(found.times) <= 50
    assert found.bucket_seconds == 6 * 3600


def test_points_made_of_hours_lie_in_the_window(few_raw: None) -> None:
    sensor = make_sensor()
    store(sensor, DAY, [1.0, 2.0] * 360)
    compute()
    start, end = DAY + timedelta(minutes=55), DAY + timedelta(hours=9, minutes=5)
    found = series.read(sensor, start, end)
    assert found.hourly
    assert start.timestamp() * 1e6 <= found.times.min()
    assert found.times.max() <= end.timestamp() * 1e6


def test_a_short_window_shows_the_readings_however_many(few_raw: None) -> None:
    sensor = make_sensor()
    store(sensor, DAY, [float(i) for i in range(300)], seconds=10)
    found = series.read(sensor, DAY, DAY + HOUR)
    assert (found.hourly, found.bucket_seconds, len(found.times)) == (False, None, 300)


def test_what_came_in_a_moment_ago_is_there(few_raw: None) -> None:
    sensor = make_sensor()
    store(sensor, DAY, [1.0] * 600)
    compute()
    store(sensor, DAY + timedelta(minutes=30, seconds=7), [50.0])
    assert series.read(sensor, DAY, DAY + 10 * HOUR).values.max() == 50.0


def test_the_past_whose_readings_are_gone_is_shown_by_the_hour() -> None:
    sensor = make_sensor(retention_days=30)
    now = timezone.now()
    store(sensor, now - timedelta(days=40), [7.0] * 180)
    store(sensor, now - timedelta(hours=2), [1.0] * 60)
    compute()
    Reading.objects.filter(sensor=sensor, timestamp__lt=now - timedelta(days=30)).delete()
    start, end = series.window(sensor, {"range": "all"}, now)
    assert start < now - timedelta(days=39)
    found = series.read(sensor, start, end)
    assert found.hourly
    assert set(found.values.tolist()) == {7.0, 1.0}


def test_too_many_readings_are_refused_when_only_readings_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "MOST_RAW_READINGS", 100)
    sensor = make_sensor()
    store(sensor, DAY, [1.0] * 101)
    with pytest.raises(Refused, match="101 readings"):
        series.read(sensor, DAY, DAY + 10 * HOUR, resolution="raw")

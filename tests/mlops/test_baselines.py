from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from mlops import baselines
from mlops.models import Anomaly, Baseline
from sensors import outbox
from sensors.models import Annotation
from tests.conftest import Plant, make_user
from tests.readings import HISTORY, HOUR, MINUTE, noise, store

pytestmark = pytest.mark.django_db


@pytest.fixture
def now() -> datetime:
    return timezone.now()


def annotate(plant: Plant, start: datetime, end: datetime, **about: Any) -> Annotation:
    about = {"asset": plant.pump, "kind": Annotation.Kind.EXCLUDED, "created_by": make_user("technician")} | about
    return Annotation.objects.create(start=start, end=end, **about)


def learned(plant: Plant, now: datetime) -> Baseline:
    """What is normal after two days, the second of which was 20 degrees hotter."""
    Baseline.objects.all().delete()
    values = noise(2 * 1440)
    values[1440:] += 20
    store(plant.temperature, now - HOUR, 2 * 1440, MINUTE, HISTORY, values=values)
    Baseline.objects.all().delete()
    store(plant.temperature, now, 1, MINUTE)
    while outbox.drain("score"):
        pass
    return Baseline.objects.latest("valid_from")


@pytest.mark.parametrize("kind", [Annotation.Kind.EXCLUDED, Annotation.Kind.FAILURE])
@pytest.mark.parametrize("of_sensor", [True, False])
def test_what_is_excluded_or_was_a_failure_is_not_learned_from(
    north: Plant, now: datetime, kind: str, of_sensor: bool
) -> None:
    annotate(north, now - 25 * HOUR, now, kind=kind, sensor=north.temperature if of_sensor else None)
    baseline = learned(north, now)
    assert baseline.median == pytest.approx(60, abs=0.2)
    assert baseline.readings < 400


def test_it_is_still_scored(north: Plant, now: datetime) -> None:
    annotate(north, now - 25 * HOUR, now + HOUR)
    learned(north, now)
    store(north.temperature, now + 4 * MINUTE, 4, MINUTE / 2, values=np.full(4, 90.0))
    outbox.drain("score")
    assert Anomaly.objects.filter(decision=Anomaly.Decision.CREDIBLE).exists()


def test_notes_other_sensors_and_what_was_taken_back_exclude_nothing(north: Plant, now: datetime) -> None:
    annotate(north, now - 25 * HOUR, now, kind=Annotation.Kind.NOTE)
    annotate(north, now - 25 * HOUR, now, sensor=north.vibration)
    annotate(north, now - 25 * HOUR, now, removed_at=now - timedelta(minutes=1))
    baseline = learned(north, now)
    assert baseline.median is not None
    assert baseline.median > 61


def test_a_block_of_the_first_day_is_not_taken_for_the_hour_that_begins_with_it(north: Plant, now: datetime) -> None:
    sensor = north.temperature
    at_us = round(now.timestamp() * 1e6)
    [hour] = baselines.hour_starts(np.array([at_us]), np.array([sensor.pk])).tolist()
    begin = datetime.fromtimestamp(hour / 1e6, UTC)
    store(sensor, begin + 10 * MINUTE, 10 * 60 + 6, timedelta(seconds=1), HISTORY)
    times = hour + np.array([0, 599_000_000])
    profiles, which = baselines.profiles_at(times, np.full(2, sensor.pk))
    assert Baseline.objects.filter(sensor=sensor, valid_from=begin).exists()
    profiles, which = baselines.profiles_at(times, np.full(2, sensor.pk))
    assert np.isnan(profiles.medians[which[0]])
    assert profiles.readings[which[1]] > 200

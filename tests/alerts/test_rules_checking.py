"""Readings come in, limits and rules are exceeded, people are told, and it is over again."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import time_machine
from django.conf import LazySettings
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from alerts import lifecycle, returning
from alerts.models import Alert, Condition, Firing, Rule, Severity, State
from alerts.rules import definition as definitions
from alerts.rules.checking import held_of
from alerts.rules.evaluation import held
from sensors import history, outbox
from sensors.history import Span
from sensors.ingest import store_batch
from sensors.models import Asset, Pending, Reading, Sensor
from tests.conftest import Plant
from tests.readings import HISTORY, HOUR, LIVE, MINUTE, SECOND, columns, store

NOW = timezone.now().replace(microsecond=0)


@pytest.fixture(autouse=True)
def only_limits(settings: LazySettings) -> Iterator[None]:
    settings.OUTBOX_CONSUMERS = {"limits": settings.OUTBOX_CONSUMERS["limits"]}
    # Since this file was read the other tests have taken their time.
    with time_machine.travel(NOW):
        yield


@pytest.fixture
def hot(north: Plant) -> Sensor:
    """A sensor that is read every 20 seconds, warns above 80 °C and alarms above 90."""
    sensor = north.temperature
    sensor.cadence_seconds, sensor.warn_high, sensor.alarm_high = 20, 80, 90
    sensor.save()
    north.pump.criticality = Asset.Criticality.MEDIUM
    north.pump.save()
    return sensor


def come_in(sensor: Sensor, values: list[float], last: Any = NOW, mode: Any = LIVE) -> None:
    store(sensor, last, len(values), 20 * SECOND, mode, values)
    outbox.drain("limits")


def test_a_sensor_beyond_its_limit_raises_one_alert_that_goes_on(hot: Sensor) -> None:
    come_in(hot, [70, 81, 82, 83], NOW - 5 * MINUTE)
    assert not Alert.objects.exists()
    come_in(hot, [84, 85], NOW - 5 * MINUTE + 40 * SECOND)
    alert = Alert.objects.get()
    assert (alert.kind, alert.severity, alert.state) == ("limit", Severity.MEDIUM, State.OPEN)
    assert alert.title == "Pump P-101: Temperature above 80.00 °C: 85.00 °C"
    assert (alert.began_at, alert.last_seen_at) == (NOW - 5 * MINUTE - 40 * SECOND, NOW - 5 * MINUTE + 40 * SECOND)
    come_in(hot, [84] * 9, NOW - 5 * MINUTE + 220 * SECOND)
    alert.refresh_from_db()
    assert (Alert.objects.count(), Firing.objects.count(), alert.occurrences) == (1, 1, 1)
    assert alert.last_seen_at == NOW - 5 * MINUTE + 220 * SECOND


def test_it_is_high_when_it_becomes_an_alarm_and_critical_on_a_critical_asset(hot: Sensor) -> None:
    come_in(hot, [85] * 4, NOW - 10 * MINUTE)
    come_in(hot, [95] * 4, NOW - 10 * MINUTE + 80 * SECOND)
    alert = Alert.objects.get()
    assert alert.severity == Severity.HIGH
    assert alert.title == "Pump P-101: Temperature above 90.00 °C: 95.00 °C"
    assert [step.step for step in alert.transitions.all()] == ["raised", "more_severe"]
    Asset.objects.update(criticality=Asset.Criticality.HIGH)
    lifecycle.resolve(alert)
    come_in(hot, [70] * 2, NOW - 7 * MINUTE)
    come_in(hot, [95] * 4, NOW)
    assert Alert.objects.unresolved().get().severity == Severity.CRITICAL


def test_it_goes_back_to_normal_after_a_while_and_the_same_alert_is_reopened(hot: Sensor) -> None:
    come_in(hot, [85] * 5, NOW - 50 * MINUTE)
    come_in(hot, [70] * 60, NOW - 30 * MINUTE)
    returning.look(NOW)
    alert = Alert.objects.get()
    assert alert.state == State.RESOLVED
    assert alert.last_seen_at == NOW - 50 * MINUTE
    come_in(hot, [85] * 5, NOW)
    alert.refresh_from_db()
    assert (alert.state, alert.occurrences, Firing.objects.count()) == (State.OPEN, 2, 2)


def test_what_a_person_resolved_stays_resolved_while_it_goes_on(hot: Sensor) -> None:
    come_in(hot, [85] * 5, NOW - 10 * MINUTE)
    lifecycle.resolve(Alert.objects.get())
    come_in(hot, [85] * 5, NOW - 10 * MINUTE + 100 * SECOND)
    assert Alert.objects.get().state == State.RESOLVED


def test_readings_of_the_past_make_alerts_of_the_past(hot: Sensor) -> None:
    come_in(hot, [70, *[95] * 10, 70], NOW - 30 * HOUR, HISTORY)
    alert = Alert.objects.get()
    assert (alert.historical, alert.state, alert.kind) == (True, State.RESOLVED, "limit")
    assert not Alert.objects.unresolved().exists()


def test_what_was_imported_and_goes_on_now_is_told(hot: Sensor) -> None:
    come_in(hot, [85] * 10, NOW - 2 * MINUTE, HISTORY)
    come_in(hot, [85] * 6, NOW)
    alert = Alert.objects.get()
    assert (alert.historical, alert.state) == (False, State.OPEN)
    assert alert.began_at == NOW - 2 * MINUTE - 180 * SECOND


def test_what_comes_in_late_makes_an_alert_longer_but_not_older(hot: Sensor) -> None:
    come_in(hot, [85] * 4, NOW - 30 * MINUTE)
    come_in(hot, [*[70] * 2, *[87] * 4], NOW)
    come_in(hot, [84] * 4, NOW - 30 * MINUTE - 80 * SECOND)
    alert = Alert.objects.get()
    assert alert.began_at == NOW - 30 * MINUTE - 140 * SECOND
    assert (alert.last_seen_at, alert.evidence["peak_value"]) == (NOW, 87)


def test_a_late_reading_that_disproves_it_resolves_the_alert(hot: Sensor) -> None:
    times = [NOW - 60 * SECOND, NOW]
    store_batch(columns(hot, times, [85, 85]), source="test")
    outbox.drain("limits")
    assert Alert.objects.get().state == State.OPEN
    come_in(hot, [60], NOW - 30 * SECOND)
    assert Alert.objects.get().state == State.RESOLVED
    assert not Firing.objects.exists()


def test_doubted_readings_count_for_nothing(hot: Sensor) -> None:
    store(hot, NOW, 10, 20 * SECOND, values=[85] * 10)
    Reading.objects.update(quality=0.1)
    outbox.drain("limits")
    assert not Alert.objects.exists()


def test_sensors_without_limits_and_retired_ones_are_left_alone(hot: Sensor, north: Plant) -> None:
    come_in(north.vibration, [99] * 10)
    store(hot, NOW, 10, 20 * SECOND, values=[85] * 10)
    Sensor.objects.update(status="retired")
    outbox.drain("limits")
    assert not Firing.objects.exists()


def test_readings_inside_their_limits_cost_a_few_questions(
    hot: Sensor, north: Plant, django_assert_max_num_queries: Any
) -> None:
    store(hot, NOW, 100, 20 * SECOND, values=[70] * 100)
    with django_assert_max_num_queries(15):
        outbox.drain("limits")
    assert not Pending.objects.exists()


def a_rule(plant: Plant, **fields: Any) -> Rule:
    rule = Rule.objects.create(asset=plant.pump, name="Hot and shaking", **fields)
    Condition.objects.create(rule=rule, sensor=plant.temperature, warn_high=80)
    Condition.objects.create(rule=rule, sensor=plant.vibration, warn_high=5, alarm_high=9)
    return rule


def test_a_rule_holds_when_all_its_sensors_say_so(north: Plant) -> None:
    rule = a_rule(north)
    come_in(north.temperature, [85] * 10, NOW - 5 * MINUTE)
    assert not Alert.objects.exists()
    come_in(north.vibration, [6] * 10, NOW - 5 * MINUTE)
    alert = Alert.objects.get()
    assert (alert.severity, alert.sensor) == (Severity.MEDIUM, north.vibration)
    assert alert.title == "Hot and shaking (Pump P-101): Vibration above 5.00 mm/s: 6.00 mm/s"
    assert alert.evidence["rule"]["id"] == rule.pk
    come_in(north.vibration, [10] * 10, NOW)
    come_in(north.temperature, [85] * 10, NOW)
    alert.refresh_from_db()
    assert (alert.severity, Firing.objects.count()) == (Severity.HIGH, 1)


def test_a_rule_that_is_switched_off_or_deleted_says_nothing(north: Plant) -> None:
    a_rule(north, enabled=False)
    a_rule(north, removed_at=NOW)
    come_in(north.temperature, [85] * 10)
    come_in(north.vibration, [6] * 10)
    assert not Firing.objects.exists()


def test_a_thousand_sensors_beyond_their_limits_are_seen_to_at_once(north: Plant) -> None:
    made = [
        Sensor(site=north.site, asset=north.pump, sensor_id=f"s{n}", kind="generic", unit="1", warn_high=n % 2)
        for n in range(100)
    ]
    sensors = Sensor.objects.bulk_create(made)
    for number in range(4):
        for sensor in sensors[:20]:
            store(sensor, NOW - MINUTE * (3 - number), 1, SECOND, values=[1])
    outbox.drain("limits")
    assert Firing.objects.count() == 10


@given(seed=st.integers(0, 10**6), pieces=st.integers(1, 12))
@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_down_is_a_function_of_the_readings(north: Plant, seed: int, pieces: int) -> None:
    Firing.objects.all().delete()
    Alert.objects.all().delete()
    Reading.objects.all().delete()
    Rule.objects.all().delete()
    Sensor.objects.filter(pk=north.temperature.pk).update(warn_high=80, alarm_high=90, cadence_seconds=20)
    rule = a_rule(north, combination="any" if seed % 2 else "all", duration_seconds=30)
    random = np.random.default_rng(seed)
    batches = []
    for sensor, levels in ((north.temperature, [70, 79, 81, 85, 95]), (north.vibration, [1, 4.95, 6, 10])):
        seconds = np.cumsum(random.choice([10, 20, 40, 400], 60, p=[0.4, 0.3, 0.28, 0.02]))
        values = np.repeat(random.choice(levels, 20), 3)
        for part in np.array_split(np.arange(60), pieces):
            times = [NOW - 50 * MINUTE + timedelta(seconds=float(seconds[row]) / 2) for row in part]
            batches.append((sensor, times, values[part]))
    for number in random.permutation(len(batches)).tolist():
        sensor, times, values = batches[number]
        store_batch(columns(sensor, times, values), source="test")
        if random.random() < 0.6:
            outbox.drain("limits")
    outbox.drain("limits")
    for of, definition in (
        (None, definitions.of_sensor(Sensor.objects.get(pk=north.temperature.pk))),
        (rule, definitions.of_rule(rule, list(rule.conditions.select_related("sensor")))),
    ):
        whole = [Span(each.sensor, 0, 2**52) for each in definition.conditions]
        expected = held(definition, list(history.spans(whole, context=0)))
        rows = Firing.objects.filter(rule=of, definition=definition.digest)
        found = sorted(held_of(definition, row) for row in rows)
        assert found == [each._replace(goes_on=False) for each in expected]
        assert not Firing.objects.filter(alert=None).exists()

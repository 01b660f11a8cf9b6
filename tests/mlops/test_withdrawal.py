from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import numpy as np
import pytest
from django.db import connection, transaction
from django.utils import timezone

from alerts import lifecycle
from alerts.faults import pull_faults
from alerts.models import Alert, State
from maintenance import work_orders
from mlops import withdrawal
from mlops.models import Anomaly, ValidationPolicy
from sensors import faults, lookup, outbox, profiles
from sensors.access import Sender
from sensors.ingest import store_batch
from sensors.models import Reading, Sensor, SensorFault
from tests.conftest import Plant, make_user
from tests.locks import wait_until_waiting
from tests.readings import HISTORY, HOUR, MINUTE, SECOND, columns, noise, store

pytestmark = pytest.mark.django_db
FALSE_POSITIVE = Anomaly.Decision.FALSE_POSITIVE


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def temperature(north: Plant, now: datetime) -> Sensor:
    """The pump's temperature, 60 °C for two days, from 0 to 120 °C possible, with a learned profile."""
    Sensor.objects.update(range_low=0, range_high=120)
    lookup.forget()
    store(north.temperature, now - 60 * MINUTE, 2820, MINUTE, HISTORY)
    work_through(now)
    profiles.learn_due(now)
    lookup.forget()
    return north.temperature


def work_through(now: datetime) -> None:
    """What the worker does: consumers, then the beat's looks."""
    for consumer in ("score", "watch"):
        while outbox.drain(consumer):
            pass
    faults.look(now)
    pull_faults(now + MINUTE)
    withdrawal.set_faulty_aside()


def take_in(sensor: Sensor, now: datetime, values: Any) -> None:
    for part in np.array_split(values, 6):
        last = now - (len(values) - len(part)) * SECOND
        values = values[len(part) :]
        store(sensor, last, len(part), SECOND, values=part)
        work_through(last)


def correct(sensor: Sensor, values: dict[datetime, float]) -> None:
    engineer = make_user("engineer", sensor.site)
    store_batch(
        columns(sensor, list(values), list(values.values())),
        source="test",
        sender=Sender(user=engineer),
        on_conflict="replace",
    )
    outbox.drain("score")


def test_a_temperature_sensor_that_breaks_is_a_sensor_fault_and_no_anomaly(temperature: Sensor, now: datetime) -> None:
    take_in(temperature, now, [*noise(30), *[-40.0] * 60])
    alert = Alert.objects.get()
    assert (alert.kind, alert.state) == (Alert.Kind.SENSOR_FAULT, State.OPEN)
    assert not Anomaly.objects.exists()


def test_one_that_goes_flat_is_a_sensor_fault_and_no_anomaly(temperature: Sensor, now: datetime) -> None:
    take_in(temperature, now, [*noise(30), *[60.1] * 60])
    alert = Alert.objects.get()
    assert (alert.kind, alert.state, alert.title) == (
        Alert.Kind.SENSOR_FAULT,
        State.OPEN,
        "Temperature of Pump P-101 is stuck",
    )
    assert not Anomaly.objects.exists()


def test_one_that_sticks_at_an_unusual_value_leaves_only_the_sensor_fault_open(
    temperature: Sensor, now: datetime
) -> None:
    take_in(temperature, now, [*noise(30), *[95.0] * 60])
    assert Alert.objects.unresolved().get().kind == Alert.Kind.SENSOR_FAULT
    anomaly = Anomaly.objects.get()
    assert anomaly.decision == FALSE_POSITIVE
    assert anomaly.evidence["layers"][-1] == {
        "name": "sensor in order",
        "passed": False,
        "detail": "The sensor itself was faulty at the time.",
    }
    resolved = Alert.objects.get(kind=Alert.Kind.ANOMALY)
    assert resolved.transitions.last().reason == "The sensor itself was faulty at the time."  # type: ignore[union-attr]


@pytest.mark.django_db(transaction=True)
def test_withdrawing_waits_for_the_scoring_of_the_same_sensor_which_does_not_undo_it(
    temperature: Sensor, now: datetime
) -> None:
    store(temperature, now - 40 * SECOND, 30, SECOND)
    store(temperature, now - 20 * SECOND, 10, SECOND, values=noise(10) + 35)
    outbox.drain("score")
    start = Anomaly.objects.get().start
    SensorFault.objects.create(kind="stuck", sensor=temperature, site=temperature.site, began_at=start)

    def withdraw() -> None:
        try:
            withdrawal.set_faulty_aside()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as workers:
        with transaction.atomic():
            # As scoring does: it locks the sensor, reads what is recorded, alerts, and writes all of the anomaly.
            Sensor.objects.select_for_update(of=("self",), no_key=True).get(pk=temperature.pk)
            anomaly = Anomaly.objects.get()
            withdrawing = workers.submit(withdraw)
            wait_until_waiting(1, withdrawing)
            anomaly.end = now
            anomaly.save()
        withdrawing.result()
    anomaly.refresh_from_db()
    assert (anomaly.decision, anomaly.end) == (FALSE_POSITIVE, now)
    assert Alert.objects.get().state == State.RESOLVED


def test_a_really_hot_machine_is_an_anomaly_and_no_sensor_fault(temperature: Sensor, now: datetime) -> None:
    take_in(temperature, now, [*noise(30), *noise(60) + 30])
    assert not SensorFault.objects.exists()
    assert Alert.objects.get().kind == Alert.Kind.ANOMALY
    assert Anomaly.objects.get().decision == Anomaly.Decision.CREDIBLE


def test_an_anomaly_from_before_the_sensor_broke_stands(temperature: Sensor, now: datetime) -> None:
    take_in(temperature, now, [*noise(30) + 30, *[-40.0] * 40])
    assert {alert.kind for alert in Alert.objects.unresolved()} == {Alert.Kind.ANOMALY, Alert.Kind.SENSOR_FAULT}
    assert Anomaly.objects.get().decision == Anomaly.Decision.CREDIBLE


def test_correcting_every_wrong_value_withdraws_the_anomaly_and_resolves_its_alert(
    temperature: Sensor, now: datetime
) -> None:
    times = [now - i * SECOND for i in range(5)]
    store_batch(columns(temperature, times, [95, 96, 97, 98, 99]), source="test")
    outbox.drain("score")
    alert = Alert.objects.get()
    correct(temperature, dict(zip(times, noise(5), strict=True)))
    anomaly = Anomaly.objects.get()
    assert anomaly.decision == FALSE_POSITIVE
    assert anomaly.evidence["layers"][-1]["detail"] == "Values it rested on were corrected."
    alert.refresh_from_db()
    assert alert.state == State.RESOLVED
    assert alert.transitions.last().reason == "Values it rested on were corrected."  # type: ignore[union-attr]


def test_what_still_stands_after_a_correction_is_stated_anew(temperature: Sensor, now: datetime) -> None:
    times = [now - i * SECOND for i in range(6)]
    store_batch(columns(temperature, times, [118, 90, 91, 92, 91, 90]), source="test")
    outbox.drain("score")
    assert Anomaly.objects.get().peak_value == 118
    correct(temperature, {now: 60.0})
    anomaly = Anomaly.objects.get()
    assert (anomaly.peak_value, anomaly.decision, anomaly.end) == (92, Anomaly.Decision.CREDIBLE, now - SECOND)
    assert Alert.objects.get().state == State.OPEN


def test_an_alert_that_another_anomaly_speaks_for_stays_open(temperature: Sensor, now: datetime) -> None:
    times = [now - i * SECOND for i in range(5)]
    store_batch(columns(temperature, times, [95, 96, 97, 98, 99]), source="test")
    outbox.drain("score")
    other = Anomaly.objects.get()
    other.pk, other.start, other.end = None, now - timedelta(hours=20), now - timedelta(hours=19)
    other.save()
    correct(temperature, dict(zip(times, noise(5), strict=True)))
    assert Alert.objects.get().state == State.OPEN


def test_a_correction_that_makes_things_worse_is_found(temperature: Sensor, now: datetime) -> None:
    times = [now - i * SECOND for i in range(5)]
    store_batch(columns(temperature, times, noise(5)), source="test")
    outbox.drain("score")
    assert not Anomaly.objects.exists()
    correct(temperature, dict.fromkeys(times, 99.0))
    assert Alert.objects.get().state == State.OPEN


def test_a_lone_spike_that_is_known_as_one_by_the_next_reading_withdraws_its_anomaly(
    temperature: Sensor, now: datetime
) -> None:
    store(temperature, now - 20 * SECOND, 30, SECOND)
    store(temperature, now - 19 * SECOND, 1, SECOND, values=[95.0])
    work_through(now)
    alert = Alert.objects.unresolved().get()
    store(temperature, now - 18 * SECOND, 1, SECOND, values=[60.0])
    work_through(now)
    anomaly = Anomaly.objects.get()
    assert anomaly.decision == FALSE_POSITIVE
    assert anomaly.evidence["layers"][-1] == {
        "name": "values stand",
        "passed": False,
        "detail": "Values it rested on proved to be wrong.",
    }
    alert.refresh_from_db()
    assert alert.state == State.RESOLVED
    assert alert.transitions.last().reason == "Values it rested on proved to be wrong."  # type: ignore[union-attr]


def test_a_spike_within_an_anomaly_leaves_the_rest_of_it_standing(temperature: Sensor, now: datetime) -> None:
    store(temperature, now - 20 * SECOND, 30, SECOND)
    store(temperature, now - 15 * SECOND, 5, SECOND, values=[89.8, 90.3, 90.1, 90.2, 118.0])
    work_through(now)
    assert Anomaly.objects.get().peak_value == 118
    store(temperature, now - 14 * SECOND, 1, SECOND, values=[90.0])
    work_through(now)
    anomaly = Anomaly.objects.get()
    assert (anomaly.peak_value, anomaly.decision) == (90.3, Anomaly.Decision.CREDIBLE)
    assert Alert.objects.get().state == State.OPEN
    assert "90.3" in Alert.objects.get().title


def test_one_that_sticks_beside_lively_ones_leaves_no_alert_open_either(
    temperature: Sensor, north: Plant, now: datetime
) -> None:
    others = [Sensor.objects.create(asset=north.pump, sensor_id=key, kind="current", unit="A") for key in ("l1", "l2")]
    start = now - 60 * SECOND
    for second in range(1, 31):
        at = start + second * SECOND
        for other in others:
            store(other, at, 1, SECOND, values=[float(second % 7)])
        store(temperature, at, 1, SECOND, values=[95.0])
        work_through(at)
        if second == 10:
            # Once it has not moved for five readings, it is not believed; the people who were told see why.
            alert = Alert.objects.unresolved().get(kind=Alert.Kind.ANOMALY)
            assert alert.evidence["decision"] == FALSE_POSITIVE
    assert Alert.objects.unresolved().get().kind == Alert.Kind.SENSOR_FAULT
    alert.refresh_from_db()
    assert (alert.state, alert.occurrences) == (State.RESOLVED, 1)


def test_what_nobody_was_told_of_is_withdrawn_as_well(temperature: Sensor, now: datetime) -> None:
    ValidationPolicy.objects.create(site=temperature.site, preset="own", credible=0.95, false_positive=0.95)
    times = [now - 60 * SECOND, now]
    for at in times:
        store(temperature, at, 1, SECOND, values=[119.0])
        outbox.drain("score")
        assert Anomaly.objects.latest("pk").decision == FALSE_POSITIVE
        correct(temperature, {at: 60.0})
    assert {anomaly.circumstances for anomaly in Anomaly.objects.all()} == {Anomaly.Circumstances.WITHDRAWN}
    assert not Alert.objects.exists()


def test_a_lone_spike_that_nobody_was_told_of_is_no_part_of_what_follows(temperature: Sensor, now: datetime) -> None:
    ValidationPolicy.objects.create(site=temperature.site, preset="own", credible=0.95, false_positive=0.95)
    store(temperature, now - 60 * SECOND, 5, SECOND)
    for seconds, value in ((59, 95.0), (58, 60.0)):
        store(temperature, now - seconds * SECOND, 1, SECOND, values=[value])
        outbox.drain("score")
    store(temperature, now - 40 * SECOND, 5, SECOND, values=[70.0, 71.2, 70.1, 70.4, 71.0])
    outbox.drain("score")
    found = Anomaly.objects.get(decision=Anomaly.Decision.CREDIBLE)
    assert (found.peak_value, found.start) == (71.2, now - 44 * SECOND)
    assert Alert.objects.get().began_at == found.start


def test_a_correction_after_work_has_begun_does_not_take_the_event_for_work(temperature: Sensor, now: datetime) -> None:
    times = [now - i * SECOND for i in range(6)]
    store_batch(columns(temperature, times, [118, 90, 91, 92, 91, 90]), source="test")
    outbox.drain("score")
    technician = make_user("technician", temperature.site)
    work_orders.start(work_orders.propose_for_alert(Alert.objects.get(), technician, approved=True), technician)
    correct(temperature, {now: 60.0})
    anomaly = Anomaly.objects.get()
    assert (anomaly.peak_value, anomaly.decision, anomaly.circumstances) == (
        92,
        Anomaly.Decision.CREDIBLE,
        Anomaly.Circumstances.NORMAL,
    )
    assert Alert.objects.get().state == State.ACKNOWLEDGED


def live_before(sensor: Sensor, last: datetime) -> Anomaly:
    """An event that was live when it came in."""
    with mock.patch("django.utils.timezone.now", return_value=last):
        store(sensor, last, 5, SECOND, values=[80.0, 81.0, 80.0, 82.0, 80.0])
        outbox.drain("score")
    return Anomaly.objects.filter(sensor=sensor).latest("start")


def test_what_comes_in_late_does_not_join_a_resolved_event_to_the_one_after(temperature: Sensor, now: datetime) -> None:
    before = live_before(temperature, now - 3 * HOUR)
    assert before.alert
    with mock.patch("django.utils.timezone.now", return_value=now - 2.5 * HOUR):
        lifecycle.resolve(before.alert, lifecycle.Actor(make_user("operator", temperature.site)))
    after = live_before(temperature, now - MINUTE)
    store(temperature, now - 2.7 * HOUR, 5, SECOND, HISTORY, values=[80.0, 81.0, 80.0, 83.0, 80.0])
    outbox.drain("score")
    assert Alert.objects.unresolved().get() == after.alert
    assert [anomaly.peak_value for anomaly in Anomaly.objects.order_by("start")] == [83, 82]


def test_nobody_is_told_when_the_past_makes_an_event_credible(temperature: Sensor, now: datetime) -> None:
    live_before(temperature, now - 3 * HOUR)
    Anomaly.objects.update(alert=None, decision=FALSE_POSITIVE)
    Alert.objects.all().delete()
    for hours in (2.9, 2.8):
        store(temperature, now - hours * HOUR, 5, SECOND, HISTORY, values=[80.0, 81.0, 80.0, 83.0, 80.0])
        outbox.drain("score")
    assert Alert.objects.get().historical
    assert Anomaly.objects.get().decision == Anomaly.Decision.CREDIBLE


def test_sensors_that_wait_to_be_placed_are_not_scored(temperature: Sensor, now: datetime) -> None:
    Sensor.objects.update(status=Sensor.Status.DISCOVERED)
    store_batch(columns(temperature, [now - i * SECOND for i in range(5)], [95, 96, 97, 98, 99]), source="test")
    outbox.drain("score")
    assert Reading.objects.filter(value__gt=90).count() == 5
    assert not Anomaly.objects.exists()

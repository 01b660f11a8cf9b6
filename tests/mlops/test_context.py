"""What validation is told of a sensor's surroundings, and what comes of it."""

from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.utils import timezone

from alerts import lifecycle
from alerts.models import Alert, Severity, State
from maintenance.models import Verdict
from mlops import capsule, context, recording
from mlops.models import Anomaly, ValidationPolicy
from mlops.validation import Parameters
from sensors import outbox
from sensors.models import Asset, Sensor, SensorProfile
from tests.conftest import Plant, make_user
from tests.mlops.test_scoring import noise, only_scoring, store

__all__ = ["only_scoring"]

MINUTE = timedelta(minutes=1)


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def vibration(north: Plant, now: datetime) -> Sensor:
    for sensor in (north.vibration, north.temperature):
        store(sensor, now - timedelta(days=2), noise(2 * 1440 - 60), "history")  # type: ignore[arg-type]
    outbox.drain("score")
    know(north.vibration, repeats=0.0)
    return north.vibration


def know(sensor: Sensor, repeats: float) -> None:
    SensorProfile.objects.update_or_create(sensor=sensor, defaults={"repeat_share": repeats})


def deviate(sensor: Sensor, start: datetime, values: Any) -> Anomaly:
    store(sensor, start, np.asarray(values, float))
    outbox.drain("score")
    anomaly = Anomaly.objects.filter(sensor=sensor).order_by("-start").first()
    assert anomaly
    return anomaly


def layer(anomaly: Anomaly, name: str) -> dict[str, Any]:
    return next(layer for layer in anomaly.evidence["layers"] if layer["name"] == name)


def judge(sensor: Sensor, at: datetime, score: float, outcome: str) -> None:
    """An event of the past and what people found behind it."""
    alert = Alert.objects.create(
        site=sensor.site, asset=sensor.asset, sensor=sensor, severity=Severity.HIGH, state=State.RESOLVED, title="x"
    )
    Anomaly.objects.create(
        sensor=sensor, alert=alert, start=at, end=at + MINUTE, peak_at=at, peak_value=6, peak_score=score,
        decision="credible_anomaly", confidence=1,
    )  # fmt: skip
    by = make_user("technician", sensor.site)
    Verdict.objects.create(
        asset=alert.asset, alert=alert, outcome=outcome, window_start=at, window_end=at + MINUTE, given_by=by
    )


def test_a_channel_that_stands_still_beside_lively_ones_is_taken_for_a_broken_instrument(
    vibration: Sensor, north: Plant, now: datetime
) -> None:
    current = Sensor.objects.create(asset=north.pump, sensor_id="current", kind="current", unit="A")
    for sensor in (north.temperature, current):
        store(sensor, now - 9 * MINUTE, noise(8))
    found = deviate(vibration, now - 9 * MINUTE, [6.0] * 8)
    assert found.decision == Anomaly.Decision.FALSE_POSITIVE
    assert "while 2 sensors beside it did" in layer(found, "sensor in order")["detail"]
    assert not Alert.objects.exists()


def test_a_coarse_display_that_usually_repeats_itself_is_no_broken_instrument(
    vibration: Sensor, north: Plant, now: datetime
) -> None:
    know(vibration, repeats=0.9)
    current = Sensor.objects.create(asset=north.pump, sensor_id="current", kind="current", unit="A")
    for sensor in (north.temperature, current):
        store(sensor, now - 9 * MINUTE, noise(8))
    assert deviate(vibration, now - 9 * MINUTE, [6.0] * 8).decision == Anomaly.Decision.CREDIBLE


def test_a_machine_that_stops_is_no_broken_instrument(vibration: Sensor, north: Plant, now: datetime) -> None:
    current = Sensor.objects.create(asset=north.pump, sensor_id="current", kind="current", unit="A")
    for sensor in (north.temperature, current):
        store(sensor, now - 9 * MINUTE, noise(8))
    assert deviate(vibration, now - 9 * MINUTE, [0.0] * 8).decision == Anomaly.Decision.CREDIBLE


def test_a_signal_that_was_restless_before_is_believed_less(vibration: Sensor, now: datetime) -> None:
    found = deviate(vibration, now - 12 * MINUTE, [2.3, 1.7, 2.3, 1.7, 2.3, 2.6, 2.6, 2.6])
    assert not layer(found, "stable before")["passed"]


def current_of(asset: Asset, now: datetime, values: Any, key: str = "current") -> Sensor:
    """A current sensor with a reading a minute up to now."""
    sensor = Sensor.objects.create(asset=asset, sensor_id=key, kind="current", unit="A", name="Motor current")
    store(sensor, now - (len(values) - 1) * MINUTE, np.asarray(values, float), "history")  # type: ignore[arg-type]
    return sensor


def running(hours: int, stopped: int = 0) -> np.ndarray:
    """Three hours on, one hour off, with the last `stopped` minutes off."""
    minutes = np.arange(hours * 60)
    amperes = np.where(minutes // 60 % 4 < 3, 12.0, 0.2) + noise(len(minutes), 0.0, 0.05)
    amperes[len(amperes) - 60 :] = 12.0
    amperes[len(amperes) - stopped :] = 0.2
    return amperes


def test_a_short_event_right_after_the_machine_stopped_is_doubted(vibration: Sensor, now: datetime) -> None:
    current_of(vibration.asset, now, running(48, stopped=10))
    found = deviate(vibration, now - 9 * MINUTE, [1.4] * 8)
    said = layer(found, "steady state")
    assert said["detail"] == "The machine stopped at the time, as Motor current shows."
    assert not said["passed"]
    assert found.decision != Anomaly.Decision.CREDIBLE


def test_so_is_an_event_of_the_whole_asset(vibration: Sensor, now: datetime) -> None:
    current_of(vibration.asset, now, running(48, stopped=10))
    event = capsule.event_of(deviate(vibration, now - 9 * MINUTE, [1.4] * 8))
    candidate = context.candidate_of_asset(vibration.asset, event, Parameters())
    assert (candidate.change, candidate.shown_by) == ("stopped", "Motor current")


def test_what_began_before_the_machine_stopped_may_be_why_it_stopped(vibration: Sensor, now: datetime) -> None:
    current_of(vibration.asset, now, running(48, stopped=3))
    assert layer(deviate(vibration, now - 9 * MINUTE, [2.6] * 9), "steady state")["passed"]


def test_what_outlasts_a_start_by_far_is_not_explained_by_it(vibration: Sensor, now: datetime) -> None:
    amperes = running(48)
    amperes[-90:-40] = 0.2
    current_of(vibration.asset, now, amperes)
    assert not layer(deviate(vibration, now - 39 * MINUTE, [2.6] * 10), "steady state")["passed"]
    assert layer(deviate(vibration, now - 29 * MINUTE, [2.6] * 28), "steady state")["passed"]


def test_a_machine_that_always_runs_has_no_state_to_change(vibration: Sensor, now: datetime) -> None:
    current_of(vibration.asset, now, noise(2880, 12.0, 0.1))
    assert layer(deviate(vibration, now - 9 * MINUTE, [2.6] * 8), "steady state")["passed"]


def neighbours_of(sensor: Sensor, now: datetime, moved: list[bool]) -> None:
    """Other machines of the site, whose sensors of the kind moved as well, or did not."""
    for number, also in enumerate(moved):
        asset = Asset.objects.create(site=sensor.site, name=f"Pump {number}")
        other = Sensor.objects.create(asset=asset, sensor_id=f"other.{number}", kind=sensor.kind, unit=sensor.unit)
        values = noise(600, seed=number)
        values[-10:] += 1.0 if also else 0.0
        store(other, now - 599 * MINUTE, values, "history")  # type: ignore[arg-type]


def test_what_machines_beside_it_show_as_well_has_a_common_cause(vibration: Sensor, now: datetime) -> None:
    neighbours_of(vibration, now, [True, True, False])
    found = deviate(vibration, now - 9 * MINUTE, [2.6] * 8)
    said = layer(found, "this machine alone")
    assert said["detail"] == "2 of 3 such sensors of neighbouring machines moved the same way at the time."
    assert found.decision != Anomaly.Decision.CREDIBLE


def test_a_fall_is_not_explained_by_a_rise_beside_it(vibration: Sensor, now: datetime) -> None:
    neighbours_of(vibration, now, [True, True])
    assert layer(deviate(vibration, now - 9 * MINUTE, [1.4] * 8), "this machine alone")["passed"]


def test_machines_of_another_line_are_no_neighbours(vibration: Sensor, now: datetime) -> None:
    neighbours_of(vibration, now, [True, True])
    first, second = Asset.objects.filter(name__startswith="Pump ").exclude(pk=vibration.asset_id)[:2]
    line = Asset.objects.create(site=vibration.site, name="Line", level=Asset.Level.LINE)
    Asset.objects.filter(pk=first.pk).update(parent=line)
    Asset.objects.filter(pk=second.pk).update(parent=line)
    found = deviate(vibration, now - 9 * MINUTE, [2.6] * 8)
    assert layer(found, "this machine alone")["detail"].startswith("No neighbouring machine")


def test_parts_of_one_machine_share_its_faults(vibration: Sensor, now: datetime) -> None:
    neighbours_of(vibration, now, [True, True])
    machine = Asset.objects.create(site=vibration.site, name="Machine")
    Asset.objects.filter(name__startswith="Pump ").update(parent=machine, level=Asset.Level.COMPONENT)
    found = deviate(vibration, now - 9 * MINUTE, [2.6] * 8)
    assert layer(found, "this machine alone")["detail"].startswith("No neighbouring machine")


def test_a_load_that_comes_on_two_days_of_every_week_is_no_anomaly(north: Plant, now: datetime) -> None:
    looks = np.arange(5 * 7 * 144)  # One every ten minutes.
    day, look = (looks + 6) // 144 % 7, (looks + 6) % 144
    values = noise(len(looks), seed=7) + np.where(((day == 0) | (day == 3)) & (look < 18), 1.0, 0.0)
    start = now - 10 * len(looks) * MINUTE
    store(north.vibration, start, values[:-6], "history", step=600)  # type: ignore[arg-type]
    outbox.drain("score")
    # The load of the sixth week has just begun.
    store(north.vibration, now - 60 * MINUTE, values[-6:], step=600)
    outbox.drain("score")
    said = layer(Anomaly.objects.filter(sensor=north.vibration).latest("end"), "unlike earlier days")
    assert not said["passed"]
    assert "of ordinary days resemble another one more" in said["detail"]


def test_what_people_found_behind_like_events_counts(vibration: Sensor, now: datetime) -> None:
    for days in range(1, 4):
        judge(vibration, now - timedelta(days=days), 20.0, "nothing_found")
    judge(vibration, now - timedelta(days=4), -20.0, "fault_found")
    found = deviate(vibration, now - 9 * MINUTE, [2.0, 4.5, 4.6, 4.5])
    assert (
        layer(found, "like events before")["detail"]
        == "People found no fault of the machine behind 3 of 3 like events of this sensor."
    )
    assert found.decision == Anomaly.Decision.FURTHER
    assert Alert.objects.get(state=State.OPEN).severity == Severity.LOW


def test_the_reputation_of_the_detector_is_that_for_such_sensors_of_the_site(
    vibration: Sensor, south: Plant, now: datetime
) -> None:
    for number in range(5):
        judge(vibration, now - timedelta(days=1, hours=number), 100.0, "fault_found")
        judge(south.vibration, now - timedelta(days=1, hours=number), 100.0, "nothing_found")
    found = deviate(vibration, now - 9 * MINUTE, [2.0, 2.6, 2.6, 2.6])
    assert layer(found, "reputation")["detail"] == "People found a fault behind 5 of 5 events of such sensors here."


def test_the_policy_of_a_site_decides_how_much_is_believed(vibration: Sensor, now: datetime) -> None:
    ValidationPolicy.objects.create(site=vibration.site, preset="own", credible=1.0, false_positive=0.99)
    assert deviate(vibration, now - 9 * MINUTE, [2.0, 2.5, 2.5, 2.5]).decision == Anomaly.Decision.FALSE_POSITIVE


def test_doubt_cannot_begin_above_belief(north: Plant) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        ValidationPolicy.objects.create(site=north.site, credible=0.3)


def test_a_failing_validation_shows_the_anomaly_and_tells_of_itself_once(
    vibration: Sensor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(recording, "candidate_of", fail)
        found = deviate(vibration, now - 9 * MINUTE, [6.0] * 4)
        deviate(vibration, now - 5 * MINUTE, [6.0])
    assert (found.decision, found.confidence) == (Anomaly.Decision.ERROR, 0.0)
    assert Alert.objects.get(kind=Alert.Kind.SYSTEM).occurrences == 2
    assert Alert.objects.get(kind=Alert.Kind.ANOMALY).severity == Severity.LOW
    assert deviate(vibration, now - 4 * MINUTE, [6.0]).decision == Anomaly.Decision.CREDIBLE


def test_work_begins_a_little_before_people_say_so(vibration: Sensor, now: datetime) -> None:
    technician = make_user("technician", vibration.site)
    orders = vibration.asset.work_orders
    orders.create(site=vibration.site, title="Oil", created_by=technician, state="started", started_at=now)
    found = context.circumstances_of(
        vibration.pk, np.array([(now + k * MINUTE).timestamp() * 1e6 for k in (-6, -4, 0, 9)], np.int64)
    )
    assert found == ["normal", "work", "work", "work"]


def test_the_command_decides_again_by_what_the_alert_holds(vibration: Sensor, now: datetime) -> None:
    alert = deviate(vibration, now - 9 * MINUTE, [6.0] * 6).alert
    assert alert
    said = StringIO()
    call_command("replay_alert", str(alert.pk), stdout=said)
    assert "5 of 5 consecutive readings were anomalous" in said.getvalue()
    assert "This is what was decided." in said.getvalue()
    alert.evidence["capsule"]["event"]["window"][0]["value"] = 2.0
    alert.save()
    with pytest.raises(CommandError, match="hits: 5, now 4"):
        call_command("replay_alert", str(alert.pk), stdout=said)


def test_the_command_says_when_there_is_nothing_to_decide_by(north: Plant) -> None:
    with pytest.raises(CommandError, match="no alert 99"):
        call_command("replay_alert", "99")
    alert = lifecycle.raise_alert(dedup_key="x", title="x", severity=Severity.LOW, evidence={}, asset=north.pump,
                                  began_at=timezone.now(), last_seen_at=timezone.now())  # fmt: skip
    with pytest.raises(CommandError, match="nothing to decide by"):
        call_command("replay_alert", str(alert.pk))

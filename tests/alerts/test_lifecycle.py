"""What happens to an alert between its first reading and the day it is settled."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from alerts import lifecycle, returning
from alerts.lifecycle import Actor
from alerts.models import Alert, Severity, State, Transition
from sensors.errors import Refused
from sensors.models import Pending, ReadingBatch
from tests.conftest import Plant
from tests.locks import wait_until_waiting
from tests.mlops.test_scoring import store

MINUTE = timedelta(minutes=1)


def raised(plant: Plant, at: datetime, severity: Severity = Severity.MEDIUM, **extra: Any) -> Alert:
    about = {"asset": plant.pump, "sensor": plant.temperature, "evidence": {}, "dedup_key": "hot", "title": "Hot"}
    return lifecycle.raise_alert(severity=severity, began_at=at, last_seen_at=at, **about | extra)


def steps(alert: Alert) -> list[str]:
    return [step.step for step in alert.transitions.all()]


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def operator(people: dict[str, User]) -> Actor:
    return Actor(people["operator"], Transition.Surface.WEB)


def test_a_snoozed_alert_opens_again_when_its_time_has_come(north: Plant, now: datetime, operator: Actor) -> None:
    alert = lifecycle.snooze(raised(north, now), operator, now + 60 * MINUTE, "Parts ordered")
    assert (alert.state, alert.snoozed_until) == (State.SNOOZED, now + 60 * MINUTE)
    assert lifecycle.wake(now + 59 * MINUTE) == 0
    assert lifecycle.wake(now + 60 * MINUTE) == 1
    alert.refresh_from_db()
    assert (alert.state, alert.snoozed_until) == (State.OPEN, None)
    assert steps(alert) == ["raised", "snoozed", "woken"]
    assert lifecycle.wake(now + 61 * MINUTE) == 0


def test_what_gets_worse_wakes_it_at_once(north: Plant, now: datetime, operator: Actor) -> None:
    alert = lifecycle.snooze(raised(north, now), operator, now + 60 * MINUTE)
    raised(north, now + MINUTE)
    alert.refresh_from_db()
    assert (alert.state, alert.occurrences) == (State.SNOOZED, 2)
    raised(north, now + 2 * MINUTE, Severity.CRITICAL)
    alert.refresh_from_db()
    assert (alert.state, alert.severity, alert.snoozed_until) == (State.OPEN, Severity.CRITICAL, None)
    assert steps(alert)[-1] == "more_severe"


def test_what_is_judged_to_be_worse_by_the_same_readings_wakes_it_too(
    north: Plant, now: datetime, operator: Actor
) -> None:
    alert = lifecycle.snooze(raised(north, now), operator, now + 60 * MINUTE)
    lifecycle.update(alert, title="Hot", severity=Severity.HIGH, evidence={}, start=now, end=now)
    alert.refresh_from_db()
    assert (alert.state, alert.snoozed_until) == (State.OPEN, None)


@pytest.mark.parametrize("hours", [-1, 0, 24 * 7 + 1])
def test_a_snooze_ends_within_a_week(north: Plant, now: datetime, operator: Actor, hours: int) -> None:
    with pytest.raises(Refused, match="seven days"):
        lifecycle.snooze(raised(north, now), operator, now + timedelta(hours=hours))


def test_acknowledging_ends_a_snooze(north: Plant, now: datetime, operator: Actor) -> None:
    alert = lifecycle.snooze(raised(north, now), operator, now + 60 * MINUTE)
    assert lifecycle.acknowledge(alert, operator).state == State.ACKNOWLEDGED
    alert.refresh_from_db()
    assert alert.snoozed_until is None


def test_an_alert_is_assigned_to_those_who_can_see_to_it(
    north: Plant, now: datetime, operator: Actor, people: dict[str, User]
) -> None:
    alert = raised(north, now)
    assert lifecycle.assign(alert, operator, people["technician"]).assignee == people["technician"]
    lifecycle.assign(alert, operator, people["technician"])
    assert steps(alert) == ["raised", "assigned"]
    for nobody in ("viewer", "integration"):
        with pytest.raises(Refused):
            lifecycle.assign(alert, operator, people[nobody])
    stranger = User.objects.create_user("stranger")
    stranger.groups.set(people["technician"].groups.all())
    with pytest.raises(Refused):
        lifecycle.assign(alert, operator, stranger)
    assert lifecycle.assign(alert, operator, None).assignee is None


def test_a_resolved_alert_takes_comments_and_nothing_else(north: Plant, now: datetime, operator: Actor) -> None:
    alert = lifecycle.resolve(raised(north, now), operator, "Cleaned")
    lifecycle.comment(alert, operator, " It was the filter. ")
    last = alert.transitions.last()
    assert (last.step, last.reason, last.to_state, last.surface) == (
        "commented",
        "It was the filter.",
        "resolved",
        "web",
    )
    for step in (
        lambda: lifecycle.acknowledge(alert, operator),
        lambda: lifecycle.snooze(alert, operator, now + 60 * MINUTE),
        lambda: lifecycle.assign(alert, operator, None),
    ):
        with pytest.raises(Refused, match="resolved"):
            step()
    with pytest.raises(Refused):
        lifecycle.comment(alert, operator, "  ")


def after(plant: Plant, at: datetime, minutes: int, first: int = 1) -> None:
    """Readings every minute, scored, from the next minute on."""
    store(plant.temperature, at + first * MINUTE, [60.0] * minutes, ReadingBatch.Mode.HISTORY)
    Pending.objects.all().delete()


def test_an_alert_is_resolved_when_its_values_have_been_as_usual_for_a_while(north: Plant, now: datetime) -> None:
    at = now - 60 * MINUTE
    alert = raised(north, at)
    after(north, at, 14)
    returning.look(now)
    alert.refresh_from_db()
    assert (alert.state, alert.normal_since) == (State.OPEN, None)
    after(north, at, 1, first=15)
    returning.look(now)
    alert.refresh_from_db()
    assert (alert.state, alert.normal_since) == (State.RESOLVED, at + MINUTE)
    assert steps(alert) == ["raised", "resolved"]


def test_silence_is_no_return_to_normal(north: Plant, now: datetime) -> None:
    alert = raised(north, now - timedelta(days=1))
    after(north, now - 60 * MINUTE, 4)
    returning.look(now)
    alert.refresh_from_db()
    assert alert.state == State.OPEN


def test_while_readings_wait_to_be_scored_nothing_is_said(north: Plant, now: datetime) -> None:
    at = now - 60 * MINUTE
    alert = raised(north, at)
    after(north, at, 30)
    store(north.vibration, now - MINUTE, [2.0])
    Pending.objects.update(due_at=now - MINUTE)
    returning.look(now)
    alert.refresh_from_db()
    assert alert.state == State.OPEN
    Pending.objects.all().delete()
    returning.look(now)
    alert.refresh_from_db()
    assert alert.state == State.RESOLVED


def test_a_severe_alert_waits_until_somebody_has_seen_it(north: Plant, now: datetime, operator: Actor) -> None:
    at = now - 60 * MINUTE
    alert = raised(north, at, Severity.HIGH)
    after(north, at, 30)
    returning.look(now)
    returning.look(now)
    alert.refresh_from_db()
    assert (alert.state, alert.normal_since) == (State.OPEN, at + MINUTE)
    assert steps(alert) == ["raised", "normal"]
    lifecycle.acknowledge(alert, operator)
    returning.look(now)
    alert.refresh_from_db()
    assert alert.state == State.RESOLVED


def test_what_comes_back_soon_goes_on_with_its_alert(north: Plant, now: datetime) -> None:
    at = now - 60 * MINUTE
    alert = raised(north, at)
    after(north, at, 20)
    returning.look(now)
    assert raised(north, now).pk == alert.pk
    alert.refresh_from_db()
    assert (alert.state, alert.occurrences, alert.normal_since, alert.resolved_at) == (State.OPEN, 2, None, None)
    assert steps(alert) == ["raised", "resolved", "reopened"]


def test_what_comes_back_late_or_after_somebody_settled_it_is_new(north: Plant, now: datetime, operator: Actor) -> None:
    first = raised(north, now - 60 * MINUTE)
    lifecycle.resolve(first, operator)
    second = raised(north, now - 50 * MINUTE)
    assert second.pk != first.pk
    lifecycle.back_to_normal(second, now - 40 * MINUTE)
    Alert.objects.filter(pk=second.pk).update(resolved_at=now - lifecycle.REOPEN_WITHIN - MINUTE)
    assert raised(north, now).pk not in (first.pk, second.pk)


def test_an_alert_without_a_sensor_is_left_to_its_own(north: Plant, now: datetime) -> None:
    raised(north, now - 60 * MINUTE, sensor=None)
    after(north, now - 60 * MINUTE, 30)
    returning.look(now)
    assert Alert.objects.get().state == State.OPEN


@pytest.mark.django_db(transaction=True)
def test_a_cause_that_is_seen_while_its_alert_is_resolved_opens_another_one(
    north: Plant, now: datetime, operator: Actor
) -> None:
    first = raised(north, now)

    def again() -> Alert:
        try:
            return raised(north, now + MINUTE)
        finally:
            connection.close()

    with ThreadPoolExecutor() as threads:
        with transaction.atomic():
            lifecycle.resolve(first, operator)
            seen = threads.submit(again)
            wait_until_waiting(1, seen)
        second = seen.result(10)
    assert (second.pk != first.pk, second.state) == (True, State.OPEN)

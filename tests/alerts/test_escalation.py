"""More people are told while nobody acknowledges."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from alerts import lifecycle
from alerts.lifecycle import Actor
from alerts.models import (
    Alert,
    Channel,
    Delivery,
    Escalation,
    EscalationPolicy,
    EscalationStep,
    Rotation,
    RotationMember,
    Schedule,
    Severity,
    Silence,
    State,
)
from alerts.routing import escalation, notify
from tests.alerts.told import person, raised, route, told
from tests.conftest import Plant, make_plant

NOW = datetime(2026, 3, 4, 10, tzinfo=UTC)
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)


def policy(*steps: tuple[int, User | Schedule | None], repeat: int = 0) -> EscalationPolicy:
    """Each step waits so many minutes and tells a person, or whoever is on call."""
    made: EscalationPolicy = EscalationPolicy.objects.create(name="Night", repeat=repeat)
    for position, (wait, whom) in enumerate(steps):
        schedule = whom if isinstance(whom, Schedule) else None
        step = EscalationStep.objects.create(policy=made, position=position, wait_minutes=wait, schedule=schedule)
        if isinstance(whom, User):
            step.people.add(whom)
    return made


def pass_by(minutes: float, start: datetime = NOW) -> None:
    """Look every half minute, as the sweep does every second."""
    for number in range(int(minutes * 2) + 1):
        at = start + number * 30 * SECOND
        notify.tell(at)
        escalation.climb(at)


def when(user: User) -> list[float]:
    """After how many minutes somebody was told by an escalation."""
    return [(row.due_at - NOW) / MINUTE for row in told(user, "escalation")]


def sent() -> None:
    Delivery.objects.filter(state="waiting").update(state=Delivery.State.SENT, attempts=1, sent_at=NOW)


@pytest.fixture
def anna(north: Plant) -> User:
    return person("anna", north.site)


@pytest.fixture
def bert(north: Plant) -> User:
    return person("bert", north.site)


def test_each_step_is_taken_at_its_time_until_somebody_acknowledges(north: Plant, anna: User, bert: User) -> None:
    route("All", anna, policy=policy((5, anna), (10, bert), (10, anna)))
    alert = raised(north.pump, NOW)
    pass_by(16)
    assert (when(anna), when(bert)) == ([5], [15])
    reason = told(bert, "escalation")[0].items.get().reason
    assert reason == "Step 2 of “Night”, by name: nobody has acknowledged it for 15 minutes."
    lifecycle.acknowledge(alert, Actor(bert))
    Alert.objects.update(notify_at=NOW + 17 * MINUTE)
    pass_by(30, NOW + 17 * MINUTE)
    # Nothing was sent so far, and nobody needs it any more.
    assert (when(anna), when(bert)) == ([], [])
    assert not Escalation.objects.running().exists()


def test_all_steps_are_repeated_as_often_as_the_policy_says(north: Plant, anna: User, bert: User) -> None:
    route("All", anna, policy=policy((1, anna), (4, bert), repeat=2))
    raised(north.pump, NOW)
    for minute in range(40):
        pass_by(0.5, NOW + minute * MINUTE)
        sent_ = Delivery.objects.filter(kind="escalation", state="waiting")
        sent_.update(state=Delivery.State.SENT, attempts=1, sent_at=NOW)
    # Between two rounds people have five minutes to answer.
    assert (when(anna), when(bert)) == ([1, 10, 19], [5, 14, 23])


def test_a_snooze_pauses_and_waking_begins_anew(north: Plant, anna: User, bert: User) -> None:
    route("All", anna, policy=policy((5, bert)))
    alert = raised(north.pump, NOW)
    pass_by(3)
    Alert.objects.filter(pk=alert.pk).update(
        state=State.SNOOZED, snoozed_until=NOW + 60 * MINUTE, notify_at=NOW + 3 * MINUTE
    )
    pass_by(20, NOW + 4 * MINUTE)
    assert when(bert) == []
    lifecycle.wake(NOW + 60 * MINUTE)
    Alert.objects.update(notify_at=NOW + 60 * MINUTE)
    pass_by(6, NOW + 60 * MINUTE)
    assert when(bert) == [65]


def test_a_silence_that_begins_later_pauses_it(north: Plant, anna: User, bert: User) -> None:
    route("All", anna, policy=policy((5, bert)))
    raised(north.pump, NOW)
    pass_by(1)
    Silence.objects.create(site=north.site, starts_at=NOW, ends_at=NOW + 30 * MINUTE, reason="Trial run")
    pass_by(31, NOW + MINUTE)
    assert when(bert) == [30]


def on_duty(*members: User) -> Schedule:
    schedule: Schedule = Schedule.objects.create(name="Duty", timezone="Europe/Berlin")
    if members:
        turns = Rotation.objects.create(
            schedule=schedule, starts_on=date(2026, 3, 2), hand_over=time(11, 10), every=Rotation.Every.DAY
        )
        for position, member in enumerate(members):
            RotationMember.objects.create(rotation=turns, person=member, position=position)
    return schedule


def test_who_is_on_call_is_asked_when_the_step_is_taken(north: Plant, anna: User, bert: User) -> None:
    # The hand-over is at 11:10, ten minutes from now.
    route("All", anna, policy=policy((5, on_duty(anna, bert)), (10, Schedule.objects.get())))
    raised(north.pump, NOW)
    pass_by(16)
    assert (when(bert), when(anna)) == ([5], [15])


def test_a_step_that_reaches_nobody_says_so_and_is_followed_by_the_next_at_once(
    north: Plant, south: Plant, anna: User, bert: User
) -> None:
    stranger = person("stranger", south.site)
    route("All", anna, policy=policy((5, on_duty()), (10, stranger), (10, bert)))
    alert = raised(north.pump, NOW)
    pass_by(6)
    assert (when(bert), when(stranger)) == ([5], [])
    notes = [row.reason for row in alert.transitions.filter(step="commented")]
    assert notes == ["Step 1 of “Night” reaches nobody now.", "Step 2 of “Night” reaches nobody now."]


def test_if_no_step_reaches_anybody_all_who_may_acknowledge_are_told(north: Plant, anna: User, bert: User) -> None:
    route("All", anna, policy=policy((5, on_duty()), repeat=3))
    alert = raised(north.pump, NOW)
    pass_by(60)
    assert (when(anna), when(bert)) == ([5], [5])
    assert (
        alert.transitions.filter(step="commented").last().reason
        == "“Night” reaches nobody: all who may acknowledge are told instead."
    )


def test_a_step_may_use_a_channel_of_its_own(north: Plant, anna: User, bert: User) -> None:
    sms = Channel.objects.create(name="SMS", kind="apprise", config={"personal": True})
    room = Channel.objects.create(name="Control room", kind="webhook")
    anna.contacts.create(channel=sms, address="+491701")
    night = policy((5, anna), (5, bert))
    night.steps.filter(position=0).update(channel=sms)
    night.steps.filter(position=1).update(channel=room)
    route("All", policy=night)
    raised(north.pump, NOW)
    pass_by(11)
    assert [row.channel for row in told(anna)] == [sms]
    assert [row.channel for row in told()] == [room]
    assert [row.channel.name for row in told(bert)] == ["E-mail"]


def test_escalations_pass_quiet_hours_and_the_budget(north: Plant) -> None:
    bert = person("bert", north.site, timezone="UTC", quiet_from=time(9), quiet_to=time(17), per_hour=1)
    route("All", policy=policy((1, bert), (1, bert), (1, bert)))
    raised(north.pump, NOW)
    for minute in range(5):
        pass_by(0.5, NOW + minute * MINUTE)
        sent()
    assert when(bert) == [1, 2, 3]


class Steps(TestCase):
    """Whatever the policy, each step is taken at its time, in at most repeat + 1 rounds, and never after the end."""

    @settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(st.integers(1, 12), min_size=1, max_size=3),
        st.integers(0, 5),
        st.integers(1, 90),
        st.sampled_from(["acknowledge", "resolve"]),
    )
    def test_steps(self, waits: list[int], repeat: int, ended_after: int, verb: str) -> None:
        plant = make_plant("North")
        cast = [person(f"person {number}", plant.site) for number in range(len(waits))]
        route("All", policy=policy(*zip(waits, cast, strict=True), repeat=repeat))
        alert = raised(plant.pump, NOW, Severity.CRITICAL)
        expected, at = [], NOW
        for round_ in range(repeat + 1):
            for number, wait in enumerate(waits):
                at += max(wait, 5 if round_ and not number else 0) * MINUTE
                expected.append((number, at))
        taken = []
        over = NOW + ended_after * MINUTE
        looks = {over, over + 60 * MINUTE, *(at + second * SECOND for _, at in expected for second in (-1, 0))}
        for now in sorted({NOW, *looks}):
            if now == over:
                getattr(lifecycle, verb)(alert)
                Alert.objects.filter(pk=alert.pk).update(notify_at=now)
            notify.tell(now)
            escalation.climb(now)
            rows = Delivery.objects.filter(kind="escalation", state="waiting", person__isnull=False)
            taken += [(cast.index(row.person), row.due_at) for row in rows.order_by("pk")]
            rows.update(state=Delivery.State.SENT, attempts=1, sent_at=now)
        assert taken == [step for step in expected if step[1] < over]


def test_a_rota_that_begins_at_the_end_of_the_calendar_stops_nobody(north: Plant, anna: User) -> None:
    rota = Schedule.objects.create(name="Typo", timezone="Europe/Berlin")
    turns = Rotation.objects.create(schedule=rota, starts_on=date(1, 1, 1), hand_over=time(0), every="day")
    RotationMember.objects.create(rotation=turns, person=anna, position=0)
    Rotation.objects.create(schedule=rota, starts_on=date(9999, 12, 31), hand_over=time(23))
    route("All", anna, policy=policy((5, rota)))
    raised(north.pump, NOW)
    pass_by(6)
    assert when(anna) == [5]


def test_an_alert_that_cannot_be_decided_keeps_nobody_else_from_being_told(
    north: Plant, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a mistake of ours would; each is looked at again a minute later."""
    route("All", anna, policy=policy((5, anna)))
    bad, good = raised(north.pump, NOW, cause="odd"), raised(north.pump, NOW)
    for module, name in ((notify, "explain"), (escalation, "_take")):
        right = getattr(module, name)

        def wrong(row: Any, *rest: Any, right: Any = right) -> Any:
            if bad.pk == (row.pk if isinstance(row, Alert) else row.alert_id):
                raise ArithmeticError
            return right(row, *rest)

        monkeypatch.setattr(module, name, wrong)
    Escalation.objects.create(alert=bad, policy=EscalationPolicy.objects.get(), began_at=NOW, next_at=NOW)
    notify.tell(NOW)
    escalation.climb(NOW)
    assert escalation.climb(NOW) == 0
    bad.refresh_from_db()
    good.refresh_from_db()
    assert (bad.told_severity, bad.notify_at) == (None, NOW + MINUTE)
    assert good.told_severity == Severity.HIGH
    assert Escalation.objects.get(alert=bad).next_at == NOW + MINUTE

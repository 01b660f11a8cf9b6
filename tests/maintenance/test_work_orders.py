from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from alerts.models import Alert, Silence
from config.roles import ROLES
from maintenance import work_orders
from maintenance.models import FailureMode, Outcome, Verdict, WorkOrder
from maintenance.work_orders import MOVES
from sensors.errors import Refused
from sensors.models import AssetClass
from tests.alerts.test_views import alert_on
from tests.conftest import Plant

STATES = WorkOrder.State.values
TECHNICIANS = {"technician", "engineer", "admin"}
# What the page sends with a step.
SENT: dict[str, dict[str, str]] = {
    "schedule": {"planned_start": "2026-07-01T14:00"},
    "hold": {"reason": "Parts"},
    "close": {"outcome": "fault_found"},
}
# Each transition that there is: from a state, by a step, to a state.
TRANSITIONS = {
    ("proposed", "approve"): "approved",
    ("proposed", "cancel"): "cancelled",
    ("approved", "schedule"): "scheduled",
    ("approved", "start"): "in_progress",
    ("approved", "close"): "closed",
    ("approved", "cancel"): "cancelled",
    ("scheduled", "schedule"): "scheduled",
    ("scheduled", "start"): "in_progress",
    ("scheduled", "close"): "closed",
    ("scheduled", "cancel"): "cancelled",
    ("in_progress", "hold"): "on_hold",
    ("in_progress", "finish"): "done",
    ("in_progress", "close"): "closed",
    ("in_progress", "cancel"): "cancelled",
    ("on_hold", "start"): "in_progress",
    ("on_hold", "close"): "closed",
    ("on_hold", "cancel"): "cancelled",
    ("done", "reopen"): "in_progress",
    ("done", "close"): "closed",
    ("done", "cancel"): "cancelled",
}


@pytest.fixture
def technician(people: dict[str, User]) -> User:
    return people["technician"]


@pytest.fixture
def order(north: Plant, technician: User) -> WorkOrder:
    return work_orders.propose(north.pump, technician, title="Change the seal", approved=True)


def silenced(plant: Plant) -> bool:
    return Silence.objects.running(timezone.now()).filter(asset=plant.pump).exists()


@pytest.mark.parametrize("step", MOVES)
@pytest.mark.parametrize("role", ROLES)
def test_each_role_makes_each_transition_that_the_table_allows_it(
    client: Client, people: dict[str, User], north: Plant, role: str, step: str
) -> None:
    client.force_login(people[role])
    allowed = role in TECHNICIANS
    for state in STATES:
        ended = timezone.now() if state in ("closed", "cancelled") else None
        order = WorkOrder.objects.create(
            site=north.site, asset=north.pump, title="Job", state=state, closed_at=ended, outcome="nothing_found"
        )
        answer = client.post(reverse(f"maintenance:{step}", args=[order.pk]), SENT.get(step, {}))
        order.refresh_from_db()
        assert answer.status_code == (302 if allowed else 403)
        assert order.state == (TRANSITIONS.get((state, step), state) if allowed else state)
        assert order.steps.exists() == (allowed and (state, step) in TRANSITIONS)


def test_the_page_offers_the_steps_that_are_possible(client: Client, people: dict[str, User], order: WorkOrder) -> None:
    client.force_login(people["technician"])
    page = client.get(order.get_absolute_url()).content.decode()
    offered = {step for step in MOVES if reverse(f"maintenance:{step}", args=[order.pk]) in page}
    assert offered == {"schedule", "start", "close", "cancel"}


def test_every_step_says_who_when_and_why(order: WorkOrder, technician: User) -> None:
    work_orders.start(order, technician)
    work_orders.hold(order, technician, "Parts")
    steps = order.steps.values_list("from_state", "to_state", "by", "reason")
    assert list(steps) == [
        ("", "approved", technician.pk, ""),
        ("approved", "in_progress", technician.pk, ""),
        ("in_progress", "on_hold", technician.pk, "Parts"),
    ]


def test_an_asset_is_silent_exactly_while_work_is_in_progress(order: WorkOrder, technician: User, north: Plant) -> None:
    steps: list[tuple[Callable[[], Any], bool]] = [
        (lambda: work_orders.start(order, technician), True),
        (lambda: work_orders.hold(order, technician, "Parts"), False),
        (lambda: work_orders.start(order, technician), True),
        (lambda: work_orders.finish(order, technician), False),
        (lambda: work_orders.reopen(order, technician), True),
        (lambda: work_orders.close(order, technician, Outcome.NOTHING_FOUND), False),
    ]
    for take, quiet in steps:
        take()
        assert silenced(north) == quiet


def test_training_leaves_out_each_stretch_of_work_and_not_the_hold(
    order: WorkOrder, technician: User, north: Plant
) -> None:
    work_orders.start(order, technician)
    work_orders.hold(order, technician, "Parts")
    work_orders.start(order, technician)
    now, hour = timezone.now(), timedelta(hours=1)
    first, held, again = (now - hours * hour for hours in (9, 8, 2))
    for step, at in zip(order.steps.all(), (first - hour, first, held, again), strict=True):
        order.steps.filter(pk=step.pk).update(at=at)
    WorkOrder.objects.filter(pk=order.pk).update(started_at=first)
    before = work_orders.BEFORE_THE_START
    sensor = north.temperature.pk
    assert work_orders.periods(sensor, now - 24 * hour, now) == [(first - before, held), (again - before, None)]
    assert work_orders.periods(sensor, now - 7 * hour, now - 3 * hour) == []
    assert work_orders.worked_hours(order) == pytest.approx(3, abs=0.01)


def test_an_order_without_steps_was_in_progress_from_its_start_to_its_end(north: Plant) -> None:
    end = timezone.now()
    start = end - timedelta(hours=3)
    WorkOrder.objects.create(
        site=north.site, asset=north.pump, title="Old", state="closed", started_at=start, closed_at=end
    )
    found = work_orders.periods(north.temperature.pk, start, end)
    assert found == [(start - work_orders.BEFORE_THE_START, end)]


def test_an_order_from_an_alert_carries_what_the_alert_says(north: Plant, technician: User) -> None:
    alert = alert_on(
        north, evidence={"peak_value": 99.0, "expected": 60.0, "peak_at": "2026-03-01T12:00:00Z", "unit": "°C"}
    )
    order = work_orders.propose_for_alert(alert, technician)
    assert (order.title, order.priority, order.alert) == (alert.title, alert.severity, alert)
    assert (order.state, order.kind) == ("proposed", "condition_based")
    assert "99" in order.description


def test_closing_settles_the_other_alerts_of_the_asset_as_well(north: Plant, technician: User) -> None:
    first, second = alert_on(north), alert_on(north, title="Shakes")
    order = work_orders.propose_for_alert(first, technician, approved=True)
    work_orders.close(order, technician, Outcome.FAULT_FOUND, also=work_orders.open_alerts_of(order))
    assert set(Verdict.objects.values_list("alert", "outcome", "work_order")) == {
        (first.pk, "fault_found", order.pk),
        (second.pk, "fault_found", order.pk),
    }
    assert not Alert.objects.unresolved().exists()


def test_a_fault_without_an_alert_is_one_verdict_on_the_asset(order: WorkOrder, technician: User) -> None:
    mode = FailureMode.objects.create(code="ELU", name="External leakage")
    for _ in range(2):
        work_orders.close(order, technician, Outcome.FAULT_FOUND, failure_mode=mode)
    verdict = Verdict.objects.get()
    assert (verdict.alert, verdict.asset, verdict.failure_mode) == (None, order.asset, mode)
    assert (verdict.window_start, verdict.window_end) == (order.created_at, verdict.given_at)


@pytest.mark.parametrize("outcome", [Outcome.NOTHING_FOUND, Outcome.SENSOR_PROBLEM, Outcome.PLANNED_WORK])
def test_anything_else_without_an_alert_teaches_nothing(order: WorkOrder, technician: User, outcome: Outcome) -> None:
    assert work_orders.close(order, technician, outcome).outcome == outcome
    assert not Verdict.objects.exists()


def test_closing_again_with_something_else_is_refused(order: WorkOrder, technician: User) -> None:
    work_orders.close(order, technician, Outcome.NOTHING_FOUND)
    with pytest.raises(Refused, match="it can no longer be changed"):
        work_orders.close(order, technician, Outcome.FAULT_FOUND)


def test_a_close_that_is_sent_twice_closes_once(
    client: Client, order: WorkOrder, technician: User, north: Plant
) -> None:
    alert = alert_on(north)
    client.force_login(technician)
    sent = {"outcome": "fault_found", "also": [alert.pk], "notes": "Seal gone"}
    pages = [client.post(reverse("maintenance:close", args=[order.pk]), sent) for _ in range(2)]
    assert [page.status_code for page in pages] == [302, 302]
    assert (order.steps.filter(to_state="closed").count(), order.logs.count(), Verdict.objects.count()) == (1, 1, 1)


def test_a_note_that_is_sent_twice_with_its_key_is_one_note(order: WorkOrder, technician: User) -> None:
    written = [work_orders.add_log(order, technician, notes, key="k1") for notes in ("Oiled", "Oiled")]
    assert written[0] == written[1]
    work_orders.close(order, technician, Outcome.PLANNED_WORK)
    assert work_orders.add_log(order, technician, "Oiled", key="k1") == written[0]
    with pytest.raises(Refused):
        work_orders.add_log(order, technician, "Oiled", key="k2")


def test_the_failure_modes_of_the_class_and_of_any_are_offered(
    client: Client, order: WorkOrder, technician: User, north: Plant
) -> None:
    pumps, fans = (AssetClass.objects.create(name=name) for name in ("Pump", "Fan"))
    for asset_class, name in ((pumps, "Cavitation"), (fans, "Loose blade"), (None, "Overheating")):
        FailureMode.objects.create(asset_class=asset_class, code=name[:3], name=name)
    north.pump.asset_class = pumps
    north.pump.save()
    client.force_login(technician)
    page = client.get(order.get_absolute_url()).content.decode()
    assert ["Cavitation" in page, "Overheating" in page, "Loose blade" in page] == [True, True, False]


def test_a_hold_needs_a_reason(order: WorkOrder, technician: User) -> None:
    work_orders.start(order, technician)
    with pytest.raises(Refused, match="waits for"):
        work_orders.hold(order, technician, " ")


def test_the_list_is_searched_by_words_asset_and_number(client: Client, order: WorkOrder, technician: User) -> None:
    work_orders.propose(order.asset, technician, title="Paint it")
    client.force_login(technician)

    def found(**query: str) -> list[int]:
        answer = client.get(reverse("maintenance:work-orders"), query)
        return [row.pk for row in answer.context["page"].rows]

    assert found(words="seal") == [order.pk]
    assert found(words=f"wo-{order.pk}") == [order.pk]
    assert len(found(words="p-101")) == 2
    assert found(state="approved") == [order.pk]
    assert found(mine="on") == []
    order.crew.add(technician)
    assert found(mine="on") == [order.pk]
    assert found(overdue="on") == []

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from alerts.models import State
from maintenance import work_orders
from maintenance.models import MaintenanceLog, Outcome, Verdict, WorkOrder
from tests.alerts.test_views import alert_on, text
from tests.conftest import Plant, make_user

ACTIONS = ["approve", "schedule", "start", "hold", "finish", "reopen", "log", "close", "cancel"]


@pytest.fixture
def technician(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["technician"])
    return client


@pytest.fixture
def order(people: dict[str, User], north: Plant) -> WorkOrder:
    return work_orders.propose_for_alert(alert_on(north), people["technician"], approved=True)


def url_of(action: str, order: WorkOrder) -> str:
    return reverse(f"maintenance:{action}", args=[order.pk])


def queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as seen:
        assert client.get(url).status_code == 200
    return len(seen)


def test_a_viewer_sees_every_page_and_panel(client: Client, people: dict[str, User], order: WorkOrder) -> None:
    client.force_login(people["viewer"])
    assert "Too hot" in text(client, reverse("maintenance:work-orders"))
    assert "Too hot" in text(client, reverse("maintenance:due-panel"))
    assert "Too hot" in text(client, reverse("maintenance:for-asset", args=[order.asset_id]))
    assert "Too hot" in text(client, reverse("maintenance:for-alert", args=[order.alert_id]))
    assert "Too hot" in text(client, order.get_absolute_url())


def test_work_of_another_site_does_not_exist(technician: Client, south: Plant) -> None:
    stranger = make_user("technician", south.site)
    alert = alert_on(south, title="Secret of the south")
    order = work_orders.propose_for_alert(alert, stranger, approved=True)
    hidden = [order.get_absolute_url(), reverse("maintenance:for-asset", args=[south.pump.pk])]
    hidden += [reverse("maintenance:for-alert", args=[alert.pk])]
    assert {technician.get(url).status_code for url in hidden} == {404}
    acts = [url_of(action, order) for action in ACTIONS]
    acts += [reverse("maintenance:open-for-alert", args=[alert.pk])]
    acts += [reverse("maintenance:open-for-asset", args=[south.pump.pk])]
    assert {technician.post(url).status_code for url in acts} == {404}
    for name in ("work-orders", "due-panel"):
        assert "Secret of the south" not in text(technician, reverse(f"maintenance:{name}"))
    order.refresh_from_db()
    assert order.state == WorkOrder.State.APPROVED


def test_an_operator_may_propose_but_neither_work_nor_see_the_forms_for_it(
    client: Client, people: dict[str, User], order: WorkOrder, north: Plant
) -> None:
    client.force_login(people["operator"])
    page = text(client, order.get_absolute_url())
    for action in ACTIONS:
        assert client.post(url_of(action, order)).status_code == 403
        assert url_of(action, order) not in page
    order.refresh_from_db()
    assert order.state == WorkOrder.State.APPROVED
    propose = reverse("maintenance:open-for-alert", args=[alert_on(north, title="Another").pk])
    assert client.post(propose, {"start": "1"}).status_code == 403
    assert client.post(propose).status_code == 302
    client.post(reverse("maintenance:open-for-asset", args=[north.pump.pk]), {"title": "Oil", "priority": "2"})
    assert set(WorkOrder.objects.exclude(pk=order.pk).values_list("title", "state")) == {
        ("Another", "proposed"),
        ("Oil", "proposed"),
    }


def test_opening_from_an_alert_acknowledges_it_and_goes_to_the_order(technician: Client, north: Plant) -> None:
    alert = alert_on(north)
    open_url = reverse("maintenance:open-for-alert", args=[alert.pk])
    assert open_url in text(technician, reverse("maintenance:for-alert", args=[alert.pk]))
    answer = technician.post(open_url)
    order = WorkOrder.objects.get(alert=alert)
    assert answer.headers["Location"] == order.get_absolute_url()
    alert.refresh_from_db()
    assert alert.state == State.ACKNOWLEDGED
    assert open_url not in text(technician, reverse("maintenance:for-alert", args=[alert.pk]))


def test_opening_twice_leads_to_the_same_order(technician: Client, order: WorkOrder) -> None:
    answer = technician.post(reverse("maintenance:open-for-alert", args=[order.alert_id]))
    assert answer.headers["Location"] == order.get_absolute_url()
    assert WorkOrder.objects.count() == 1


def test_opening_for_a_resolved_alert_is_explained(technician: Client, order: WorkOrder) -> None:
    technician.post(url_of("close", order), {"outcome": "nothing_found"})
    answer = technician.post(reverse("maintenance:open-for-alert", args=[order.alert_id]), follow=True)
    assert "open a work order on the asset instead" in answer.content.decode()
    assert WorkOrder.objects.count() == 1


def test_starting_makes_the_order_mine(technician: Client, people: dict[str, User], order: WorkOrder) -> None:
    assert technician.post(url_of("start", order)).headers["Location"] == order.get_absolute_url()
    order.refresh_from_db()
    assert (order.state, order.assignee) == (WorkOrder.State.IN_PROGRESS, people["technician"])


def test_a_log_entry_keeps_notes_and_minutes(technician: Client, order: WorkOrder) -> None:
    technician.post(url_of("log", order), {"notes": "Changed the seal", "minutes": "35"})
    entry = MaintenanceLog.objects.get()
    assert (entry.notes, entry.duration_minutes, entry.work_order) == ("Changed the seal", 35, order)
    assert "Changed the seal" in text(technician, order.get_absolute_url())


@pytest.mark.parametrize("sent", [{}, {"notes": " "}, {"notes": "x", "minutes": "-1"}, {"notes": "x" * 5001}])
def test_a_log_entry_that_makes_no_sense_is_refused_on_the_page(
    technician: Client, order: WorkOrder, sent: dict[str, str]
) -> None:
    answer = technician.post(url_of("log", order), sent)
    assert answer.status_code == 422
    assert "errorlist" in answer.content.decode()
    assert not MaintenanceLog.objects.exists()


@pytest.mark.parametrize("outcome", Outcome.values)
def test_closing_records_the_verdict_and_resolves_the_alert(
    technician: Client, people: dict[str, User], order: WorkOrder, outcome: str
) -> None:
    technician.post(url_of("close", order), {"outcome": outcome, "notes": "As expected"})
    order.refresh_from_db()
    verdict = Verdict.objects.get()
    assert order.state == WorkOrder.State.CLOSED
    assert (verdict.outcome, verdict.given_by, verdict.alert) == (outcome, people["technician"], order.alert)
    assert order.alert is not None
    assert order.alert.is_resolved
    page = text(technician, order.get_absolute_url())
    assert verdict.get_outcome_display().capitalize() in page
    assert url_of("close", order) not in page


@pytest.mark.parametrize("outcome", ["", "no_idea"])
def test_closing_without_saying_what_was_found_is_refused_on_the_page(
    technician: Client, order: WorkOrder, outcome: str
) -> None:
    answer = technician.post(url_of("close", order), {"outcome": outcome, "notes": "kept"})
    assert answer.status_code == 422
    assert "errorlist" in answer.content.decode()
    assert "kept" in answer.content.decode()
    order.refresh_from_db()
    assert order.is_running


def test_the_four_outcomes_are_offered(technician: Client, order: WorkOrder) -> None:
    found = re.findall(r'type="radio" name="outcome" value="(\w+)"', text(technician, order.get_absolute_url()))
    assert found == Outcome.values


def test_cancelling_leaves_the_alert_as_it_is(technician: Client, order: WorkOrder) -> None:
    technician.post(url_of("cancel", order))
    order.refresh_from_db()
    assert order.state == WorkOrder.State.CANCELLED
    assert order.alert is not None
    assert order.alert.state == State.ACKNOWLEDGED


def test_what_has_ended_cannot_be_changed_and_says_so(technician: Client, order: WorkOrder) -> None:
    technician.post(url_of("cancel", order))
    sent = {
        "schedule": {"planned_start": "2026-07-01T14:00"},
        "hold": {"reason": "Parts"},
        "log": {"notes": "x"},
        "close": {"outcome": "fault_found"},
    }
    for action in ACTIONS:
        answer = technician.post(url_of(action, order), sent.get(action, {}), follow=True)
        assert "it can no longer be changed" in answer.content.decode(), action
    assert not Verdict.objects.exists()


def test_an_order_on_an_asset_needs_no_alert_and_planned_work_no_verdict(
    technician: Client, people: dict[str, User], north: Plant
) -> None:
    url = reverse("maintenance:open-for-asset", args=[north.pump.pk])
    assert url in text(technician, reverse("maintenance:for-asset", args=[north.pump.pk]))
    assert technician.get(url).status_code == 200
    technician.post(url, {"title": "Grease", "priority": "3", "due_at": "2026-07-01T14:00"})
    order = WorkOrder.objects.get()
    assert (order.title, order.priority, order.created_by) == ("Grease", 3, people["technician"])
    assert order.due_at is not None
    assert order.due_at.isoformat() == "2026-07-01T12:00:00+00:00"  # Typed on Berlin's wall clock.
    technician.post(url_of("close", order), {"outcome": "planned_work", "notes": "Greased"})
    order.refresh_from_db()
    assert order.state == WorkOrder.State.CLOSED
    assert not Verdict.objects.exists()


def test_an_order_without_a_title_is_refused_on_the_page(technician: Client, north: Plant) -> None:
    answer = technician.post(reverse("maintenance:open-for-asset", args=[north.pump.pk]), {"priority": "2"})
    assert answer.status_code == 422
    assert not WorkOrder.objects.exists()


def test_running_orders_stand_by_due_time_and_ended_ones_apart(
    technician: Client, people: dict[str, User], north: Plant
) -> None:
    now, by = timezone.now(), people["technician"]
    for title, due in (("Whenever", None), ("Later", now + timedelta(days=9)), ("Late", now - timedelta(days=1))):
        work_orders.propose(north.pump, by, approved=True, title=title, due_at=due)
    work_orders.cancel(work_orders.propose(north.pump, by, approved=True, title="Gone"), by)
    listed = [
        re.findall(r"WO-\d+ (\w+)", text(technician, url))
        for url in (reverse("maintenance:work-orders"), reverse("maintenance:work-orders") + "?state=ended")
    ]
    assert listed == [["Late", "Later", "Whenever"], ["Gone"]]
    assert "1 overdue" in text(technician, reverse("maintenance:due-panel"))


def test_empty_lists_say_so(technician: Client, north: Plant) -> None:
    assert "No work waiting" in text(technician, reverse("maintenance:work-orders"))
    assert "No work order is like that" in text(technician, reverse("maintenance:work-orders"), state="ended")
    assert "No work waiting" in text(technician, reverse("maintenance:due-panel"))
    assert "No work on this asset" in text(technician, reverse("maintenance:for-asset", args=[north.pump.pk]))


@pytest.mark.parametrize("name", ["work-orders", "due-panel", "for-asset"])
def test_lists_cost_the_same_with_one_and_with_ten_orders(
    technician: Client, people: dict[str, User], order: WorkOrder, name: str
) -> None:
    url = reverse(f"maintenance:{name}", args=[order.asset_id] if name == "for-asset" else [])
    work_orders.add_log(order, people["technician"], "One")
    few = queries(technician, url)
    for i in range(6):
        other = work_orders.propose(order.asset, people["technician"], approved=True, title=f"Job {i}")
        work_orders.add_log(other, make_user("technician"), "More")
    assert queries(technician, url) == few <= 9


def test_the_order_page_costs_the_same_with_one_and_with_ten_log_entries(technician: Client, order: WorkOrder) -> None:
    work_orders.add_log(order, order.created_by, "One")
    few = queries(technician, order.get_absolute_url())
    for _ in range(9):
        work_orders.add_log(order, make_user("technician"), "More")
    assert queries(technician, order.get_absolute_url()) == few <= 16


def test_the_live_part_of_the_order_page_comes_alone_to_htmx(technician: Client, order: WorkOrder) -> None:
    answer: Any = technician.get(order.get_absolute_url(), headers={"HX-Request": "true"})
    assert "<html" not in answer.content.decode()
    assert url_of("close", order) in answer.content.decode()


@pytest.mark.parametrize("step", ACTIONS)
def test_opening_the_address_of_an_action_leads_to_the_order(
    client: Client, people: dict[str, User], north: Plant, step: str
) -> None:
    """As a browser does after a login that came in between."""
    order = WorkOrder.objects.create(
        site=north.site, asset=north.pump, title="Grease it", state="approved", created_by=people["technician"]
    )
    client.force_login(people["technician"])
    answer = client.get(reverse(f"maintenance:{step}", args=[order.pk]))
    assert (answer.status_code, answer["Location"]) == (302, order.get_absolute_url())
    order.refresh_from_db()
    assert order.state == "approved"


def test_no_two_fields_of_a_work_order_share_an_id(client: Client, people: dict[str, User], north: Plant) -> None:
    order = work_orders.propose_for_alert(alert_on(north), people["technician"], approved=True)
    client.force_login(people["technician"])
    page = client.get(order.get_absolute_url()).content.decode()
    ids = re.findall(r'<(?:input|textarea|select)[^>]* id="([^"]+)"', page)
    assert len(ids) > 4
    assert len(ids) == len(set(ids))

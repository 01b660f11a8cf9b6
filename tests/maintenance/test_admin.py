from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from maintenance.models import MaintenanceLog, WorkOrder
from tests.conftest import Plant, make_user

INLINES = ("steps", "checklist", "attachments", "logs")


@pytest.fixture
def technician(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["technician"])
    return client


@pytest.fixture
def order(north: Plant, people: dict[str, User]) -> WorkOrder:
    return WorkOrder.objects.create(
        site=north.site, asset=north.pump, title="Grease it", state="approved", created_by=people["technician"]
    )


def form(**more: Any) -> dict[str, Any]:
    inlines = {f"{name}-{count}_FORMS": 0 for name in INLINES for count in ("TOTAL", "INITIAL")}
    return {"title": "Oil it", "kind": "corrective", "priority": 3, **inlines, **more}


def page_of(order: WorkOrder) -> str:
    return reverse("admin:maintenance_workorder_change", args=[order.pk])


def act(client: Client, action: str, *orders: WorkOrder) -> str:
    selected = {"action": action, "_selected_action": [order.pk for order in orders]}
    return client.post(reverse("admin:maintenance_workorder_changelist"), selected, follow=True).content.decode()


def test_a_new_order_belongs_to_the_site_of_its_asset(
    technician: Client, north: Plant, people: dict[str, User]
) -> None:
    assert technician.post("/admin/maintenance/workorder/add/", form(asset=north.pump.pk)).status_code == 302
    order = WorkOrder.objects.get()
    assert (order.site, order.created_by, order.state) == (north.site, people["technician"], "approved")


def test_an_order_for_an_asset_of_another_site_is_refused(technician: Client, north: Plant, south: Plant) -> None:
    technician.post("/admin/maintenance/workorder/add/", form(asset=south.pump.pk))
    assert not WorkOrder.objects.exists()


def test_the_form_does_not_change_the_state(technician: Client, order: WorkOrder) -> None:
    technician.post(page_of(order), form(state="closed", site=0))
    order.refresh_from_db()
    assert (order.title, order.state) == ("Oil it", "approved")


def test_only_people_of_visible_sites_can_be_assigned(technician: Client, order: WorkOrder, south: Plant) -> None:
    stranger = make_user("technician", south.site)
    assert stranger.username not in technician.get(page_of(order)).content.decode()
    technician.post(page_of(order), form(assignee=stranger.pk))
    order.refresh_from_db()
    assert order.assignee is None


def test_actions_start_and_cancel(technician: Client, order: WorkOrder, people: dict[str, User]) -> None:
    act(technician, "start", order)
    order.refresh_from_db()
    assert (order.state, order.assignee) == ("in_progress", people["technician"])
    act(technician, "cancel", order)
    assert "it can no longer be changed" in act(technician, "start", order)
    order.refresh_from_db()
    assert order.state == "cancelled"


def log_form(order: WorkOrder) -> dict[str, Any]:
    log = {"notes": "Greased.", "completion_date_0": "2026-03-01", "completion_date_1": "12:00:00", "id": ""}
    return form(**{f"logs-0-{name}": value for name, value in log.items()}, **{"logs-0-work_order": order.pk}) | {
        "logs-TOTAL_FORMS": 1
    }


def test_a_log_line_is_added_to_a_running_order_in_ones_own_name(
    technician: Client, order: WorkOrder, people: dict[str, User]
) -> None:
    assert technician.post(page_of(order), log_form(order)).status_code == 302
    log = MaintenanceLog.objects.get()
    assert (log.notes, log.done_by, log.asset, log.work_order) == ("Greased.", people["technician"], order.asset, order)


def test_an_ended_order_takes_no_more_log_lines(technician: Client, order: WorkOrder) -> None:
    act(technician, "cancel", order)
    technician.post(page_of(order), log_form(order))
    assert not MaintenanceLog.objects.exists()


def test_a_log_without_an_order_is_written_in_ones_own_name(
    technician: Client, north: Plant, people: dict[str, User]
) -> None:
    log = {"asset": north.pump.pk, "notes": "Cleaned.", "completion_date_0": "2026-03-01", "completion_date_1": "12:00"}
    assert technician.post("/admin/maintenance/maintenancelog/add/", log).status_code == 302
    assert MaintenanceLog.objects.get().done_by == people["technician"]


@pytest.mark.parametrize(
    ("author", "state", "changed"),
    [
        ("technician", "approved", True),
        ("engineer", "approved", False),
        ("technician", "closed", False),
    ],
)
def test_a_log_is_rewritten_by_its_author_alone_and_only_while_the_order_runs(
    technician: Client, order: WorkOrder, people: dict[str, User], author: str, state: str, changed: bool
) -> None:
    log = MaintenanceLog.objects.create(
        asset=order.asset, work_order=order, done_by=people[author], notes="Bearing dead."
    )
    WorkOrder.objects.update(state=state, closed_at=log.completion_date if state == "closed" else None)
    url = reverse("admin:maintenance_maintenancelog_change", args=[log.pk])
    sent = {"notes": "All fine.", "completion_date_0": "2026-01-01", "completion_date_1": "12:00:00"}
    assert technician.post(url, sent).status_code == (302 if changed else 403)
    log.refresh_from_db()
    assert (log.notes == "All fine.") is changed

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client

from alerts.models import Alert, Severity
from maintenance.models import WorkOrder
from tests.conftest import Plant


@pytest.fixture
def technician(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["technician"])
    return client


@pytest.fixture
def alert(north: Plant) -> Alert:
    return Alert.objects.create(
        site=north.site, asset=north.pump, severity=Severity.HIGH, dedup_key="hot", title="Too hot"
    )


def post(client: Client, path: str, **body: Any) -> HttpResponse:
    answer: HttpResponse = client.post(f"/api/v1/{path}/", body, content_type="application/json")
    return answer


def test_from_alert_to_verdict(technician: Client, alert: Alert) -> None:
    order = post(technician, f"alerts/{alert.pk}/work-order").json()
    assert (order["alert"], order["state"], order["priority"]) == (alert.pk, "proposed", 3)
    path = f"work-orders/{order['id']}"
    assert post(technician, f"{path}/approve").json()["state"] == "approved"
    assert post(technician, f"{path}/start").json()["state"] == "in_progress"
    log = post(technician, f"{path}/log", notes="Changed the bearing.", duration_minutes=90)
    assert (log.status_code, log.json()["duration_minutes"]) == (201, 90)
    standstill = {"downtime_minutes": 30, "other_cost": "12.50"}
    closed = post(technician, f"{path}/close", outcome="fault_found", notes="Runs smoothly.", **standstill).json()
    assert (closed["state"], closed["outcome"], closed["other_cost"]) == ("closed", "fault_found", "12.50")
    assert [step["to_state"] for step in closed["steps"]] == ["proposed", "approved", "in_progress", "closed"]
    assert {entry["notes"] for entry in closed["logs"]} == {"Changed the bearing.", "Runs smoothly."}
    assert [verdict["outcome"] for verdict in closed["verdicts"]] == ["fault_found"]
    alert.refresh_from_db()
    assert alert.state == "resolved"
    verdicts = technician.get(f"/api/v1/verdicts/?alert={alert.pk}&outcome=fault_found").json()["results"]
    assert [verdict["work_order"] for verdict in verdicts] == [order["id"]]


def test_an_alert_has_one_running_work_order(technician: Client, alert: Alert) -> None:
    orders = {post(technician, f"alerts/{alert.pk}/work-order").json()["id"] for _ in range(2)}
    assert len(orders) == 1


def test_a_resolved_alert_gets_no_work_order(technician: Client, alert: Alert) -> None:
    Alert.objects.update(state="resolved")
    answer = post(technician, f"alerts/{alert.pk}/work-order")
    assert (answer.status_code, answer.json()["code"]) == (409, "alert_resolved")


@pytest.mark.parametrize("verb", ["start", "log", "cancel", "close"])
def test_an_order_that_ended_cannot_be_changed(technician: Client, alert: Alert, verb: str) -> None:
    path = f"work-orders/{post(technician, f'alerts/{alert.pk}/work-order').json()['id']}"
    assert post(technician, f"{path}/cancel").json()["state"] == "cancelled"
    answer = post(technician, f"{path}/{verb}", notes="Late", outcome="fault_found")
    assert (answer.status_code, answer.json()["code"]) == (409, "work_order_ended")


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("close", {}, "outcome"),
        ("close", {"outcome": "no idea"}, "outcome"),
        ("log", {}, "notes"),
        ("log", {"notes": " "}, "notes"),
        ("log", {"notes": "x", "duration_minutes": -1}, "duration_minutes"),
        ("log", {"notes": "x", "duration_minutes": 10**12}, "duration_minutes"),
        ("log", {"notes": "x", "completion_date": "yesterday"}, "completion_date"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    technician: Client, alert: Alert, verb: str, body: dict[str, Any], field: str
) -> None:
    order = post(technician, f"alerts/{alert.pk}/work-order").json()["id"]
    answer = post(technician, f"work-orders/{order}/{verb}", **body)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert WorkOrder.objects.get().state == "proposed"


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 1),
        ("state=proposed", 1),
        ("running=true&kind=condition_based", 1),
        ("overdue=true", 0),
        ("state=closed", 0),
        ("site=0", 0),
    ],
)
def test_work_orders_can_be_filtered(technician: Client, alert: Alert, query: str, count: int) -> None:
    post(technician, f"alerts/{alert.pk}/work-order")
    assert len(technician.get(f"/api/v1/work-orders/?{query}").json()["results"]) == count


def test_whoever_may_approve_makes_an_approved_order_at_once(
    technician: Client, client: Client, people: dict[str, User], north: Plant
) -> None:
    body = {"asset": north.pump.pk, "title": "Grease it", "kind": "preventive", "due_at": "2026-07-01T12:00:00Z"}
    made = post(technician, "work-orders", **body, approved=True)
    assert (made.status_code, made.json()["state"], made.json()["kind"]) == (201, "approved", "preventive")
    client.force_login(people["operator"])
    refused = post(client, "work-orders", **body, approved=True)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "approved")
    assert post(client, "work-orders", **body).json()["state"] == "proposed"


def test_a_schedule_names_the_crew(technician: Client, people: dict[str, User], north: Plant) -> None:
    path = (
        f"work-orders/{post(technician, 'work-orders', asset=north.pump.pk, title='Oil', approved=True).json()['id']}"
    )
    names = {role: people[role].username for role in ("technician", "engineer", "viewer")}
    plan = {"planned_start": "2026-07-01T12:00:00Z", "assignee": names["technician"]}
    done = post(technician, f"{path}/schedule", **plan, crew=[names["engineer"]]).json()
    assert (done["state"], done["assignee"], done["crew"]) == ("scheduled", names["technician"], [names["engineer"]])
    refused = post(technician, f"{path}/schedule", **plan, crew=[names["viewer"]])
    assert (refused.status_code, refused.json()["code"]) == (422, "cannot_take_it")


def test_a_comment_is_a_step_that_leaves_the_state(technician: Client, north: Plant) -> None:
    path = f"work-orders/{post(technician, 'work-orders', asset=north.pump.pk, title='Oil').json()['id']}"
    assert post(technician, f"{path}/comment", text="Waits for summer.").status_code == 201
    steps = technician.get(f"/api/v1/{path}/").json()["steps"]
    assert [(step["from_state"], step["to_state"], step["reason"]) for step in steps] == [
        ("", "proposed", ""),
        ("proposed", "proposed", "Waits for summer."),
    ]


def test_alerts_of_another_asset_are_not_settled(technician: Client, alert: Alert, south: Plant, north: Plant) -> None:
    other = Alert.objects.create(site=north.site, severity=Severity.LOW, dedup_key="other", title="Elsewhere")
    order = post(technician, "work-orders", asset=north.pump.pk, title="Oil", approved=True).json()["id"]
    answer = post(technician, f"work-orders/{order}/close", outcome="fault_found", also=[other.pk])
    assert (answer.status_code, answer.json()["code"]) == (422, "alert_of_another_asset")

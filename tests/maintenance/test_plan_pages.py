import re
from datetime import date
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from maintenance import plans
from maintenance.models import Plan, WorkOrder
from tests.alerts.test_views import text
from tests.conftest import Plant

WEEKLY = {
    "title": "Grease",
    "priority": "3",
    "lead_days": "7",
    "starts_on": "2026-01-05",
    "due_time": "08:00",
    "interval": "2",
    "repeat": "WEEKLY",
    "weekdays": ["MO", "TH"],
    "counts_from": "scheduled",
    "on_holiday": "keep",
    "tasks": "Clean the nipple\n\nTwo shots of grease",
    "approved": "on",
    "enabled": "on",
}


@pytest.fixture
def engineer(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["engineer"])
    return client


def new(plant: Plant, trigger: str = "calendar") -> str:
    return reverse("maintenance:new-plan") + f"?asset={plant.pump.pk}&trigger={trigger}"


def a_plan(plant: Plant, by: User, **fields: Any) -> Plan:
    defaults = {"title": "Grease", "rule": "FREQ=WEEKLY;BYDAY=MO", "starts_on": date(2026, 1, 5)}
    return plans.keep(Plan(asset=plant.pump, **defaults | fields), by)


def test_an_engineer_makes_a_plan_by_plain_words(engineer: Client, north: Plant, people: dict[str, User]) -> None:
    assert "What makes it due?" in text(engineer, reverse("maintenance:new-plan"))
    assert "From this day on" in text(engineer, new(north))
    answer = engineer.post(new(north), WEEKLY)
    plan = Plan.objects.get()
    assert answer.headers["Location"] == plan.get_absolute_url()
    assert (plan.rule, plan.priority, plan.created_by) == ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH", 3, people["engineer"])
    assert plan.checklist == [
        {"text": "Clean the nipple", "kind": "tick"},
        {"text": "Two shots of grease", "kind": "tick"},
    ]
    page = text(engineer, plan.get_absolute_url())
    assert "Clean the nipple" in page
    assert page.count("<li>Mon <time") + page.count("<li>Thu <time") == 10


def test_the_next_dates_are_shown_and_nothing_is_saved(engineer: Client, north: Plant) -> None:
    answer = engineer.post(new(north), WEEKLY | {"preview": "1", "starts_on": "2027-01-04"})
    assert answer.status_code == 200
    assert len(re.findall(r"<li>(?:Mon|Thu) <time", answer.content.decode())) == 10
    assert not Plan.objects.exists()


def test_a_rule_of_ones_own_is_taken_as_it_is(engineer: Client, north: Plant) -> None:
    engineer.post(new(north), WEEKLY | {"repeat": "RULE", "rule": "FREQ=MONTHLY;BYDAY=1MO"})
    plan = Plan.objects.get()
    assert plan.rule == "FREQ=MONTHLY;BYDAY=1MO"
    assert 'value="RULE" selected' in text(engineer, reverse("maintenance:edit-plan", args=[plan.pk]))


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"repeat": "RULE", "rule": "FREQ=HOURLY"}, "DAILY, WEEKLY, MONTHLY and YEARLY are possible"),
        ({"repeat": "RULE", "rule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}, "no day of the next twenty years"),
        ({"on_holiday": "skip"}, "Say whose public holidays count"),
        ({"on_holiday": "skip", "holidays_of": "Mars"}, "are not known"),
        ({"starts_on": ""}, "From this day on"),
        ({"interval": "0"}, "greater than or equal to 1"),
        ({"lead_days": "9999"}, "less than or equal to 365"),
    ],
)
@pytest.mark.parametrize("how", [{}, {"preview": "1"}])
def test_what_makes_no_sense_is_refused_on_the_page(
    engineer: Client, north: Plant, sent: dict[str, str], said: str, how: dict[str, str]
) -> None:
    if how and sent.get("rule", "").startswith("FREQ=YEARLY"):
        said = "None in the next twenty years"
    answer = engineer.post(new(north), WEEKLY | sent | how)
    assert answer.status_code == 200 if said.startswith("None") else 422
    assert said in answer.content.decode()
    assert not Plan.objects.exists()


def test_plans_by_meter_and_by_condition_ask_what_they_need(engineer: Client, north: Plant) -> None:
    common = {"title": "Change oil", "priority": "2", "lead_days": "3", "counts_from": "completed", "enabled": "on"}
    meter = {"sensor": north.vibration.pk, "meter": "running_hours", "every": "500"}
    assert "Say above which value" in engineer.post(new(north, "meter"), common | meter).content.decode()
    engineer.post(new(north, "meter"), common | meter | {"threshold": "1.5"})
    page = text(engineer, Plan.objects.get().get_absolute_url())
    assert "every 500 running hours" in page
    assert engineer.post(new(north, "condition"), common).status_code == 422
    engineer.post(new(north, "condition"), common | {"alert_kinds": ["limit", "forecast"], "least_severity": "3"})
    assert Plan.objects.get(trigger="condition").alert_kinds == ["limit", "forecast"]
    assert "alerts: limit, forecast" in text(engineer, reverse("maintenance:plans"))


def test_changing_a_plan_keeps_the_kinds_of_its_tasks(engineer: Client, north: Plant, people: dict[str, User]) -> None:
    pressure = {"text": "Pressure", "kind": "number", "low": 1, "high": 5, "unit": "bar"}
    plan = a_plan(north, people["engineer"], checklist=[pressure])
    engineer.post(reverse("maintenance:edit-plan", args=[plan.pk]), WEEKLY | {"tasks": "Look\nPressure"})
    plan.refresh_from_db()
    assert plan.checklist == [{"text": "Look", "kind": "tick"}, pressure]


def test_a_plan_shows_its_orders_and_is_switched(engineer: Client, north: Plant, people: dict[str, User]) -> None:
    plan = a_plan(north, people["engineer"])
    plans.follow_due(timezone.now())
    order = WorkOrder.objects.order_by("due_at")[0]
    assert str(order) in text(engineer, plan.get_absolute_url())
    assert "Order due" in text(engineer, reverse("maintenance:plans"))
    engineer.post(reverse("maintenance:switch-plan", args=[plan.pk]), {"on": "0"})
    plan.refresh_from_db()
    assert not plan.enabled


def test_plans_of_another_site_do_not_exist(engineer: Client, south: Plant, people: dict[str, User]) -> None:
    plan = a_plan(south, people["engineer"], title="Secret of the south")
    assert "Secret" not in text(engineer, reverse("maintenance:plans"))
    assert engineer.get(plan.get_absolute_url()).status_code == 404
    assert engineer.post(new(south), WEEKLY).status_code == 404


def test_the_list_costs_the_same_with_one_and_with_ten_plans(
    engineer: Client, north: Plant, people: dict[str, User]
) -> None:
    counts = []
    for more in (1, 9):
        for _ in range(more):
            a_plan(north, people["engineer"], assignee=people["technician"])
        plans.follow_due(timezone.now())
        with CaptureQueriesContext(connection) as seen:
            text(engineer, reverse("maintenance:plans"))
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 8


def test_the_api_makes_changes_and_shows_plans(engineer: Client, north: Plant, people: dict[str, User]) -> None:
    url = reverse("api:plan-list")
    body = {
        "asset": north.pump.pk,
        "title": "Grease",
        "rule": "FREQ=DAILY",
        "starts_on": "2026-01-05",
        "assignee": people["technician"].username,
        "checklist": [{"text": "Pressure", "kind": "number", "high": 5}],
    }
    made = engineer.post(url, body, content_type="application/json").json()
    assert (made["assignee"], made["checklist"][0]["high"]) == (people["technician"].username, 5)
    one = reverse("api:plan-detail", args=[made["id"]])
    assert len(engineer.get(reverse("api:plan-dates", args=[made["id"]])).json()) == 10
    changed = engineer.patch(one, {"rule": "FREQ=WEEKLY"}, content_type="application/json")
    assert changed.json()["rule"] == "FREQ=WEEKLY"
    refused = engineer.patch(one, {"rule": "FREQ=MINUTELY"}, content_type="application/json")
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["code"] == "invalid_rule"
    plans.follow_due(timezone.now())
    assert engineer.get(reverse("api:plan-occurrence-list"), {"plan": made["id"]}).json()["results"]

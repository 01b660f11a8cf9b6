from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from maintenance import answers, checklists, work_orders
from maintenance.models import ChecklistItem, WorkOrder
from sensors.errors import Refused
from sensors.models import Reading
from tests.conftest import Plant

TASKS: list[dict[str, Any]] = [
    {"text": "Guard is closed"},
    {"text": "Pressure", "kind": "number", "unit": "kPa", "low": 100, "high": 300},
    {"text": "Oil", "kind": "choice", "choices": ["clear", {"text": "milky", "bad": True}]},
]


@pytest.fixture
def technician(people: dict[str, User]) -> User:
    return people["technician"]


@pytest.fixture
def order(north: Plant, technician: User) -> WorkOrder:
    reading = {"text": "Bearing", "kind": "reading", "sensor": north.temperature.pk, "high": 80}
    return work_orders.propose(north.pump, technician, title="Inspect it", checklist=[*TASKS, reading], approved=True)


def item_of(order: WorkOrder, kind: str) -> ChecklistItem:
    item: ChecklistItem = order.checklist.get(kind=kind)
    return item


@pytest.mark.parametrize(
    ("kind", "answer", "failed"),
    [
        ("tick", {}, False),
        ("number", {"value": 100.0}, False),
        ("number", {"value": 300.0}, False),
        ("number", {"value": 99.9}, True),
        ("number", {"value": 301.0}, True),
        ("choice", {"choice": "clear"}, False),
        ("choice", {"choice": "milky"}, True),
        ("reading", {"value": 81.0}, True),
    ],
)
def test_an_answer_beyond_its_limits_or_a_bad_choice_fails_the_task(
    order: WorkOrder, technician: User, kind: str, answer: dict[str, Any], failed: bool
) -> None:
    item = answers.answer(item_of(order, kind), technician, **answer)
    assert (item.failed, item.done_by) == (failed, technician)


@pytest.mark.parametrize(
    ("kind", "answer", "code"),
    [
        ("number", {}, "value_missing"),
        ("choice", {"choice": "blue"}, "choice_unknown"),
        ("reading", {}, "no_reading"),
    ],
)
def test_what_is_no_answer_to_the_task_is_refused(
    order: WorkOrder, technician: User, kind: str, answer: dict[str, Any], code: str
) -> None:
    with pytest.raises(Refused) as refusal:
        answers.answer(item_of(order, kind), technician, **answer)
    assert refusal.value.code == code
    assert item_of(order, kind).done_at is None


def test_a_reading_is_taken_from_the_sensor(order: WorkOrder, technician: User, north: Plant) -> None:
    now = timezone.now()
    Reading.objects.create(sensor=north.temperature, timestamp=now, value=85.0)
    item = answers.answer(item_of(order, "reading"), technician)
    assert (item.value, item.measured_at, item.failed, item.measures_in) == (85.0, now, True, "°C")


def test_a_failed_task_is_followed_up_once(order: WorkOrder, technician: User) -> None:
    item = answers.answer(item_of(order, "number"), technician, value=350.0)
    made = answers.follow_up(item, technician)
    assert answers.follow_up(item, technician) == made
    assert (made.title, made.state, made.follows) == ("Pressure: 350 kPa", "proposed", order)
    assert "at least 100 and at most 300 kPa" in made.description


def test_a_task_that_has_not_failed_is_not_followed_up(order: WorkOrder, technician: User) -> None:
    with pytest.raises(Refused, match="has not failed"):
        answers.follow_up(item_of(order, "tick"), technician)


def test_an_ended_order_takes_no_answers(order: WorkOrder, technician: User) -> None:
    work_orders.cancel(order, technician)
    with pytest.raises(Refused, match="can no longer be changed"):
        answers.answer(item_of(order, "tick"), technician)


@pytest.mark.parametrize(
    "task",
    [
        "Look at it",
        {"kind": "tick"},
        {"text": ""},
        {"text": "x", "kind": "dance"},
        {"text": "x", "low": 2, "high": 1},
        {"text": "x", "kind": "reading"},
        {"text": "x", "kind": "choice"},
        {"text": "x", "extra": 1},
    ],
)
def test_what_is_no_checklist_is_refused(task: object) -> None:
    with pytest.raises(Refused) as refusal:
        checklists.parsed([{"text": "Fine"}, task])
    assert (refusal.value.code, refusal.value.status) == ("checklist_invalid", 422)


def test_a_sensor_of_another_site_is_refused_and_no_order_is_made(north: Plant, south: Plant, technician: User) -> None:
    task = {"text": "Bearing", "kind": "reading", "sensor": south.temperature.pk}
    with pytest.raises(Refused, match="is none of North"):
        work_orders.propose(north.pump, technician, title="Inspect it", checklist=[task])
    assert not WorkOrder.objects.exists()


def test_the_page_takes_answers_and_offers_the_follow_up(client: Client, order: WorkOrder, technician: User) -> None:
    client.force_login(technician)
    item = item_of(order, "number")
    client.post(reverse("maintenance:answer", args=[item.pk]), {"value": "350"})
    follow_up = reverse("maintenance:follow-up", args=[item.pk])
    assert follow_up in client.get(order.get_absolute_url()).content.decode()
    answer = client.post(follow_up)
    assert answer.headers["Location"] == WorkOrder.objects.get(follows=order).get_absolute_url()
    said = client.post(reverse("maintenance:answer", args=[item.pk]), {"value": "much"}, follow=True)
    assert "Give a number." in said.content.decode()


def test_the_api_makes_and_answers_a_checklist(client: Client, north: Plant, technician: User) -> None:
    client.force_login(technician)
    json = {"content_type": "application/json"}
    body = {"asset": north.pump.pk, "title": "Inspect it", "checklist": TASKS, "approved": True}
    order = client.post("/api/v1/work-orders/", body, **json).json()["id"]
    items = client.get(f"/api/v1/checklist-items/?order={order}").json()["results"]
    assert {item["text"] for item in items} == {task["text"] for task in TASKS}
    pressure = next(item["id"] for item in items if item["text"] == "Pressure")
    answered = client.post(f"/api/v1/checklist-items/{pressure}/answer/", {"value": 350}, **json).json()
    assert (answered["failed"], answered["value"], answered["unit"]) == (True, 350, "kPa")
    made = client.post(f"/api/v1/checklist-items/{pressure}/follow-up/", **json).json()
    assert (made["follows"], made["state"]) == (order, "proposed")
    refused = client.post("/api/v1/work-orders/", body | {"checklist": [{}]}, **json)
    assert (refused.status_code, refused.json()["code"]) == (422, "checklist_invalid")

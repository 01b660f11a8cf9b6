from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from maintenance import work_orders
from maintenance.models import WorkOrder
from maintenance.my_work import todays_orders
from tests.conftest import Plant, make_user

NOW = timezone.now()
DAY = timedelta(days=1)
MINE = "/work-orders/mine/"


@pytest.fixture
def technician(people: dict[str, User]) -> User:
    return people["technician"]


def job(plant: Plant, title: str, **about: object) -> WorkOrder:
    details = {"state": "approved", "site": plant.site, "asset": plant.pump} | about
    order: WorkOrder = WorkOrder.objects.create(title=title, **details)
    return order


def titles(user: User) -> list[str]:
    return [order.title for order in todays_orders(user, NOW)]


def test_what_is_in_progress_comes_first_then_the_overdue_then_the_urgent(north: Plant, technician: User) -> None:
    job(north, "Whenever", priority=1)
    job(north, "Urgent", priority=4)
    job(north, "Late", priority=2, due_at=NOW - DAY)
    job(north, "Begun", state="in_progress", assignee=technician, started_at=NOW)
    assert titles(technician) == ["Begun", "Late", "Urgent", "Whenever"]


def test_mine_are_those_i_answer_for_or_work_on_and_those_of_nobody(
    north: Plant, south: Plant, technician: User, people: dict[str, User]
) -> None:
    job(north, "Mine", assignee=technician)
    job(north, "Together", assignee=people["engineer"]).crew.add(technician)
    job(north, "Nobody's")
    job(north, "Somebody else's", assignee=people["engineer"])
    job(south, "Elsewhere")
    assert set(titles(technician)) == {"Mine", "Together", "Nobody's"}


def test_what_waits_for_approval_has_ended_or_is_planned_for_another_day_is_not_todays(
    north: Plant, technician: User
) -> None:
    job(north, "Proposed", state="proposed")
    job(north, "Closed", state="closed", closed_at=NOW)
    job(north, "Next week", state="scheduled", planned_start=NOW + 7 * DAY)
    job(north, "Yesterday", state="scheduled", planned_start=NOW - DAY)
    assert titles(technician) == ["Yesterday"]


def test_start_log_and_close_come_back_to_the_list(client: Client, north: Plant, technician: User) -> None:
    order = job(north, "Change the seal")
    client.force_login(technician)
    sent = {
        "start": {},
        "log": {"notes": "Changed", "key": "k"},
        "close": {"outcome": "planned_work"},
    }
    for step, fields in sent.items():
        url = reverse(f"maintenance:{step}", args=[order.pk])
        assert url in client.get(MINE).content.decode()
        assert client.post(url, fields | {"next": MINE}).headers["Location"] == MINE
    order.refresh_from_db()
    assert order.state == "closed"
    assert "Nothing to do today" in client.get(MINE).content.decode()


def test_the_page_costs_the_same_with_one_and_with_ten_orders(client: Client, north: Plant, technician: User) -> None:
    client.force_login(technician)

    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            assert client.get(MINE).status_code == 200
        return len(seen)

    job(north, "One")
    few = queries()
    for number in range(9):
        work_orders.propose(north.pump, make_user("technician", north.site), title=f"Job {number}", approved=True)
    assert queries() == few <= 8


def test_the_worker_is_a_script_that_sees_the_work_orders_alone(client: Client, technician: User) -> None:
    client.force_login(technician)
    answer = client.get(reverse("maintenance:worker"))
    assert answer.headers["Content-Type"] == "text/javascript"
    assert reverse("maintenance:worker").startswith("/work-orders/")
    assert "Service-Worker-Allowed" not in answer.headers

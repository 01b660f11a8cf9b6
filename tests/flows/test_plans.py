"""Programs that follow plans are killed (SIGKILL) before they commit, and run at once: each order is made once."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from maintenance import plans
from maintenance.models import Plan, PlanOccurrence, WorkOrder
from tests.conftest import Plant
from tests.flows.test_messages import kill, sender, session, wait_until, waits_in_the_database

pytestmark = pytest.mark.django_db(transaction=True)

FOLLOW = "import django; django.setup(); from maintenance import tasks; tasks.follow_plans()"


@pytest.fixture
def daily(north: Plant, people: dict[str, User]) -> Plan:
    plan = Plan(asset=north.pump, title="Look at it", rule="FREQ=DAILY", starts_on=date(2026, 1, 1), lead_days=3)
    return plans.keep(plan, people["engineer"], timezone.now() - timedelta(hours=1))


def keys_with_orders() -> list[str]:
    return sorted(PlanOccurrence.objects.exclude(order=None).values_list("key", flat=True))


def days_from_now_on() -> list[str]:
    today = datetime.now(UTC).date()
    return [(today + timedelta(days=n)).isoformat() for n in range(4)]


def test_killed_between_an_occurrence_and_the_commit_it_leaves_nothing(daily: Plan) -> None:
    Plan.objects.update(due_time="23:59:59")
    days = days_from_now_on()
    with session() as other:
        # The child has made the first order and its occurrence by the time it meets this one, which is not committed.
        other.execute(
            "INSERT INTO maintenance_planoccurrence (plan_id, key, due_at, created_at) VALUES (%s, %s, now(), now())",
            [daily.pk, days[1]],
        )
        child = sender(FOLLOW)
        wait_until(waits_in_the_database("lock"))
        kill(child)
    assert not WorkOrder.objects.exists()
    assert not PlanOccurrence.objects.exists()
    for _ in range(2):
        plans.follow_due(timezone.now())
    assert set(days[1:]) <= set(keys_with_orders())
    assert WorkOrder.objects.count() == len(keys_with_orders()) == PlanOccurrence.objects.count()


def test_several_programs_at_once_make_each_order_once(daily: Plan) -> None:
    with session() as other:
        other.execute("LOCK maintenance_workorder IN ACCESS EXCLUSIVE MODE")
        children = [sender(FOLLOW) for _ in range(3)]
        wait_until(waits_in_the_database("lock"))
    errors = [child.communicate(timeout=60)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], errors
    plans.follow_due(timezone.now())
    assert WorkOrder.objects.count() == len(keys_with_orders()) == PlanOccurrence.objects.count()

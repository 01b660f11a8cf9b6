import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from icalendar import Calendar

from maintenance import feeds, plans, work_orders
from maintenance.models import CalendarLink, Plan, WorkOrder
from tests.alerts.test_views import text
from tests.conftest import Plant, make_user

# A Tuesday.
NOW = datetime(2026, 3, 3, 9, tzinfo=UTC)
DAY = timedelta(days=1)
CALENDAR = "/work-orders/calendar/"


@pytest.fixture(autouse=True)
def that_tuesday() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def technician(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["technician"])
    return client


def order_on(plant: Plant, at: datetime | None, title: str = "Grease", **fields: Any) -> WorkOrder:
    return work_orders.propose(plant.pump, None, title=title, due_at=at, approved=True, **fields)


def weekly(plant: Plant, by: User, **fields: Any) -> Plan:
    defaults = {"title": "Look at the seal", "rule": "FREQ=WEEKLY;BYDAY=FR", "starts_on": date(2026, 1, 2)}
    return plans.keep(Plan(asset=plant.pump, lead_days=0, **defaults | fields), by)


def of_day(page: str, day: str) -> list[str]:
    """What the month's page shows of a day."""
    found = re.search(rf'day={day}"><span.*?<ul>(.*?)</ul>', page, re.DOTALL)
    assert found
    return re.findall(r">([^<>]+)</a>", found.group(1))


def test_an_order_stands_where_it_is_planned_or_else_due_on_the_sites_clock(technician: Client, north: Plant) -> None:
    order_on(north, datetime(2026, 3, 9, 23, 30, tzinfo=UTC), "Late in the evening")
    order_on(north, NOW + 9 * DAY, "Planned", planned_start=NOW + 1 * DAY)
    order_on(north, None, "Whenever")
    cancelled = order_on(north, NOW + 2 * DAY, "Cancelled")
    WorkOrder.objects.filter(pk=cancelled.pk).update(state="cancelled", closed_at=NOW)
    page = text(technician, CALENDAR)
    assert "March 2026" in page
    assert of_day(page, "2026-03-10") == ["Late in the evening"]
    assert of_day(page, "2026-03-04") == ["Planned"]
    assert "Whenever" not in page
    assert "Cancelled" not in page


def test_what_plans_will_bring_is_shown_until_it_is_an_order(
    technician: Client, north: Plant, people: dict[str, User]
) -> None:
    weekly(north, people["engineer"])
    page = text(technician, CALENDAR)
    assert [len(of_day(page, f"2026-03-{day:02}")) for day in (5, 6, 13, 20, 27)] == [0, 1, 1, 1, 1]
    plans.follow_due(NOW + 3 * DAY)
    page = text(technician, CALENDAR)
    assert of_day(page, "2026-03-06") == ["Look at the seal"]
    assert page.count("Expected: ") == 4  # The 3rd of April is in the last week of the page.
    assert of_day(text(technician, CALENDAR, month="2026-05"), "2026-05-29") == ["Look at the seal"]


def test_a_day_with_many_orders_leads_to_all_of_them(technician: Client, north: Plant) -> None:
    for n in range(7):
        order_on(north, NOW + n * timedelta(minutes=1), f"Job {n}")
    assert of_day(text(technician, CALENDAR), "2026-03-03") == ["Job 0", "Job 1", "Job 2", "Job 3", "3 more"]
    page = text(technician, CALENDAR, day="2026-03-03")
    assert re.findall(r"WO-\d+ (Job \d)", page) == [f"Job {n}" for n in range(7)]
    assert "Nothing planned" in text(technician, CALENDAR, day="2026-03-04")


@pytest.mark.parametrize("asked", ["2026-13", "never", "9999-12", "0001-01"])
def test_a_month_that_is_none_is_this_one(technician: Client, north: Plant, asked: str) -> None:
    assert "March 2026" in text(technician, CALENDAR, month=asked)


def test_the_calendar_of_another_site_does_not_exist(technician: Client, south: Plant) -> None:
    order_on(south, NOW, "Secret of the south")
    assert "Secret" not in text(technician, CALENDAR)
    for name in ("calendar", "workload"):
        assert technician.get(reverse(f"maintenance:{name}"), {"site": south.site.pk}).status_code == 404


def test_the_workload_adds_up_hours_by_person_and_week(
    technician: Client, north: Plant, people: dict[str, User]
) -> None:
    who = people["technician"]
    order_on(north, NOW - 20 * DAY, assignee=who, estimated_hours=5)
    order_on(north, NOW, assignee=who, estimated_hours=38)
    order_on(north, NOW + 7 * DAY, assignee=who)
    order_on(north, NOW + 7 * DAY, estimated_hours=3)
    weekly(north, people["engineer"], assignee=who, estimated_hours=2.5)
    page = text(technician, reverse("maintenance:workload"))
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', page, re.DOTALL)
    hours = {name: re.findall(r"([\d.]+) h</strong>", cells) for name, cells in rows}
    assert hours == {who.username: ["45.5", "2.5", "2.5", "2.5", "2.5", "2.5"], "Nobody yet": ["3"]}
    assert 'class="field-error">45.5 h' in page
    assert "2 orders, 1 not estimated" in page


def test_the_pages_cost_the_same_whatever_is_planned(technician: Client, north: Plant, people: dict[str, User]) -> None:
    counts = []
    for more in (1, 8):
        for n in range(more):
            order_on(north, NOW + n * DAY, assignee=make_user("technician", north.site), estimated_hours=1)
            weekly(north, people["engineer"], assignee=people["technician"])
        with CaptureQueriesContext(connection) as seen:
            for name in ("calendar", "workload"):
                text(technician, reverse(f"maintenance:{name}"))
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 20


def fetch(secret: str) -> Any:
    answer = Client().get(reverse("maintenance:calendar-feed", args=[secret]))
    return Calendar.from_ical(answer.content) if answer.status_code == 200 else answer.status_code


def test_a_program_fetches_ones_work_by_the_address_shown_once(
    technician: Client, north: Plant, people: dict[str, User]
) -> None:
    who = people["technician"]
    nasty = "Grease; clean, and\nBEGIN:VEVENT " + "ä" * 100
    mine = order_on(north, NOW + DAY, nasty, assignee=who, estimated_hours=2)
    helped = order_on(north, NOW + 2 * DAY, "Helped")
    helped.crew.add(who)
    order_on(north, NOW + DAY, "Of somebody else")
    page = technician.post(reverse("maintenance:calendar-link")).content.decode()
    secret = re.search(r"calendar/([\w-]{43})\.ics", page)
    assert secret
    assert secret[1] not in text(technician, reverse("maintenance:calendar-link"))
    events = fetch(secret[1]).walk("VEVENT")
    assert [event["uid"].split("@")[0] for event in events] == [f"work-order-{order.pk}" for order in (mine, helped)]
    assert events[0]["dtstart"].dt == NOW + DAY
    assert events[0]["duration"].dt == timedelta(hours=2)
    assert str(events[0]["summary"]).startswith(f"WO-{mine.pk} Grease; clean, and")
    raw = feeds.calendar_of(who, NOW)
    assert b"DTSTART:20260304T090000Z" in raw
    assert max(len(line) for line in raw.split(b"\r\n")) <= 75
    assert raw.count(b"\r\nBEGIN:VEVENT") == 2
    assert secret[1] not in CalendarLink.objects.get().digest


def test_an_address_ends_when_it_is_renewed_or_revoked_or_its_owner_leaves(
    technician: Client, people: dict[str, User]
) -> None:
    who = people["technician"]
    first = feeds.make_link(who)
    second = feeds.make_link(who)
    assert fetch(first) == 404
    assert fetch(second) != 404
    User.objects.filter(pk=who.pk).update(is_active=False)
    assert fetch(second) == 404
    User.objects.filter(pk=who.pk).update(is_active=True)
    who.groups.clear()
    assert fetch(second) == 404
    assert fetch("a" * 43) == 404


def test_revoking_ends_the_address(technician: Client, people: dict[str, User]) -> None:
    secret = feeds.make_link(people["technician"])
    technician.post(reverse("maintenance:calendar-link"), {"revoke": "1"})
    assert fetch(secret) == 404


def test_a_feed_holds_nothing_of_a_site_one_has_left(north: Plant, people: dict[str, User]) -> None:
    who = people["technician"]
    order_on(north, NOW + DAY, "Grease", assignee=who)
    secret = feeds.make_link(who)
    assert len(fetch(secret).walk("VEVENT")) == 1
    north.site.members.remove(who)
    assert len(fetch(secret).walk("VEVENT")) == 0

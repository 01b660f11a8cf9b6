"""Work by days and weeks: what orders are planned for, what plans will bring, and whose hours that takes.

An order stands where its work is planned to start, or else where it is due.
"""

import calendar
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, takewhile
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Count, F, Q, QuerySet, Sum, Window
from django.db.models.functions import RowNumber, TruncDate, TruncWeek

from maintenance.models import Plan, WorkOrder
from maintenance.models.work_orders import WHEN
from maintenance.plan_days import Due, coming, today
from sensors.models import Site

# What a day's field of a month shows; the day's own list has them all.
PER_DAY = 4
# A month is drawn for so many plans that come in it.
MOST_PLANS = 300
WEEKS = 6
# What a person is taken to work a week.
CAPACITY_HOURS = 40.0
A_WEEK = timedelta(days=7)


@dataclass
class Day:
    """A day of the calendar: its first orders, how many more there are, and the plans that will bring others."""

    date: date
    in_month: bool
    orders: list[WorkOrder] = field(default_factory=list)
    total: int = 0
    plans: list[tuple[Plan, Due]] = field(default_factory=list)

    @property
    def more(self) -> int:
        return self.total - len(self.orders)


@dataclass
class Load:
    """The hours of one person in one week: those estimated, and how many orders nobody has estimated."""

    hours: float = 0.0
    orders: int = 0
    unestimated: int = 0

    @property
    def percent(self) -> int:
        return round(100 * self.hours / CAPACITY_HOURS)


def month(site: Site, first: date, now: datetime) -> list[list[Day]]:
    """The weeks, Monday to Sunday, of the month that begins on `first`, on the clock of the site. Three queries."""
    weeks = calendar.Calendar().monthdatescalendar(first.year, first.month)
    days = {day: Day(day, day.month == first.month) for week in weeks for day in week}
    begin, end = weeks[0][0], weeks[-1][-1]
    for order in _first_of_days(site, begin, end):
        day = days[order.day]
        day.orders.append(order)
        day.total = order.of_day
    for plan, due in expected(site, begin, end, now):
        days[due.day].plans.append((plan, due))
    return [[days[day] for day in week] for week in weeks]


def of_day(site: Site, day: date) -> "QuerySet[WorkOrder]":
    """All orders of a day."""
    rows: QuerySet[WorkOrder] = _between(site, day, day).order_by("when", "pk").select_related("site", "asset")
    return rows


def expected(site: Site, begin: date, end: date, now: datetime) -> Iterator[tuple[Plan, Due]]:
    """What plans by the calendar will bring from `begin` to `end` and have not made an order of yet.

    Where the next one counts from completion, only that is known.
    """
    stop = _start_of(site, end + timedelta(days=1))
    plans = Plan.objects.filter(asset__site=site, enabled=True, trigger=Plan.Trigger.CALENDAR, next_due_at__lt=stop)
    for plan in plans.select_related("asset__site", "assignee").order_by("next_due_at", "pk")[:MOST_PLANS]:
        seen_to = plan.seen_to or today(plan, now) - timedelta(days=1)
        found: Iterator[Due] = takewhile(lambda due: due.named <= end, coming(plan, seen_to, end))
        if plan.counts_from == Plan.CountsFrom.COMPLETED:
            found = islice(found, 1)
        yield from ((plan, due) for due in found if begin <= due.day <= end)


def workload(site: Site, now: datetime) -> tuple[list[date], dict[User | None, list[Load]]]:
    """The Mondays of the next weeks, and each person's load in them; what is overdue counts to the first.

    None stands for nobody: work that is not assigned. Four queries.
    """
    monday = now.astimezone(site.timezone).date()
    monday -= timedelta(days=monday.weekday())
    weeks = [monday + n * A_WEEK for n in range(WEEKS)]
    loads: dict[int | None, list[Load]] = defaultdict(lambda: [Load() for _ in weeks])
    stop = _start_of(site, monday + WEEKS * A_WEEK)
    for assignee, week, hours, count, unestimated in _running_by_week(site, stop):
        load = loads[assignee][max(0, (week.date() - monday).days // 7)]
        load.hours += hours or 0.0
        load.orders += count
        load.unestimated += unestimated
    for plan, due in expected(site, monday, weeks[-1] + timedelta(days=6), now):
        load = loads[plan.assignee_id][(due.day - monday).days // 7]
        load.hours += plan.estimated_hours or 0.0
        load.orders += 1
        load.unestimated += plan.estimated_hours is None
    people = User.objects.in_bulk([pk for pk in loads if pk is not None])
    named = sorted((people[pk].username, pk) for pk in loads if pk is not None)
    by_person: dict[User | None, list[Load]] = {people[pk]: loads[pk] for _, pk in named}
    return weeks, by_person | ({None: loads[None]} if None in loads else {})


def _first_of_days(site: Site, begin: date, end: date) -> Any:
    rows = _between(site, begin, end).annotate(day=TruncDate("when", tzinfo=site.timezone))
    same_day = [F("day")]
    place = Window(RowNumber(), partition_by=same_day, order_by=[F("when").asc(), F("pk").asc()])
    rows = rows.annotate(of_day=Window(Count("pk"), partition_by=same_day), place=place)
    return rows.filter(place__lte=PER_DAY).order_by("when", "pk")


def _between(site: Site, begin: date, end: date) -> Any:
    """The orders of these days, both included, but for cancelled ones."""
    start, stop = _start_of(site, begin), _start_of(site, end + timedelta(days=1))
    rows = WorkOrder.objects.annotate(when=WHEN).filter(site=site, when__gte=start, when__lt=stop)
    return rows.exclude(state=WorkOrder.State.CANCELLED)


def _running_by_week(site: Site, stop: datetime) -> Any:
    rows = WorkOrder.objects.running().filter(site=site, done_at=None).annotate(when=WHEN).filter(when__lt=stop)
    rows = rows.annotate(week=TruncWeek("when", tzinfo=site.timezone)).order_by().values_list("assignee", "week")
    return rows.annotate(
        hours=Sum("estimated_hours"), orders=Count("pk"), unestimated=Count("pk", filter=Q(estimated_hours=None))
    )


def _start_of(site: Site, day: date) -> datetime:
    return datetime.combine(day, time.min, site.timezone).astimezone(UTC)

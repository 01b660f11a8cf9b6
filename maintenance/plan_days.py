"""The days on which a plan by the calendar is due: those of its rule, public holidays seen to, on the site's clock."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from maintenance import recurrence
from maintenance.holiday_calendars import LONGEST_HOLIDAY, is_holiday, next_working_day
from maintenance.models import Plan
from maintenance.recurrence import Rule

# Nobody plans for longer, and a rule without days is seen to be one after a bounded search.
LOOK_AHEAD = timedelta(days=20 * 365)


@dataclass(frozen=True)
class Due:
    """`named` is the day as the rule says, by which it is told apart; `day` the one it falls on, `at` in UTC."""

    named: date
    day: date
    at: datetime


def coming(plan: Plan, after: date, last: date, start: date | None = None) -> Iterator[Due]:
    """What is due on the days that the rule names after `after` and up to `last`, in that order, counted from `start`.

    What moves from a holiday onto a day that has its own, or that another one moved onto, falls away.
    """
    start = start or plan.starts_on
    assert start is not None
    rule, moved_onto = recurrence.parsed(plan.rule), date.min
    for named in recurrence.days(rule, start, after - LONGEST_HOLIDAY, last):
        day = _in_spite_of_holidays(plan, named)
        if day is None or (day != named and (day == moved_onto or _names(rule, start, day))):
            continue
        moved_onto = day if day != named else moved_onto
        if named > after:
            yield Due(named, day, moment(plan, day))


def moment(plan: Plan, day: date) -> datetime:
    """The due time of that day; where clocks leave it out in spring, an hour later, where it comes twice, the first."""
    return datetime.combine(day, plan.due_time, plan.asset.site.timezone).astimezone(UTC)


def today(plan: Plan, now: datetime) -> date:
    """The date at the plan's site."""
    return now.astimezone(plan.asset.site.timezone).date()


def _in_spite_of_holidays(plan: Plan, day: date) -> date | None:
    if plan.on_holiday == Plan.OnHoliday.KEEP or not is_holiday(plan.holidays_of, day):
        return day
    return None if plan.on_holiday == Plan.OnHoliday.SKIP else next_working_day(plan.holidays_of, day)


def _names(rule: Rule, start: date, day: date) -> bool:
    return any(recurrence.days(rule, start, day, day))


def next_days(plan: Plan, now: datetime) -> Iterator[Due]:
    """What is due from today on and not seen to yet; nothing for plans that no calendar drives.

    Where the next one counts from completion, that is as if each one was done on its day.
    """
    if plan.trigger != Plan.Trigger.CALENDAR:
        return iter(())
    yesterday = today(plan, now) - timedelta(days=1)
    return coming(plan, max(yesterday, plan.seen_to or yesterday), today(plan, now) + LOOK_AHEAD)

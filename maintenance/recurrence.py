"""On which days something recurs: the rules of RFC 5545 (RRULE) that name days, worked out between two dates.

A rule is worked out from any day on without going through the years before, and never looks beyond the last day asked
for: one that names no day at all, as the 30th of February, costs no more than another.
"""

import calendar
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from itertools import takewhile
from typing import Any

from sensors.errors import Refused

WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
LONGEST_TEXT = 300
MOST_TIMES = 1000
LONGEST_INTERVAL = 1000
A_DAY = timedelta(days=1)


class Frequency(StrEnum):
    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"
    YEARLY = "YEARLY"


@dataclass(frozen=True)
class Weekday:
    """A day of the week, 0 for Monday. `nth` counts it within month or year, from the end if negative; 0: each."""

    day: int
    nth: int = 0


@dataclass(frozen=True)
class Rule:
    """What an RRULE says. Its first possible day is not part of it."""

    frequency: Frequency
    interval: int = 1
    weekdays: tuple[Weekday, ...] = ()
    month_days: tuple[int, ...] = ()
    months: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()
    count: int | None = None
    until: date | None = None
    week_start: int = 0


def parsed(text: str) -> Rule:
    """The rule that `text` says, as `FREQ=MONTHLY;BYDAY=1MO`. Raises Refused (`invalid_rule`) with what is wrong.

    >>> parsed("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO").interval
    2
    """
    if len(text) > LONGEST_TEXT:
        raise _refused(f"is longer than {LONGEST_TEXT} characters")
    parts: dict[str, str] = {}
    for part in text.strip().upper().removeprefix("RRULE:").rstrip(";").split(";"):
        name, _, value = part.partition("=")
        if name in parts or name not in READERS:
            known = ", ".join(READERS)
            raise _refused(f"names {name[:20] or 'nothing'!r} twice or unknown to us; known are {known}")
        parts[name] = value
    if "FREQ" not in parts:
        raise _refused("lacks FREQ, for example FREQ=WEEKLY")
    said: dict[str, Any] = {}
    for name, value in parts.items():
        field, read = READERS[name]
        said[field] = read(name, value)
    rule = Rule(**said)
    _require_sense(rule)
    return rule


def in_words(text: str) -> str:
    """What a rule says, where a few words suffice; otherwise the rule itself.

    >>> in_words("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH"), in_words("FREQ=DAILY")
    ('every 2 weeks on Mon, Thu', 'every day')
    >>> in_words("FREQ=MONTHLY;BYDAY=1MO")
    'FREQ=MONTHLY;BYDAY=1MO'
    """
    rule = plain(text)
    if rule is None:
        return text
    one = {"DAILY": "day", "WEEKLY": "week", "MONTHLY": "month", "YEARLY": "year"}[rule.frequency]
    names = ", ".join(DAY_NAMES[weekday.day] for weekday in rule.weekdays)
    every = f"every {one}" if rule.interval == 1 else f"every {rule.interval} {one}s"
    return f"{every} on {names}" if names else every


def plain(text: str) -> Rule | None:
    """The rule, if it says no more than every so many days, weeks (on which weekdays), months or years."""
    try:
        rule = parsed(text)
    except Refused:
        return None
    if rule != Rule(rule.frequency, rule.interval, rule.weekdays) or any(weekday.nth for weekday in rule.weekdays):
        return None
    return None if rule.weekdays and rule.frequency != Frequency.WEEKLY else rule


def days(rule: Rule, start: date, first: date, last: date) -> Iterator[date]:
    """The days of the rule from `first` to `last`, both included, in order, for something that begins on `start`.

    As RFC 5545 has it, `start` says what the rule leaves open: the weekday of a week, the day of a month. It is a day
    of the rule only where the rule names it.
    """
    last = min(last, rule.until or last)
    rule = _completed(rule, start)
    begin = start if rule.count else max(start, first)
    found: Iterable[date] = (
        day for period in _periods(rule, start, begin, last) for day in _of_period(rule, period) if day >= start
    )
    if rule.count:
        found = (day for _, day in zip(range(rule.count), found, strict=False))
    return (day for day in takewhile(lambda day: day <= last, found) if day >= first)


def _completed(rule: Rule, start: date) -> Rule:
    if rule.weekdays or rule.month_days or rule.frequency == Frequency.DAILY:
        return rule
    if rule.frequency == Frequency.WEEKLY:
        return replace(rule, weekdays=(Weekday(start.weekday()),))
    months = rule.months or ((start.month,) if rule.frequency == Frequency.YEARLY else ())
    return replace(rule, month_days=(start.day,), months=months)


def _periods(rule: Rule, start: date, begin: date, last: date) -> Iterator[date]:
    """The first days of the rule's days, weeks, months or years, from the one with `begin` on."""
    if rule.frequency in (Frequency.DAILY, Frequency.WEEKLY):
        length = rule.interval * (7 if rule.frequency == Frequency.WEEKLY else 1)
        if rule.frequency == Frequency.WEEKLY:
            start -= timedelta(days=(start.weekday() - rule.week_start) % 7)
        passed = (begin - start).days // length * length
        for offset in range(passed, (last - start).days + 1, length):
            yield start + timedelta(days=offset)
        return
    length = rule.interval * (12 if rule.frequency == Frequency.YEARLY else 1)
    month = start.year * 12 + (start.month - 1 if rule.frequency == Frequency.MONTHLY else 0)
    month += (begin.year * 12 + begin.month - 1 - month) // length * length
    while month <= last.year * 12 + last.month - 1:
        yield date(month // 12, month % 12 + 1, 1)
        month += length


def _of_period(rule: Rule, first: date) -> list[date]:
    months = {Frequency.YEARLY: 12, Frequency.MONTHLY: 1}.get(rule.frequency, 0)
    if months:
        names = range(first.month, first.month + months)
        spans = [_month(first.year, month) for month in names if not rule.months or month in rule.months]
        found = [day for span in spans for day in span if _matches(rule, day)]
    else:
        length = 7 if rule.frequency == Frequency.WEEKLY else 1
        found = [day for offset in range(length) if _matches(rule, day := first + offset * A_DAY)]
    if not rule.positions:
        return found
    chosen = {(position if position < 0 else position - 1) % len(found) for position in _within(rule, len(found))}
    return [found[index] for index in sorted(chosen)]


def _within(rule: Rule, count: int) -> list[int]:
    return [position for position in rule.positions if abs(position) <= count]


def _month(year: int, month: int) -> list[date]:
    return [date(year, month, day) for day in range(1, calendar.monthrange(year, month)[1] + 1)]


def _matches(rule: Rule, day: date) -> bool:
    if rule.months and day.month not in rule.months:
        return False
    length = calendar.monthrange(day.year, day.month)[1]
    if rule.month_days and not {day.day, day.day - length - 1} & set(rule.month_days):
        return False
    return not rule.weekdays or any(_is_the(weekday, day, rule, length) for weekday in rule.weekdays)


def _is_the(weekday: Weekday, day: date, rule: Rule, month_length: int) -> bool:
    if day.weekday() != weekday.day or not weekday.nth:
        return day.weekday() == weekday.day
    if rule.frequency == Frequency.YEARLY and not rule.months:
        place, length = day.timetuple().tm_yday, 366 if calendar.isleap(day.year) else 365
    else:
        place, length = day.day, month_length
    return weekday.nth in ((place - 1) // 7 + 1, -((length - place) // 7 + 1))


def _numbers(smallest: int, largest: int) -> Callable[[str, str], tuple[int, ...]]:
    """Reads a list of whole numbers whose sizes, without sign, are in the range; negative ones where `smallest` is."""

    def read(name: str, value: str) -> tuple[int, ...]:
        texts = value.split(",")
        if not all(re.fullmatch(r"[+-]?\d{1,3}", text) for text in texts):
            raise _refused(f"has {name}={value[:40]}, which is no list of numbers")
        found = tuple(int(text) for text in texts)
        if any(number == 0 or not smallest <= number <= largest for number in found):
            raise _refused(f"has {name}={value[:40]}; numbers from {max(smallest, 1)} to {largest} are possible")
        return found

    return read


def _number(largest: int) -> Callable[[str, str], int]:
    def read(name: str, value: str) -> int:
        if not (re.fullmatch(r"\d{1,4}", value) and 1 <= int(value) <= largest):
            raise _refused(f"has {name}={value[:20]}; 1 to {largest} is possible")
        return int(value)

    return read


def _frequency(_: str, value: str) -> Frequency:
    if value not in Frequency.__members__:
        raise _refused(f"has FREQ={value[:20]}; DAILY, WEEKLY, MONTHLY and YEARLY are possible")
    return Frequency(value)


def _weekdays(_: str, value: str) -> tuple[Weekday, ...]:
    found = [re.fullmatch(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)", text) for text in value.split(",")]
    if not all(found):
        raise _refused(f"has BYDAY={value[:40]}; name days as MO,TU or 1MO or -1FR")
    return tuple(Weekday(WEEKDAYS.index(match[2]), int(match[1] or 0)) for match in found if match)


def _until(_: str, value: str) -> date:
    try:
        return date.fromisoformat(value[:8])
    except ValueError:
        raise _refused("has an UNTIL that is no day; write it as 20271231") from None


def _week_start(_: str, value: str) -> int:
    if value not in WEEKDAYS:
        raise _refused("has a WKST that is no day; MO or SU are usual")
    return WEEKDAYS.index(value)


READERS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "FREQ": ("frequency", _frequency),
    "INTERVAL": ("interval", _number(LONGEST_INTERVAL)),
    "BYDAY": ("weekdays", _weekdays),
    "BYMONTHDAY": ("month_days", _numbers(-31, 31)),
    "BYMONTH": ("months", _numbers(1, 12)),
    "BYSETPOS": ("positions", _numbers(-366, 366)),
    "COUNT": ("count", _number(MOST_TIMES)),
    "UNTIL": ("until", _until),
    "WKST": ("week_start", _week_start),
}


def _require_sense(rule: Rule) -> None:
    """Raises Refused for what RFC 5545 does not allow together."""
    if rule.count and rule.until:
        raise _refused("has both COUNT and UNTIL; one of them ends it")
    if rule.frequency == Frequency.WEEKLY and rule.month_days:
        raise _refused("counts days of a month in weeks; use FREQ=MONTHLY or leave BYMONTHDAY out")
    if any(weekday.nth for weekday in rule.weekdays) and rule.frequency in (Frequency.DAILY, Frequency.WEEKLY):
        raise _refused("counts weekdays, as in 1MO; that needs FREQ=MONTHLY or FREQ=YEARLY")
    if rule.positions and not (rule.weekdays or rule.month_days or rule.months):
        raise _refused("has BYSETPOS, which chooses among days that BYDAY, BYMONTHDAY or BYMONTH name")


def _refused(what: str) -> Refused:
    return Refused("invalid_rule", f"The rule {what}.", 422)

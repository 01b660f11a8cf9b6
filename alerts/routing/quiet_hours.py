"""Times of day on a person's or a site's clock: quiet hours, hours of routes, and when digests are due.

A time of day that a clock leaves out in spring is the moment at which it jumps; of one that it shows twice in autumn
the first counts.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache

from alerts.models import Preference
from sensors.wall_clock import instants

Digest = Preference.Digest
MIDNIGHT = time(0)
SOON = timedelta(seconds=300)
SHIFTS = (time(6), time(14), time(22))
MORNING = (time(6),)


def moment(day: date, clock: time, zone: tzinfo) -> datetime:
    """When clocks in `zone` show `clock` on `day`, in UTC.

    >>> from zoneinfo import ZoneInfo
    >>> berlin = ZoneInfo("Europe/Berlin")
    >>> moment(date(2026, 3, 29), time(2, 30), berlin).isoformat()
    '2026-03-29T01:00:00+00:00'
    >>> moment(date(2026, 10, 25), time(2, 30), berlin).isoformat()
    '2026-10-25T00:30:00+00:00'
    """
    naive = datetime.combine(day, clock)
    try:
        found = instants(naive, zone)
    except OverflowError:
        # Somebody may type the year 1 or 9999.
        return naive.replace(tzinfo=UTC)
    return found[0] if found else _jump(naive, zone)


def _jump(naive: datetime, zone: tzinfo) -> datetime:
    """When the clock leaves out `naive`. With the offset from before the jump it names a moment after it, and the other
    way round, so the jump lies between the two.
    """
    low, high = sorted(naive.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
    return high.replace(microsecond=0)


@lru_cache(4096)
def stretch(begins: time, ends: time, zone: tzinfo, at: datetime) -> tuple[date, datetime] | None:
    """On which day the stretch from `begins` to `ends` began in which `at` lies, and its end; None outside of it.

    It may be over midnight.
    """
    today = at.astimezone(zone).date()
    for day in (today - timedelta(days=1), today):
        end = moment(day if begins < ends else day + timedelta(days=1), ends, zone)
        if moment(day, begins, zone) <= at < end:
            return day, end
    return None


def quiet_until(preference: Preference, at: datetime) -> datetime | None:
    """The end of the quiet hours in which `at` lies, or None: then the person may be told at `at`."""
    if preference.quiet is None:
        return None
    found = stretch(*preference.quiet, preference.timezone, at)
    return found[1] if found else None


def next_of(clocks: Iterable[time], zone: tzinfo, after: datetime, weekdays: Iterable[int] = ()) -> datetime:
    """The first moment after `after` at which a clock in `zone` shows one of `clocks`, on one of `weekdays` if any."""
    today, wanted, chosen = after.astimezone(zone).date(), list(clocks), set(weekdays)
    days = [today + timedelta(days=number) for number in range(-1, 9)]
    moments = (moment(day, clock, zone) for day in days if not chosen or day.weekday() in chosen for clock in wanted)
    return min(at for at in moments if at > after)


def digest_due(preference: Preference, now: datetime) -> datetime:
    """When a digest that is begun now is to be sent."""
    match preference.digest:
        case Digest.SHIFT:
            return next_of(SHIFTS, preference.timezone, now)
        case Digest.DAY:
            return next_of(MORNING, preference.timezone, now)
        case Digest.WEEK:
            return next_of(MORNING, preference.timezone, now, weekdays=[0])
        case _:
            return now + SOON

"""Times of day across changes of the clock, and how much one person is told in an hour."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.models import Alert, Channel, Preference, Severity, State
from alerts.routing import budget, quiet_hours
from alerts.routing.circumstances import Circumstances, Terms
from alerts.routing.directory import Directory, Person
from alerts.routing.ledger import Ledger
from alerts.routing.routes import explain
from sensors.models import Site

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
# With whole, half and no hours of summer time, on both halves of the globe.
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Santiago"]
zones = st.sampled_from(ZONES)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))
clocks = st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))


@given(moments, clocks, clocks, zones)
def test_quiet_hours_end_when_the_clock_first_shows_so_and_nothing_else_is_quiet(
    at: datetime, begins: time, ends: time, zone: str
) -> None:
    wish = Preference(quiet_from=begins, quiet_to=ends, timezone=ZoneInfo(zone))
    end = quiet_hours.quiet_until(wish, at)
    shown = at.astimezone(ZoneInfo(zone))
    usual = begins <= shown.time() < ends if begins < ends else shown.time() >= begins or shown.time() < ends
    changes = {(shown + timedelta(hours=hours)).utcoffset() for hours in (-26, 26)}
    if begins == ends:
        assert end is None
    elif len(changes) == 1:
        assert (end is not None) == usual
    if end is not None:
        assert at < end <= at + 25 * HOUR
        assert quiet_hours.quiet_until(wish, end) is None
        shown_end = end.astimezone(ZoneInfo(zone))
        # In the hour that is left out in spring they end when the clock jumps.
        assert (
            shown_end.time() == ends
            or shown_end.utcoffset() != (shown_end - MINUTE).utcoffset()
            or ((end - MINUTE).astimezone(ZoneInfo(zone)).utcoffset() != shown_end.utcoffset())
        )


@pytest.mark.parametrize(
    ("day", "end"),
    [
        # 02:30 does not exist: the clock jumps from 02:00 to 03:00 at 01:00 UTC.
        (date(2026, 3, 28), datetime(2026, 3, 29, 1, tzinfo=UTC)),
        # 02:30 comes twice: the first time counts.
        (date(2026, 10, 24), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
    ],
)
def test_quiet_hours_end_once_when_the_clock_changes(day: date, end: datetime) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    wish = Preference(quiet_from=time(22), quiet_to=time(2, 30), timezone=berlin)
    at = datetime.combine(day, time(23), berlin).astimezone(UTC)
    assert quiet_hours.quiet_until(wish, at) == end
    assert quiet_hours.quiet_until(wish, end - timedelta(seconds=1)) == end
    assert all(quiet_hours.quiet_until(wish, end + number * MINUTE) is None for number in range(0, 600, 10))


@given(moments, st.lists(clocks, min_size=1, max_size=3), zones, st.sets(st.integers(0, 6)))
def test_the_next_time_of_day_is_after_now_and_on_its_day(
    at: datetime, wanted: list[time], zone: str, days: set[int]
) -> None:
    found = quiet_hours.next_of(wanted, ZoneInfo(zone), at, days)
    assert at < found <= at + timedelta(days=8)
    assert not days or found.astimezone(ZoneInfo(zone)).weekday() in days


@given(st.lists(moments, max_size=20), moments, st.integers(1, 6))
def test_there_is_always_a_next_moment_with_room(taken: list[datetime], at: datetime, most: int) -> None:
    times: list[datetime] = []
    for time_ in sorted(taken):
        times = sorted([*times, budget.earliest(times, time_, most)])
    times = sorted([*times, budget.earliest(times, at, most)])
    assert all(later - first >= HOUR for first, later in zip(times, times[most:], strict=False))


BERLIN = ZoneInfo("Europe/Berlin")
FORTNIGHT = datetime(2026, 3, 22, tzinfo=UTC)
happenings = st.lists(
    st.tuples(
        st.integers(0, 14 * 24 * 60),
        st.sampled_from([*Severity]),
        st.integers(1, 30),
    ),
    min_size=1,
    max_size=120,
)
wishes = st.builds(
    Preference,
    timezone=zones.map(ZoneInfo),
    quiet_from=st.just(time(22)),
    quiet_to=st.sampled_from([time(6), time(2, 30), time(22)]),
    digest=st.sampled_from([*Preference.Digest]),
    digest_below=st.sampled_from([None, Severity.MEDIUM, Severity.CRITICAL]),
    per_hour=st.integers(1, 6),
)


def all_that_is_told(happened: list[tuple[int, Severity, int]], wish: Preference) -> Ledger:
    """What one person is told of alerts at these minutes, of these severities, on these machines."""
    person = Person(1, "anna", "anna@example.com", None, frozenset(), True, wish)
    channel = Channel(pk=1, kind=Channel.Kind.EMAIL)
    known = Circumstances(
        routes=[Terms("All", people=frozenset({1}))],
        directory=Directory({1: person}, {1: channel}),
        sites={1: Site(pk=1, timezone=BERLIN)},
        parents=dict.fromkeys(range(31)),
        levels=dict.fromkeys(range(31), "machine"),
        senders={},
    )
    told, ledger = Ledger(), Ledger()
    for number, (minute, severity, asset) in enumerate(sorted(happened)):
        now = FORTNIGHT + minute * MINUTE
        for slot, message in list(ledger.waiting.items()):
            if message.delivery.due_at <= now:
                told.waiting[slot._replace(group_key=f"{slot.group_key} {number}")] = ledger.waiting.pop(slot)
        alert = Alert(pk=number, site_id=1, asset_id=asset, severity=severity, state=State.OPEN)
        for line in explain(alert, known, ledger, now).lines:
            assert line.at is not None
            assert line.at >= now
            assert severity < Severity.CRITICAL or line.at == now
            ledger.add(alert, line.slot, line.at, line.reason, now)
    told.waiting |= ledger.waiting
    return told


@given(happenings, wishes)
def test_nobody_is_told_more_than_their_budget_and_nothing_is_lost(
    happened: list[tuple[int, Severity, int]], wish: Preference
) -> None:
    messages = all_that_is_told(happened, wish).waiting.values()
    times = sorted(row.delivery.due_at for row in messages if row.delivery.severity < Severity.CRITICAL)
    assert all(later - first >= HOUR for first, later in zip(times, times[wish.per_hour :], strict=False))
    assert not any(quiet_hours.quiet_until(wish, at) for at in times)
    told_of = sorted(alert for row in messages for alert in row.items)
    assert told_of == list(range(len(happened)))

"""Exactly one person is on call at every moment, whatever clocks do."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import strategies as st

from alerts.models import Override, Rotation, RotationMember, Schedule
from alerts.routing import on_call
from alerts.routing.ladders import rotas_of
from alerts.routing.on_call import Rota, Shift, StandIn, Turns
from tests.alerts.told import person
from tests.conftest import Plant

HOUR = timedelta(hours=1)
# Clocks change by an hour, by half an hour, not at all; on both halves of the globe, and around midnight.
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Santiago"]
LENGTHS = [timedelta(hours=4), timedelta(hours=8), timedelta(hours=12), timedelta(days=1), timedelta(weeks=1)]
BERLIN = ZoneInfo("Europe/Berlin")

turns = st.builds(
    Turns,
    st.dates(date(2025, 1, 1), date(2026, 12, 31)),
    st.builds(time, st.integers(0, 23), st.sampled_from([0, 30])),
    st.sampled_from(LENGTHS),
    st.lists(st.integers(1, 9), min_size=1, max_size=5).map(tuple),
)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2027, 6, 1), timezones=st.just(UTC))
stand_ins = st.builds(
    lambda who, at, hours: StandIn(who, at, at + hours * HOUR), st.just(99), moments, st.integers(1, 90)
)


@given(turns, st.sampled_from(ZONES), st.integers(0, 900))
def test_each_hand_over_happens_once_in_order_and_on_the_clock(some: Turns, zone: str, number: int) -> None:
    here = ZoneInfo(zone)
    begin, following = some.begin(number, here), some.begin(number + 1, here)
    assert abs((following - begin) - some.length) <= HOUR
    assert some.number(begin, here) == number == some.number(following - timedelta(seconds=1), here)
    rota = Rota("", here, (some,))
    assert on_call.who(rota, begin) == some.people[number % len(some.people)]
    assert on_call.who(rota, following) == some.people[(number + 1) % len(some.people)]
    planned = datetime.combine(some.starts_on, some.hand_over) + number * some.length
    shown = begin.astimezone(here).replace(tzinfo=None)
    # Later only where the clock leaves this time out.
    assert shown == planned or timedelta(0) < shown - planned <= HOUR


@given(st.lists(turns, max_size=3), st.sampled_from(ZONES), st.lists(stand_ins, max_size=3), moments)
def test_shifts_follow_each_other_without_a_gap_and_agree_with_who_is_on_call(
    some: list[Turns], zone: str, standing: list[StandIn], start: datetime
) -> None:
    in_order = sorted(some, key=lambda row: (row.starts_on, row.hand_over))
    rota = Rota("", ZoneInfo(zone), tuple(in_order), tuple(standing))
    end = start + timedelta(days=9)
    found = on_call.shifts(rota, start, end)
    assert [found[0].start, *(shift.end for shift in found)] == [*(shift.start for shift in found), end]
    for shift in found:
        for at in (shift.start, shift.start + (shift.end - shift.start) / 2, shift.end - timedelta(seconds=1)):
            assert on_call.who(rota, max(at, shift.start)) == shift.person
        begun = any(turns.begin(0, rota.zone) <= shift.start for turns in in_order)
        assert (shift.person is not None) == (begun or shift.stands_in)


def at(day: int, hour: int, month: int = 3) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("day", "lengths"),
    [
        # The night of 29 March has 23 hours, that of 25 October 25.
        (date(2026, 3, 28), [24, 23, 24]),
        (date(2026, 10, 24), [24, 25, 24]),
    ],
)
def test_a_day_of_duty_may_have_23_or_25_hours(day: date, lengths: list[int]) -> None:
    rota = Rota("", BERLIN, (Turns(day - timedelta(days=1), time(8), timedelta(days=1), (1, 2, 3)),))
    start = datetime.combine(day - timedelta(days=1), time(8), BERLIN).astimezone(UTC)
    found = on_call.shifts(rota, start, start + sum(lengths) * HOUR)
    assert [(shift.person, (shift.end - shift.start) / HOUR) for shift in found] == list(
        zip((1, 2, 3), map(float, lengths), strict=True)
    )


def test_a_hand_over_in_the_hour_that_is_left_out_is_when_the_clock_jumps_and_in_the_double_one_the_first() -> None:
    rota = Turns(date(2026, 3, 1), time(2, 30), timedelta(days=1), (1, 2))
    assert rota.begin(28, BERLIN) == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert rota.begin(238, BERLIN) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_a_schedule_is_read_with_its_rotations_and_who_stands_in(north: Plant) -> None:
    anna, bert, carl = (person(name, north.site) for name in ("anna", "bert", "carl"))
    schedule = Schedule.objects.create(name="Night", timezone="Europe/Berlin")
    weekly = Rotation.objects.create(schedule=schedule, starts_on=date(2026, 3, 2), hand_over=time(8))
    daily = Rotation.objects.create(
        schedule=schedule, starts_on=date(2026, 3, 16), hand_over=time(8), every=Rotation.Every.DAY
    )
    for rotation, members in ((weekly, (anna, bert)), (daily, (bert, carl))):
        for position, member in enumerate(members):
            RotationMember.objects.create(rotation=rotation, person=member, position=position)
    Override.objects.create(schedule=schedule, person=carl, start=at(10, 6), end=at(10, 20))
    Override.objects.create(schedule=schedule, person=bert, start=at(10, 18), end=at(10, 22))
    rota = rotas_of([schedule.pk], at(1, 0))[schedule.pk]
    names = {member.pk: member.username for member in User.objects.all()}
    found = on_call.shifts(rota, at(2, 0), at(18, 8))
    assert [(names.get(row.person or 0), row.start.astimezone(BERLIN).strftime("%d %H")) for row in found] == [
        (None, "02 00"),
        ("anna", "02 08"),
        ("bert", "09 08"),
        ("carl", "10 06"),
        ("bert", "10 18"),
        ("bert", "10 20"),
        ("bert", "10 22"),
        ("bert", "16 08"),
        ("carl", "17 08"),
    ]
    assert found[3] == Shift(carl.pk, at(10, 6), at(10, 18), stands_in=True)

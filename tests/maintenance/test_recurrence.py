import time
from datetime import date, datetime, timedelta
from itertools import takewhile

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given
from hypothesis import strategies as st

from maintenance.recurrence import WEEKDAYS, days, parsed
from sensors.errors import Refused

START = date(2026, 1, 5)
TEN_YEARS = timedelta(days=3653)


def texts() -> st.SearchStrategy[str]:
    """Rules that name some day within a few years, in all the ways that are possible."""
    names = st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=3, unique=True).map(",".join)
    nths = st.lists(st.sampled_from([f"{n}{day}" for n in (1, 2, -1) for day in WEEKDAYS]), min_size=1, max_size=2)
    month_days = st.lists(st.sampled_from([1, 2, 15, 28, 31, -1, -3]), min_size=1, max_size=2, unique=True)
    months = st.lists(st.integers(1, 12), min_size=1, max_size=3, unique=True)
    joined = {
        "BYDAY": names,
        "COUNTED": nths.map(",".join),
        "BYMONTHDAY": month_days.map(lambda found: ",".join(map(str, found))),
        "BYMONTH": months.map(lambda found: ",".join(map(str, found))),
    }

    def rule(frequency: str, *possible: str) -> st.SearchStrategy[str]:
        parts = st.fixed_dictionaries({}, optional={name: joined[name] for name in possible})
        ends = st.sampled_from(["", ";COUNT=7", ";UNTIL=20290301"])
        return st.tuples(st.integers(1, 5), parts, ends).map(
            lambda said: (
                f"FREQ={frequency};INTERVAL={said[0]}"
                + "".join(f";{name.replace('COUNTED', 'BYDAY')}={value}" for name, value in said[1].items())
                + said[2]
            )
        )

    return st.one_of(
        rule("DAILY", "BYDAY"),
        rule("WEEKLY", "BYDAY"),
        rule("MONTHLY", "BYDAY"),
        rule("MONTHLY", "COUNTED"),
        rule("MONTHLY", "BYMONTHDAY"),
        rule("YEARLY", "BYMONTH", "BYMONTHDAY"),
        rule("YEARLY", "BYMONTH", "COUNTED"),
        rule("YEARLY", "BYMONTH", "BYDAY"),
        st.sampled_from(
            ["FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "FREQ=YEARLY;BYDAY=MO,FR;BYSETPOS=3,-2", "FREQ=YEARLY"]
        ),
    )


@given(texts(), st.integers(0, 1000), st.integers(0, 2500))
def test_the_days_are_those_that_dateutil_names(text: str, shift: int, skipped: int) -> None:
    start = START + timedelta(days=shift)
    first, last = start + timedelta(days=skipped), start + TEN_YEARS
    named = rrulestr(text, dtstart=datetime(start.year, start.month, start.day))
    expected = [at.date() for at in takewhile(lambda at: at.date() <= last, named) if at.date() >= first]
    assert list(days(parsed(text), start, first, last)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "every day",
        "INTERVAL=2",
        "FREQ=SECONDLY",
        "FREQ=MINUTELY",
        "FREQ=HOURLY",
        "FREQ=DAILY;BYHOUR=1,2,3",
        "FREQ=DAILY;FREQ=DAILY",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;INTERVAL=99999",
        "FREQ=DAILY;COUNT=1001",
        "FREQ=DAILY;COUNT=2;UNTIL=20270101",
        "FREQ=DAILY;UNTIL=soon",
        "FREQ=DAILY;BYDAY=1MO",
        "FREQ=WEEKLY;BYDAY=XX",
        "FREQ=WEEKLY;BYMONTHDAY=3",
        "FREQ=MONTHLY;BYMONTHDAY=32",
        "FREQ=MONTHLY;BYMONTHDAY=0",
        "FREQ=MONTHLY;BYMONTH=-1",
        "FREQ=MONTHLY;BYSETPOS=1",
        "FREQ=DAILY\nDTSTART:20200101",
        "FREQ=DAILY;RDATE=20200101",
        "FREQ=MONTHLY;BYMONTHDAY=" + ",".join(["1"] * 400),
    ],
)
def test_what_is_no_rule_of_days_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refusal:
        parsed(text)
    assert refusal.value.code == "invalid_rule"


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;INTERVAL=7;BYDAY=TU",
        "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=300",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=YEARLY;INTERVAL=1000;BYDAY=53MO",
    ],
)
def test_a_rule_that_names_no_day_is_given_up_soon(text: str) -> None:
    """dateutil looks for its first day until the year 9999."""
    before = time.process_time()
    assert list(days(parsed(text), START, START, START + 2 * TEN_YEARS)) == []
    assert time.process_time() - before < 1

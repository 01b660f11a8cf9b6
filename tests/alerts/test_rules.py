"""When limits and rules hold: a function of the readings, however they are cut, ordered and repeated."""

from datetime import UTC, datetime, time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from alerts.rules.definition import SECOND_US, Condition, Definition, Schedule
from alerts.rules.evaluation import Held, held
from alerts.rules.joining import Recorded, series_between, settle, window
from sensors.history import Series
from sensors.models import Limits

HOT = Condition(1, Limits(warn_high=80, alarm_high=90), 300 * SECOND_US)
SHAKING = Condition(2, Limits(warn_high=5), 300 * SECOND_US)
HOT_FOR_A_MINUTE = Definition((HOT,))
NOON = round(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp() * 1e6)


def series(*pairs: tuple[float, float]) -> Series:
    """Pairs of seconds after noon and values."""
    times = np.array([round(seconds * 1e6) + NOON for seconds, _ in pairs], np.int64)
    return times, np.array([value for _, value in pairs], float)


def every(seconds: float, *values: float) -> Series:
    return series(*((number * seconds, value) for number, value in enumerate(values)))


def spoken(found: list[Held]) -> list[tuple[float, float, float, float | None]]:
    """Start, end, peak, and since when it is an alarm, in seconds after noon."""

    def after_noon(at: int | None) -> float | None:
        return None if at is None else (at - NOON) / 1e6

    return [
        ((each.start - NOON) / 1e6, (each.end - NOON) / 1e6, each.peak.value, after_noon(each.alarm_at))
        for each in found
    ]


def test_a_limit_that_is_exceeded_for_long_enough_fires_from_the_first_reading_beyond_it() -> None:
    found = held(HOT_FOR_A_MINUTE, [every(20, 79, 81, 82, 85, 83, 70, 70)])
    assert spoken(found) == [(20, 80, 85, None)]


def test_a_reading_at_the_limit_is_not_beyond_it() -> None:
    assert held(HOT_FOR_A_MINUTE, [every(20, *[80] * 10)]) == []


def test_one_reading_inside_makes_the_duration_begin_anew() -> None:
    assert held(HOT_FOR_A_MINUTE, [every(20, 81, 81, 81, 79.9, 81, 81, 81, 70)]) == []


def test_a_lone_reading_fires_only_without_a_duration() -> None:
    lone = [every(20, 70, 99, 70)]
    assert held(HOT_FOR_A_MINUTE, lone) == []
    assert spoken(held(Definition((HOT,), duration_us=0), lone)) == [(20, 20, 99, 20)]


def test_a_value_that_swings_around_its_limit_fires_once() -> None:
    swinging = [81, 81, 81, 81, 79.5, 80.5, 79, 81, 78.5, 70, 70]
    assert spoken(held(HOT_FOR_A_MINUTE, [every(20, *swinging)])) == [(0, 160, 81, None)]


def test_a_narrow_band_can_be_returned_to_in_spite_of_hysteresis() -> None:
    band = Definition((Condition(1, Limits(warn_low=58, warn_high=60), 300 * SECOND_US),), duration_us=0)
    assert spoken(held(band, [every(20, 57, 59, 61, 59)])) == [(0, 0, 57, None), (40, 40, 61, None)]


def test_a_gap_ends_it_and_no_duration_is_counted_across_one() -> None:
    assert held(HOT_FOR_A_MINUTE, [series((0, 85), (301, 85))]) == []
    assert spoken(held(HOT_FOR_A_MINUTE, [series((0, 85), (60, 85), (400, 85), (430, 85))])) == [(0, 60, 85, None)]


def test_an_alarm_must_last_as_long_as_a_warning() -> None:
    found = held(HOT_FOR_A_MINUTE, [every(20, 85, 91, 85, 85, 92, 92, 95, 91, 70)])
    assert spoken(found) == [(0, 140, 95, 80)]


def test_a_limit_below_is_exceeded_downwards() -> None:
    low = Definition((Condition(1, Limits(alarm_low=10, warn_low=20), 300 * SECOND_US),), duration_us=0)
    assert spoken(held(low, [every(20, 25, 19, 9, 15, 20.2, 21)])) == [(20, 80, 9, 40)]


def test_all_conditions_hold_only_while_each_does() -> None:
    both = Definition((HOT, SHAKING))
    hot, shaking = every(20, *[85] * 10), series((0, 1), (50, 6), (110, 6), (130, 6), (170, 1))
    assert spoken(held(both, [hot, shaking])) == [(50, 160, 85 if 5 / 80 > 1 / 5 else 6, None)]


def test_any_condition_holds_alone() -> None:
    either = Definition((HOT, SHAKING), needs_all=False)
    calm, shaking = every(20, *[20] * 10), series((0, 1), (50, 6), (110, 6), (130, 7), (170, 1))
    assert spoken(held(either, [calm, shaking])) == [(50, 160, 7, None)]


def test_a_sensor_that_is_silent_for_a_gap_counts_for_nothing() -> None:
    both = Definition((HOT, SHAKING), duration_us=0)
    hot = every(60, *[85] * 10)
    assert spoken(held(both, [hot, series((0, 6))]))[0][:2] == (0, 300)


def test_a_rule_for_the_night_is_not_looked_at_by_day() -> None:
    night = Schedule((0,), (time(22), time(6)), "Europe/Berlin")
    nightly = Definition((HOT,), duration_us=0, schedule=night)
    # Every four minutes from Monday noon (UTC) on, for two days.
    readings = (NOON + np.arange(0, 2 * 86_400, 240) * 1_000_000, np.full(720, 85.0))
    [only] = held(nightly, [readings])
    assert datetime.fromtimestamp(only.start / 1e6, UTC) == datetime(2026, 3, 2, 21, tzinfo=UTC)
    assert datetime.fromtimestamp(only.end / 1e6, UTC) == datetime(2026, 3, 3, 4, 56, tzinfo=UTC)


def test_two_turns_of_a_schedule_are_two_firings_though_no_reading_lies_between() -> None:
    mornings = Schedule((), (time(12), time(13)), "UTC")
    slow = Condition(1, Limits(warn_high=80), 2 * 86_400 * SECOND_US)
    found = held(Definition((slow,), duration_us=0, schedule=mornings), [series((0, 85), (86_400, 85))])
    assert [each.start for each in found] == [NOON, NOON + 86_400 * SECOND_US]


@pytest.mark.parametrize(("day", "hours"), [(28, 24), (29, 23)])
def test_a_day_is_that_of_the_sites_clock_when_clocks_change(day: int, hours: int) -> None:
    start = datetime(2026, 3, 27, tzinfo=UTC).timestamp()
    times = (np.arange(0, 4 * 86_400, 900) + int(start)) * SECOND_US
    turns = Schedule((), None, "Europe/Berlin").turns(times)
    since_1970 = (datetime(2026, 3, day) - datetime(1970, 1, 1)).days
    assert (turns == since_1970).sum() == 4 * hours


def test_a_peak_is_the_reading_that_is_furthest_beyond_its_limit() -> None:
    either = Definition((HOT, SHAKING), needs_all=False, duration_us=0)
    [found] = held(either, [every(20, 84, 84, 70), every(20, 6, 7, 1)])
    assert (found.peak.sensor, found.peak.value) == (2, 7)


class Notebook:
    """What is written down of a definition as pieces of its readings come in."""

    def __init__(self, definition: Definition, whole: list[Series]) -> None:
        self.definition, self.whole = definition, whole
        self.arrived = [np.zeros(len(times), bool) for times, _ in whole]
        self.recorded: list[Recorded] = []
        self.keys = iter(range(10**6))

    def take(self, condition: int, rows: list[int]) -> None:
        """Store these readings of a condition's sensor, and look at them."""
        self.arrived[condition][rows] = True
        now = self._now()
        times = self.whole[condition][0][rows]
        first, last = int(times.min()), int(times.max())
        before = [int(own[own < first].max(initial=-1)) for own, _ in now]
        after = [int(own[own > last].min(initial=2**62)) for own, _ in now]
        before = [first if at < 0 else at for at in before]
        after = [last if at == 2**62 else at for at in after]
        begin, end = window(self.definition, first, last, before, after)
        settled = settle(self.definition, begin, end, self.recorded, series_between(now))
        kept = [row for row in self.recorded if row not in settled.replaced]
        self.recorded = kept + [Recorded(next(self.keys), each) for each in settled.found]

    def _now(self) -> list[Series]:
        return [(times[here], values[here]) for (times, values), here in zip(self.whole, self.arrived, strict=True)]

    def held(self) -> list[Held]:
        return sorted(row.held._replace(goes_on=False) for row in self.recorded)


@st.composite
def swinging(draw: st.DrawFn) -> Series:
    """Values around the limits, mostly a few seconds apart, with pauses."""
    count = draw(st.integers(1, 40))
    pauses = draw(st.lists(st.sampled_from([5, 10, 20, 30, 50, 280, 310, 700]), min_size=count, max_size=count))
    values = draw(st.lists(st.sampled_from([70, 78.5, 79.5, 81, 85, 91, 95]), min_size=count, max_size=count))
    return NOON + np.cumsum(pauses) * SECOND_US, np.array(values, float)


DEFINITIONS = {
    "a minute": HOT_FOR_A_MINUTE,
    "at once": Definition((HOT,), duration_us=0),
    "long": Definition((HOT,), duration_us=200 * SECOND_US, hysteresis=0.0),
    "scheduled": Definition((HOT,), schedule=Schedule((), (time(12, 2), time(12, 20)), "UTC")),
    "all": Definition((HOT, Condition(2, Limits(warn_high=79), 60 * SECOND_US)), duration_us=30 * SECOND_US),
    "any": Definition((HOT, Condition(2, Limits(warn_low=79), 60 * SECOND_US)), 30 * SECOND_US, 0.02, needs_all=False),
}


@pytest.mark.parametrize("name", DEFINITIONS)
@given(data=st.data())
@hypothesis_settings(max_examples=100)
def test_pieces_order_lateness_and_repetition_change_nothing(name: str, data: st.DataObject) -> None:
    definition = DEFINITIONS[name]
    whole = [data.draw(swinging()) for _ in definition.conditions]
    pieces: list[tuple[int, list[int]]] = []
    for condition, (times, _) in enumerate(whole):
        cuts = sorted({0, len(times), *data.draw(st.lists(st.integers(0, len(times)), max_size=8))})
        pieces += [(condition, list(range(a, b))) for a, b in pairwise(cuts)]
    order = data.draw(st.permutations(pieces))
    again = data.draw(st.lists(st.sampled_from(pieces), max_size=3))
    notebook = Notebook(definition, whole)
    for condition, rows in [*order, *again]:
        notebook.take(condition, rows)
    assert notebook.held() == [each._replace(goes_on=False) for each in held(definition, whole)]

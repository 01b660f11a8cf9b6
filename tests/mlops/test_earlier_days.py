"""Days compared with those before: a pattern that returns with the week is known, what never was is not."""

import numpy as np
import pytest

from mlops import earlier_days
from mlops.detectors.robust import DAY_US, HOUR_US
from mlops.validation import ORDINARY_DAYS
from sensors.history import Series, Window

START = 1_709_510_400_000_000
STEP_US = 10 * 60_000_000


def weeks(days: int) -> Series:
    """Ten-minute readings: a daily rhythm, and a machine that is loaded on the first day of each week."""
    stamps = START + np.arange(0, days * DAY_US, STEP_US)
    day, hour = (stamps - START) // DAY_US, (stamps - START) % DAY_US / HOUR_US
    values = 20 + 3 * np.sin(hour / 24 * 2 * np.pi) + np.random.default_rng(1).normal(0, 0.3, len(stamps))
    values[(day % 7 == 0) & (hour >= 8) & (hour < 16)] += 10
    return stamps, values


def looked_at(series: Series, window: Window) -> Series:
    part = slice(*np.searchsorted(series[0], [window.start, window.stop]))
    stamps, values = series[0][part], series[1][part]
    firsts = np.unique((stamps - window.start) // window.step, return_index=True)[1]
    return stamps[firsts], values[firsts]


def share(series: Series, start: int, end: int) -> float | None:
    asked = earlier_days.windows(1, start, end)
    return earlier_days.share_of_closer_days(asked, [looked_at(series, window) for window in asked], start)


def at(day: int, hour: float) -> int:
    return START + day * DAY_US + round(hour * HOUR_US)


def daily(days: int) -> Series:
    stamps, _ = weeks(days)
    hour = (stamps - START) % DAY_US / HOUR_US
    return stamps, 20 + 3 * np.sin(hour / 24 * 2 * np.pi) + np.random.default_rng(1).normal(0, 0.3, len(stamps))


def test_the_load_of_every_first_day_of_the_week_is_an_ordinary_day() -> None:
    found = share(weeks(36), at(35, 8), at(35, 10))
    assert found is not None
    assert found < ORDINARY_DAYS


def test_a_load_that_never_was_is_not() -> None:
    stamps, values = daily(30)
    values[(stamps >= at(27, 8)) & (stamps < at(27, 16))] += 10
    assert share((stamps, values), at(27, 8), at(27, 10)) == 1.0


def test_a_level_never_seen_at_these_hours_is_new_however_short() -> None:
    stamps, values = weeks(30)
    values[(stamps >= at(26, 9)) & (stamps < at(26, 9.5))] += 5
    assert share((stamps, values), at(26, 9), at(26, 9.4)) == 1.0


@pytest.mark.parametrize("a_day", [0.1, 0.4])
def test_a_slow_drift_is_not_taken_for_a_pattern_because_yesterday_was_like_today(a_day: float) -> None:
    stamps, values = weeks(30)
    drifting = values + a_day * (stamps - START) / DAY_US
    found = share((stamps, drifting), at(26, 12), at(26, 14))
    assert found is not None
    assert found > ORDINARY_DAYS


def test_within_the_first_week_nobody_can_tell() -> None:
    assert share(weeks(8), at(7, 8), at(7, 10)) is None
    assert share(weeks(10), at(9, 8), at(9, 10)) is not None


def test_days_without_readings_are_left_out() -> None:
    stamps, values = weeks(30)
    kept = ((stamps - START) // DAY_US < 8) | ((stamps - START) // DAY_US >= 28)
    assert share((stamps[kept], values[kept]), at(28, 8), at(28, 10)) is not None, "the first days are left"
    few = (stamps - START) // DAY_US >= 24
    assert share((stamps[few], values[few]), at(28, 8), at(28, 10)) is None


@pytest.mark.parametrize("days", [1, 3])
def test_a_long_event_is_not_compared_with_its_own_beginning(days: int) -> None:
    stamps, values = weeks(30)
    values[stamps >= at(25, 0)] += 4
    assert share((stamps, values), at(25, 0), at(25 + days, 6)) == 1.0

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from mlops.detectors import robust
from mlops.detectors.robust import DAY_US, HOUR_US, Profiles

MINUTE_US = 60_000_000


def minutes(count: int) -> np.ndarray:
    return np.arange(count) * MINUTE_US


def one_profile(count: int) -> np.ndarray:
    return np.zeros(count, np.int64)


def test_a_normal_signal_scores_like_a_standard_normal_distribution() -> None:
    values = np.random.default_rng(1).normal(50, 3, 20_000)
    profile = robust.learn(minutes(len(values)), values)
    assert profile is not None
    scores = robust.score(Profiles.of([profile]), one_profile(len(values)), minutes(len(values)), values)
    assert abs(np.median(scores)) < 0.05
    assert abs(np.std(scores) - 1) < 0.05


def test_a_third_of_wild_readings_hardly_moves_the_profile() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(10, 1, 3000)
    values[rng.choice(3000, 900, replace=False)] += 1000
    profile = robust.learn(minutes(3000), values)
    assert profile is not None
    assert abs(profile.median - 10) < 1
    assert profile.spread < 2


def test_a_daily_cycle_is_learned_and_taken_out() -> None:
    timestamps = minutes(7 * 1440)
    cycle = 10 * np.sin(2 * np.pi * timestamps / DAY_US)
    values = 100 + cycle + np.random.default_rng(3).normal(0, 0.5, len(timestamps))
    profile = robust.learn(timestamps, values)
    assert profile is not None
    assert profile.hour_offsets
    night, noon = 18 * HOUR_US, 6 * HOUR_US
    at_night, at_noon = robust.score(
        Profiles.of([profile]), one_profile(2), np.array([night, noon]), np.array([110.0, 110.0])
    )
    assert at_night > 8 > 2 > abs(at_noon)


def test_without_a_daily_cycle_none_is_invented() -> None:
    values = np.random.default_rng(4).normal(100, 1, 7 * 1440)
    profile = robust.learn(minutes(len(values)), values)
    assert profile is not None
    assert profile.hour_offsets == ()


def test_two_days_are_too_few_for_a_daily_cycle() -> None:
    timestamps = minutes(2 * 1440)
    profile = robust.learn(timestamps, 10 * np.sin(2 * np.pi * timestamps / DAY_US))
    assert profile is not None
    assert profile.hour_offsets == ()


def test_a_signal_that_never_moves_does_not_call_its_last_digit_an_anomaly() -> None:
    profile = robust.learn(minutes(100), np.full(100, 230.0))
    assert profile is not None
    score = robust.score(Profiles.of([profile]), one_profile(1), minutes(1), np.array([230.1]))
    assert abs(score[0]) < 1


def test_fewer_than_ten_readings_give_no_profile() -> None:
    assert robust.learn(minutes(9), np.arange(9.0)) is None


@given(st.lists(st.floats(-1e9, 1e9), min_size=10, max_size=200), st.floats(-1e6, 1e6), st.floats(0.001, 1000))
def test_scores_do_not_depend_on_the_unit_of_measurement(values: list[float], offset: float, factor: float) -> None:
    """Changing °C to °F must not change what is anomalous, as long as the smallest spread does not come in."""
    a = np.array(values)
    b = a * factor + offset
    timestamps = minutes(len(a))
    profile, other = robust.learn(timestamps, a), robust.learn(timestamps, b)
    assume(profile is not None and profile.spread > 0.01 * (np.abs(a).max() + abs(offset) + 1))
    assume(other is not None and other.spread > 1.001 * robust.SMALLEST_RELATIVE_SPREAD * abs(other.median))
    assert profile is not None
    assert other is not None
    which = one_profile(len(a))
    assert np.allclose(
        robust.score(Profiles.of([profile]), which, timestamps, a),
        robust.score(Profiles.of([other]), which, timestamps, b),
        rtol=1e-3,
        atol=1e-3,
    )


def test_a_machine_that_mostly_stands_still_may_run_now_and_then() -> None:
    values = np.zeros(1000)
    values[::8] = 50.0
    profile = robust.learn(minutes(1000), values)
    assert profile is not None
    assert abs(robust.score(Profiles.of([profile]), one_profile(1), minutes(1), np.array([50.0]))[0]) < 4


def test_a_signal_of_nothing_but_zeros_has_no_scale() -> None:
    assert robust.learn(minutes(100), np.zeros(100)) is None

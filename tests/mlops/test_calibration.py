"""A threshold keeps what it promises: so many false events a day, on data like those it was set by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlops import calibration
from mlops.calibration import DAY_US
from mlops.detectors.base import NotEnoughData

STEP_US = 300_000_000
A_DAY = DAY_US // STEP_US


def noise(days: int, memory: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The size of stationary noise in which `memory` of each reading is left in the next, every five minutes."""
    shocks = np.random.default_rng(seed).normal(0, np.sqrt(1 - memory**2), days * A_DAY)
    values = np.empty(len(shocks))
    level = 0.0
    for row, shock in enumerate(shocks):
        level = memory * level + shock
        values[row] = level
    return np.arange(len(values)) * STEP_US, np.abs(values)


def rate(timestamps: NDArray[np.int64], scores: NDArray[np.float64], threshold: float) -> float:
    return len(calibration.events(timestamps, scores, threshold)) / calibration.watched_days(timestamps)


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9, 0.95])
@pytest.mark.parametrize("per_day", [1.0, 0.2])
def test_on_noise_the_rate_is_the_stated_one_within_a_factor_of_three(memory: float, per_day: float) -> None:
    fresh = noise(400, memory, seed=99)
    rates = []
    for seed in range(10):
        found = calibration.calibrate(*noise(20, memory, seed), per_day)
        rates.append(rate(*fresh, found.threshold))
    assert per_day / 3 <= np.mean(rates) <= 3 * per_day


def test_with_three_days_held_back_a_rate_of_one_a_week_errs_on_the_quiet_side() -> None:
    fresh = noise(400, 0.5, seed=99)
    rates = [rate(*fresh, calibration.calibrate(*noise(3, 0.5, seed), 1 / 7).threshold) for seed in range(20)]
    assert np.mean(rates) <= 1 / 7


@given(st.integers(0, 2**32 - 1), st.floats(0.001, 1000))
def test_the_unit_of_the_score_makes_no_difference(seed: int, unit: float) -> None:
    timestamps, scores = noise(2, 0.5, seed=seed % 50)
    one = calibration.calibrate(timestamps, scores, 0.5)
    other = calibration.calibrate(timestamps, unit * scores, 0.5)
    np.testing.assert_allclose(other.comparable(unit * scores), one.comparable(scores), rtol=1e-6)


@given(st.integers(0, 49), st.floats(0.01, 10), st.floats(1.1, 10))
def test_fewer_false_alarms_need_a_higher_threshold(seed: int, per_day: float, factor: float) -> None:
    held_back = noise(2, 0.5, seed=seed)
    seldom = calibration.calibrate(*held_back, per_day / factor)
    assert seldom.threshold >= calibration.calibrate(*held_back, per_day).threshold


def test_at_the_threshold_a_comparable_score_is_one() -> None:
    found = calibration.calibrate(*noise(5, 0.5, seed=1), 1.0)
    assert found.comparable(np.array([found.threshold]))[0] == 1.0


def test_rows_without_a_score_are_passed_over() -> None:
    timestamps, scores = noise(10, 0.5, seed=1)
    holes = scores.copy()
    holes[::7] = np.nan
    with_holes = calibration.calibrate(timestamps, holes, 1.0).threshold
    assert abs(with_holes / calibration.calibrate(timestamps, scores, 1.0).threshold - 1) < 0.2


@pytest.mark.parametrize("scores", [np.full(1000, np.nan), np.ones(1000), np.arange(20.0)])
def test_scores_that_say_nothing_are_refused(scores: NDArray[np.float64]) -> None:
    with pytest.raises(NotEnoughData):
        calibration.calibrate(np.arange(len(scores)) * STEP_US, scores, 1.0)


def test_rows_close_together_are_one_event_from_the_first_to_the_last() -> None:
    timestamps = np.array([0, 1, 2, 30, 31, 90]) * 60_000_000
    scores = np.array([0.0, 2.0, 0.0, 2.0, 0.0, 2.0])
    assert calibration.events(timestamps, scores, 1.0, merge_seconds=1800) == [slice(1, 4), slice(5, 6)]


def test_a_pause_is_not_time_that_was_watched() -> None:
    timestamps = np.concatenate([np.arange(A_DAY), np.arange(A_DAY) + 30 * A_DAY]) * STEP_US
    assert 2 <= calibration.watched_days(timestamps) < 2.1

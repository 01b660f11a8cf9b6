"""What the detectors of one sensor each look for, and the scale the ensemble puts them on."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from mlops.detectors import windows
from mlops.detectors.autoregressive import Autoregressive
from mlops.detectors.base import Frame
from mlops.detectors.ensemble import Ensemble, Surprise, recent
from mlops.detectors.spectral_residual import SpectralResidual
from mlops.detectors.sub_pca import WINDOW_WITHOUT_PERIOD, SubPCA

MINUTE_US = 60_000_000


def frame(values: NDArray[np.float64]) -> Frame:
    return Frame(np.arange(len(values)) * MINUTE_US, values[:, None], ("flow",))


def noise(rows: int, seed: int = 1) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0, 0.2, rows)


def rhythm(rows: int, period: int, seed: int = 1) -> NDArray[np.float64]:
    return np.sin(2 * np.pi * np.arange(rows) / period) + noise(rows, seed)


@pytest.mark.parametrize("period", [12, 40, 96])
def test_the_window_of_sub_pca_is_the_period_of_the_signal(period: int) -> None:
    assert abs(SubPCA().fit(frame(rhythm(2000, period))).width - period) <= 1


def test_a_signal_without_a_rhythm_has_no_period() -> None:
    assert windows.period(noise(2000), 300) is None
    assert SubPCA().fit(frame(noise(2000))).width == WINDOW_WITHOUT_PERIOD


def test_a_straight_rise_hides_no_period() -> None:
    assert windows.period(rhythm(2000, 40) + np.arange(2000) / 20, 300) == pytest.approx(40, abs=1)


def test_sub_pca_sees_that_a_rhythm_has_doubled_though_every_value_is_usual() -> None:
    values = rhythm(1000, 40, seed=2)
    values[600:680] = rhythm(80, 20, seed=2)
    scores = SubPCA().fit(frame(rhythm(2000, 40))).score(frame(values))
    assert scores[640:680].min() > 2 * np.nanmax(scores[:600])


def test_the_autoregression_says_how_many_deviations_the_forecast_was_off() -> None:
    values = noise(1000, seed=2)
    values[600] += 10 * 0.2
    scores = Autoregressive().fit(frame(noise(2000))).score(frame(values))
    assert 6 < scores[600] < 14


def test_the_spectral_residual_is_highest_at_a_spike() -> None:
    values = rhythm(1000, 40, seed=2)
    values[600] += 8
    scores = SpectralResidual().fit(frame(rhythm(2000, 40))).score(frame(values))
    assert int(np.nanargmax(scores)) == 600


def test_surprise_is_the_logarithm_of_the_share_of_held_back_rows_as_high() -> None:
    surprise = Surprise(np.arange(1000.0))
    assert surprise(np.array([500.0]))[0] == pytest.approx(math.log(2), rel=0.01)
    assert surprise(np.array([0.0]))[0] == 0


def test_surprise_still_tells_apart_what_lies_beyond_everything_seen() -> None:
    values = Surprise(np.arange(1000.0))(np.array([950.0, 1500.0, 3000.0, 9000.0]))
    assert (np.diff(values) > 0).all()


def test_an_average_of_recent_scores_passes_over_unknown_ones_and_says_nothing_for_them() -> None:
    found = recent(np.array([1.0, 3.0, np.nan, 5.0, 7.0]), 3)
    np.testing.assert_array_equal(found, [1.0, 2.0, np.nan, 4.0, 6.0])


def test_a_member_that_cannot_learn_from_so_little_is_left_out_of_the_ensemble() -> None:
    detector = Ensemble().fit(frame(noise(90)))
    assert [type(member) for member, _, _ in detector.members] == [SubPCA]

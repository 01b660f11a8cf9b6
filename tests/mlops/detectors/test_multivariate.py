"""The detectors of a whole asset, on a machine whose channels share a load and whose casing slowly warms up.

What every detector must do is in tests/contracts/test_detectors.py.
"""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops import detectors
from mlops.detectors.base import Detector, Frame, NotEnoughData
from mlops.detectors.channels import Channels, causal_mean, effective_samples
from mlops.detectors.mahalanobis import Mahalanobis
from mlops.detectors.pca_t2q import PcaT2Q
from mlops.detectors.quadratic import QuadraticForm

SECOND_US = 1_000_000
CHANNELS = ("flow", "current", "vibration", "casing")
TRAINED = 600


def machine(rows: int = 1500, seed: int = 1) -> Frame:
    """Flow and current follow one load; vibration is noise; the casing warms up like anything with a large mass."""
    rng = np.random.default_rng(seed)
    load = np.convolve(rng.normal(size=rows + 19), np.ones(20) / np.sqrt(20), "valid")
    flow = 30 + 2 * load + rng.normal(0, 0.5, rows)
    current = 5 - 0.4 * load + rng.normal(0, 0.1, rows)
    vibration = 2 + rng.normal(0, 0.2, rows)
    casing = 60 - 20 * np.exp(-np.arange(rows) / 800) + rng.normal(0, 0.05, rows)
    return Frame(np.arange(rows) * SECOND_US, np.stack([flow, current, vibration, casing], axis=1), CHANNELS)


def changed(frame: Frame, rows: slice, channel: str, by: float) -> Frame:
    values = frame.values.copy()
    values[rows, frame.channels.index(channel)] += by
    return Frame(frame.timestamps, values, frame.channels)


@pytest.fixture(scope="module", params=list(detectors.OF_ONE_ASSET))
def make(request: pytest.FixtureRequest) -> Callable[[], Detector]:
    found: Callable[[], Detector] = detectors.detector_class(request.param)
    return found


@pytest.fixture(scope="module")
def trained(make: Callable[[], Detector]) -> Detector:
    return make().fit(machine().part(slice(TRAINED)))


def test_normal_rows_rarely_reach_the_limit(trained: Detector) -> None:
    scores = trained.score(machine(6000, seed=2))[TRAINED:]
    assert np.mean(scores > 1) < 0.05


@pytest.mark.parametrize(("channel", "by"), [("flow", 6.0), ("current", -2.0), ("vibration", 1.0), ("casing", 6.0)])
def test_a_change_of_a_channel_is_seen_and_named(trained: Detector, channel: str, by: float) -> None:
    frame = changed(machine(), slice(800, None), channel, by)
    assert trained.score(frame)[815] > 1
    assert np.argmax(trained.contributions(frame)[815]) == CHANNELS.index(channel)


def test_a_slow_channel_that_goes_on_as_it_did_is_no_anomaly(trained: Detector) -> None:
    frame = machine()
    assert frame.values[-1, 3] > frame.values[:TRAINED, 3].max() + 3
    assert np.mean(trained.score(frame)[-200:] > 1) < 0.05


@pytest.mark.parametrize("make_one", [Mahalanobis, PcaT2Q])
def test_channels_that_part_company_are_seen_though_each_stays_in_its_range(make_one: Callable[[], Detector]) -> None:
    """High flow at high current never was: at high load, less current flows."""
    frame = machine()
    trained = make_one().fit(frame.part(slice(TRAINED)))
    values = frame.values.copy()
    values[800:, 0], values[800:, 1] = 33.0, 5.6
    assert np.median(trained.score(Frame(frame.timestamps, values, CHANNELS))[815:]) > 1


def test_contributions_sum_to_one(trained: Detector) -> None:
    frame = changed(machine(), slice(800, None), "flow", 6.0)
    contributions = trained.contributions(frame)
    known = ~np.isnan(trained.score(frame))
    assert contributions.shape == frame.values.shape
    assert np.allclose(contributions[known].sum(axis=1), 1)
    assert (contributions[known] >= 0).all()
    assert np.isnan(contributions[~known]).all()


@pytest.mark.parametrize("cut", [1, 613, 1499])
def test_a_stream_scored_in_pieces_has_the_scores_of_the_whole(trained: Detector, cut: int) -> None:
    frame = with_gaps(machine())
    whole = trained.score(frame)
    since = max(cut - trained.context, 0)
    assert np.allclose(trained.score(frame.part(slice(cut))), whole[:cut], equal_nan=True)
    assert np.allclose(trained.score(frame.part(slice(since, None)))[cut - since :], whole[cut:], equal_nan=True)


def with_gaps(frame: Frame) -> Frame:
    """A tenth of the values missing, one channel silent for a while, and all of them for an hour."""
    values = frame.values.copy()
    values[np.random.default_rng(3).random(values.shape) < 0.1] = np.nan
    values[900:1000, 0] = np.nan
    later = np.where(np.arange(len(frame)) >= 1100, 3600 * SECOND_US, 0)
    return Frame(frame.timestamps + later, values, frame.channels)


def test_missing_values_neither_raise_alarms_nor_hide_faults(make: Callable[[], Detector]) -> None:
    frame = with_gaps(machine())
    detector = make().fit(frame.part(slice(TRAINED)))
    scores = detector.score(frame)
    assert not np.isnan(scores[TRAINED:1100]).any()
    assert np.mean(scores[TRAINED:1100] > 1) < 0.1
    assert np.isnan(scores[1100]), "after the gap, one row is no mean"
    assert detector.score(changed(frame, slice(800, 1000), "vibration", 1.0))[950] > 1


def test_rows_without_any_value_have_no_score(trained: Detector) -> None:
    frame = machine()
    values = frame.values.copy()
    values[800:900] = np.nan
    scores = trained.score(Frame(frame.timestamps, values, CHANNELS))
    assert np.isnan(scores[800:900]).all()
    assert not np.isnan(scores[910:]).any()


@given(st.floats(0.001, 1000), st.floats(-50, 50))
@settings(max_examples=5, deadline=None)
def test_the_unit_of_a_channel_does_not_matter(make: Callable[[], Detector], factor: float, offset: float) -> None:
    frame = machine()
    values = frame.values.copy()
    # No level so high that the smallest spread, a share of it, comes in.
    values[:, 2] = (values[:, 2] + offset) * factor
    other = Frame(frame.timestamps, values, CHANNELS)
    scores = make().fit(frame.part(slice(TRAINED))).score(frame)
    assert np.allclose(make().fit(other.part(slice(TRAINED))).score(other), scores, rtol=1e-3, equal_nan=True)


def test_a_channel_that_stood_still_in_training_is_seen_to_move(make: Callable[[], Detector]) -> None:
    frame = machine()
    values = np.concatenate([frame.values, np.full((len(frame), 1), 400.0)], axis=1)
    values[800:, 4] = 430.0
    frame = Frame(frame.timestamps, values, (*CHANNELS, "voltage"))
    detector = make().fit(frame.part(slice(TRAINED)))
    assert detector.score(frame)[815] > 1
    assert np.argmax(detector.contributions(frame)[815]) == 4


def test_a_channel_may_be_all_that_is_quick_and_stand_still(make: Callable[[], Detector]) -> None:
    """One slow channel moves, the others never did: a small step of one of them has a size, and no infinite one."""
    frame = machine()
    values = frame.values.copy()
    values[:, :3] = 400.0
    values[800:, 0] = 404.0
    still = Frame(frame.timestamps, values, CHANNELS)
    scores = make().fit(still.part(slice(TRAINED))).score(still)
    assert np.isfinite(scores[10:]).all()
    assert scores[815] > 1 > scores[790]


def test_when_it_was_has_no_part_in_a_score(trained: Detector) -> None:
    frame = machine()
    later = Frame(frame.timestamps + 10**13, frame.values, CHANNELS)
    np.testing.assert_array_equal(trained.score(later), trained.score(frame))


def test_values_beyond_all_measure_have_a_finite_score(trained: Detector) -> None:
    assert np.isfinite(trained.score(changed(machine(), slice(800, None), "flow", 1e300))[810:]).all()


@pytest.mark.parametrize(
    "frame",
    [
        machine(60),
        Frame(np.arange(600) * SECOND_US, np.full((600, 4), 7.0), CHANNELS),
        Frame(np.arange(600) * SECOND_US, np.full((600, 4), np.nan), CHANNELS),
    ],
    ids=["too few rows", "nothing moves", "nothing known"],
)
def test_what_shows_no_scale_is_refused(make: Callable[[], Detector], frame: Frame) -> None:
    with pytest.raises(NotEnoughData):
        make().fit(frame)


def test_the_warming_casing_is_found_to_be_slow_and_nothing_else() -> None:
    assert Channels.learn(machine().part(slice(TRAINED))).slow.tolist() == [False, False, False, True]


def test_a_slow_channel_is_judged_by_its_level_once_it_has_gone_up_and_down_often_enough() -> None:
    days = np.arange(40 * 288)
    rng = np.random.default_rng(1)
    values = (20 + 5 * np.sin(2 * np.pi * days / 288) + rng.normal(0, 0.5, len(days)))[:, None]
    frame = Frame(days * 300 * SECOND_US, values, ("air",))
    assert Channels.learn(frame.part(slice(288))).slow.tolist() == [True]
    assert Channels.learn(frame).slow.tolist() == [False]


def test_effective_samples_of_an_autoregression_match_the_formula() -> None:
    """AR(1) with coefficient 0.9: n (1 - 0.9) / (1 + 0.9)."""
    rng = np.random.default_rng(1)
    series = np.zeros(20_000)
    for i, shock in enumerate(rng.normal(size=len(series) - 1), start=1):
        series[i] = 0.9 * series[i - 1] + shock
    assert effective_samples(series) == pytest.approx(20_000 * 0.1 / 1.9, rel=0.25)


def test_a_mean_reaches_back_its_rows_and_not_across_a_gap() -> None:
    timestamps = np.array([0, 1, 2, 3, 100, 101]) * SECOND_US
    frame = Frame(timestamps, np.array([[0.0], [2.0], [4.0], [np.nan], [8.0], [10.0]]), ("a",))
    means = causal_mean(frame, 2, SECOND_US)
    assert means[:, 0].tolist() == [0.0, 1.0, 3.0, 4.0, 8.0, 9.0]


def test_a_distance_with_unknown_entries_is_that_of_the_known_ones() -> None:
    covariance = np.array([[1.0, 0.8], [0.8, 1.0]])
    form = QuadraticForm(np.linalg.inv(covariance), covariance)
    assert form.squared(np.array([[3.0, np.nan], [np.nan, np.nan]])) == pytest.approx([9.0, np.nan], nan_ok=True)
    assert form.shares(np.array([[3.0, np.nan]])).tolist()[0] == [pytest.approx(9 * 0.36), 0.0]

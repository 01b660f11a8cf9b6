"""What holds for every detector, whatever it looks for (mlops.detectors.base.Detector)."""

import pickle

import numpy as np
import pytest

from mlops import detectors
from mlops.detectors.base import Detector, Frame, NotEnoughData

MINUTE_US = 60_000_000

every_detector = pytest.mark.parametrize("name", list(detectors.DETECTORS))


def channels_of(name: str) -> tuple[str, ...]:
    return ("temperature",) if name in detectors.OF_ONE_SENSOR else ("temperature", "pressure", "flow")


def signal(name: str, rows: int, seed: int = 1) -> Frame:
    """A machine with a rhythm of 40 minutes, as a detector sees it: one of its sensors, or three."""
    channels = channels_of(name)
    noise = np.random.default_rng(seed).normal(0, 0.3, (rows, len(channels)))
    rhythm = 20 + 2 * np.sin(2 * np.pi * np.arange(rows) / 40)
    return Frame(np.arange(rows) * MINUTE_US, rhythm[:, None] + noise, channels)


def with_values(frame: Frame, rows: slice, value: float) -> Frame:
    values = frame.values.copy()
    values[rows] = value
    return Frame(frame.timestamps, values, frame.channels)


def fitted(name: str) -> Detector:
    detector: Detector = detectors.detector_class(name)()
    return detector.fit(signal(name, 1200))


@every_detector
def test_learning_returns_the_detector(name: str) -> None:
    detector = detectors.detector_class(name)()
    assert detector.fit(signal(name, 1200)) is detector


@every_detector
def test_every_row_after_the_context_of_a_whole_signal_has_a_score(name: str) -> None:
    detector = fitted(name)
    scores = detector.score(signal(name, 600, seed=2))
    assert scores.shape == (600,)
    assert np.isfinite(scores[detector.context :]).all()
    assert (scores[detector.context :] >= 0).all()


@every_detector
def test_a_spike_scores_higher_than_what_is_normal(name: str) -> None:
    detector = fitted(name)
    scores = detector.score(with_values(signal(name, 600, seed=2), slice(500, 501), 60.0))
    assert scores[500] > np.nanquantile(scores[:500], 0.95)


@every_detector
def test_no_reading_no_score_and_a_hole_passes(name: str) -> None:
    detector = fitted(name)
    frame = with_values(signal(name, 1000, seed=2), slice(400, 404), np.nan)
    scores = detector.score(frame)
    assert np.isnan(scores[400:404]).all()
    assert np.isfinite(scores[404 + detector.context + 1 :]).all()


@every_detector
def test_nothing_known_is_nothing_said(name: str) -> None:
    scores = fitted(name).score(with_values(signal(name, 300), slice(None), np.nan))
    assert np.isnan(scores).all()


@every_detector
def test_an_empty_frame_has_no_scores(name: str) -> None:
    detector = fitted(name)
    assert detector.score(signal(name, 0)).shape == (0,)
    assert detector.contributions(signal(name, 0)).shape == (0, len(channels_of(name)))


@every_detector
def test_it_learns_from_a_signal_with_holes_and_a_pause(name: str) -> None:
    frame = with_values(signal(name, 1500), slice(100, 110), np.nan)
    timestamps = frame.timestamps + (np.arange(1500) >= 700) * 90 * MINUTE_US
    detector = detectors.detector_class(name)().fit(Frame(timestamps, frame.values, frame.channels))
    assert np.isfinite(detector.score(signal(name, 600))[detector.context :]).all()


@every_detector
def test_what_lies_before_a_long_pause_does_not_count(name: str) -> None:
    detector, frame = fitted(name), signal(name, 900, seed=2)
    timestamps = frame.timestamps + (np.arange(900) >= 300) * 500 * MINUTE_US
    paused = Frame(timestamps, frame.values, frame.channels)
    other = with_values(paused, slice(0, 300), 35.0)
    np.testing.assert_allclose(detector.score(paused)[300:], detector.score(other)[300:], rtol=1e-9)


@every_detector
def test_learning_twice_gives_the_same_scores(name: str) -> None:
    frame = signal(name, 600, seed=2)
    np.testing.assert_array_equal(fitted(name).score(frame), fitted(name).score(frame))


@every_detector
def test_scoring_leaves_nothing_behind(name: str) -> None:
    detector, frame = fitted(name), signal(name, 600, seed=2)
    before, saved = detector.score(frame), pickle.dumps(detector)
    detector.score(with_values(frame, slice(None), 1e9))
    assert pickle.dumps(detector) == saved
    np.testing.assert_array_equal(detector.score(frame), before)


@every_detector
def test_it_is_the_same_after_it_was_saved(name: str) -> None:
    detector, frame = fitted(name), signal(name, 600, seed=2)
    again = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(again.score(frame), detector.score(frame))
    assert again.context == detector.context


@every_detector
def test_what_comes_later_changes_no_score(name: str) -> None:
    detector, frame = fitted(name), signal(name, 900, seed=2)
    changed = with_values(frame, slice(600, None), 1e4)
    np.testing.assert_allclose(detector.score(changed)[:600], detector.score(frame)[:600], rtol=1e-9)


@every_detector
@pytest.mark.parametrize("size", [1, 7, 250])
def test_the_size_of_the_pieces_changes_no_score(name: str, size: int) -> None:
    detector = fitted(name)
    frame = with_values(signal(name, 900, seed=2), slice(500, 503), np.nan)
    whole, start = detector.score(frame), 400
    pieces = []
    for first in range(start, 700, size):
        last = min(first + size, 700)
        pieces.append(detector.score(frame.part(slice(first - detector.context, last)))[detector.context :])
    np.testing.assert_allclose(np.concatenate(pieces), whole[start:700], rtol=1e-9, atol=1e-12)


@every_detector
def test_contributions_are_shares_of_the_score(name: str) -> None:
    detector = fitted(name)
    frame = with_values(signal(name, 600, seed=2), slice(300, 310), np.nan)
    scores, shares = detector.score(frame), detector.contributions(frame)
    assert shares.shape == (600, len(channels_of(name)))
    np.testing.assert_array_equal(np.isnan(shares).any(axis=1), np.isnan(scores))
    known = np.isfinite(scores)
    np.testing.assert_allclose(shares[known].sum(axis=1), (scores[known] > 0).astype(float))
    assert (shares[known] >= 0).all()


@every_detector
def test_too_few_readings_are_refused(name: str) -> None:
    with pytest.raises(NotEnoughData):
        detectors.detector_class(name)().fit(signal(name, 5))


@every_detector
def test_readings_that_are_all_unknown_are_refused(name: str) -> None:
    with pytest.raises(NotEnoughData):
        detectors.detector_class(name)().fit(with_values(signal(name, 1200), slice(None), np.nan))


@every_detector
def test_a_signal_that_never_moves_off_zero_shows_no_scale(name: str) -> None:
    with pytest.raises(NotEnoughData):
        detectors.detector_class(name)().fit(with_values(signal(name, 1200), slice(None), 0.0))


@pytest.mark.parametrize("name", [name for name in detectors.DETECTORS if name != "robust"])
def test_a_signal_that_never_moves_shows_no_scale_to_those_that_know_no_accuracy_class(name: str) -> None:
    with pytest.raises(NotEnoughData):
        detectors.detector_class(name)().fit(with_values(signal(name, 1200), slice(None), 20.0))


@every_detector
@pytest.mark.parametrize("value", [1e12, -1e12, 1e300])
def test_values_on_a_scale_never_seen_have_a_finite_score(name: str, value: float) -> None:
    scores = fitted(name).score(with_values(signal(name, 600, seed=2), slice(500, None), value))
    assert np.isfinite(scores[500:]).all()
    assert scores[500] > np.nanmedian(scores[:500])


@pytest.mark.parametrize("name", [name for name in detectors.OF_ONE_SENSOR if name != "isolation_forest"])
def test_a_frame_of_several_sensors_is_refused_by_a_detector_of_one(name: str) -> None:
    frame = signal(name, 1200)
    with pytest.raises(ValueError, match="one sensor"):
        detectors.detector_class(name)().fit(Frame(frame.timestamps, np.hstack([frame.values] * 2), ("a", "b")))

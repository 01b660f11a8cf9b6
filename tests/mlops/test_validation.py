from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.models import Anomaly
from mlops.validation import Candidate, validate

CLEAR = Candidate(peak=12.0, limit=4.0, hits=5, baseline_readings=4000, in_maintenance=False, sensor_faulty=False)


def test_a_strong_lasting_deviation_is_credible() -> None:
    assert validate(CLEAR).decision == Anomaly.Decision.CREDIBLE


def test_the_weakest_confirmed_deviation_is_still_credible() -> None:
    assert validate(replace(CLEAR, peak=4.0, hits=3)).decision == Anomaly.Decision.CREDIBLE


def test_a_single_extreme_reading_is_for_an_engineer_to_look_at() -> None:
    assert validate(replace(CLEAR, hits=1)).decision == Anomaly.Decision.FURTHER


def test_work_in_progress_on_the_asset_makes_it_a_false_positive() -> None:
    assert validate(replace(CLEAR, in_maintenance=True)).decision == Anomaly.Decision.FALSE_POSITIVE


def test_a_fault_of_the_sensor_makes_it_a_false_positive() -> None:
    found = validate(replace(CLEAR, sensor_faulty=True))
    assert found.decision == Anomaly.Decision.FALSE_POSITIVE
    assert [layer.name for layer in found.layers if not layer.passed] == ["sensor in order"]


def test_too_little_history_is_said_to_be_that() -> None:
    assert validate(replace(CLEAR, baseline_readings=19)).decision == Anomaly.Decision.INSUFFICIENT


@pytest.mark.parametrize("hits", [0, 1])
def test_a_single_weak_reading_is_doubted(hits: int) -> None:
    assert validate(replace(CLEAR, peak=2.0, hits=hits)).decision == Anomaly.Decision.FALSE_POSITIVE


@given(
    st.builds(
        Candidate,
        peak=st.floats(0, 1e6),
        limit=st.floats(0.1, 100),
        hits=st.integers(0, 5),
        baseline_readings=st.integers(0, 10_000),
        in_maintenance=st.booleans(),
        sensor_faulty=st.booleans(),
    )
)
def test_confidence_lies_between_0_and_1_and_every_layer_speaks(candidate: Candidate) -> None:
    decision = validate(candidate)
    assert 0 <= decision.confidence <= 1
    assert len(decision.layers) == 5
    assert all(layer.detail for layer in decision.layers)


@given(st.floats(0, 50), st.floats(0, 50), st.integers(0, 5), st.integers(0, 5))
def test_a_stronger_or_longer_deviation_is_never_believed_less(a: float, b: float, m: int, n: int) -> None:
    weaker = validate(replace(CLEAR, peak=min(a, b), hits=min(m, n)))
    stronger = validate(replace(CLEAR, peak=max(a, b), hits=max(m, n)))
    assert stronger.confidence >= weaker.confidence

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.models import Anomaly, ValidationPolicy
from mlops.validation import PRESETS, Candidate, Circumstances, Parameters, Preset, parameters_of, validate

CLEAR = Candidate(peak=12.0, limit=4.0, hits=5, baseline_readings=4000)


def test_a_strong_lasting_deviation_is_credible() -> None:
    assert validate(CLEAR).decision == Anomaly.Decision.CREDIBLE


def test_the_weakest_confirmed_deviation_is_still_credible() -> None:
    assert validate(replace(CLEAR, peak=4.0, hits=3)).decision == Anomaly.Decision.CREDIBLE


def test_a_single_extreme_reading_is_for_an_engineer_to_look_at() -> None:
    assert validate(replace(CLEAR, hits=1)).decision == Anomaly.Decision.FURTHER


def test_work_in_progress_on_the_asset_makes_it_a_false_positive() -> None:
    assert validate(replace(CLEAR, circumstances=Circumstances.WORK)).decision == Anomaly.Decision.FALSE_POSITIVE


def test_a_fault_of_the_sensor_makes_it_a_false_positive() -> None:
    found = validate(replace(CLEAR, circumstances=Circumstances.FAULTY))
    assert found.decision == Anomaly.Decision.FALSE_POSITIVE
    assert [layer.name for layer in found.layers if not layer.passed] == ["sensor in order"]


def test_too_little_history_is_said_to_be_that() -> None:
    assert validate(replace(CLEAR, baseline_readings=19)).decision == Anomaly.Decision.INSUFFICIENT


@pytest.mark.parametrize("hits", [0, 1])
def test_a_single_weak_reading_is_doubted(hits: int) -> None:
    assert validate(replace(CLEAR, peak=2.0, hits=hits)).decision == Anomaly.Decision.FALSE_POSITIVE


def test_one_flat_channel_beside_lively_neighbours_is_the_instrument() -> None:
    found = validate(replace(CLEAR, flat=True, lively=2))
    assert found.decision == Anomaly.Decision.FALSE_POSITIVE
    assert "the instrument, not the machine" in found.layers[2].detail


@pytest.mark.parametrize(("lively", "still"), [(1, 0), (3, 1), (0, 3)])
def test_a_machine_at_rest_is_no_broken_instrument(lively: int, still: int) -> None:
    found = validate(replace(CLEAR, flat=True, lively=lively, still=still))
    assert found.decision == Anomaly.Decision.CREDIBLE


def test_a_restless_signal_is_believed_less() -> None:
    weak = replace(CLEAR, peak=4.0, hits=3)
    assert validate(replace(weak, volatility=2.5)).confidence == pytest.approx(validate(weak).confidence - 0.1)
    assert validate(replace(weak, volatility=1.5)).confidence == validate(weak).confidence


def test_what_proved_to_be_nothing_again_and_again_is_doubted() -> None:
    found = validate(replace(CLEAR, peak=5.0, hits=3, judged=8, alike_unfounded=2))
    assert found.decision == Anomaly.Decision.FURTHER
    assert "found nothing behind 2" in found.layers[6].detail
    worse = replace(CLEAR, peak=4.0, hits=3, judged=8, alike_unfounded=8, volatility=9.0, verdicts=20, founded=0)
    assert validate(worse).decision == Anomaly.Decision.FALSE_POSITIVE


@pytest.mark.parametrize(
    "past",
    [
        {"judged": 1, "alike_unfounded": 1},
        {"judged": 20, "alike_unfounded": 2},
        {"judged": 4, "alike_unfounded": 2, "alike_founded": 2},
    ],
)
def test_what_was_nothing_now_and_then_is_believed(past: dict[str, int]) -> None:
    assert validate(replace(CLEAR, peak=5.0, hits=3, **past)).decision == Anomaly.Decision.CREDIBLE


def test_sites_choose_how_much_is_believed() -> None:
    weak = replace(CLEAR, peak=4.5, hits=3, volatility=5.0)
    decisions = [validate(weak, PRESETS[preset]).decision for preset in (Preset.STRICT, Preset.STANDARD, Preset.FAST)]
    assert decisions == [Anomaly.Decision.FURTHER, Anomaly.Decision.CREDIBLE, Anomaly.Decision.CREDIBLE]


def test_a_policy_names_a_preset_or_own_values() -> None:
    assert parameters_of(None) == Parameters()
    assert parameters_of(ValidationPolicy(preset="strict", credible=0.1)) == PRESETS[Preset.STRICT]
    assert parameters_of(ValidationPolicy(preset="own", credible=0.9)) == Parameters(credible=0.9)


@given(
    st.builds(
        Candidate,
        peak=st.floats(0, 1e6),
        limit=st.floats(0.1, 100),
        hits=st.integers(0, 5),
        baseline_readings=st.integers(0, 10_000),
        circumstances=st.sampled_from([kind.value for kind in Circumstances]),
        volatility=st.none() | st.floats(0, 1e6),
        flat=st.booleans(),
        lively=st.integers(0, 9),
        still=st.integers(0, 9),
        judged=st.integers(0, 30),
        alike_unfounded=st.integers(0, 30),
        alike_founded=st.integers(0, 30),
        verdicts=st.integers(0, 200),
        founded=st.integers(0, 200),
    ),
    st.sampled_from(list(PRESETS.values())),
)
def test_confidence_lies_between_0_and_1_and_every_layer_speaks(candidate: Candidate, parameters: Parameters) -> None:
    decision = validate(candidate, parameters)
    assert 0 <= decision.confidence <= 1
    assert len(decision.layers) == 8
    assert all(layer.detail for layer in decision.layers)


@given(st.floats(0, 50), st.floats(0, 50), st.integers(0, 5), st.integers(0, 5))
def test_a_stronger_or_longer_deviation_is_never_believed_less(a: float, b: float, m: int, n: int) -> None:
    weaker = validate(replace(CLEAR, peak=min(a, b), hits=min(m, n)))
    stronger = validate(replace(CLEAR, peak=max(a, b), hits=max(m, n)))
    assert stronger.confidence >= weaker.confidence

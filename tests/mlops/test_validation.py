from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.models import Anomaly, ValidationPolicy
from mlops.validation import PRESETS, Candidate, Circumstances, Decision, Parameters, Preset, parameters_of, validate

CLEAR = Candidate(peak=12.0, limit=4.0, hits=5, baseline_readings=4000)
# Just confirmed, hardly beyond the limit.
WEAK = replace(CLEAR, peak=4.0, hits=3)
DOUBTED = (Anomaly.Decision.FALSE_POSITIVE, Anomaly.Decision.FURTHER)


def said(decision: Decision, name: str) -> str:
    return next(layer.detail for layer in decision.layers if layer.name == name)


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
    assert "the instrument, not the machine" in said(found, "sensor in order")


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
    assert "no fault of the machine behind 2" in said(found, "like events before")
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


def test_verdicts_on_like_events_weigh_by_how_one_sided_they_are() -> None:
    found = [
        validate(replace(CLEAR, judged=12, alike_unfounded=nothing, alike_founded=founded)).confidence
        for nothing, founded in ((12, 0), (3, 0), (7, 5))
    ]
    assert found == sorted(found)
    assert found[2] == pytest.approx(1 - 0.6 * (1 - 2 * 6 / 14))


def test_a_passing_excursion_of_the_score_alone_is_suspected() -> None:
    passing = replace(WEAK, confirmed=3, unusual=1.0)
    assert validate(passing).decision == Anomaly.Decision.FALSE_POSITIVE
    assert "3 of its readings were confirmed" in said(validate(passing), "lasting")


@pytest.mark.parametrize("more", [{"confirmed": 8}, {"unusual": 4.0}, {"peak": 8.0}])
def test_what_lasts_or_is_strong_or_shows_in_the_reading_itself_is_no_passing_excursion(more: dict[str, float]) -> None:
    assert validate(replace(WEAK, **{"confirmed": 3, "unusual": 1.0} | more)).decision == Anomaly.Decision.CREDIBLE


def test_a_day_like_earlier_ones_is_no_anomaly_unless_a_fault_was_found_behind_a_like_event() -> None:
    assert validate(replace(WEAK, closer_days=0.5)).decision == Anomaly.Decision.FALSE_POSITIVE
    assert validate(replace(CLEAR, closer_days=0.5)).decision == Anomaly.Decision.FURTHER
    assert validate(replace(WEAK, closer_days=0.7)).decision == Anomaly.Decision.CREDIBLE
    assert validate(replace(WEAK, closer_days=0.5, judged=1, alike_founded=1)).decision == Anomaly.Decision.CREDIBLE


@pytest.mark.parametrize("change", ["started", "stopped"])
def test_an_event_at_a_start_or_stop_is_doubted_and_the_state_is_named(change: str) -> None:
    found = validate(replace(WEAK, change=change, shown_by="Motor current"))
    assert found.decision == Anomaly.Decision.FALSE_POSITIVE
    assert said(found, "steady state") == f"The machine {change} at the time, as Motor current shows."


@pytest.mark.parametrize(
    ("together", "apart", "doubted"), [(2, 0, True), (3, 2, True), (1, 0, False), (2, 2, False), (0, 5, False)]
)
def test_what_most_neighbours_show_as_well_has_a_common_cause(together: int, apart: int, doubted: bool) -> None:
    found = validate(replace(WEAK, together=together, apart=apart))
    assert (found.decision in DOUBTED) == doubted
    assert f"{together} of {together + apart} such sensors" in said(found, "this machine alone")


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
        confirmed=st.none() | st.integers(0, 8),
        unusual=st.none() | st.floats(0, 1e6),
        closer_days=st.none() | st.floats(0, 1),
        change=st.sampled_from(["", "started", "stopped"]),
        together=st.integers(0, 9),
        apart=st.integers(0, 9),
    ),
    st.sampled_from(list(PRESETS.values())),
)
def test_confidence_lies_between_0_and_1_and_every_layer_speaks(candidate: Candidate, parameters: Parameters) -> None:
    decision = validate(candidate, parameters)
    assert 0 <= decision.confidence <= 1
    assert len({layer.name for layer in decision.layers}) == 12
    assert all(layer.detail for layer in decision.layers)


@given(st.floats(0, 50), st.floats(0, 50), st.integers(0, 5), st.integers(0, 5))
def test_a_stronger_or_longer_deviation_is_never_believed_less(a: float, b: float, m: int, n: int) -> None:
    weaker = validate(replace(CLEAR, peak=min(a, b), hits=min(m, n)))
    stronger = validate(replace(CLEAR, peak=max(a, b), hits=max(m, n)))
    assert stronger.confidence >= weaker.confidence

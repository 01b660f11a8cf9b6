import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.leaks import LABEL, LeakFound, clock_check, find_leaks, leak_check

ROWS = 600


def honest(seed: int = 0, rows: int = ROWS) -> tuple[pd.DataFrame, np.ndarray]:
    """A vibration that makes failures likely, a wandering temperature, a wear that starts again, a grade."""
    rng = np.random.default_rng(seed)
    vibration = rng.normal(3, 1, rows)
    frame = pd.DataFrame(
        {
            "vibration": np.round(vibration, 1),
            "temperature": np.round(60 + np.cumsum(rng.normal(0, 0.1, rows)), 1),
            "wear": np.arange(rows) % 97 + rng.integers(0, 3, rows),
            "grade": rng.choice(["L", "M", "H"], rows),
        }
    )
    return frame, (vibration + rng.normal(0, 0.8, rows) > 4.8).astype(np.int64)


def reasons(column: object, labels: np.ndarray | None = None) -> set[str]:
    frame, truth = honest()
    leaks = find_leaks(frame.assign(suspect=column), truth if labels is None else labels)
    assert {leak.column for leak in leaks} <= {"suspect"}
    return {leak.reason for leak in leaks}


@given(seed=st.integers(0, 10_000))
def test_honest_measurements_pass(seed: int) -> None:
    leak_check(*honest(seed, 200))


def test_the_label_itself_under_another_name_is_refused() -> None:
    _, labels = honest()
    assert "separates_the_label" in reasons(labels)
    assert "separates_the_label" in reasons(1 - labels)
    assert "separates_the_label" in reasons(np.where(labels == 1, "stopped", "running"))
    assert "separates_the_label" in reasons(3.0 - labels + np.random.default_rng(1).normal(0, 0.05, ROWS))


def test_codes_that_tell_the_label_in_no_order_are_refused() -> None:
    rng = np.random.default_rng(2)
    _, labels = honest()
    assert "separates_the_label" in reasons(np.where(labels == 1, 3, rng.choice([1, 2, 4, 5], ROWS)))


def test_a_flag_of_one_cause_is_refused_although_it_tells_few_failures() -> None:
    _, labels = honest()
    flag = labels * (np.random.default_rng(3).random(ROWS) < 0.4)
    assert reasons(flag) == {"known_after_the_event"}


def test_a_column_filled_in_after_the_event_is_refused() -> None:
    _, labels = honest()
    rng = np.random.default_rng(4)
    assert "known_after_the_event" in reasons(np.where(labels == 1, rng.integers(1, 9, ROWS), np.nan))


def test_a_label_that_says_healthy_is_looked_at_from_the_other_side() -> None:
    _, labels = honest()
    flag = labels * (np.random.default_rng(3).random(ROWS) < 0.4)
    assert reasons(flag, 1 - labels) == {"known_after_the_event"}


@pytest.mark.parametrize(
    "counter",
    [
        np.arange(ROWS),
        1e6 - 0.5 * np.arange(ROWS),
        np.arange(ROWS) % 3,
        np.arange(ROWS) % 7 * 0.1 + 20,
        np.arange(ROWS) // 2,
        [f"M{14860 + i // 2}" for i in range(ROWS)],
        [("a", "b")[i % 2] for i in range(ROWS)],
    ],
    ids=["number", "falling", "modulo 3", "modulo 7", "halves", "words", "turns"],
)
def test_a_function_of_the_row_number_is_refused(counter: object) -> None:
    assert "row_counter" in reasons(counter)


def test_a_name_of_each_row_is_refused() -> None:
    rng = np.random.default_rng(5)
    assert reasons([f"{word:x}" for word in rng.permutation(10**6)[:ROWS] + 10**6]) == {"identifier"}


def test_a_time_is_refused_as_a_feature() -> None:
    assert "row_counter" in reasons(pd.date_range("2024-01-01", periods=ROWS, freq="h").astype(str))


def test_rows_are_looked_at_in_the_order_of_time() -> None:
    frame, labels = honest()
    shuffled = np.random.default_rng(6).permutation(ROWS)
    table = frame.assign(count=np.arange(ROWS)).iloc[shuffled]
    time = pd.date_range("2024-01-01", periods=ROWS, freq="min").to_numpy()[shuffled]
    assert not find_leaks(table, labels[shuffled])
    assert [leak.column for leak in find_leaks(table, labels[shuffled], time)] == ["count"]


def test_a_label_computed_from_the_row_number_is_refused() -> None:
    frame, _ = honest()
    leaks = find_leaks(frame, (np.arange(ROWS) % 3 == 0).astype(np.int64))
    assert [(leak.column, leak.reason) for leak in leaks] == [(LABEL, "label_follows_the_row")]


def test_the_refusal_names_every_column_and_its_reason() -> None:
    frame, labels = honest()
    with pytest.raises(LeakFound, match=r"cause: .* known only after the event\. row: .* row number") as refused:
        leak_check(frame.assign(cause=labels, row=np.arange(ROWS)), labels)
    assert {leak.column for leak in refused.value.leaks} == {"cause", "row"}


@pytest.mark.parametrize(
    "clock",
    [np.arange(ROWS), np.arange(ROWS) * 60.0 + 3, -np.arange(ROWS), np.arange(ROWS) % 50],
    ids=["row number", "elapsed time", "time left", "time in the cycle"],
)
def test_inputs_of_a_detector_may_not_tell_the_time(clock: np.ndarray) -> None:
    measured = honest()[0][["vibration", "temperature"]]
    clock_check(measured)
    with pytest.raises(LeakFound, match="elapsed"):
        clock_check(measured.assign(elapsed=clock))

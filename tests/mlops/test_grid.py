"""Sensors with paces of their own on one grid of times."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.detectors.base import NotEnoughData
from mlops.grid import Grid, Series

SECOND_US = 1_000_000


def series(*readings: tuple[float, float]) -> Series:
    """Readings as (seconds, value)."""
    times, values = zip(*readings, strict=True) if readings else ((), ())
    return (np.array(times) * SECOND_US).astype(np.int64), np.array(values, float)


def plant(seconds: int = 600, seed: int = 1) -> dict[str, Series]:
    """Flow every second with jitter, temperature every 7 s, a counter that was silent for two minutes."""
    rng = np.random.default_rng(seed)
    flow = np.arange(seconds) * SECOND_US + rng.integers(0, 900_000, seconds)
    slow = np.arange(0, seconds, 7) * SECOND_US + 123
    count = np.arange(0, seconds, 2) * SECOND_US
    count = count[(count < 200 * SECOND_US) | (count > 320 * SECOND_US)]
    return {name: (at, rng.normal(size=len(at))) for name, at in [("flow", flow), ("temp", slow), ("count", count)]}


def test_the_step_is_the_pace_of_most_sensors() -> None:
    assert Grid.learn(plant()).step_us == pytest.approx(2 * SECOND_US, rel=0.01)


def test_a_row_holds_the_mean_of_the_readings_of_its_cell() -> None:
    frame = Grid(10 * SECOND_US, {"a": 30 * SECOND_US}).frame(
        {"a": series((1, 2.0), (9, 4.0), (10, 6.0), (11, 7.0), (20, 8.0))}
    )
    assert (frame.timestamps // SECOND_US).tolist() == [10, 20]
    assert frame.values[:, 0].tolist() == [4.0, 7.5]


def test_the_last_value_holds_within_its_tolerance_and_no_longer() -> None:
    grid = Grid(SECOND_US, {"a": 2 * SECOND_US, "b": 2 * SECOND_US})
    frame = grid.frame({"a": series((1, 5.0), (7, 6.0)), "b": series(*((t, float(t)) for t in range(1, 8)))})
    np.testing.assert_array_equal(frame.values[:, 0], [5, 5, 5, np.nan, np.nan, np.nan, 6])
    assert frame.values[:, 1].tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_times_of_which_nobody_says_anything_have_no_row() -> None:
    grid = Grid(SECOND_US, {"a": 2 * SECOND_US})
    frame = grid.frame({"a": series((1, 5.0), (86_400, 6.0))})
    assert (frame.timestamps // SECOND_US).tolist() == [1, 2, 3, 86_400]


def test_a_sensor_that_is_not_there_is_a_column_of_unknowns_and_one_unasked_for_is_left_out() -> None:
    grid = Grid(SECOND_US, {"a": SECOND_US, "gone": SECOND_US})
    frame = grid.frame({"a": series((1, 5.0)), "new": series((1, 7.0))})
    assert frame.channels == ("a", "gone")
    np.testing.assert_array_equal(frame.values, [[5, np.nan], [5, np.nan]][: len(frame)])


def test_unknown_values_are_as_good_as_none() -> None:
    grid = Grid(SECOND_US, {"a": 2 * SECOND_US})
    frame = grid.frame({"a": series((1, 5.0), (1.5, np.nan), (2, np.nan), (3, 6.0))})
    assert frame.values[:, 0].tolist() == [5.0, 5.0, 6.0]


def test_a_row_whose_cell_may_still_fill_is_not_given() -> None:
    grid = Grid(10 * SECOND_US, {"a": 30 * SECOND_US})
    assert len(grid.frame({"a": series((1, 2.0), (9, 4.0))})) == 0
    assert len(grid.frame({"a": series((1, 2.0), (9, 4.0))}, until_us=10 * SECOND_US)) == 1


def test_no_readings_make_no_rows() -> None:
    frame = Grid(SECOND_US, {"a": SECOND_US}).frame({"a": series()})
    assert frame.values.shape == (0, 1)


def test_one_reading_shows_no_pace() -> None:
    with pytest.raises(NotEnoughData):
        Grid.learn({"a": series((1, 5.0))})


@given(st.integers(0, 600 * SECOND_US))
@settings(max_examples=25, deadline=None)
def test_nothing_of_the_future_is_in_a_row(now: int) -> None:
    whole, grid = plant(), Grid.learn(plant())
    so_far = {name: (at[at <= now], values[at <= now]) for name, (at, values) in whole.items()}
    known, then = grid.frame(so_far, until_us=now), grid.frame(whole, until_us=600 * SECOND_US)
    np.testing.assert_array_equal(known.timestamps, then.timestamps[: len(known)])
    np.testing.assert_array_equal(known.values, then.values[: len(known)])


@given(st.integers(0, 590))
@settings(max_examples=25, deadline=None)
def test_a_piece_of_the_stream_has_the_rows_of_the_whole(since: int) -> None:
    """A piece that reaches back over the tolerances and one cell."""
    whole, grid = plant(), Grid.learn(plant())
    first = since * SECOND_US
    back = first - max(grid.tolerances_us.values()) - grid.step_us
    piece = grid.frame({name: (at[at > back], values[at > back]) for name, (at, values) in whole.items()})
    then = grid.frame(whole)
    np.testing.assert_array_equal(piece.values[piece.timestamps >= first], then.values[then.timestamps >= first])

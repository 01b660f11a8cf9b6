import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from mlops.features.columns import ColumnsDiffer
from mlops.features.windows import Windows


def minutes(*numbers: float) -> pd.DatetimeIndex:
    return pd.Timestamp("2024-05-01", tz="UTC") + pd.to_timedelta(numbers, unit="min")


def series(values: list[float], sensor: str = "a") -> pd.DataFrame:
    return pd.DataFrame({"sensor": sensor, "timestamp": minutes(*range(len(values))), "value": values})


def added(frame: pd.DataFrame, **options: object) -> pd.DataFrame:
    windows = Windows(["value"], **{"sensor": "sensor", "lags": (), "lengths": (), **options})  # type: ignore[arg-type]
    return windows.fit_transform(frame).drop(columns=["sensor", "timestamp", "value"])


def test_a_lag_is_what_was_read_so_many_rows_before() -> None:
    assert added(series([5, 6, 7]), lags=(1, 2)).to_numpy().tolist() == pytest.approx(
        np.array([[np.nan, np.nan], [5, np.nan], [6, 5]]), nan_ok=True
    )


def test_a_window_describes_its_last_rows() -> None:
    found = added(series([1, 2, 3, 7]), lengths=(3,), statistics=("mean", "std", "min", "max", "slope"))
    assert found.iloc[:2].isna().all(axis=None)
    assert found.iloc[3].tolist() == pytest.approx([4, np.std([2, 3, 7]), 2, 7, 2.5])


def test_a_history_that_is_too_short_is_unknown_and_not_zero() -> None:
    assert added(series([5, 6]), lags=(3,), lengths=(4,)).isna().all(axis=None)


def test_nothing_is_carried_from_one_sensor_to_another() -> None:
    frame = pd.concat([series([1, 2], "a"), series([10, 20], "b")], ignore_index=True)
    assert added(frame, lags=(1,))["value, 1 before"].tolist() == pytest.approx([np.nan, 1, np.nan, 10], nan_ok=True)


def test_nothing_is_carried_across_a_gap() -> None:
    frame = series([1, 2, 3, 4]).assign(timestamp=minutes(0, 1, 61, 62))
    found = added(frame, lags=(1,), lengths=(2,), statistics=("mean",), largest_gap=120)
    assert found["value, 1 before"].tolist() == pytest.approx([np.nan, 1, np.nan, 3], nan_ok=True)
    assert found["value, mean of 2"].tolist() == pytest.approx([np.nan, 1.5, np.nan, 3.5], nan_ok=True)


def test_an_unknown_value_makes_its_windows_unknown() -> None:
    found = added(series([1, np.nan, 3, 4, 5]), lengths=(2,), statistics=("mean",))
    assert found["value, mean of 2"].tolist() == pytest.approx([np.nan, np.nan, np.nan, 3.5, 4.5], nan_ok=True)


@given(order=st.permutations(range(12)))
def test_the_order_of_the_rows_does_not_matter(order: list[int]) -> None:
    frame = pd.concat([series([3, 1, 4, 1, 5, 9], "a"), series([2, 6, 5, 3, 5, 8], "b")], ignore_index=True)
    options = {"lags": (1, 2), "lengths": (3,)}
    pd.testing.assert_frame_equal(added(frame.iloc[order], **options).sort_index(), added(frame, **options))


@given(values=st.lists(st.floats(-100, 100), min_size=2, max_size=30), cut=st.integers(1, 29))
def test_a_row_knows_nothing_of_the_rows_after_it(values: list[float], cut: int) -> None:
    options = {"lags": (1, 3), "lengths": (2, 5)}
    whole = added(series(values), **options)
    pd.testing.assert_frame_equal(added(series(values[:cut]), **options), whole.iloc[:cut])


def test_output_is_named_in_its_order() -> None:
    frame = series([1, 2, 3])
    windows = clone(Windows(["value"], lags=(1,), lengths=(2,), statistics=("mean",), sensor="sensor")).fit(frame)
    assert list(windows.get_feature_names_out()) == list(windows.transform(frame).columns)
    assert list(windows.get_feature_names_out())[3:] == ["value, 1 before", "value, mean of 2"]


def test_a_channel_that_is_not_there_is_named() -> None:
    with pytest.raises(ColumnsDiffer, match="missing: pressure"):
        Windows(["pressure"]).fit(series([1, 2]))


@pytest.mark.parametrize("options", [{"lags": (0,)}, {"lags": (-1,)}, {"lengths": (0,)}])
def test_a_look_into_the_future_is_refused(options: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="future"):
        Windows(["value"], **options).fit(series([1, 2]))


def test_a_hundred_thousand_rows_take_no_time_to_speak_of() -> None:
    values = np.random.default_rng(1).normal(size=100_000)
    begun = time.process_time()
    found = added(series(list(values)), lags=(1, 2, 3), lengths=(12, 60))
    assert time.process_time() - begun < 2
    assert found.iloc[60:].notna().all(axis=None)

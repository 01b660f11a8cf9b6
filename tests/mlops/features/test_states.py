import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from mlops.features.states import OperatingState
from mlops.two_states import threshold_between_states


def shifts(rows: int = 2000, seed: int = 0) -> pd.DataFrame:
    """A machine that runs three quarters of the time, warm then and cold when it idles."""
    rng = np.random.default_rng(seed)
    runs = np.arange(rows) % 400 < 300
    power = np.where(runs, rng.normal(9, 0.8, rows), rng.normal(0.4, 0.1, rows))
    return pd.DataFrame({"power": power, "heat": np.where(runs, 70, 25) + rng.normal(0, 2, rows), "runs": runs})


def test_running_and_idle_are_told_apart_on_rows_never_seen() -> None:
    state = OperatingState("power").fit(shifts(seed=1))
    frame = shifts(seed=2)
    np.testing.assert_array_equal(state.transform(frame)["running"], frame["runs"])


def test_a_machine_that_rarely_idles_is_told_apart_as_well() -> None:
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(9, 0.3, 1900), rng.normal(0.4, 0.1, 100)])
    threshold = threshold_between_states(values)
    assert threshold is not None
    assert 1 < threshold < 8


@pytest.mark.parametrize("kind", ["normal", "uniform", "constant", "unknown"])
def test_one_state_is_not_split_in_two(kind: str) -> None:
    rng = np.random.default_rng(4)
    values = {
        "normal": rng.normal(9, 1, 5000),
        "uniform": rng.uniform(5, 10, 5000),
        "constant": np.full(100, 7.0),
        "unknown": np.full(100, np.nan),
    }[kind]
    assert threshold_between_states(values) is None
    frame = pd.DataFrame({"power": [3.0, np.nan]})
    state = OperatingState("power").fit(pd.DataFrame({"power": values}))
    assert state.transform(frame)["running"].tolist() == pytest.approx([1, np.nan], nan_ok=True)


def test_what_is_usual_depends_on_the_state() -> None:
    state = OperatingState("power", ["heat"]).fit(shifts())
    asked = pd.DataFrame({"power": [9.0, 0.4, 9.0, np.nan], "heat": [70.0, 25.0, 25.0, 70.0]})
    running, idle, cold_while_running, unknown = state.transform(asked)["heat, from usual in its state"]
    assert abs(running) < 0.5
    assert abs(idle) < 0.5
    assert cold_while_running < -15
    assert np.isnan(unknown)


def test_what_was_learned_does_not_change_with_what_is_asked() -> None:
    state = OperatingState("power", ["heat"]).fit(shifts())
    frame = shifts(seed=5)
    whole = state.transform(frame)
    pd.testing.assert_frame_equal(state.transform(frame.iloc[:7]), whole.iloc[:7])


def test_output_is_named_in_its_order() -> None:
    state = clone(OperatingState("power", ["heat"])).fit(shifts())
    assert list(state.get_feature_names_out()) == list(state.transform(shifts()).columns)

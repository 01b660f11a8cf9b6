import time
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from mlops.classifiers import FailureClassifier
from mlops.explain import explain, explain_sampled, picture, rescaled
from mlops.features.columns import ColumnsDiffer


def rows(count: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Only `load` and `heat` matter."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(count, 5)), columns=["load", "heat", "noise", "hum", "dust"])
    return frame, (frame["load"] + frame["heat"] + rng.normal(0, 0.3, count) > 2).to_numpy(np.int64)


@pytest.mark.parametrize("algorithm", ["lightgbm", "random_forest", "blend"])
def test_contributions_and_base_add_up_to_the_probability(algorithm: str) -> None:
    model = FailureClassifier(algorithm, trees=40).fit(*rows(1000, 1))
    frame, _ = rows(100, 2)
    explained = explain(model, frame)
    np.testing.assert_allclose(explained.answers, model.predict_proba(frame)[:, 1], atol=1e-6)
    np.testing.assert_allclose(explained.base + explained.contributions.sum(axis=1), explained.answers)


@pytest.mark.parametrize("algorithm", ["lightgbm", "random_forest"])
def test_contributions_add_up_where_values_are_unknown(algorithm: str) -> None:
    model = FailureClassifier(algorithm, trees=40).fit(*rows(1000, 1))
    frame, _ = rows(20, 2)
    frame.iloc[::2, ::2] = np.nan
    np.testing.assert_allclose(explain(model, frame).answers, model.predict_proba(frame)[:, 1], atol=1e-6)


def test_a_row_is_explained_alike_alone_and_among_others() -> None:
    model = FailureClassifier("blend", trees=40).fit(*rows(1000, 1))
    frame, _ = rows(10, 2)
    np.testing.assert_allclose(explain(model, frame[3:4]).contributions[0], explain(model, frame).contributions[3])


@pytest.mark.parametrize("algorithm", ["lightgbm", "random_forest", "blend"])
def test_the_features_that_matter_come_first(algorithm: str) -> None:
    model = FailureClassifier(algorithm, trees=40).fit(*rows(1000, 1))
    frame = pd.DataFrame([[2.0, 2.0, 0.0, 0.0, 0.0]], columns=["load", "heat", "noise", "hum", "dust"])
    explained = explain(model, frame).by_feature()
    assert set(list(explained)[:2]) == {"load", "heat"}
    assert explained["load"] > 0.1


def test_wrong_columns_are_refused() -> None:
    model = FailureClassifier("lightgbm", trees=20).fit(*rows(300, 1))
    with pytest.raises(ColumnsDiffer):
        explain(model, rows(3, 2)[0].drop(columns="dust"))


def test_any_function_is_explained_by_sampling() -> None:
    background = np.random.default_rng(3).normal(size=(200, 4))
    weights = np.array([3.0, -1.0, 0.0, 0.5])
    asked = np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 2.0, 0.0, 0.0]])
    explained = explain_sampled(lambda values: values @ weights, background, asked, list("abcd"))
    np.testing.assert_allclose(explained.answers, asked @ weights, atol=1e-6)
    # A linear function's contributions are known: weight times distance from the background's mean.
    np.testing.assert_allclose(explained.contributions[0] - explained.contributions[1], weights * (asked[0] - asked[1]))


def test_sampling_gives_the_same_twice_and_leaves_numpys_generator_alone() -> None:
    background = np.random.default_rng(3).normal(size=(50, 15))
    before = np.random.get_state()[1].copy()  # type: ignore[union-attr, index]
    first, second = (
        explain_sampled(lambda v: np.tanh(v.sum(axis=1)), background, background[:1], [f"f{i}" for i in range(15)])
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.contributions, second.contributions)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # type: ignore[index]


def test_a_slow_model_is_asked_less_often() -> None:
    background = np.random.default_rng(3).normal(size=(50, 15))
    asked = 0

    def slow(values: np.ndarray) -> np.ndarray:
        nonlocal asked
        asked += len(values)
        time.sleep(len(values) * 1e-4)
        return values.sum(axis=1)

    explained = explain_sampled(slow, background, background[:1], [f"f{i}" for i in range(15)], seconds=1)
    assert asked * 1e-4 < 1
    np.testing.assert_allclose(explained.answers, background[:1].sum(axis=1), atol=1e-6)


def test_contributions_are_shared_out_through_a_calibration() -> None:
    base, shared = rescaled(np.exp, 0.0, np.array([[1.0, 1.0], [0.0, 0.0], [2.0, -1.0]]))
    assert base == 1.0
    np.testing.assert_allclose(base + shared.sum(axis=1), np.exp([2.0, 0.0, 1.0]))
    assert shared[0, 0] == shared[0, 1]


def test_the_picture_shows_the_largest_and_sums_up_the_rest() -> None:
    drawn = picture({"load <kW>": 0.4, "heat": -0.1, "dust": 0.01, "hum": 0.02}, base=0.03, most=2)
    texts = [element.text for element in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:6] == ["load <kW>", "+0.400", "heat", "-0.100", "2 others", "+0.030"]
    assert texts[6] == "Answer 0.360, from 0.030 when nothing is known"


def test_long_names_are_told_apart_by_their_ends() -> None:
    names = [f"north.p101.winding_temperature, {what} of 12" for what in ("mean", "slope")]
    drawn = picture(dict.fromkeys(names, 0.1), base=0.0)
    assert ">north.p101.windin…rature, mean of 12<" in drawn
    assert "slope of 12<" in drawn

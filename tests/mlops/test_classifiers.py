import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import f1_score, matthews_corrcoef

from mlops.classifiers import FailureClassifier, best_threshold
from mlops.detectors.base import NotEnoughData
from mlops.features.columns import ColumnsDiffer
from mlops.features.physics import SHAFT_POWER, Derived

POWER = Derived("power", SHAFT_POWER, ("torque", "speed"))


def spindle(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """A spindle that fails at high power, at a lower one when it is of the poor grade, and sometimes for no reason."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "grade": rng.choice(["poor", "good"], rows),
            "torque": rng.normal(40, 10, rows),
            "speed": rng.normal(1500, 200, rows),
        }
    )
    power = frame["torque"] * frame["speed"] * 2 * np.pi / 60
    limit = np.where(frame["grade"] == "poor", 8500, 9500)
    return frame, ((power > limit) | (rng.random(rows) < 0.005)).to_numpy(np.int64)


def classifier(algorithm: str = "blend", **options: object) -> FailureClassifier:
    return FailureClassifier(algorithm, (POWER,), {"grade": ("poor", "good")}, trees=60, **options)


@pytest.fixture(scope="module")
def fitted() -> FailureClassifier:
    return classifier().fit(*spindle(3000, 1))


@pytest.mark.parametrize("algorithm", ["lightgbm", "random_forest", "blend"])
def test_failures_are_told_from_rows_never_seen(algorithm: str) -> None:
    model = classifier(algorithm).fit(*spindle(3000, 1))
    frame, labels = spindle(3000, 2)
    assert f1_score(labels, model.predict(frame)) > 0.9


def test_probabilities_come_true_as_often_as_they_say(fitted: FailureClassifier) -> None:
    frame, labels = spindle(20_000, 3)
    said = fitted.predict_proba(frame)
    np.testing.assert_allclose(said.sum(axis=1), 1)
    for low, high in ((0.0, 0.05), (0.9, 1.0)):
        rows = (said[:, 1] >= low) & (said[:, 1] <= high)
        assert abs(said[rows, 1].mean() - labels[rows].mean()) < 0.02


def test_training_twice_gives_the_same_model() -> None:
    frame, labels = spindle(1500, 4)
    first, second = classifier().fit(frame, labels), clone(classifier(threads=2)).fit(frame, labels)
    np.testing.assert_array_equal(first.predict_proba(frame), second.predict_proba(frame))
    assert first.threshold_ == second.threshold_


def test_a_saved_model_answers_alike(fitted: FailureClassifier) -> None:
    frame, _ = spindle(200, 5)
    restored = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(restored.predict_proba(frame), fitted.predict_proba(frame))
    assert restored.feature_names_ == ["grade", "torque", "speed", "power"]


def test_the_order_of_the_columns_does_not_matter(fitted: FailureClassifier) -> None:
    frame, _ = spindle(200, 5)
    turned = frame[frame.columns[::-1]]
    np.testing.assert_array_equal(fitted.predict_proba(turned), fitted.predict_proba(frame))


def test_the_forest_says_what_scikit_learn_says_of_it() -> None:
    model = classifier("random_forest").fit(*spindle(1000, 1))
    frame, _ = spindle(200, 5)
    frame.loc[::3, "torque"] = np.nan
    theirs = model.members_[0].predict_proba(model.features_of(frame))[:, 1]
    np.testing.assert_array_equal(model.predict_proba(frame)[:, 1], model.calibrated_probability(theirs))


def test_missing_and_unexpected_columns_are_named(fitted: FailureClassifier) -> None:
    frame, _ = spindle(5, 6)
    with pytest.raises(ColumnsDiffer, match="missing: speed; unexpected: velocity") as refused:
        fitted.predict(frame.rename(columns={"speed": "velocity"}))
    assert (refused.value.missing, refused.value.unexpected) == (["speed"], ["velocity"])


def test_blanks_and_new_words_get_an_answer(fitted: FailureClassifier) -> None:
    frame = pd.DataFrame({"grade": ["unheard of", None], "torque": [40.0, np.nan], "speed": [1500.0, 1500.0]})
    assert np.isfinite(fitted.predict_proba(frame)).all()


@pytest.mark.parametrize(("objective", "measure"), [("f1", f1_score), ("mcc", matthews_corrcoef)])
def test_no_other_threshold_is_better_on_the_same_rows(objective: str, measure: object) -> None:
    rng = np.random.default_rng(7)
    labels = (rng.random(300) < 0.2).astype(np.int64)
    said = np.round(np.clip(0.4 * labels + 0.6 * rng.random(300), 0, 1), 2)
    chosen = measure(labels, said >= best_threshold(labels, said, objective))  # type: ignore[arg-type, operator]
    assert chosen == max(measure(labels, said >= each) for each in np.unique(said))  # type: ignore[operator]


def test_the_rows_held_out_tell_how_good_each_member_is(fitted: FailureClassifier) -> None:
    assert set(fitted.held_out_loss_) == {"RandomForestClassifier", "LGBMClassifier", "mean"}
    # The failures for no reason alone cost .03.
    assert all(0.02 < loss < 0.1 for loss in fitted.held_out_loss_.values())
    assert all(0.8 < goodness < 1 for goodness in fitted.held_out_goodness_.values())


@pytest.mark.parametrize("objective", ["f1", "mcc"])
def test_what_does_best_on_rows_held_out_serves(objective: str) -> None:
    model = classifier("best", objective=objective).fit(*spindle(1000, 1))
    assert model.held_out_goodness_[model.kept_] == max(model.held_out_goodness_.values())
    serving = [type(member).__name__ for member in model.members_]
    assert serving == ([model.kept_] if model.kept_ != "mean" else ["RandomForestClassifier", "LGBMClassifier"])


def test_a_column_that_only_goes_into_a_derived_quantity_is_asked_for_and_not_learned_from() -> None:
    model = classifier("lightgbm", replaced=("torque",)).fit(*spindle(1000, 1))
    assert model.columns_ == ["grade", "torque", "speed"]
    assert model.feature_names_ == ["grade", "speed", "power"]


def test_a_handful_of_failures_is_not_enough() -> None:
    frame, _ = spindle(500, 8)
    labels = np.zeros(500, np.int64)
    labels[:9] = 1
    with pytest.raises(NotEnoughData, match="10 failures"):
        classifier().fit(frame, labels)


def test_failures_of_one_stretch_leave_none_to_check_by() -> None:
    frame, _ = spindle(500, 9)
    labels = (np.arange(500) >= 420).astype(np.int64)
    with pytest.raises(NotEnoughData, match="one stretch"):
        classifier(folds="blocked").fit(frame, labels)

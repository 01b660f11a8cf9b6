"""Classifiers that learn failures from labelled rows: gradient boosting, a random forest, the mean of both, or
whichever of the three does best on rows held out.

Only workers and commands import this module.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss, matthews_corrcoef
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.validation import check_is_fitted

from mlops.detectors.base import NotEnoughData
from mlops.features.categories import Categories
from mlops.features.columns import require_exactly
from mlops.features.physics import Derived, DerivedQuantities

Algorithm = Literal["best", "blend", "lightgbm", "random_forest"]
Objective = Literal["f1", "mcc"]
# No forest of some hundred trees can tell probabilities beyond these apart, and their log-odds stay finite.
SMALLEST_PROBABILITY = 1e-4
# Fewer failures than this leave a fold without any to measure a threshold by.
FEWEST_OF_A_CLASS = 10
FOLDS = 5


def _lightgbm(seed: int, trees: int, threads: int) -> lightgbm.LGBMClassifier:
    """Small trees and a slow rate with bagging (Friedman, 2002, "Stochastic Gradient Boosting")."""
    return lightgbm.LGBMClassifier(
        n_estimators=trees,
        learning_rate=0.05,
        num_leaves=15,
        min_child_samples=10,
        min_child_weight=1.0,
        subsample=0.7,
        subsample_freq=1,
        random_state=seed,
        n_jobs=threads,
        deterministic=True,
        force_row_wise=True,
        verbose=-1,
    )


def _random_forest(seed: int, trees: int, threads: int) -> RandomForestClassifier:
    """Bagged trees of few levels (Breiman, 1996, "Bagging predictors"): limits on a few quantities and their
    combinations. Every column is tried at a split: where few of them matter, a random choice often holds none that
    does. Deeper structure is left to boosting. Few levels also bound what an explanation costs.
    """
    return RandomForestClassifier(
        trees, max_depth=6, min_samples_leaf=2, max_features=1.0, random_state=seed, n_jobs=threads
    )


MEMBERS = {
    "lightgbm": (_lightgbm,),
    "random_forest": (_random_forest,),
    "blend": (_random_forest, _lightgbm),
    "best": (_random_forest, _lightgbm),
}


class FailureClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The probability that a row is a failure: features, model, calibration and threshold in one object.

    Out-of-fold predictions on the training rows serve three ends: they calibrate the probability (Platt, 1999, on
    log-odds), choose the threshold at which `objective` is best, and tell what each member and their mean are worth:
    `held_out_goodness_`, the objective at its best threshold, and `held_out_loss_`, the log loss. The algorithm "best"
    keeps what reaches the objective best, without a look at test data; `kept_` names it.

    `derived`: quantities added by physics. `replaced`: columns that only go into these. `orders`: the order of a text
    column's words. `folds`: "shuffled" keeps the share of failures in each; "blocked" cuts contiguous stretches, for
    rows in time order that resemble their neighbours. `threads` are used for training; an answer is given by one.

    After `fit`: `columns_` (what must be given), `feature_names_` (what the members see), `threshold_`.
    """

    def __init__(
        self,
        algorithm: Algorithm = "best",
        derived: Sequence[Derived] = (),
        orders: Mapping[str, Sequence[str]] | None = None,
        objective: Objective = "f1",
        folds: Literal["shuffled", "blocked"] = "shuffled",
        trees: int = 200,
        seed: int = 0,
        threads: int = 1,
        replaced: Sequence[str] = (),
    ) -> None:
        self.algorithm = algorithm
        self.derived = derived
        self.orders = orders
        self.objective = objective
        self.folds = folds
        self.trees = trees
        self.seed = seed
        self.threads = threads
        self.replaced = replaced

    def fit(self, X: pd.DataFrame, y: NDArray[np.int_]) -> Self:  # noqa: N803 (sklearn's name)
        """Learn from rows `X` (n) and labels `y` (n; 1 is a failure, 0 is none).

        Raises mlops.detectors.base.NotEnoughData when there are fewer than 10 failures or 10 rows without, or when one
        contiguous fold holds all of either.
        """
        labels = np.asarray(y).astype(np.int64)
        if min(np.sum(labels == 1), np.sum(labels == 0)) < FEWEST_OF_A_CLASS:
            raise NotEnoughData(f"A classifier needs {FEWEST_OF_A_CLASS} failures and as many rows without one.")
        self.classes_ = np.array([0, 1])
        self.columns_ = [str(name) for name in X.columns]
        quantities = DerivedQuantities(self.derived, self.replaced)
        self.features_: Pipeline = make_pipeline(Categories(self.orders), quantities).fit(X)
        self.feature_names_ = [str(name) for name in self.features_.get_feature_names_out()]
        values = self._values(X)
        fresh = [make(self.seed, self.trees, self.threads) for make in MEMBERS[self.algorithm]]
        held_out = self._held_out(fresh, values, labels)
        ways = {type(member).__name__: [i] for i, member in enumerate(fresh)} | {"mean": list(range(len(fresh)))}
        said = {name: held_out[members].mean(axis=0) for name, members in ways.items()}
        self._compare(said, labels)
        blended = said[self.kept_]
        # Practically no penalty: two parameters for all rows.
        platt = LogisticRegression(C=1e6).fit(_log_odds(blended)[:, None], labels)
        self.calibration_ = float(platt.coef_[0, 0]), float(platt.intercept_[0])
        self.threshold_ = best_threshold(labels, self.calibrated_probability(blended), self.objective)
        self.members_ = [_trained(fresh[i], values, labels) for i in ways[self.kept_]]
        return self

    def predict_proba(self, X: pd.DataFrame) -> NDArray[np.float64]:  # noqa: N803
        """Shape (n, 2): the probabilities of no failure and of failure.

        Raises mlops.features.columns.ColumnsDiffer when the columns are not those of the training.
        """
        values = self.features_of(X)
        failure = self.calibrated_probability(np.mean([_failure(member, values) for member in self.members_], axis=0))
        return np.column_stack([1 - failure, failure])

    def predict(self, X: pd.DataFrame) -> NDArray[np.int64]:  # noqa: N803
        """Shape (n,): 1 where the probability of a failure reaches the threshold."""
        return (self.predict_proba(X)[:, 1] >= self.threshold_).astype(np.int64)

    def features_of(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Shape (n, features), in the order of `feature_names_`. Raises ColumnsDiffer."""
        check_is_fitted(self)
        require_exactly(frame, self.columns_)
        return self._values(frame)

    def calibrated_probability(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the members' mean probability of failure is worth, by how often it came true out of fold."""
        slope, intercept = self.calibration_
        return np.asarray(expit(slope * _log_odds(probabilities) + intercept))

    def _values(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        if not (self.features_[0].words_ or self.derived or self.replaced):
            # Nothing to do, which takes the steps longer than the members need for a row.
            return np.asarray(frame[self.columns_].to_numpy(np.float64, na_value=np.nan))
        return np.asarray(self.features_.transform(frame[self.columns_]).to_numpy(np.float64))

    def _compare(self, said: Mapping[str, NDArray[np.float64]], labels: NDArray[np.int64]) -> None:
        """Note what each way of answering is worth on rows held out, and which serves."""
        self.held_out_loss_ = {name: float(log_loss(labels, _clipped(each))) for name, each in said.items()}
        measure = f1_score if self.objective == "f1" else matthews_corrcoef
        self.held_out_goodness_ = {
            name: float(measure(labels, each >= best_threshold(labels, each, self.objective)))
            for name, each in said.items()
        }
        self.kept_ = max(said, key=self.held_out_goodness_.__getitem__) if self.algorithm == "best" else "mean"

    def _held_out(
        self, members: Sequence[Any], values: NDArray[np.float64], labels: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Shape (members, n): what each member says of rows it was not trained on."""
        splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=self.seed)
        if self.folds == "blocked":
            splitter = KFold(FOLDS)
        held_out = np.empty((len(members), len(labels)))
        for train, test in splitter.split(values, labels):
            if len(np.unique(labels[train])) < 2:
                raise NotEnoughData("All failures, or all rows without, lie in one stretch: none is left to check by.")
            for row, member in zip(held_out, members, strict=True):
                row[test] = _failure(_trained(clone(member), values[train], labels[train]), values[test])
        return held_out


def best_threshold(labels: NDArray[np.int64], probabilities: NDArray[np.float64], objective: Objective) -> float:
    """The probability from which on to say "failure", so that F1 or Matthews' correlation is best on these rows.

    It lies half-way to the next lower probability: rows to come fall on either side of what was seen.
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    hits = np.cumsum(labels[order])
    said = np.arange(1, len(labels) + 1)
    failures = int(labels.sum())
    if objective == "f1":
        goodness = 2 * hits / (said + failures)
    else:
        spread = np.sqrt(said * (len(labels) - said) * float(failures) * (len(labels) - failures))
        goodness = np.divide(len(labels) * hits - said * failures, spread, out=np.zeros(len(labels)), where=spread > 0)
    # Equal probabilities cannot be told apart: a cut lies after the last of them.
    last = np.append(ranked[1:] < ranked[:-1], True)
    best = int(np.argmax(np.where(last, goodness, -np.inf)))
    return float((ranked[best] + ranked[min(best + 1, len(ranked) - 1)]) / 2)


def _trained(member: Any, values: NDArray[np.float64], labels: NDArray[np.int64]) -> Any:
    """Answers come from one thread: several add up the trees in the order they finish, which shows in the last bit."""
    return member.fit(values, labels).set_params(n_jobs=1)


def _failure(member: Any, values: NDArray[np.float64]) -> NDArray[np.float64]:
    # By ways of their own, which take longer than a single row's answer, boosting makes sure of what it is given, and
    # the forest hands its trees to a pool, one by one.
    if not isinstance(member, RandomForestClassifier):
        return np.asarray(member.booster_.predict(values, num_threads=1))
    rows = values.astype(np.float32)
    return np.asarray(sum(tree.tree_.predict(rows)[:, 1] for tree in member.estimators_) / len(member.estimators_))


def _clipped(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(probabilities, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)


def _log_odds(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(logit(_clipped(probabilities)))

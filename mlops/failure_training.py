"""A classifier of the failures of an asset, learned from those that people told of.

Only workers and commands import this module.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve

from maintenance import work_orders
from mlops import calibration, cards, explain, failures, training
from mlops.classifiers import FailureClassifier
from mlops.detectors.base import NotEnoughData
from mlops.failures import FAILS, FINE, LEFT_OUT, Failure
from mlops.features.failure_rows import LENGTHS, STRIDE, FailureRows
from mlops.grid import Grid, Series
from mlops.leaks import LABEL, Leak, find_leaks
from mlops.registry.artifact import ModelArtifact
from mlops.training import Trained, us
from sensors import faults, history
from sensors.history import Window
from sensors.models import Annotation, Asset

# Failures are rare: everything that is kept by default is looked at, one reading in five minutes.
DAYS = 180
SAMPLE_US = 300_000_000
HORIZON = timedelta(hours=24)
HORIZON_US = round(HORIZON.total_seconds() * 1e6)
# In time order: the share of the failures that is learned from. At least two are left to judge by.
LEARNED = 2 / 3
FEWEST_FAILURES = 6
# A channel that tells failures apart better than this is their label in disguise. It is nearer to 1 than for tables of
# single measurements (mlops.leaks): windows hold the past only, and damage that grows for days does show.
LARGEST_AUC = 0.999
# What a row adds to an answer is averaged over so many held-back rows.
EXPLAINED_ROWS = 200
# Of a curve.
POINTS = 60

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Past:
    """Rows in time order: `times` (n; microseconds UTC), `features`, `labels` (n; FAILS, FINE or LEFT_OUT)."""

    times: NDArray[np.int64]
    features: pd.DataFrame
    labels: NDArray[np.int64]
    told: Sequence[Failure]
    rows: FailureRows

    @classmethod
    def of(cls, series: Mapping[str, Series], told: Sequence[Failure], until_us: int) -> "Past":
        rows = FailureRows(Grid.learn(series), tuple(series))
        times, features = rows.of(series)
        return cls(times, features, failures.labels(times, told, HORIZON_US, until_us), told, rows)


def past(asset: Asset, now: datetime, days: int = DAYS) -> Past:
    """What the sensors of an asset read before its failures and otherwise. Raises NotEnoughData."""
    since = now - timedelta(days=days)
    told = failures.of_asset(asset, since, now)
    if len(told) < FEWEST_FAILURES:
        raise NotEnoughData(
            f"{len(told)} failures of {asset} are known of the last {days} days; {FEWEST_FAILURES} are needed. Mark "
            "past failures on its page, or close work orders with what was found."
        )
    series = _series(asset, told, since, now)
    if not series:
        raise NotEnoughData(f"No sensor of {asset} has readings.")
    return Past.of(series, told, us(now))


def train(past: Past, tell: Tell = lambda _: None, trees: int = 200) -> Trained:
    """A classifier learned from the earlier failures and judged by the later ones, none of which is cut in two.

    It is worth serving when it warns of any of the later failures, and its probabilities are nearer to what happened
    than the share of such rows is. Raises NotEnoughData, also when every sensor gives the answer away.
    """
    learned, judged = _split(past)
    tell("looking for columns that give the answer away")
    channels, leaks = _without_leaks(past, learned)
    features = past.features[[name for name in past.features if _channel(name) in channels]]
    tell(f"learning from {len(learned)} rows")
    model = FailureClassifier(folds="blocked", trees=trees).fit(features.iloc[learned], past.labels[learned])
    tell(f"judging by {len(judged)} later rows")
    answers = Answers(
        past.times[judged], past.labels[judged], model.predict_proba(features.iloc[judged])[:, 1], model.threshold_
    )
    metrics = answers.metrics(past)
    serves = metrics["failures_found"] > 0 and metrics["brier"] < metrics["brier_of_share"]
    said = (
        f"{metrics['failures_found']:.0f} of the last {metrics['failures']:.0f} failures are foretold, at "
        f"{metrics['false_per_day']:.2f} false warnings a day; average precision {metrics['average_precision']:.2f}, "
        f"by chance {metrics['share']:.2f}"
    )
    return Trained(
        artifact=_artifact(past, features.iloc[learned], model, metrics, replace(past.rows, channels=channels)),
        example=features.iloc[judged].to_numpy(np.float64),
        card={
            "ways": _ways(model),
            "confusion": answers.confusion(),
            "precision_recall": answers.precision_recall(),
            "reliability": answers.reliability(),
            "importance": _importance(model, features.iloc[judged]),
            "left_out": [str(leak) for leak in leaks],
        },
        serves=serves,
        said=said if serves else f"It is not good enough to serve: {said}",
    )


@dataclass(frozen=True)
class Answers:
    """What the model says of held-back rows (n), and what they were."""

    times: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    threshold: float

    def metrics(self, past: Past) -> dict[str, float]:
        said, share = self.probabilities >= self.threshold, float(np.mean(self.labels))
        fine = self.labels == FINE
        apart = 2 * STRIDE * past.rows.grid.step_us / 1e6
        false = calibration.events(self.times[fine], said[fine].astype(np.float64), 1.0, apart)
        before = (failures.before(failure, self.times, HORIZON_US) for failure in past.told)
        told = [said[rows] for rows in before if rows.any()]
        return {
            "average_precision": float(average_precision_score(self.labels, self.probabilities)),
            "share": share,
            "brier": float(np.mean((self.probabilities - self.labels) ** 2)),
            "brier_of_share": share * (1 - share),
            "failures": float(len(told)),
            "failures_found": float(sum(each.any() for each in told)),
            "false_per_day": len(false) / calibration.watched_days(self.times[fine]),
        }

    def confusion(self) -> dict[str, int]:
        said, is_so = self.probabilities >= self.threshold, self.labels == FAILS
        return {
            "said_and_so": int(np.sum(said & is_so)),
            "said_and_not_so": int(np.sum(said & ~is_so)),
            "not_said_and_so": int(np.sum(~said & is_so)),
            "not_said_and_not_so": int(np.sum(~said & ~is_so)),
        }

    def precision_recall(self) -> list[list[float]]:
        """Recall and precision at POINTS thresholds at most, by falling threshold."""
        precision, recall, _ = precision_recall_curve(self.labels, self.probabilities)
        chosen = np.unique(np.linspace(0, len(recall) - 1, min(len(recall), POINTS)).astype(int))[::-1]
        return [[cards.rounded(recall[i]), cards.rounded(precision[i])] for i in chosen.tolist()]

    def reliability(self) -> list[list[float]]:
        """For each tenth of probability that was said: the mean said, the share that came true, how many rows."""
        tenths = np.minimum((self.probabilities * 10).astype(int), 9)
        said = [(self.probabilities[rows], self.labels[rows]) for rows in (tenths == each for each in range(10))]
        return [
            [cards.rounded(np.mean(each)), cards.rounded(np.mean(came_true)), len(each)]
            for each, came_true in said
            if len(each)
        ]


def _series(asset: Asset, told: Sequence[Failure], since: datetime, now: datetime) -> dict[str, Series]:
    """A reading in five minutes of each sensor, without excluded stretches, times of work and of failure, and faults of
    the sensor.
    """
    sensors = list(asset.sensors.filter(status="active").order_by("sensor_id"))
    notes = Annotation.objects.standing().filter(asset=asset, kind=Annotation.Kind.EXCLUDED, end__gte=since)
    excluded = list(notes.values_list("sensor", "start", "end"))
    failed = [(failure.at, failure.until) for failure in told]
    found = {}
    samples = history.samples([Window(each.pk, us(since), us(now), SAMPLE_US) for each in sensors])
    for sensor, series in zip(sensors, samples, strict=True):
        spans = [(start, end) for of, start, end in excluded if of in (None, sensor.pk)]
        spans += work_orders.periods(sensor.pk, since, now) + faults.distrusted(sensor.pk, since, now)
        stretches = [(us(start), us(end or now)) for start, end in spans]
        timestamps, values = training.without(*series, [*failed, *stretches])
        if len(timestamps) >= 2:
            found[sensor.sensor_id] = (timestamps, values)
    return found


def _split(past: Past) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows up to the end of the last failure that is learned from, and those whose windows begin after it."""
    fails = past.times[past.labels == FAILS]
    seen = [failure for failure in past.told if failures.before(failure, fails, HORIZON_US).any()]
    if len(seen) < FEWEST_FAILURES:
        raise NotEnoughData(f"Readings tell of {len(seen)} failures; {FEWEST_FAILURES} are needed.")
    boundary = seen[round(LEARNED * len(seen)) - 1].until
    known = past.labels != LEFT_OUT
    learned = np.flatnonzero(known & (past.times <= boundary))
    judged = np.flatnonzero(known & (past.times > boundary + LENGTHS[-1] * past.rows.grid.step_us))
    if len(np.unique(past.labels[judged])) < 2:
        raise NotEnoughData("The later failures are too close together to be judged by.")
    return learned, judged


def _without_leaks(past: Past, learned: NDArray[np.intp]) -> tuple[tuple[str, ...], list[Leak]]:
    """The channels none of whose features gives the label away, and the leaks of the others."""
    times = (past.times[learned] * 1000).astype("datetime64[ns]")
    leaks = find_leaks(past.features.iloc[learned], past.labels[learned], times, LARGEST_AUC)
    leaking = {_channel(leak.column) for leak in leaks}
    channels = tuple(channel for channel in past.rows.channels if channel not in leaking)
    if not channels or LABEL in leaking:
        raise NotEnoughData(f"No sensor is left to learn from. {' '.join(map(str, leaks))}")
    return channels, leaks


def _artifact(
    past: Past, learned: pd.DataFrame, model: FailureClassifier, metrics: dict[str, float], rows: FailureRows
) -> ModelArtifact:
    times = past.times[learned.index]
    content = times.tobytes() + past.labels[learned.index].tobytes() + learned.to_numpy(np.float64).tobytes()
    return ModelArtifact(
        model=model,
        features=tuple(model.columns_),
        threshold=model.threshold_,
        data_fingerprint=hashlib.sha256(content).hexdigest(),
        trained_from=training.at(times[0]),
        trained_to=training.at(times[-1]),
        preprocessing=rows,
        metrics=metrics | {"readings": float(len(learned)), "span_seconds": float(times[-1] - times[0]) / 1e6},
        parameters={
            "algorithm": _in_words(model.kept_),
            "trees": str(model.trees),
            "horizon_hours": f"{HORIZON / timedelta(hours=1):.0f}",
            "windows": f"{' and '.join(map(str, LENGTHS))} readings, one in five minutes; a row an hour",
        },
    )


def _ways(model: FailureClassifier) -> list[dict[str, Any]]:
    """What each way of answering was worth on rows of the training held out."""
    return [
        {
            "name": _in_words(name),
            "f1": cards.rounded(goodness),
            "log_loss": cards.rounded(model.held_out_loss_[name]),
            "chosen": name == model.kept_,
        }
        for name, goodness in model.held_out_goodness_.items()
    ]


def _importance(model: FailureClassifier, judged: pd.DataFrame) -> list[dict[str, Any]]:
    """The mean size of each feature's part in the probability."""
    some = judged.iloc[np.unique(np.linspace(0, len(judged) - 1, EXPLAINED_ROWS).astype(int))]
    sizes = np.abs(explain.explain(model, some).contributions).mean(axis=0)
    return cards.importance(dict(zip(model.feature_names_, sizes.tolist(), strict=True)))


def _channel(feature: str) -> str:
    return feature.rpartition(", ")[0] or feature


def _in_words(way: str) -> str:
    return {"RandomForestClassifier": "random forest", "LGBMClassifier": "boosting", "mean": "mean of both"}[way]

"""What a process of the pool says to a question: scores or probabilities, what is decided by them, and why."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops import explain
from mlops.classifiers import FailureClassifier
from mlops.detectors.base import Frame
from mlops.features.failure_rows import FailureRows
from mlops.grid import Grid
from mlops.models import Deployment, ModelVersion
from mlops.prediction import of_asset, of_sensor, tables
from mlops.prediction.limits import ANSWER_SECONDS, within
from mlops.prediction.questions import Question
from mlops.registry import loading, versions
from mlops.registry.artifact import ModelArtifact
from mlops.registry.loading import NotLoaded, Served
from sensors.errors import Refused

Values = NDArray[np.float64]
Answer = dict[str, Any]

# Loading has limits of its own for MLflow and its store; this one is for what unpickling does.
LOAD_SECONDS = 20.0
# A sampled explanation asks the model thousands of times, and takes so long for all rows of a question together.
SAMPLED_SECONDS = 1.0
MOST_SAMPLED = 10


def answer(question: Question) -> bytes:
    """JSON. Raises Refused."""
    said = _ANSWERS[question.kind](question)
    return msgspec.json.encode(said)


def _alias(question: Question) -> Answer:
    found = versions.by_alias(question.name, question.alias)
    return {"version": found.pk if found else None}


def _version(question: Question) -> Answer:
    served = _served(question)
    artifact, rows = served.artifact, question.rows or []
    with within(ANSWER_SECONDS):
        if tables.is_detector(artifact.model):
            said = _detected(served, tables.frame(rows, artifact.features, str(served.version)), question.explain)
        else:
            said = _classified(served, rows, question.explain)
    return {**_who(served), **said}


def _asset(question: Question) -> Answer:
    served = _served(question)
    made_by = served.artifact.preprocessing
    if isinstance(made_by, Grid):
        frame = of_asset.grid_rows(question.asset, made_by, served.artifact.model.context, question.newest)
        with within(ANSWER_SECONDS):
            said = _detected(served, frame, question.explain)
        said["rows"] = said["rows"][-question.newest :]
    elif isinstance(made_by, FailureRows):
        times, table = of_asset.failure_rows(question.asset, made_by, question.newest)
        with within(ANSWER_SECONDS):
            said = _judged(served, *_by_classifier(served.artifact.model, table, question.explain))
        said["rows"] = [{tables.TIMESTAMP: tables.iso(at), **row} for at, row in zip(times, said["rows"], strict=True)]
    else:
        raise Refused("rows_required", f"{served.version} makes no rows of stored readings; send rows.", 422)
    return {**_who(served), "asset": question.asset, **said}


def _who(served: Served) -> Answer:
    return {"model": served.version.name, "version": served.version.version}


def _sensor(question: Question) -> Answer:
    return of_sensor.predicted(question, _served(question) if question.deployment else None)


def _scores(question: Question) -> Answer:
    return of_sensor.scores(question, _served(question) if question.deployment else None)


_ANSWERS: dict[str, Callable[[Question], Answer]] = {
    "alias": _alias,
    "version": _version,
    "sensor": _sensor,
    "asset": _asset,
    "scores": _scores,
}


def _served(question: Question) -> Served:
    with within(LOAD_SECONDS):
        try:
            if question.deployment and (served := loading.load(_deployment(question.deployment))):
                return served
            loading.keep_up()
            version = _known_version(question.version)
            return Served(version, loading.load_version(version))
        except NotLoaded as error:
            raise Refused("model_not_loaded", f"The model cannot be had now: {error}.", 503) from error


@lru_cache(2000)
def _known_version(pk: int) -> ModelVersion:
    """Rows of versions never change."""
    return ModelVersion.objects.get(pk=pk)


@lru_cache(2000)
def _deployment(pk: int) -> Deployment:
    """What the web process knows to be in service; which version it is never changes."""
    found: Deployment = Deployment.objects.select_related("version", "sensor", "asset", "site").get(pk=pk)
    return found


def _detected(served: Served, frame: Frame, with_parts: bool) -> Answer:
    artifact = served.artifact
    scores = artifact.model.score(_prepared(artifact, frame))
    rows = tables.judged_rows(frame.timestamps, scores, np.full(len(frame), artifact.threshold))
    if with_parts:
        shares = artifact.model.contributions(_prepared(artifact, frame))
        for row, score, parts in zip(rows, scores, shares, strict=True):
            row["explanation"] = tables.explanation(0.0, artifact.features, parts * score)
    return {"threshold": artifact.threshold, "rows": rows}


def _prepared(artifact: ModelArtifact, frame: Frame) -> Frame:
    # Rows that are asked about lie on the asset's grid already.
    if artifact.preprocessing is None or isinstance(artifact.preprocessing, Grid):
        return frame
    return Frame(frame.timestamps, artifact.preprocessing.transform(frame.values), frame.channels)


def _classified(served: Served, rows: list[dict[str, Any]], with_parts: bool) -> Answer:
    artifact = served.artifact
    if isinstance(artifact.model, FailureClassifier):
        table = tables.table(rows, artifact.features, str(served.version), words=artifact.model.features_[0].words_)
        probabilities, found = _by_classifier(artifact.model, table, with_parts)
    else:
        values = tables.values(rows, artifact.features, str(served.version))
        probabilities, found = _by_estimator(served, values, with_parts)
    return _judged(served, probabilities, found)


def _judged(served: Served, probabilities: Values, found: explain.Explanation | None) -> Answer:
    threshold = served.artifact.threshold
    answers: list[Answer] = [
        {"probability": float(each), "failure_predicted": bool(each >= threshold)} for each in probabilities
    ]
    if found:
        for row, parts in zip(answers, found.contributions, strict=True):
            row["explanation"] = tables.explanation(found.base, found.features, parts)
    return {"threshold": threshold, "rows": answers}


def _by_classifier(
    model: FailureClassifier, table: pd.DataFrame, with_parts: bool
) -> tuple[Values, explain.Explanation | None]:
    if not len(table):
        return np.empty(0), None
    if with_parts:
        found = explain.explain(model, table)
        return found.answers, found
    return model.predict_proba(table)[:, 1], None


def _by_estimator(served: Served, values: Values, with_parts: bool) -> tuple[Values, explain.Explanation | None]:
    """Any model that gives probabilities: explained by sampling, from rows that the artifact keeps for it."""
    artifact = served.artifact

    def probability(values: Values) -> Values:
        ready = values if artifact.preprocessing is None else artifact.preprocessing.transform(values)
        return np.asarray(artifact.model.predict_proba(ready)[:, 1], np.float64)

    if not with_parts:
        return probability(values), None
    if artifact.background is None:
        raise Refused("not_explainable", f"{served.version} was registered without rows to explain it by.", 422)
    if len(values) > MOST_SAMPLED:
        raise Refused("too_many_rows", f"This kind of model explains {MOST_SAMPLED} rows at once.", 413)
    found = explain.explain_sampled(
        probability, artifact.background, values, artifact.features, seconds=SAMPLED_SECONDS
    )
    return found.answers, found

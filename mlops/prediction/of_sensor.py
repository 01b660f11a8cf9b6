"""How far readings of a sensor lie from normal, by what serves it now: the same measures as in mlops.scoring.

Asking changes nothing: baselines that are learned for an answer are not kept, as whoever asks about a day to come would
otherwise decide what that day is measured against.
"""

from typing import Any

import numpy as np
from django.db import transaction

from mlops import baselines
from mlops.detectors.base import Frame
from mlops.measures import ByBaseline, ByModel, Floats, Measure, Times, is_of_a_sensor
from mlops.prediction import tables
from mlops.prediction.limits import ANSWER_SECONDS, within
from mlops.prediction.questions import Question
from mlops.registry.loading import BUILT_IN, Served
from sensors import history
from sensors.errors import Refused
from sensors.history import Span
from sensors.models import Sensor

# After every reading: 9000-01-01, which PostgreSQL and Python both know.
NEVER_US = 221_845_392_000_000_000


def predicted(question: Question, served: Served | None) -> dict[str, Any]:
    """Scores of rows as if they came next, or of the newest stored readings. Raises Refused."""
    served = _usable(served)
    sensor = Sensor.objects.get(pk=question.sensor)
    feature = served.artifact.features[0] if served else sensor.kind
    context = served.artifact.model.context if served else 0
    if question.rows is None:
        timestamps, values = _stored(sensor, NEVER_US, question.newest + context)
        asked = min(question.newest, len(timestamps))
    else:
        frame = tables.frame(question.rows, [feature], _name(served))
        before, known = _stored(sensor, int(frame.timestamps[0]), context)
        timestamps, values = np.append(before, frame.timestamps), np.append(known, frame.values[:, 0])
        asked = len(frame)
    scores, limits = _scored(sensor, served, Frame(timestamps, values[:, None], (feature,)))
    newest = slice(len(timestamps) - asked, None)
    rows = tables.judged_rows(timestamps[newest], scores[newest], limits[newest])
    for row, value in zip(rows, values[newest].tolist(), strict=True):
        row["value"] = value if value == value else None
        if question.explain:
            row["explanation"] = tables.explanation(0.0, [feature], np.array([row["score"] or 0.0]))
    threshold = served.artifact.threshold if served else None
    return {**_who(served), "sensor": sensor.pk, "threshold": threshold, "rows": rows}


def scores(question: Question, served: Served | None) -> dict[str, Any]:
    """The stored readings from `first` to `last`, as they would be scored now."""
    served = _usable(served)
    context = served.artifact.model.context if served else 0
    [(timestamps, values)] = history.spans([Span(question.sensor, question.first, question.last)], context)
    measure: Measure
    if served:
        with within(ANSWER_SECONDS):
            measure = ByModel(timestamps, values, served.artifact, served.version.pk)
    else:
        measure = _by_baseline(question.sensor, timestamps, values)
    asked = (timestamps >= question.first) & (timestamps <= question.last)
    rows = tables.judged_rows(timestamps[asked], measure.scores[asked], measure.limits[asked])
    for row, value in zip(rows, values[asked].tolist(), strict=True):
        row["value"] = value
    return {**_who(served), "sensor": question.sensor, "rows": rows}


def _usable(served: Served | None) -> Served | None:
    if served and not is_of_a_sensor(served.artifact):
        raise Refused("wrong_model", f"{served.version} serves this sensor, but is no model of a sensor.", 409)
    return served


def _stored(sensor: Sensor, before_us: int, most: int) -> tuple[Times, Floats]:
    """The newest readings before a time, so many at most."""
    if not most:
        return history.EMPTY
    [(timestamps, values)] = history.spans([Span(sensor.pk, before_us, before_us)], most)
    earlier = timestamps < before_us
    return timestamps[earlier], values[earlier]


def _scored(sensor: Sensor, served: Served | None, frame: Frame) -> tuple[Floats, Floats]:
    """Distances from normal, 0 and above, and the limits they are anomalous from."""
    if served:
        with within(ANSWER_SECONDS):
            scores = served.artifact.model.score(frame)
        return scores, np.full(len(frame), served.artifact.threshold)
    measure = _by_baseline(sensor.pk, frame.timestamps, frame.values[:, 0])
    return np.abs(measure.scores), measure.limits


def _by_baseline(sensor: int, timestamps: Times, values: Floats) -> ByBaseline:
    with transaction.atomic():
        # Nothing that a question makes up is kept.
        profiles, which = baselines.profiles_at(timestamps, np.full(len(timestamps), sensor))
        transaction.set_rollback(True)
    found = [profiles.row(row) for row in range(len(profiles))]
    return ByBaseline(timestamps, values, found or [None], which)


def _who(served: Served | None) -> dict[str, Any]:
    if served is None:
        return {"model": BUILT_IN, "version": None}
    return {"model": served.version.name, "version": served.version.version}


def _name(served: Served | None) -> str:
    return str(served.version) if served else BUILT_IN

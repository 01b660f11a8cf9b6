"""What a decision rested on, frozen in the evidence of its anomaly and alert: enough to decide again, without anything
that is stored elsewhere.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from mlops.detectors.base import Frame
from mlops.events import Event
from mlops.measures import ByBaseline, Judged, asset_scores, model_scores
from mlops.models import Anomaly, ModelVersion
from mlops.registry.loading import load_version
from mlops.validation import Candidate, Decision, Parameters, measured, validate


def freeze(event: Event, candidate: Candidate, parameters: Parameters) -> dict[str, Any]:
    return {
        "event": event.as_json(),
        "candidate": asdict(candidate),
        "parameters": asdict(parameters),
    }


def event_of(anomaly: Anomaly) -> Event:
    """The event as it is known so far. Raises KeyError when the anomaly was written without a capsule."""
    return Event.from_json(anomaly.evidence["capsule"]["event"])


@dataclass(frozen=True)
class Replay:
    """A decision made again. `differences` name what was written down and what comes out now."""

    decision: Decision
    differences: list[str]


def replay(evidence: dict[str, Any]) -> Replay:
    """Score the frozen readings and decide again.

    Raises KeyError, TypeError or ValueError when the evidence holds no whole capsule, and NotLoaded when the model that
    scored them cannot be had.
    """
    capsule = evidence["capsule"]
    frozen = Event.from_json(capsule["event"])
    event = replace(frozen, peak=_scored_again([frozen.peak])[0], window=tuple(_scored_again(list(frozen.window))))
    told = Candidate(**capsule["candidate"])
    candidate = replace(told, **measured(event))
    decision = validate(candidate, Parameters(**capsule["parameters"]))
    now = asdict(candidate) | decision.evidence()
    # Layers that came later had no part in it.
    told_of = [layer["name"] for layer in evidence["layers"]]
    now["layers"] = [layer for layer in now["layers"] if layer["name"] in told_of]
    then = asdict(told) | {name: evidence[name] for name in decision.evidence()}
    differences = [f"{name}: {then[name]!r}, now {now[name]!r}" for name in now if then[name] != now[name]]
    return Replay(decision, differences)


def _scored_again(readings: list[Judged]) -> list[Judged]:
    """Consecutive readings, scored by what the last of them holds, or each by its own baseline."""
    basis = readings[-1].basis
    if basis.model is None:
        return [_by_baseline(reading) for reading in readings]
    artifact = load_version(ModelVersion.objects.get(pk=basis.model))
    timestamps, values = np.array(basis.timestamps, np.int64), np.array(basis.values, float)
    if values.ndim == 2:
        found = asset_scores(artifact, Frame(timestamps, values, artifact.features))
    else:
        found = model_scores(artifact, timestamps, values)
    scores = dict(zip(timestamps.tolist(), np.nan_to_num(found).tolist(), strict=True))
    return [replace(reading, score=scores[reading.at], limit=1.0) for reading in readings]


def _by_baseline(reading: Judged) -> Judged:
    profile = reading.basis.profile
    if profile is None:
        return replace(reading, score=0.0, counts=False)
    measure = ByBaseline(np.array([reading.at]), np.array([reading.value]), [profile], np.zeros(1, np.int64))
    return replace(reading, score=float(measure.scores[0]), limit=float(measure.limits[0]))

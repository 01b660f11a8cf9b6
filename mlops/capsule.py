"""What a decision rested on, frozen in the evidence of its anomaly and alert: enough to decide again, without anything
that is stored elsewhere.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from mlops.events import Event
from mlops.models import Anomaly
from mlops.validation import Candidate, Decision, Parameters, validate

DETECTOR = "robust statistics"


def freeze(event: Event, candidate: Candidate, parameters: Parameters) -> dict[str, Any]:
    return {
        "detector": DETECTOR,
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

    Raises KeyError, TypeError or ValueError when the evidence holds no whole capsule.
    """
    capsule = evidence["capsule"]
    event = Event.from_json(capsule["event"])
    frozen = Candidate(**capsule["candidate"])
    candidate = replace(
        frozen,
        peak=abs(event.peak.score),
        limit=event.peak.limit,
        hits=event.hits,
        baseline_readings=event.peak.profile.readings,
        circumstances=event.circumstances,
    )
    decision = validate(candidate, Parameters(**capsule["parameters"]))
    now = asdict(candidate) | decision.evidence()
    then = asdict(frozen) | {name: evidence[name] for name in decision.evidence()}
    differences = [f"{name}: {then[name]!r}, now {now[name]!r}" for name in now if then[name] != now[name]]
    return Replay(decision, differences)

"""Which anomalies deserve a person's attention. Each layer looks at one thing and says what it saw; none looks anything
up.
"""

from dataclasses import asdict, dataclass
from typing import Any

from mlops.models import Anomaly

# An anomaly is confirmed when this many of a sensor's last readings were anomalous: a single spike is rarely a machine.
K, N = 3, 5
# Confidence from which an anomaly is believed, and below which it is doubted.
CREDIBLE, DOUBTFUL = 0.7, 0.4
PERSISTENCE_WEIGHT, STRENGTH_WEIGHT = 0.6, 0.4
# Fewer readings than these are no baseline to measure anything against: the spread of 20 normal readings lies within
# about a third of the true one, which the wide limit of a sensor's first day bears.
ENOUGH_READINGS = 20


@dataclass(frozen=True)
class Candidate:
    """What validation looks at. `peak` and `limit` are in robust standard deviations; `hits` counts of the last N
    readings.
    """

    peak: float
    limit: float
    hits: int
    baseline_readings: int
    in_maintenance: bool
    sensor_faulty: bool


@dataclass(frozen=True)
class Layer:
    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Decision:
    decision: Anomaly.Decision
    confidence: float
    layers: tuple[Layer, ...]

    def evidence(self) -> dict[str, Any]:
        return {
            "decision": self.decision,
            "confidence": round(self.confidence, 3),
            "layers": [asdict(layer) for layer in self.layers],
        }


def validate(candidate: Candidate) -> Decision:
    """Weigh a candidate: missing history, maintenance and a faulty sensor decide alone, persistence and strength make a
    confidence.
    """
    layers = (
        history(candidate),
        maintenance(candidate),
        instrument(candidate),
        persistence(candidate),
        strength(candidate),
    )
    confidence = PERSISTENCE_WEIGHT * min(1.0, candidate.hits / K) + STRENGTH_WEIGHT * min(
        1.0, candidate.peak / (2 * candidate.limit)
    )
    enough, undisturbed = layers[0].passed, layers[1].passed and layers[2].passed
    if not enough:
        return Decision(Anomaly.Decision.INSUFFICIENT, 0.0, layers)
    if not undisturbed or confidence < DOUBTFUL:
        return Decision(Anomaly.Decision.FALSE_POSITIVE, confidence if undisturbed else 0.0, layers)
    credible = confidence >= CREDIBLE
    return Decision(Anomaly.Decision.CREDIBLE if credible else Anomaly.Decision.FURTHER, confidence, layers)


def history(candidate: Candidate) -> Layer:
    detail = f"The baseline rests on {candidate.baseline_readings} readings; {ENOUGH_READINGS} are needed."
    return Layer("enough history", candidate.baseline_readings >= ENOUGH_READINGS, detail)


def maintenance(candidate: Candidate) -> Layer:
    if candidate.in_maintenance:
        return Layer("no maintenance", False, "Somebody was working on the asset at the time.")
    return Layer("no maintenance", True, "No work was in progress on the asset.")


def instrument(candidate: Candidate) -> Layer:
    if candidate.sensor_faulty:
        return Layer("sensor in order", False, "The sensor itself was faulty at the time.")
    return Layer("sensor in order", True, "No fault of the sensor was known.")


def persistence(candidate: Candidate) -> Layer:
    return Layer("persistence", candidate.hits >= K, f"{candidate.hits} of {N} consecutive readings were anomalous.")


def strength(candidate: Candidate) -> Layer:
    detail = f"The peak is {candidate.peak:.1f} standard deviations from normal; the limit is {candidate.limit:.1f}."
    return Layer("strength", candidate.peak >= candidate.limit, detail)

"""Which anomalies deserve a person's attention. Each layer looks at one thing, says what it saw, and moves the
confidence or decides alone; none looks anything up.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from mlops.detectors.robust import ENOUGH_READINGS
from mlops.events import LASTING, Event, K
from mlops.measures import LIMIT, N
from mlops.models import Anomaly, ValidationPolicy

PERSISTENCE_WEIGHT, STRENGTH_WEIGHT = 0.6, 0.4
# Stronger than so many limits makes no difference.
FULL_STRENGTH = 2.0
# What the other layers take from the confidence, or add to it: what people found in like events weighs most, and takes
# all that persistence gave where they never found anything.
VOLATILE, RECURRING, CONFIRMED_BEFORE, REPUTATION = -0.1, -0.6, 0.1, 0.1
# Each of these explains an event without a fault; the weakest confirmed one is then suspected, a strong one looked at.
FLEETING, ORDINARY, TRANSIENT, COMMON = -0.5, -0.5, -0.5, -0.5
# A day is ordinary when one ordinary day in three resembles the others less. In a week with one or two days of its own
# kind, these are the odd ones.
ORDINARY_DAYS = 2 / 3
# The readings before an event are volatile when they spread this many times as far as the baseline; five normal ones
# reach that once in two thousand times.
VOLATILE_FACTOR = 2.0
# Fewer verdicts than these say nothing of the detector.
ENOUGH_VERDICTS = 5
# One like event that was nothing is no pattern.
ENOUGH_ALIKE = 2
# One neighbour that moves the same way may have a fault of its own.
ENOUGH_NEIGHBOURS = 2

Circumstances = Anomaly.Circumstances
Preset = ValidationPolicy.Preset


@dataclass(frozen=True)
class Parameters:
    """What a site may choose; see `ValidationPolicy`."""

    credible: float = 0.7
    false_positive: float = 0.4
    stability_window: int = 5
    recurrence_share: float = 0.25
    history_limit: int = 20


PRESETS = {
    Preset.STANDARD: Parameters(),
    Preset.STRICT: Parameters(credible=0.8, false_positive=0.3, stability_window=10, history_limit=30),
    Preset.FAST: Parameters(credible=0.6, false_positive=0.5, stability_window=3, history_limit=10),
}


@dataclass(frozen=True)
class Candidate:
    """What validation looks at. `peak` and `limit` are distances from normal in one unit; `hits` counts of the last N
    readings.

    The rest is what was known of the sensor and its surroundings (`mlops.context`). `volatility`: the spread of the
    readings before the event, in spreads of the baseline; None for too few of them. `flat`: the sensor did not move
    while `lively` of its neighbours did and `still` of them did not. Of its `judged` earlier events `alike_unfounded`
    and `alike_founded` were like this one. Behind `founded` of the `verdicts` on such sensors of the site was a fault.

    `confirmed` readings of the event, counted up to LASTING. `unusual`: how far the reading at the peak itself lies
    from what is usual, in spreads. `closer_days`: the share of ordinary days that resemble another one more than the
    event's day does (`mlops.earlier_days`). `change` is what the machine did at the time ("started", "stopped"), as
    `shown_by` says. Of the sensors of the kind on neighbouring machines `together` moved the same way then, `apart` did
    not.
    These are None or empty where nothing is known, or where the event was written down before it was looked at.
    """

    peak: float
    limit: float
    hits: int
    baseline_readings: int
    circumstances: str = Circumstances.NORMAL
    volatility: float | None = None
    flat: bool = False
    lively: int = 0
    still: int = 0
    judged: int = 0
    alike_unfounded: int = 0
    alike_founded: int = 0
    verdicts: int = 0
    founded: int = 0
    confirmed: int | None = None
    unusual: float | None = None
    closer_days: float | None = None
    change: str = ""
    shown_by: str = ""
    together: int = 0
    apart: int = 0

    @property
    def is_strong(self) -> bool:
        """Whether it adds all that strength can."""
        return self.peak >= FULL_STRENGTH * self.limit


def measured(event: Event) -> dict[str, Any]:
    """What a candidate takes from its event alone."""
    return {
        "peak": abs(event.peak.score),
        "limit": event.peak.limit,
        "hits": event.hits,
        "baseline_readings": event.peak.basis.readings,
        "circumstances": event.circumstances,
        "confirmed": event.confirmed_readings,
        "unusual": event.unusual,
    }


@dataclass(frozen=True)
class Layer:
    """`change` is what the layer adds to the confidence; one that `decides` and has not passed decides alone."""

    name: str
    passed: bool
    detail: str
    change: float = 0.0
    decides: Anomaly.Decision | None = None

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "passed": self.passed, "detail": self.detail, "change": round(self.change, 3)}


@dataclass(frozen=True)
class Decision:
    decision: Anomaly.Decision
    confidence: float
    layers: tuple[Layer, ...]

    def evidence(self) -> dict[str, Any]:
        return {
            "decision": self.decision,
            "confidence": round(self.confidence, 3),
            "layers": [layer.as_json() for layer in self.layers],
        }


def validate(candidate: Candidate, parameters: Parameters = PRESETS[Preset.STANDARD]) -> Decision:
    """Weigh a candidate: missing history, work and a faulty sensor decide alone, the others make a confidence."""
    layers = tuple(layer(candidate, parameters) for layer in LAYERS)
    confidence = min(1.0, max(0.0, sum(layer.change for layer in layers)))
    for layer in layers:
        if layer.decides and not layer.passed:
            return Decision(layer.decides, 0.0, layers)
    if confidence < parameters.false_positive:
        return Decision(Anomaly.Decision.FALSE_POSITIVE, confidence, layers)
    # Sums of tenths: what is meant to reach a limit must not miss it by a rounding.
    credible = round(confidence, 9) >= parameters.credible
    return Decision(Anomaly.Decision.CREDIBLE if credible else Anomaly.Decision.FURTHER, confidence, layers)


def enough_history(candidate: Candidate, _: Parameters) -> Layer:
    detail = f"The baseline rests on {candidate.baseline_readings} readings; {ENOUGH_READINGS} are needed."
    enough = candidate.baseline_readings >= ENOUGH_READINGS
    return Layer("enough history", enough, detail, decides=Anomaly.Decision.INSUFFICIENT)


def maintenance(candidate: Candidate, _: Parameters) -> Layer:
    idle = candidate.circumstances != Circumstances.WORK
    detail = "No work was in progress on the asset." if idle else "Somebody was working on the asset at the time."
    return Layer("no maintenance", idle, detail, decides=Anomaly.Decision.FALSE_POSITIVE)


def instrument(candidate: Candidate, _: Parameters) -> Layer:
    """One channel that does not move beside several that do is a broken instrument, not a machine at rest."""
    if candidate.circumstances == Circumstances.FAULTY:
        detail, in_order = "The sensor itself was faulty at the time.", False
    elif candidate.flat and candidate.lively >= 2 and not candidate.still:
        detail = f"It did not move while {candidate.lively} sensors beside it did: the instrument, not the machine."
        in_order = False
    else:
        detail, in_order = "No fault of the sensor was known.", True
    return Layer("sensor in order", in_order, detail, decides=Anomaly.Decision.FALSE_POSITIVE)


def persistence(candidate: Candidate, _: Parameters) -> Layer:
    detail = f"{candidate.hits} of {N} consecutive readings were anomalous."
    return Layer("persistence", candidate.hits >= K, detail, PERSISTENCE_WEIGHT * min(1.0, candidate.hits / K))


def strength(candidate: Candidate, _: Parameters) -> Layer:
    detail = f"The peak lies {candidate.peak / candidate.limit:.1f} times as far from normal as the limit."
    change = STRENGTH_WEIGHT * min(1.0, candidate.peak / (FULL_STRENGTH * candidate.limit))
    return Layer("strength", candidate.peak >= candidate.limit, detail, change)


def stability(candidate: Candidate, parameters: Parameters) -> Layer:
    if candidate.volatility is None:
        return Layer("stable before", True, "Too few readings lie before it to tell whether the signal was stable.")
    stable = candidate.volatility <= VOLATILE_FACTOR
    detail = (
        f"The {parameters.stability_window} readings before it spread {candidate.volatility:.1f} times "
        "as far as the baseline."
    )
    return Layer("stable before", stable, detail, 0.0 if stable else VOLATILE)


def recurrence(candidate: Candidate, parameters: Parameters) -> Layer:
    alike, nothing = candidate.alike_unfounded + candidate.alike_founded, candidate.alike_unfounded
    if not alike:
        return Layer("like events before", True, "Nobody has judged a like event of this sensor yet.")
    detail = f"People found no fault of the machine behind {nothing} of {alike} like events of this sensor."
    pattern = nothing >= ENOUGH_ALIKE and nothing >= parameters.recurrence_share * candidate.judged
    if pattern and nothing > candidate.alike_founded:
        return Layer(
            "like events before", False, detail, RECURRING * (1 - 2 * _precision(candidate.alike_founded, alike))
        )
    return Layer("like events before", True, detail, CONFIRMED_BEFORE if candidate.alike_founded > nothing else 0.0)


def reputation(candidate: Candidate, _: Parameters) -> Layer:
    """The precision of the detector for such sensors."""
    if candidate.verdicts < ENOUGH_VERDICTS:
        return Layer("reputation", True, f"{candidate.verdicts} verdicts say too little of the detector.")
    precision = _precision(candidate.founded, candidate.verdicts)
    detail = f"People found a fault behind {candidate.founded} of {candidate.verdicts} events of such sensors here."
    return Layer("reputation", precision >= 0.5, detail, REPUTATION * (2 * precision - 1))


def lasting(candidate: Candidate, _: Parameters) -> Layer:
    """A passing excursion of a score is what its limit lets through now and then; one of the signal is not."""
    if candidate.confirmed is None or candidate.unusual is None:
        return Layer("lasting", True, "It was not noted how many of its readings were confirmed.")
    if candidate.confirmed >= LASTING:
        return Layer("lasting", True, f"{LASTING} or more of its readings were confirmed by those before them.")
    few = f"{candidate.confirmed} of its readings were confirmed by those before them"
    if candidate.is_strong:
        return Layer("lasting", True, f"{few}, but it is strong.")
    detail = f"{few}; that at the peak lies {candidate.unusual:.1f} spreads from what is usual."
    passed = candidate.unusual >= LIMIT
    return Layer("lasting", passed, detail, 0.0 if passed else FLEETING)


def ordinary_day(candidate: Candidate, _: Parameters) -> Layer:
    """A pattern that comes with the hour or the day of the week is no fault, unless people found one behind it."""
    name = "unlike earlier days"
    if candidate.closer_days is None:
        return Layer(name, True, "Too few earlier days are known to compare it with.")
    detail = f"{candidate.closer_days:.0%} of ordinary days resemble another one more than this day does."
    if candidate.closer_days >= ORDINARY_DAYS:
        return Layer(name, True, detail)
    if candidate.alike_founded:
        return Layer(name, True, f"{detail} But people found a fault behind a like event.")
    return Layer(name, False, detail, ORDINARY)


def operating_state(candidate: Candidate, _: Parameters) -> Layer:
    if not candidate.change:
        return Layer("steady state", True, "The machine neither started nor stopped at the time, as far as is known.")
    detail = f"The machine {candidate.change} at the time, as {candidate.shown_by} shows."
    return Layer("steady state", False, detail, TRANSIENT)


def common_cause(candidate: Candidate, _: Parameters) -> Layer:
    """What neighbouring machines show as well has a cause outside of this one: the weather, the supply, the load."""
    name = "this machine alone"
    if not candidate.together + candidate.apart:
        return Layer(name, True, "No neighbouring machine has sensors of this kind to compare it with.")
    every = candidate.together + candidate.apart
    detail = f"{candidate.together} of {every} such sensors of neighbouring machines moved the same way at the time."
    common = candidate.together >= ENOUGH_NEIGHBOURS and candidate.together > candidate.apart
    return Layer(name, not common, detail, COMMON if common else 0.0)


def _precision(founded: int, verdicts: int) -> float:
    """The share of events with a fault behind them, with one right and one wrong verdict assumed beforehand."""
    return (founded + 1) / (verdicts + 2)


LAYERS: tuple[Callable[[Candidate, Parameters], Layer], ...] = (
    enough_history,
    maintenance,
    instrument,
    persistence,
    strength,
    lasting,
    stability,
    ordinary_day,
    operating_state,
    common_cause,
    recurrence,
    reputation,
)


def parameters_of(policy: ValidationPolicy | None) -> Parameters:
    if policy is None:
        return PRESETS[Preset.STANDARD]
    if policy.preset != Preset.OWN:
        return PRESETS[Preset(policy.preset)]
    return Parameters(**{name: getattr(policy, name) for name in asdict(PRESETS[Preset.STANDARD])})

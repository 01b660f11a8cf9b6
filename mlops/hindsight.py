"""How validation's decisions compare with what people found."""

from dataclasses import dataclass, field
from datetime import datetime

from django.contrib.auth.models import User
from django.db.models import Exists, F, OuterRef, Value

from maintenance.models import Outcome, Verdict
from mlops.models import Anomaly

FAULT = Outcome.FAULT_FOUND
# The newest so many events say enough, of those with an alert and of those without.
MOST = 5_000
# A verdict holds until the work is done: an event that is the work itself was no fault that anybody missed, nor one
# whose values were wrong.
MAY_BE_MISSED = [
    Anomaly.Circumstances.NORMAL,
    Anomaly.Circumstances.FAULTY,
    Anomaly.Circumstances.NEW,
]


@dataclass
class Tally:
    """Of the events that a layer let pass, or that were decided so, behind how many was a fault; and of the others."""

    name: str
    passed_fault: int = 0
    passed_nothing: int = 0
    failed_fault: int = 0
    failed_nothing: int = 0

    @property
    def precision(self) -> float | None:
        """The share of faults in what passed; None when nothing did."""
        passed = self.passed_fault + self.passed_nothing
        return self.passed_fault / passed if passed else None

    @property
    def recall(self) -> float | None:
        """The share of all faults that passed; None when there was none."""
        faults = self.passed_fault + self.failed_fault
        return self.passed_fault / faults if faults else None

    def add(self, *, passed: bool, fault: bool) -> None:
        name = f"{'passed' if passed else 'failed'}_{'fault' if fault else 'nothing'}"
        setattr(self, name, getattr(self, name) + 1)


@dataclass
class Hindsight:
    """`judged` events; `decision` compares what raised an ordinary alert with everything else, `layers` each layer."""

    judged: int = 0
    decision: Tally = field(default_factory=lambda: Tally("Decision: credible"))
    layers: dict[str, Tally] = field(default_factory=dict)


def hindsight(viewer: User, since: datetime) -> Hindsight:
    """What became of the live events since then on the sites that the viewer sees.

    An event is judged by the verdicts on its alert. One that raised none counts as a missed fault when a verdict says
    that there was a fault on its asset at the time, unless it was the work on that fault; about other events without an
    alert nobody has said anything.
    """
    live = Anomaly.objects.visible_to(viewer).filter(historical=False, start__gte=since).order_by("-start")
    fault = Exists(Verdict.objects.filter(alert=OuterRef("alert"), outcome=FAULT))
    judged = live.filter(alert__in=Verdict.objects.values("alert")).annotate(fault=fault)
    # From the verdicts: people give few of them, and events without an alert are many.
    event = "asset__sensors__anomalies"
    at_the_time = {
        f"{event}__alert": None,
        f"{event}__circumstances__in": MAY_BE_MISSED,
        f"{event}__start__lte": F("window_end"),
        f"{event}__end__gte": F("window_start"),
    }
    faults = Verdict.objects.filter(outcome=FAULT, window_end__gte=since, **at_the_time)
    missed = live.filter(alert=None, pk__in=faults.values(event)).annotate(fault=Value(True))
    found = Hindsight()
    for rows in (judged, missed):
        for decision, layers, was_fault in rows.values_list("decision", "evidence__layers", "fault")[:MOST]:
            found.judged += 1
            found.decision.add(passed=decision == Anomaly.Decision.CREDIBLE, fault=was_fault)
            for layer in layers or []:
                tally = found.layers.setdefault(layer["name"], Tally(str(layer["name"]).capitalize()))
                tally.add(passed=bool(layer["passed"]), fault=was_fault)
    return found

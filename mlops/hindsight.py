"""How validation's decisions compare with what people found."""

from dataclasses import dataclass, field
from datetime import datetime

from django.contrib.auth.models import User
from django.db.models import Count, Exists, OuterRef, Q

from maintenance.models import Verdict
from mlops.models import Anomaly

FAULT = Verdict.Outcome.FAULT_FOUND
# The newest so many events say enough.
MOST = 5_000


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
    that there was a fault on its asset at the time; about other events without an alert nobody has said anything.
    """
    missed = Verdict.objects.filter(
        alert__asset=OuterRef("sensor__asset"),
        outcome=FAULT,
        window_start__lte=OuterRef("end"),
        window_end__gte=OuterRef("start"),
    )
    rows = (
        Anomaly.objects.visible_to(viewer)
        .filter(historical=False, start__gte=since)
        .annotate(
            verdicts=Count("alert__verdicts"),
            faults=Count("alert__verdicts", filter=Q(alert__verdicts__outcome=FAULT)),
            missed=Exists(missed),
        )
        .filter(Q(verdicts__gt=0) | Q(alert=None, missed=True))
        .order_by("-start")
        .values_list("decision", "evidence__layers", "faults", "missed", "alert")
    )
    found = Hindsight()
    for decision, layers, faults, missed_one, alert in rows[:MOST]:
        fault = bool(faults) or (alert is None and missed_one)
        found.judged += 1
        found.decision.add(passed=decision == Anomaly.Decision.CREDIBLE, fault=fault)
        for layer in layers or []:
            tally = found.layers.setdefault(layer["name"], Tally(str(layer["name"]).capitalize()))
            tally.add(passed=bool(layer["passed"]), fault=fault)
    return found

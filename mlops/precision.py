"""How often a detector is right on a class of assets: the share of its judged alerts behind which people found a fault,
and how sure that share is.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from typing import Any

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from alerts.models import Alert
from maintenance.models import Outcome, Verdict
from maintenance.querysets import VerdictQuerySet
from mlops.cards import in_words
from mlops.models import Anomaly, ModelVersion

# Planned work says nothing of the alert; a sensor problem says that the machine was well.
JUDGED = (Outcome.FAULT_FOUND, Outcome.NOTHING_FOUND, Outcome.SENSOR_PROBLEM)
# Machines and detectors change: older verdicts are of others.
WITHIN = timedelta(days=365)
# 95 % of a normal distribution lie within so many of its standard deviations.
Z = 1.96
# A detector is proven on a class when so many of its alerts were judged and at least this share of them is right, with
# the interval's lower end taken for the share. Chosen by us: 20 right ones of 20 are enough, 19 of 20 are not.
FEWEST, PROVEN_FROM = 20, 0.8

BUILT_IN = "robust"
Key = tuple[str, int | None]


@dataclass(frozen=True)
class Precision:
    """`right` of `judged` alerts of a detector on a class of assets (None: on assets of no class) had a fault behind
    them. The true share lies between `low` and `high` with 95 % confidence.
    """

    detector: str
    asset_class: int | None
    class_name: str
    right: int
    judged: int

    @property
    def share(self) -> float:
        return self.right / self.judged

    @property
    def low(self) -> float:
        return wilson(self.right, self.judged)[0]

    @property
    def high(self) -> float:
        return wilson(self.right, self.judged)[1]

    @property
    def is_proven(self) -> bool:
        return self.judged >= FEWEST and self.low >= PROVEN_FROM

    @property
    def in_words(self) -> str:
        return in_words(self.detector, BUILT_IN)


def wilson(right: int, judged: int, z: float = Z) -> tuple[float, float]:
    """The score interval of a share (E. B. Wilson, 1927, "Probable Inference, the Law of Succession, and Statistical
    Inference", JASA 22): unlike the usual one it is right for few trials and for shares near 0 and 1.

    >>> [round(end, 3) for end in wilson(9, 10)], wilson(0, 0)
    ([0.596, 0.982], (0.0, 1.0))
    """
    if not judged:
        return 0.0, 1.0
    share, spread = right / judged, z * z / judged
    middle = share + spread / 2
    half = z * sqrt(share * (1 - share) / judged + spread / (4 * judged))
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


def by_detector(verdicts: VerdictQuerySet, now: datetime) -> list[Precision]:
    """Of every detector that was judged by one of these verdicts in the last year, on each class of assets."""
    rows = list(_judged(verdicts, now))
    detectors = _detectors_of_models({model for _, model, *_ in rows if model})
    counted: Counter[tuple[Key, str]] = Counter()
    right: Counter[Key] = Counter()
    for kind, model, asset_class, class_name, outcome in rows:
        key = (detectors[model] if model else BUILT_IN if kind == Alert.Kind.ANOMALY else kind, asset_class)
        counted[key, class_name or ""] += 1
        right[key] += outcome == Outcome.FAULT_FOUND
    found = [Precision(*key, name, right[key], count) for (key, name), count in counted.items()]
    return sorted(found, key=lambda each: (each.detector, each.class_name))


def of_version(version: ModelVersion, verdicts: VerdictQuerySet, now: datetime) -> list[Precision]:
    """The same of what this version found alone."""
    its_own = Anomaly.objects.filter(evidence__model=str(version), alert__isnull=False)
    return by_detector(verdicts.filter(alert__in=its_own.values("alert")), now)


def is_proven(detector: str, asset_class: int) -> bool:
    """Whether a detector has been right often enough on a class of assets that it may ask for work by itself."""
    verdicts = Verdict.objects.filter(asset__asset_class=asset_class)
    return any(each.is_proven for each in by_detector(verdicts, timezone.now()) if each.detector == detector)


def detector_of(anomaly: Anomaly) -> str:
    """The name of the detector that found an anomaly."""
    model = anomaly.evidence.get("model")
    return _detectors_of_models({model})[model] if model else BUILT_IN


def _judged(verdicts: VerdictQuerySet, now: datetime) -> "QuerySet[Any, Any]":
    """Each alert once, by its newest verdict: the kind of the alert, the model that found it, the asset's class, and
    what was behind it.
    """
    found_by = Anomaly.objects.filter(alert=OuterRef("alert")).order_by("pk").values("evidence__model")
    judged = verdicts.filter(alert__historical=False, outcome__in=JUDGED, given_at__gt=now - WITHIN, given_at__lte=now)
    newest: QuerySet[Any] = (
        judged.order_by("alert_id", "-given_at", "-pk").distinct("alert_id").annotate(model=Subquery(found_by[:1]))
    )
    columns = ("alert__kind", "model", "asset__asset_class", "asset__asset_class__name", "outcome")
    return newest.values_list(*columns)


def _detectors_of_models(models: Iterable[str]) -> dict[str, str]:
    """The detector in each of these models ("name v3"); the model's name where its card does not say."""
    known = {model: model.rpartition(" v")[0] for model in models}
    wanted = Q(pk__in=[])
    for model, name in known.items():
        number = model.rpartition(" v")[2]
        if number.isdecimal():
            wanted |= Q(name=name, version=int(number))
    rows = ModelVersion.objects.filter(wanted).values_list("name", "version", "card__parameters__detector")
    return known | {f"{name} v{version}": detector for name, version, detector in rows if detector}

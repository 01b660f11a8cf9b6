"""Anomalies that turn out to be none: what they rested on was corrected, was a spike, or the fault of the sensor."""

from collections.abc import Collection
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q

from alerts import lifecycle
from alerts.models import Alert
from mlops.models import Anomaly
from mlops.querysets import AnomalyQuerySet
from sensors.arrays import any_of
from sensors.faults import DISTRUSTED
from sensors.models import Reading, Sensor

_SPEAK_FOR_AN_ALERT = [Anomaly.Decision.CREDIBLE, Anomaly.Decision.FURTHER, Anomaly.Decision.ERROR]


def withdraw(anomaly: Anomaly, layer: str, detail: str) -> None:
    """Set an anomaly aside because `layer` of validation failed after all; `detail` says why.

    Its alert is resolved unless another anomaly speaks for it.
    """
    layers = [known for known in anomaly.evidence.get("layers", []) if known.get("name") != layer]
    anomaly.decision, anomaly.confidence = Anomaly.Decision.FALSE_POSITIVE, 0.0
    anomaly.circumstances = Anomaly.Circumstances.WITHDRAWN
    anomaly.evidence |= {
        "decision": anomaly.decision,
        "confidence": 0.0,
        "layers": [*layers, {"name": layer, "passed": False, "detail": detail}],
    }
    anomaly.save(update_fields=["decision", "confidence", "circumstances", "evidence"])
    resolve_unfounded(anomaly.alert, detail)


def resolve_unfounded(alert: Alert | None, reason: str) -> None:
    """Resolve an alert that no anomaly speaks for any more."""
    if alert and not alert.anomalies.filter(decision__in=_SPEAK_FOR_AN_ALERT).exists():
        lifecycle.resolve(alert, reason=reason)


def still_founded() -> Exists:
    """A condition for alerts: not all that spoke for them was withdrawn, so their end says something of the machine."""
    return Exists(Anomaly.objects.filter(alert=OuterRef("pk")).exclude(circumstances=Anomaly.Circumstances.WITHDRAWN))


def doubted(sensors: Collection[int], since: datetime, until: datetime) -> AnomalyQuerySet:
    """What was found in these sensors' readings from `since` to `until` although the reading at its peak is masked by
    now, and whatever an unresolved alert of theirs rests on.

    A lone spike is stored and scored before the reading after it shows what it was.
    """
    masked = Reading.objects.filter(
        sensor=OuterRef("sensor"), timestamp=OuterRef("peak_at"), quality__lt=settings.QUALITY_THRESHOLD
    )
    # Its past anomalies are many; unresolved alerts a sensor has one of at most.
    alerted = Anomaly.objects.filter(alert__sensor__in=any_of(sensors), alert__resolved_at=None, historical=False)
    lately = Anomaly.objects.filter(Q(alert=None) | Q(historical=True), sensor__in=any_of(sensors))
    lately = lately.filter(end__gte=since, start__lte=until)
    found = Anomaly.objects.filter(Exists(masked), asset=None, pk__in=alerted.values("pk").union(lately.values("pk")))
    return found.exclude(circumstances=Anomaly.Circumstances.WITHDRAWN)


def set_faulty_aside() -> None:
    """Withdraw what was found in the readings of a sensor that has since proved to be faulty.

    One that is stuck at an unusual value looks like a machine in trouble until it has repeated itself often enough.
    """
    # Also what validation does not believe any more: its alert is open as long as nothing withdraws it.
    suspected = Anomaly.objects.exclude(circumstances=Anomaly.Circumstances.WITHDRAWN).filter(
        historical=False,
        alert__state__in=lifecycle.UNRESOLVED,
        sensor__faults__ended_at__isnull=True,
        sensor__faults__kind__in=DISTRUSTED,
        # What began before the fault did is the machine's.
        sensor__faults__began_at__lte=F("start"),
    )
    with transaction.atomic():
        # First of all the sensors, in one order, as scoring does: it writes anomalies and alerts of a sensor it has.
        rows = Sensor.objects.select_for_update(of=("self",), no_key=True).order_by("pk")
        locked = [sensor.pk for sensor in rows.filter(pk__in=suspected.values("sensor"))]
        for anomaly in suspected.filter(sensor__in=locked).select_related("alert"):
            withdraw(anomaly, "sensor in order", "The sensor itself was faulty at the time.")

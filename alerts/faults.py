"""From what is wrong with the instruments to alerts: each open fault has one, unless it is part of a larger one."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import BigIntegerField, CharField, Exists, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Cast, Concat, Substr
from django.utils import timezone

from alerts import lifecycle
from alerts.models import Alert, Severity, State
from sensors.alone import alone
from sensors.models import Asset, Sensor, SensorFault

Kind = SensorFault.Kind
# Sensors of one gateway fall silent within seconds of each other. After this long it is known whether one is alone, and
# a disturbance that was over by then needs nobody.
SETTLED_AFTER = timedelta(seconds=15)
# A gateway with so many sensors takes a part of the plant out of sight.
MANY_SENSORS = 10
NAMES_SHOWN = 10
KEY = "fault:"
TITLES = {
    Kind.SILENT: "is silent",
    Kind.STUCK: "is stuck",
    Kind.OUT_OF_RANGE: "reads out of range",
    Kind.ERRATIC: "jumps erratically",
    Kind.CLOCK: "has a wrong clock",
}


def pull_faults(now: datetime | None = None) -> None:
    """Raise alerts of faults that have none, resolve those whose fault has ended or become part of another one's."""
    now = now or timezone.now()
    with transaction.atomic():
        if not alone("alert of sensor faults"):
            return
        for fault in _without_alert(now):
            _raise(fault)
        _settle()


def _without_alert(now: datetime) -> "QuerySet[SensorFault, SensorFault]":
    known = Alert.objects.filter(dedup_key=OuterRef("key")).filter(
        # What a person resolved is not raised again; what was resolved as part of a fault that it outlasts, is.
        ~Q(state=State.RESOLVED) | Q(transitions__to_state=State.RESOLVED, transitions__by__isnull=False)
    )
    rows: QuerySet[SensorFault, SensorFault] = (
        SensorFault.objects.open()
        .filter(part_of=None, noticed_at__lte=now - SETTLED_AFTER)
        .annotate(key=Concat(Value(KEY), Cast("pk", CharField())))
        .filter(~Exists(known))
        .select_related("site", "asset", "sender", "sensor__asset")
        .order_by("pk")
    )
    return rows


def _raise(fault: SensorFault) -> None:
    parts = list(Sensor.objects.filter(faults__part_of=fault).select_related("asset").order_by("sensor_id"))
    asset = fault.sensor.asset if fault.sensor else fault.asset
    lifecycle.raise_alert(
        site=fault.site,
        asset=asset,
        sensor=fault.sensor,
        kind=Alert.Kind.SILENT if fault.kind == Kind.SILENT else Alert.Kind.SENSOR_FAULT,
        dedup_key=_key(fault.pk),
        title=_title(fault, len(parts)),
        severity=_severity(fault, asset, len(parts)),
        evidence=_evidence(fault, parts),
        began_at=fault.began_at,
        last_seen_at=fault.noticed_at,
    )


def _title(fault: SensorFault, parts: int) -> str:
    if fault.sensor:
        name = fault.sensor.name or fault.sensor.get_kind_display().capitalize()
        return f"{name} of {fault.sensor.asset} {TITLES[Kind(fault.kind)]}"
    if fault.sender:
        return f"Nothing comes from {fault.sender.name} any more: {parts} sensors are silent"
    return f"{fault.asset}: {parts} sensors are silent"


def _severity(fault: SensorFault, asset: Asset | None, parts: int) -> Severity:
    if fault.sender_id and parts >= MANY_SENSORS:
        return Severity.HIGH
    unimportant = asset is not None and asset.criticality == Asset.Criticality.LOW
    return Severity.LOW if unimportant else Severity.MEDIUM


def _evidence(fault: SensorFault, parts: list[Sensor]) -> dict[str, Any]:
    return {
        "fault": fault.kind,
        "start": fault.began_at.isoformat(),
        "end": fault.noticed_at.isoformat(),
        "detail": fault.detail,
        "sensor_count": len(parts),
        "sensors": [f"{sensor} of {sensor.asset}" for sensor in parts[:NAMES_SHOWN]],
    }


def _settle() -> None:
    alerts = Alert.objects.unresolved().filter(dedup_key__startswith=KEY)
    faults = alerts.values(fault=Cast(Substr("dedup_key", len(KEY) + 1), BigIntegerField()))
    over = SensorFault.objects.filter(Q(ended_at__isnull=False) | Q(part_of__isnull=False), pk__in=faults)
    for fault in over.select_related("sensor"):
        lifecycle.resolve(alerts.get(dedup_key=_key(fault.pk)), reason=_reason(fault))


def _reason(fault: SensorFault) -> str:
    if fault.part_of_id:
        whole = Alert.objects.unresolved().filter(dedup_key=_key(fault.part_of_id)).first()
        return f"Part of alert {whole.pk}." if whole else "Part of a larger fault."
    if fault.sensor and fault.sensor.status != Sensor.Status.ACTIVE:
        return "The sensor is no longer in use."
    return "Readings come in again." if fault.kind == Kind.SILENT else "Its last readings are clean again."


def _key(fault: int) -> str:
    return f"{KEY}{fault}"

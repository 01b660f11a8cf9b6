"""What is stored about the health of assets, for any number of them in the same few queries."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery

from alerts.models import Alert, Severity
from maintenance.models import Outcome, Verdict, WorkOrder
from mlops.health import ANOMALIES_WITHIN, FAILURES_WITHIN, AlertFacts, Facts, Health, SensorFacts, assess
from mlops.models import Anomaly, Baseline, Deployment, Purpose
from sensors.models import Limits, Reading, Sensor, SensorFault

# Of the sensors: they count as such, and not once more as alerts.
OF_INSTRUMENTS = (Alert.Kind.SENSOR_FAULT, Alert.Kind.SILENT, Alert.Kind.SYSTEM)
OF_MODELS = (Alert.Kind.DRIFT, Alert.Kind.MODEL)
WATCHING = (Purpose.SENSOR_ANOMALY, Purpose.ASSET_ANOMALY)


def of_assets(assets: Collection[int], now: datetime) -> dict[int, Health]:
    """The health of each of these assets (primary keys), by its own sensors, alerts and work."""
    facts = {pk: Facts() for pk in assets}
    with_limit_alerts = _add_alerts(facts)
    _add_sensors(facts, with_limit_alerts)
    _add_work(facts, now)
    _add_anomalies(facts, now)
    return {pk: assess(known, now) for pk, known in facts.items()}


def _add_alerts(facts: dict[int, Facts]) -> set[int]:
    """Returns the sensors that have an unresolved alert of their limits."""
    rows = Alert.objects.unresolved().filter(asset__in=facts, historical=False).exclude(kind__in=OF_INSTRUMENTS)
    limited = set()
    columns = ("asset", "sensor", "kind", "severity", "title", "began_at")
    for asset, sensor, kind, severity, title, began_at in rows.order_by("-severity", "pk").values_list(*columns):
        if kind in OF_MODELS:
            facts[asset].doubted_models += 1
            continue
        facts[asset].alerts.append(AlertFacts(title, Severity(severity), began_at))
        if kind == Alert.Kind.LIMIT and sensor is not None:
            limited.add(sensor)
    return limited


def _add_sensors(facts: dict[int, Facts], limited: set[int]) -> None:
    served = _served(facts)
    for sensor in _sensors(facts):
        profile = getattr(sensor, "profile", None)
        paces = (sensor.cadence_seconds, profile and profile.cadence_seconds, profile and profile.arrival_seconds)
        facts[sensor.asset_id].sensors.append(
            SensorFacts(
                name=str(sensor),
                unit=sensor.unit,
                limits=Limits(*sensor.limits),
                machine_class=sensor.machine_class,
                latest_at=profile.last_at if profile else None,
                latest=sensor.latest,
                interval_seconds=max((pace for pace in paces if pace), default=0.0),
                judged=sensor.has_baseline or _is_served(sensor, served),
                faulty=sensor.is_faulty,
                incomplete=bool(profile and profile.is_incomplete),
                has_limit_alert=sensor.pk in limited,
            )
        )


def _sensors(facts: dict[int, Facts]) -> "QuerySet[Any]":
    newest = Reading.objects.filter(sensor=OuterRef("pk"), timestamp=OuterRef("profile__last_at"))
    rows = Sensor.objects.active().filter(asset__in=facts).select_related("profile").order_by("pk")
    known: QuerySet[Any] = rows.annotate(
        latest=Subquery(newest.values("value")[:1]),
        has_baseline=Exists(Baseline.objects.filter(sensor=OuterRef("pk"), spread__isnull=False)),
        is_faulty=Exists(SensorFault.objects.open().filter(sensor=OuterRef("pk"))),
    )
    return known


def _served(facts: dict[int, Facts]) -> set[tuple[str, Any, Any]]:
    """What has a trained model in service: sensors, assets, and kinds with their site."""
    rows = Deployment.objects.in_service().filter(
        Q(sensor__asset__in=facts) | Q(asset__in=facts) | ~Q(kind=""), purpose__in=WATCHING
    )
    found: set[tuple[str, Any, Any]] = set()
    for sensor, asset, kind, site in rows.values_list("sensor", "asset", "kind", "site"):
        found.add(("sensor", sensor, None) if sensor else ("asset", asset, None) if asset else ("kind", kind, site))
    return found


def _is_served(sensor: Sensor, served: set[tuple[str, Any, Any]]) -> bool:
    scopes = {
        ("sensor", sensor.pk, None),
        ("asset", sensor.asset_id, None),
        ("kind", sensor.kind, sensor.site_id),
        ("kind", sensor.kind, None),
    }
    return not scopes.isdisjoint(served)


def _add_work(facts: dict[int, Facts], now: datetime) -> None:
    late = WorkOrder.objects.running().filter(asset__in=facts, due_at__lt=now)
    for asset, due in late.exclude(state=WorkOrder.State.PROPOSED).order_by("due_at").values_list("asset", "due_at"):
        facts[asset].overdue.append(due)
    found = Verdict.objects.filter(asset__in=facts, outcome=Outcome.FAULT_FOUND)
    lately = found.filter(window_end__gt=now - FAILURES_WITHIN, window_start__lte=now).order_by()
    # The alerts of one order are of one fault.
    for asset, orders, others in (
        lately.values("asset")
        .annotate(orders=Count("work_order", distinct=True), others=Count("pk", filter=Q(work_order=None)))
        .values_list("asset", "orders", "others")
    ):
        facts[asset].failures = orders + others


def _add_anomalies(facts: dict[int, Facts], now: datetime) -> None:
    """Those believed, of which no alert calls any more and nobody has said what they were."""
    believed = Anomaly.objects.filter(
        sensor__asset__in=facts,
        end__gt=now - ANOMALIES_WITHIN,
        decision=Anomaly.Decision.CREDIBLE,
        circumstances=Anomaly.Circumstances.NORMAL,
        historical=False,
    )
    over = believed.filter(Q(alert=None) | Q(alert__resolved_at__isnull=False))
    unjudged = over.exclude(Exists(Verdict.objects.filter(alert=OuterRef("alert")))).order_by()
    for asset, count in unjudged.values_list("sensor__asset").annotate(count=Count("pk")):
        facts[asset].anomalies = count

"""Events written down as anomalies, joined with what is known of them already, and alerted as validation decides."""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from django.db import OperationalError, transaction
from django.db.models import Q

from alerts import lifecycle
from alerts.models import Alert, Severity, State
from mlops import approval, capsule, validation, withdrawal
from mlops.context import candidate_of, candidate_of_asset, parameters_for
from mlops.events import EVENT_GAP, Event, joined
from mlops.measures import N
from mlops.models import Anomaly, ModelVersion
from mlops.querysets import AnomalyQuerySet
from sensors.models import Asset, Sensor

logger = logging.getLogger(__name__)

TOLD = (Anomaly.Decision.CREDIBLE, Anomaly.Decision.FURTHER, Anomaly.Decision.ERROR)
# More severe with a peak so many times as far from normal as the limit, or after so long; less when it is believed with
# no more confidence than this. Judgements, none of them measured.
HOUR = timedelta(hours=1)
FAR, LONG, SURE = 2.0, 2 * HOUR, 0.75


def record(sensor: Sensor, event: Event, historical: bool) -> None:
    """Write an event of a sensor down, joined with what is known of it already, and alert as validation decides."""
    near = _near(Anomaly.objects.filter(sensor=sensor, asset=None), event, historical)
    for row in near:
        row.sensor = sensor  # With its asset and site, which are asked for again and again.
    _join(event, near or [Anomaly(sensor=sensor, historical=historical)], historical)


def record_of_asset(asset: Asset, sensors: Mapping[str, Sensor], event: Event, historical: bool) -> None:
    """The same for an event of a whole asset; `sensors` are its model's channels."""
    near = _near(Anomaly.objects.filter(asset=asset).select_related("sensor__asset__site"), event, historical)
    leading = sensors[event.peak.basis.shares[0][0]]
    _join(event, near or [Anomaly(sensor=leading, asset=asset, historical=historical)], historical)


def weigh_again(anomaly: Anomaly, events: Sequence[Event], reason: str, historical: bool) -> None:
    """The readings of an anomaly have changed, and these events are in them now: keep it as the first of them, record
    the others if it has fallen apart, or set it aside if there are none.
    """
    if not events:
        withdrawal.withdraw(anomaly, "values stand", reason)
        return
    first, *others = sorted(events, key=lambda event: event.start)
    describe(anomaly, first)
    tell(anomaly, historical)
    anomaly.save()
    withdrawal.resolve_unfounded(anomaly.alert, reason)
    for event in others:
        _join(event, [Anomaly(sensor=anomaly.sensor, asset=anomaly.asset, historical=anomaly.historical)], historical)


def _join(event: Event, rows: list[Anomaly], historical: bool) -> None:
    """Make the event and these rows of it, the first of which may be new, one anomaly."""
    anomaly, *others = rows
    describe(anomaly, joined([event, *(capsule.event_of(row) for row in rows if row.pk)]))
    for other in others:
        # The event closed the gap between two recorded ones.
        alert, absorbed = anomaly.alert or other.alert, other.alert
        other.delete()
        if alert and absorbed and absorbed != alert:
            lifecycle.absorb(absorbed, into=alert)
        anomaly.alert = alert
    tell(anomaly, historical)
    anomaly.save()


def _near(rows: AnomalyQuerySet, event: Event, historical: bool) -> list[Anomaly]:
    """Those of the same event, live ones first: close in time, under the same circumstances."""
    near = rows.filter(
        circumstances=event.circumstances,
        end__gte=_datetime(event.start) - EVENT_GAP,
        start__lte=_datetime(event.end) + EVENT_GAP,
        evidence__has_key="capsule",
    )
    if not historical:
        # Live events continue live ones; readings of the past may also belong to what was live then.
        near = near.filter(historical=False)
    # An alert that a person has resolved is over; what goes on after it is new.
    over = Q(historical=False, alert__state=State.RESOLVED, alert__resolved_at__lt=_datetime(event.end))
    # One that went back to normal by itself goes on when it comes back.
    over &= Q(alert__normal_since=None)
    if historical:
        over &= Q(alert__historical=False)
    known = list(near.exclude(over).select_related("alert").order_by("historical", "start"))
    # Nor does what came before a resolution, and is only found now, join it to what came after.
    alerts = [row.alert for row in known if row.alert]
    resolutions = [
        alert.resolved_at for alert in alerts if alert.resolved_at and not alert.historical and not alert.normal_since
    ]
    return [row for row in known if all(row.start <= at for at in resolutions)]


def describe(anomaly: Anomaly, event: Event) -> None:
    """Say of an anomaly what is known of its event, and what validation makes of that."""
    peak = event.peak
    if anomaly.asset:
        # A later peak may be another sensor's.
        leading = Sensor.objects.filter(site=anomaly.asset.site_id, sensor_id=peak.basis.shares[0][0])
        anomaly.sensor = leading.select_related("asset__site").first() or anomaly.sensor
    sensor = anomaly.sensor
    anomaly.circumstances = event.circumstances
    anomaly.start, anomaly.end = _datetime(event.start), _datetime(event.end)
    anomaly.peak_at, anomaly.peak_value, anomaly.peak_score = _datetime(peak.at), peak.value, peak.score
    decision, frozen = _decide(anomaly, event)
    anomaly.decision, anomaly.confidence = decision.decision, decision.confidence
    anomaly.evidence = {
        "sensor_id": sensor.sensor_id,
        "unit": sensor.unit,
        "peak_value": peak.value,
        "peak_score": peak.score,
        "peak_at": anomaly.peak_at.isoformat(),
        "threshold": peak.limit,
        "start": anomaly.start.isoformat(),
        "end": anomaly.end.isoformat(),
        "hits": event.hits,
        "window": N,
        "baseline_readings": peak.basis.readings,
        "baseline_days": round(peak.basis.span_seconds / 86_400, 2),
        "capsule": frozen,
    }
    if peak.basis.model is not None:
        anomaly.evidence["model"] = str(ModelVersion.objects.get(pk=peak.basis.model))
    if peak.basis.shares:
        # What one sensor shows may be quite usual for it.
        anomaly.evidence["shares"] = [list(share) for share in peak.basis.shares]
    else:
        anomaly.evidence |= {"expected": peak.basis.expected, "spread": peak.basis.spread}
    anomaly.evidence |= decision.evidence()


def _decide(anomaly: Anomaly, event: Event) -> tuple[validation.Decision, dict[str, Any]]:
    """What validation decides, and the capsule of that. A failure of it costs the decision, never the anomaly."""
    sensor, asset = anomaly.sensor, anomaly.asset
    try:
        with transaction.atomic():
            parameters = parameters_for(sensor)
            if asset:
                candidate = candidate_of_asset(asset, event, parameters)
            else:
                candidate = candidate_of(sensor, event, parameters)
            decided = validation.validate(candidate, parameters), capsule.freeze(event, candidate, parameters)
    except OperationalError:
        raise  # The database: the batch is tried again.
    except Exception as error:
        logger.exception("an anomaly could not be validated", extra={"sensor": sensor.pk})
        lifecycle.raise_alert(
            dedup_key=_validation_fails(sensor),
            kind=Alert.Kind.SYSTEM,
            title="Anomalies cannot be validated; each of them is shown as one to look at",
            severity=Severity.MEDIUM,
            evidence={"detail": f"{type(error).__name__}; the log has more.", "sensor_id": sensor.sensor_id},
            site=sensor.asset.site,
            began_at=_datetime(event.start),
            last_seen_at=_datetime(event.end),
        )
        return validation.Decision(Anomaly.Decision.ERROR, 0.0, ()), {"event": event.as_json()}
    for trouble in Alert.objects.unresolved().filter(dedup_key=_validation_fails(sensor)):
        lifecycle.resolve(trouble, reason="Anomalies are validated again.")
    return decided


def _validation_fails(sensor: Sensor) -> str:
    return f"validation:site:{sensor.site_id}"


def tell(anomaly: Anomaly, historical: bool) -> None:
    """Raise, record or bring up to date the alert of an anomaly; `historical` when what shows it now is of the past."""
    sensor = anomaly.sensor
    # One that was believed at first stays with the people who have its alert, which says what is thought now.
    if anomaly.decision not in TOLD and anomaly.alert is None:
        return
    severity, anomaly.evidence["severity"] = _severity(anomaly, sensor.asset)
    about = {"title": _title(anomaly), "severity": severity, "evidence": anomaly.evidence}
    if anomaly.alert is not None:
        lifecycle.update(anomaly.alert, start=anomaly.start, end=anomaly.end, **about)
        return
    # The past may join an event that was live without an alert: nobody is told of that now.
    begin = lifecycle.record_historical if historical or anomaly.historical else lifecycle.raise_alert
    anomaly.alert = begin(
        asset=sensor.asset,
        sensor=sensor,
        dedup_key=_dedup_key(anomaly),
        began_at=anomaly.start,
        last_seen_at=anomaly.end,
        **about,
    )
    if not anomaly.alert.historical:
        approval.ask_for_work(anomaly)


def cause_of_asset(asset: int) -> str:
    """What the alerts of an asset as a whole have in common: their `dedup_key`."""
    return f"anomaly:asset:{asset}"


def _dedup_key(anomaly: Anomaly) -> str:
    return cause_of_asset(anomaly.asset_id) if anomaly.asset_id else f"anomaly:sensor:{anomaly.sensor_id}"


def _severity(anomaly: Anomaly, asset: Asset) -> tuple[Severity, list[str]]:
    """How severe it is, and every reason for that: medium when it is believed, a step up or down for each of them."""
    if anomaly.decision != Anomaly.Decision.CREDIBLE:
        return Severity.LOW, ["it is not certain enough to be believed"]
    ratio = abs(anomaly.peak_score) / anomaly.evidence["threshold"]
    lasted, criticality = anomaly.end - anomaly.start, Asset.Criticality(asset.criticality)
    steps = {
        f"its peak is {ratio:.1f} times its limit": ratio >= FAR,
        f"it lasts for more than {LONG // HOUR} hours": lasted >= LONG,
        "the asset is critical": criticality == Asset.Criticality.HIGH,
    }
    doubts = {
        "the asset is not critical": criticality == Asset.Criticality.LOW,
        f"confidence is {anomaly.confidence:.2f} only": anomaly.confidence < SURE,
    }
    reasons = [f"up, as {why}" for why, holds in steps.items() if holds]
    reasons += [f"down, as {why}" for why, holds in doubts.items() if holds]
    level = Severity.MEDIUM + sum(steps.values()) - sum(doubts.values())
    return Severity(min(max(level, Severity.LOW), Severity.CRITICAL)), ["medium, as it is believed", *reasons]


def _title(anomaly: Anomaly) -> str:
    sensor = anomaly.sensor
    name = sensor.name or sensor.get_kind_display().capitalize()
    if anomaly.asset:
        share = 100 * anomaly.evidence["shares"][0][1]
        return f"{anomaly.asset} unlike itself: mostly {name} ({share:.0f} %), {anomaly.peak_value:.4g} {sensor.unit}"
    side = "above" if anomaly.peak_score > 0 else "below"
    expected = anomaly.evidence["expected"]
    return f"{name} of {sensor.asset} {side} normal: {anomaly.peak_value:.4g} {sensor.unit}, usually {expected:.4g}"


def _datetime(us: np.int64 | int) -> datetime:
    return datetime.fromtimestamp(int(us) / 1e6, UTC)

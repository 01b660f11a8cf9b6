"""The life of an alert: raised once per cause, acknowledged, resolved. Every step leaves a `Transition`."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from alerts.models import Alert, Severity, State, Transition
from sensors import live
from sensors.errors import Refused
from sensors.models import Asset, Sensor

# An alert whose cause goes on is rewritten at most this often, unless it becomes more severe.
UPDATE_INTERVAL = timedelta(seconds=5)


def raise_alert(
    *,
    asset: Asset,
    dedup_key: str,
    title: str,
    severity: Severity,
    evidence: dict[str, Any],
    at: datetime,
    sensor: Sensor | None = None,
    kind: str = Alert.Kind.ANOMALY,
) -> Alert:
    """Open an alert, or count one more occurrence of the unresolved one with the same `dedup_key`.

    `at` is when the cause was last seen. Severity only ever rises while an alert is unresolved. Two callers at once get
    the same row: the partial unique index decides.
    """
    now = timezone.now()
    alert: Alert
    with transaction.atomic():
        alert, created = Alert.objects.select_for_update().get_or_create(
            dedup_key=dedup_key,
            state__in=[State.OPEN, State.ACKNOWLEDGED],
            defaults={
                "state": State.OPEN,
                "site_id": asset.site_id,
                "asset": asset,
                "sensor": sensor,
                "kind": kind,
                "severity": severity,
                "title": title,
                "evidence": evidence,
                "opened_at": now,
                "last_seen_at": at,
            },
        )
        if created:
            Transition.objects.create(alert=alert, to_state=State.OPEN, at=now, reason=title)
        else:
            alert.severity = max(alert.severity, severity)
            alert.evidence = evidence
            alert.last_seen_at = max(alert.last_seen_at, at)
            alert.occurrences = F("occurrences") + 1
            alert.save(update_fields=["severity", "evidence", "last_seen_at", "occurrences"])
            alert.refresh_from_db(fields=["occurrences"])
        live.publish("alerts", site_id=alert.site_id, asset_id=asset.pk)
    return alert


def update(
    alert: Alert, *, title: str, severity: Severity, evidence: dict[str, Any], start: datetime, end: datetime
) -> None:
    """The cause of an alert goes on: keep what is now known of it. A resolved live alert stays as it was left."""
    now = timezone.now()
    with transaction.atomic():
        alert = Alert.objects.select_for_update().get(pk=alert.pk)
        if alert.historical:
            alert.opened_at, alert.resolved_at = start, end
        elif alert.state == State.RESOLVED:
            return
        worse = severity > alert.severity
        quiet = now - alert.updated_at < UPDATE_INTERVAL
        if quiet and not worse and not alert.historical:
            return
        alert.title, alert.evidence, alert.last_seen_at, alert.updated_at = title, evidence, end, now
        alert.severity = max(alert.severity, severity)
        alert.save()
        live.publish("alerts", site_id=alert.site_id, asset_id=alert.asset_id)


def record_historical(
    *,
    asset: Asset,
    sensor: Sensor,
    dedup_key: str,
    title: str,
    severity: Severity,
    evidence: dict[str, Any],
    start: datetime,
    end: datetime,
) -> Alert:
    """Record an alert of the past: resolved from the start, never delivered, not counted as open."""
    alert = Alert.objects.create(
        site_id=asset.site_id,
        asset=asset,
        sensor=sensor,
        severity=severity,
        state=State.RESOLVED,
        historical=True,
        dedup_key=dedup_key,
        title=title,
        evidence=evidence,
        opened_at=start,
        last_seen_at=end,
        resolved_at=end,
    )
    Transition.objects.create(alert=alert, to_state=State.RESOLVED, reason="Found in imported history.")
    return alert


def acknowledge(alert: Alert, by: User, reason: str = "") -> Alert:
    """Somebody has taken the alert on. Acknowledging again changes nothing; raises Refused when it is resolved."""
    return _move(alert, State.ACKNOWLEDGED, by, reason)


def resolve(alert: Alert, by: User | None, reason: str = "") -> Alert:
    """The cause is gone. Resolving again changes nothing."""
    return _move(alert, State.RESOLVED, by, reason)


def _move(alert: Alert, to_state: State, by: User | None, reason: str) -> Alert:
    now = timezone.now()
    with transaction.atomic():
        alert = Alert.objects.select_for_update().get(pk=alert.pk)
        if alert.state == to_state:
            return alert
        if alert.state == State.RESOLVED:
            raise Refused("alert_resolved", "This alert is resolved; it can no longer be changed.")
        Transition.objects.create(alert=alert, from_state=alert.state, to_state=to_state, at=now, by=by, reason=reason)
        alert.state = to_state
        if to_state == State.RESOLVED:
            alert.resolved_at = now
        alert.save(update_fields=["state", "resolved_at"])
        live.publish("alerts", site_id=alert.site_id, asset_id=alert.asset_id)
    return alert

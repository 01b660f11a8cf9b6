"""The life of an alert: raised once per cause, acknowledged, resolved. Every step leaves a `Transition`."""

from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, ProtectedError
from django.utils import timezone

from alerts.models import Alert, Severity, State, Transition
from sensors import live
from sensors.errors import Refused
from sensors.models import Asset, Sensor, Site

MAX_TITLE = 200


def raise_alert(
    *,
    dedup_key: str,
    title: str,
    severity: Severity,
    evidence: dict[str, Any],
    began_at: datetime,
    last_seen_at: datetime,
    asset: Asset | None = None,
    site: Site | None = None,
    sensor: Sensor | None = None,
    kind: str = Alert.Kind.ANOMALY,
) -> Alert:
    """Open an alert, or count one more occurrence of the unresolved one with the same `dedup_key`.

    Its cause was seen from `began_at` to `last_seen_at`. Two callers at once get the same row: the partial unique index
    decides. `site` is needed only where there is no `asset`.
    """
    alert: Alert
    site_id = asset.site_id if asset else site.pk if site else None
    assert site_id is not None, "An alert belongs to a site."
    with transaction.atomic():
        alert, created = Alert.objects.get_or_create(
            dedup_key=dedup_key,
            state__in=[State.OPEN, State.ACKNOWLEDGED],
            defaults={
                "state": State.OPEN,
                "site_id": site_id,
                "asset": asset,
                "sensor": sensor,
                "kind": kind,
                "severity": severity,
                "title": title[:MAX_TITLE],
                "evidence": evidence,
                "began_at": began_at,
                "last_seen_at": last_seen_at,
            },
        )
        if created:
            Transition.objects.create(alert=alert, to_state=State.OPEN, at=alert.opened_at, reason=alert.title)
            live.publish("alerts", site_id=alert.site_id, asset_id=alert.asset_id)
        else:
            Alert.objects.filter(pk=alert.pk).update(occurrences=F("occurrences") + 1)
            update(alert, title=title, severity=severity, evidence=evidence, start=began_at, end=last_seen_at)
            alert.refresh_from_db()
    return alert


def update(
    alert: Alert, *, title: str, severity: Severity, evidence: dict[str, Any], start: datetime, end: datetime
) -> None:
    """The cause of an alert goes on: keep what is now known of it. Severity only ever rises.

    A resolved live alert stays as it was left; one of the past is resolved when its cause ended.
    """
    with transaction.atomic():
        alert = Alert.objects.select_for_update().get(pk=alert.pk)
        if alert.is_resolved and not alert.historical:
            return
        alert.began_at, alert.last_seen_at = min(alert.began_at, start), max(alert.last_seen_at, end)
        alert.title, alert.evidence, alert.severity = title[:MAX_TITLE], evidence, max(alert.severity, severity)
        if alert.historical:
            alert.opened_at, alert.resolved_at = alert.began_at, alert.last_seen_at
        alert.save()
        live.publish("alerts", site_id=alert.site_id, asset_id=alert.asset_id)


def absorb(alert: Alert, into: Alert) -> None:
    """Two alerts turned out to be of one event. A live one is resolved; one of the past that nobody worked on goes."""
    if not alert.historical:
        resolve(alert, None, reason=f"The same event as alert {into.pk}.")
        return
    try:
        with transaction.atomic():
            alert.delete()
    except ProtectedError:
        pass  # A work order or verdict hangs on it.


def record_historical(
    *,
    asset: Asset,
    sensor: Sensor,
    dedup_key: str,
    title: str,
    severity: Severity,
    evidence: dict[str, Any],
    began_at: datetime,
    last_seen_at: datetime,
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
        title=title[:MAX_TITLE],
        evidence=evidence,
        began_at=began_at,
        opened_at=began_at,
        last_seen_at=last_seen_at,
        resolved_at=last_seen_at,
    )
    Transition.objects.create(alert=alert, to_state=State.RESOLVED, reason="Found in past readings.")
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

"""The life of an alert: raised once per cause, acknowledged, snoozed, assigned, resolved, and reopened when its cause
comes back soon. Every step leaves a `Transition`: who, when, why, and from where.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError, QuerySet
from django.utils import timezone

from alerts import nudge
from alerts.models import Alert, Severity, State, Transition
from sensors import live
from sensors.access import people_who_may
from sensors.errors import Refused
from sensors.models import Asset, Sensor, Site

MAX_TITLE, MAX_REASON = 200, 500
# A cause that was gone and comes back within this time goes on with its alert.
REOPEN_WITHIN = timedelta(hours=6)
LONGEST_SNOOZE = timedelta(days=7)
NORMAL_AGAIN = "Its values are as usual again, and have been for a while."
Step, Surface = Transition.Step, Transition.Surface


@dataclass(frozen=True)
class Actor:
    """Who takes a step, and from where."""

    user: User | None = None
    surface: Transition.Surface = Transition.Surface.PLATFORM


PLATFORM = Actor()
UNRESOLVED = [State.OPEN, State.ACKNOWLEDGED, State.SNOOZED]


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

    One that went back to normal lately is reopened and counts on. Its cause was seen from `began_at` to `last_seen_at`.
    Two callers at once get the same row: the partial unique index decides. `site` is needed only where there is no
    `asset`.
    """
    site_id = asset.site_id if asset else site.pk if site else None
    assert site_id is not None, "An alert belongs to a site."
    with transaction.atomic():
        alert, created = _newest(dedup_key), False
        if alert is None or not _goes_on(alert):
            alert, created = _opened(
                site_id=site_id,
                asset=asset,
                sensor=sensor,
                kind=kind,
                severity=severity,
                dedup_key=dedup_key,
                title=title[:MAX_TITLE],
                evidence=evidence,
                began_at=began_at,
                last_seen_at=last_seen_at,
                notify_at=timezone.now(),
            )
        if created:
            _write(alert, Step.RAISED, "", PLATFORM, alert.title, alert.opened_at)
        else:
            alert = _go_on(alert, title, severity, evidence, began_at, last_seen_at, again=True)
    return alert


def _newest(dedup_key: str) -> Alert | None:
    # Locked: what somebody resolves at this moment does not go on, and its cause opens another one.
    rows = Alert.objects.select_for_update().filter(dedup_key=dedup_key, historical=False)
    return rows.order_by("-opened_at", "-pk").first()


def _goes_on(newest: Alert) -> bool:
    """Whether the cause of this alert, seen again, is its business: it is unresolved, or went back to normal lately."""
    if not newest.is_resolved:
        return True
    if newest.normal_since is None or newest.resolved_at is None:
        return False
    return timezone.now() - newest.resolved_at <= REOPEN_WITHIN


def _opened(*, dedup_key: str, **about: Any) -> tuple[Alert, bool]:
    """A new alert, or the unresolved one that somebody else has opened meanwhile, and whether it is new."""
    try:
        with transaction.atomic():
            return Alert.objects.create(state=State.OPEN, dedup_key=dedup_key, **about), True
    except IntegrityError:
        return Alert.objects.unresolved().get(dedup_key=dedup_key), False


def update(
    alert: Alert, *, title: str, severity: Severity, evidence: dict[str, Any], start: datetime, end: datetime
) -> None:
    """The cause of an alert goes on: keep what is now known of it. Severity only ever rises.

    A live alert that somebody has resolved stays as it was left; one that went back to normal is reopened; one of the
    past is resolved when its cause ended.
    """
    with transaction.atomic():
        _go_on(alert, title, severity, evidence, start, end)


def _go_on(
    alert: Alert,
    title: str,
    severity: Severity,
    evidence: dict[str, Any],
    start: datetime,
    end: datetime,
    again: bool = False,
) -> Alert:
    alert = Alert.objects.select_for_update().get(pk=alert.pk)
    was, rises = alert.state, severity > alert.severity
    if alert.is_resolved and not alert.historical and alert.normal_since is None:
        return alert
    # What is looked at again and found as before does not bring it back.
    comes_back = end > alert.last_seen_at
    alert.occurrences += again
    alert.began_at, alert.last_seen_at = min(alert.began_at, start), max(alert.last_seen_at, end)
    alert.title, alert.evidence, alert.severity = title[:MAX_TITLE], evidence, max(alert.severity, severity)
    if alert.historical:
        alert.opened_at, alert.resolved_at = alert.began_at, alert.last_seen_at
    elif comes_back:
        alert.normal_since = None
    if not alert.historical and ((was == State.RESOLVED and comes_back) or (was == State.SNOOZED and rises)):
        alert.state, alert.resolved_at, alert.snoozed_until = State.OPEN, None, None
    if not alert.is_resolved and (rises or alert.state != was):
        alert.notify_at = timezone.now()
    alert.save()
    if was == State.RESOLVED and alert.state == State.OPEN:
        _write(alert, Step.REOPENED, was, PLATFORM, "Its cause is back.")
    elif rises and not alert.historical:
        _write(alert, Step.MORE_SEVERE, was, PLATFORM, f"Now {alert.get_severity_display()}.")
    live.publish("alerts", site_id=alert.site_id, asset_id=alert.asset_id)
    if alert.notify_at is not None:
        nudge.tell()
    return alert


def absorb(alert: Alert, into: Alert) -> None:
    """Two alerts turned out to be of one event. A live one is resolved; one of the past that nobody worked on goes."""
    if not alert.historical:
        resolve(alert, reason=f"The same event as alert {into.pk}.")
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
    kind: str = Alert.Kind.ANOMALY,
) -> Alert:
    """Record an alert of the past: resolved from the start, never delivered, not counted as open."""
    alert = Alert.objects.create(
        site_id=asset.site_id,
        asset=asset,
        sensor=sensor,
        kind=kind,
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
    Transition.objects.create(
        alert=alert, step=Step.RESOLVED, to_state=State.RESOLVED, reason="Found in past readings."
    )
    return alert


def acknowledge(alert: Alert, actor: Actor = PLATFORM, reason: str = "") -> Alert:
    """Somebody has taken the alert on, which also ends a snooze. Acknowledging again changes nothing.

    Raises Refused when it is resolved.
    """
    with transaction.atomic():
        alert = _locked(alert)
        if alert.state == State.ACKNOWLEDGED:
            return alert
        _require_unresolved(alert)
        return _move(alert, Step.ACKNOWLEDGED, State.ACKNOWLEDGED, actor, reason)


def snooze(alert: Alert, actor: Actor, until: datetime, reason: str = "") -> Alert:
    """Nobody is reminded before `until`, or until it becomes more severe; then it is open again.

    Raises Refused when it is resolved, or `until` is not within the next seven days.
    """
    now = timezone.now()
    if not now < until <= now + LONGEST_SNOOZE:
        raise Refused("snooze_too_long", "Snooze until a time within the next seven days.", 422)
    with transaction.atomic():
        alert = _locked(alert)
        _require_unresolved(alert)
        alert.snoozed_until = until
        return _move(alert, Step.SNOOZED, State.SNOOZED, actor, reason)


def wake(now: datetime) -> int:
    """Open what was snoozed until now; returns how many alerts."""
    woken = 0
    with transaction.atomic():
        snoozed = Alert.objects.filter(state=State.SNOOZED, snoozed_until__lte=now)
        for alert in snoozed.select_for_update(skip_locked=True):
            _move(alert, Step.WOKEN, State.OPEN, PLATFORM, "Its snooze is over.")
            woken += 1
    return woken


def assign(alert: Alert, actor: Actor, to: User | None) -> Alert:
    """Say whose it is; None takes that back. Raises Refused when it is resolved, or the person cannot take it on."""
    if to is not None and not people_for(alert).filter(pk=to.pk).exists():
        raise Refused("cannot_take_it", f"{to} cannot act on alerts of {alert.site}.", 422)
    with transaction.atomic():
        alert = _locked(alert)
        _require_unresolved(alert)
        if alert.assignee == to:
            return alert
        alert.assignee = to
        return _move(alert, Step.ASSIGNED, State(alert.state), actor, f"To {to}." if to else "To nobody.")


def people_for(alert: Alert) -> "QuerySet[User]":
    """Who can be asked to see to an alert: those who may act on alerts and see its site."""
    return people_who_may("acknowledge_alert", alert.site_id)


def comment(alert: Alert, actor: Actor, text: str) -> Alert:
    """Note something for everybody who looks at the alert, resolved or not. Raises Refused when there is no text."""
    if not text.strip():
        raise Refused("empty_comment", "Write something first.", 422)
    with transaction.atomic():
        alert = _locked(alert)
        return _move(alert, Step.COMMENTED, State(alert.state), actor, text.strip())


def resolve(alert: Alert, actor: Actor = PLATFORM, reason: str = "") -> Alert:
    """The alert is settled. Resolving again changes nothing."""
    with transaction.atomic():
        alert = _locked(alert)
        if alert.is_resolved:
            return alert
        # Whoever settles it does not wait for the values; what comes after is new.
        alert.normal_since = None
        return _move(alert, Step.RESOLVED, State.RESOLVED, actor, reason)


def back_to_normal(alert: Alert, since: datetime) -> None:
    """The cause is gone for good, from `since` on: the alert is resolved.

    One that is severe and still open stays, because somebody should have seen it (ISA-18.2: returned to normal,
    unacknowledged).
    """
    with transaction.atomic():
        alert = _locked(alert)
        if alert.is_resolved or since < alert.last_seen_at:
            return
        if alert.severity < Severity.HIGH or alert.state != State.OPEN:
            alert.normal_since = alert.normal_since or since
            _move(alert, Step.RESOLVED, State.RESOLVED, PLATFORM, NORMAL_AGAIN)
        elif alert.normal_since is None:
            alert.normal_since = since
            _move(alert, Step.NORMAL, State.OPEN, PLATFORM, NORMAL_AGAIN)


def _locked(alert: Alert) -> Alert:
    locked: Alert = Alert.objects.select_for_update(of=("self",)).select_related("site", "assignee").get(pk=alert.pk)
    return locked


def _require_unresolved(alert: Alert) -> None:
    if alert.is_resolved:
        raise Refused("alert_resolved", "This alert is resolved; it can no longer be changed.")


def _move(alert: Alert, step: Transition.Step, to_state: State, actor: Actor, reason: str) -> Alert:
    was = alert.state
    alert.state = to_state
    if to_state == State.RESOLVED and was != State.RESOLVED:
        alert.resolved_at = timezone.now()
    if to_state != State.SNOOZED:
        alert.snoozed_until = None
    if to_state != was and not alert.historical:
        alert.notify_at = timezone.now()
    alert.save(update_fields=["state", "resolved_at", "snoozed_until", "normal_since", "assignee", "notify_at"])
    _write(alert, step, was, actor, reason)
    return alert


def _write(
    alert: Alert, step: Transition.Step, from_state: str, actor: Actor, reason: str = "", at: datetime | None = None
) -> None:
    Transition.objects.create(
        alert=alert,
        step=step,
        from_state=from_state,
        to_state=alert.state,
        at=at or timezone.now(),
        by=actor.user,
        surface=actor.surface,
        reason=reason[:MAX_REASON],
    )
    live.publish("alerts", site_id=alert.site_id, asset_id=alert.asset_id)
    if alert.notify_at is not None:
        nudge.tell()

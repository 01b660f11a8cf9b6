"""Writes the messages by which people hear of alerts, by how things stand and not by what happened: an alert that is to
be looked at has `notify_at`, and the look decides who still has to hear of it.

A message that is lost, a look that comes twice or late change nothing: what somebody was told of is in the rows.
"""

import logging
import time
from collections import defaultdict
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, F, Q
from django.utils import timezone

from alerts import nudge
from alerts.models import Alert, Delivery, DeliveryItem, Escalation, Severity, State
from alerts.routing import escalation
from alerts.routing.circumstances import Circumstances
from alerts.routing.ledger import Ledger, Target
from alerts.routing.routes import DIGEST, QUIET, Explanation, explain, explain_settled
from sensors import nudges
from sensors.alone import alone

logger = logging.getLogger(__name__)

Kind = Delivery.Kind
# What cannot be decided is looked at again after this long.
AFTER_FAILURE = timedelta(minutes=1)
BATCH = 500
# A task ends after this long, so that others have their turn; what is left is announced again.
TURN_SECONDS = 2.0


def tell(now: datetime | None = None) -> int:
    """Look at the alerts that wait for it; returns how many were looked at. One process does so at a time."""
    nudges.looking(nudge.TELL)
    deadline = time.monotonic() + TURN_SECONDS
    seen = 0
    while (some := _tell_some(now or timezone.now())) and time.monotonic() < deadline:
        seen += some
    if some:
        nudge.tell()
    return seen + some


@transaction.atomic
def _tell_some(now: datetime) -> int:
    if not alone("tell"):
        return 0
    waiting = Alert.objects.filter(notify_at__lte=now).order_by("-severity", "notify_at", "pk")
    alerts = list(waiting.select_for_update(skip_locked=True)[:BATCH])
    if not alerts:
        return 0
    known = Circumstances.load(alerts, now)
    _withdraw(alerts)
    ledger = Ledger.held({DIGEST, QUIET, *map(known.group_key, alerts)}, now)
    escalation.end((alert.pk for alert in alerts if alert.state != State.OPEN), now)
    settled = [alert for alert in alerts if alert.is_resolved]
    told = _told(settled)
    for alert in settled:
        for line in explain_settled(alert, told[alert.pk], known, ledger, now):
            if line.at is not None:
                ledger.add(alert, line.slot, line.at, line.reason, now)
    heard, again = _tell_of_open(alerts, known, ledger, now)
    if ledger.write(now):
        nudge.deliver()
    _release(settled, known, now)
    _mark(alerts, heard, again)
    return len(alerts)


def _tell_of_open(
    alerts: list[Alert], known: Circumstances, ledger: Ledger, now: datetime
) -> tuple[list[int], dict[int, datetime]]:
    """Which alerts were seen to, and which are to be looked at again, and when."""
    heard, again, escalations = [], {}, []
    for alert in alerts:
        if not _needs_telling(alert):
            continue
        found = _explained(alert, known, ledger, now)
        for line in found.lines:
            if line.at is not None:
                ledger.add(alert, line.slot, line.at, line.reason, now)
        if found.look_again is not None:
            again[alert.pk] = found.look_again
        elif not found.held:
            heard.append(alert.pk)
            escalations += escalation.begin(alert, found.policies, known, now)
    # Those that run already go on.
    Escalation.objects.bulk_create(escalations, ignore_conflicts=True)
    return heard, again


def _explained(alert: Alert, known: Circumstances, ledger: Ledger, now: datetime) -> Explanation:
    """One that cannot be decided does not keep others from being told."""
    try:
        return explain(alert, known, ledger, now)
    except Exception:
        logger.exception("nobody can be told of an alert", extra={"alert": alert.pk})
        return Explanation(held="It cannot be seen who is told.", look_again=now + AFTER_FAILURE)


def _needs_telling(alert: Alert) -> bool:
    """Open and not told of as it stands. Who acknowledged it knows; others hear of it when it gets worse."""
    if alert.historical or alert.state in (State.RESOLVED, State.SNOOZED):
        return False
    if alert.told_severity is None:
        return alert.state == State.OPEN
    return alert.severity > alert.told_severity


def _withdraw(alerts: list[Alert]) -> None:
    """Take back what nobody has tried to send yet and is not true any more; a digest lists all that it held."""
    by_state = defaultdict(list)
    for alert in alerts:
        by_state[alert.state].append(alert.pk)
    gone = [*by_state[State.RESOLVED], *by_state[State.SNOOZED]]
    no_longer = (
        Q(alert__in=gone, delivery__kind__in=[Kind.ALERT, Kind.ESCALATION])
        | Q(alert__in=by_state[State.ACKNOWLEDGED], delivery__kind=Kind.ESCALATION)
        | Q(alert__in=by_state[State.OPEN], delivery__kind=Kind.SETTLED)
    )
    unsent = Q(delivery__state=Delivery.State.WAITING, delivery__attempts=0)
    touched = list(DeliveryItem.objects.filter(no_longer, unsent).values_list("pk", "delivery"))
    if not touched:
        return
    deliveries = Delivery.objects.filter(pk__in={delivery for _, delivery in touched}, state=Delivery.State.WAITING)
    # Whoever sends claims the row first: what is claimed by now stays as it is.
    held = set(deliveries.filter(attempts=0).order_by("pk").select_for_update().values_list("pk", flat=True))
    DeliveryItem.objects.filter(pk__in=[item for item, delivery in touched if delivery in held]).delete()
    empty = Delivery.objects.filter(pk__in=held).annotate(left=Count("items")).filter(left=0).values("pk")
    Delivery.objects.filter(pk__in=list(empty.values_list("pk", flat=True))).update(state=Delivery.State.CANCELLED)


def _told(settled: list[Alert]) -> dict[int, set[Target]]:
    """Who heard of these alerts at once; a digest says by itself what is settled."""
    found: dict[int, set[Target]] = defaultdict(set)
    items = DeliveryItem.objects.filter(alert__in=settled, delivery__kind__in=[Kind.ALERT, Kind.ESCALATION])
    for alert, *target in items.exclude(delivery__state=Delivery.State.CANCELLED).values_list(
        "alert", "delivery__person", "delivery__channel"
    ):
        found[alert].add(tuple(target))
    return found


def _release(settled: list[Alert], known: Circumstances, now: datetime) -> None:
    """Alerts on parts of what is all right again speak for themselves."""
    severe = {alert.asset_id for alert in settled if alert.asset_id and alert.severity >= Severity.HIGH}
    below = [pk for pk in known.parents if severe.intersection(known.above(pk)[1:])] if severe else []
    if below:
        never = Q(state=State.OPEN, told_severity=None)
        worse = Q(state__in=[State.OPEN, State.ACKNOWLEDGED], severity__gt=F("told_severity"))
        untold = Alert.objects.filter(never | worse, asset__in=below, historical=False)
        untold.filter(notify_at=None).update(notify_at=now)


def _mark(alerts: list[Alert], heard: list[int], again: dict[int, datetime]) -> None:
    """Note what people know now. What is over or put off will have to be told anew; what was acknowledged is known."""
    keys = [alert.pk for alert in alerts]
    Alert.objects.filter(pk__in=keys).update(notify_at=None)
    forgotten = [alert.pk for alert in alerts if alert.state in (State.RESOLVED, State.SNOOZED)]
    Alert.objects.filter(pk__in=forgotten).update(told_severity=None)
    known = [*heard, *(alert.pk for alert in alerts if alert.state == State.ACKNOWLEDGED)]
    Alert.objects.filter(pk__in=known).update(told_severity=F("severity"))
    for at in set(again.values()):
        Alert.objects.filter(pk__in=[pk for pk, when in again.items() if when == at]).update(notify_at=at)

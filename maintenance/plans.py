"""Plans and the work orders they make: each one that is due exactly once, whatever is killed, late or done twice.

An order and the occurrence it answers are written in one transaction, under a lock on the plan; the occurrence's key
is unique. What was due while nobody looked (the platform was off) is not made up for one by one: the newest of it
becomes an order, the others are recorded as missed, since nobody greases a bearing five times in a row.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from itertools import takewhile

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from alerts.models import Alert
from maintenance import checklists, metering, work_orders
from maintenance.models import Plan, PlanOccurrence, WorkOrder
from maintenance.plan_days import LOOK_AHEAD, Due, coming, today
from sensors import audit
from sensors.errors import Refused
from sensors.models import Asset

LOOK_EVERY = timedelta(minutes=1)
# Meters are read, and orders that others count from are looked at, so often.
READ_EVERY = timedelta(minutes=10)
# Readings that come in later than this have no part in what a meter shows.
SETTLED_AFTER = timedelta(days=7)
AFTER_A_PROBLEM = timedelta(hours=1)
# An alarm flood must not hold up the other plans.
ALERTS_AT_ONCE = 100
MEMORY = [
    *("seen_to", "watched_from", "metered_from", "counter_then", "used_before", "used", "rounds"),
    *("next_due_at", "next_look_at", "problem"),
]
KINDS = {Plan.Trigger.CONDITION: WorkOrder.Kind.CONDITION_BASED}
METERED = ("trigger", "sensor_id", "meter", "threshold")

logger = logging.getLogger(__name__)


def keep(plan: Plan, by: User, now: datetime | None = None) -> Plan:
    """Store a plan, new or changed, that `clean` has passed. It counts from now on: what has passed is not made up for.

    Raises Refused (`rule_without_days`) when its rule names no day of the next twenty years, and (`checklist_invalid`,
    `checklist_sensor`) when its orders could not be given its tasks.
    """
    now = now or timezone.now()
    checklists.require_for(checklists.parsed(plan.checklist), plan.asset.site)
    with transaction.atomic():
        before = Plan.objects.select_for_update().filter(pk=plan.pk).first() if plan.pk else None
        for name in MEMORY if before else ():
            # A sweep may have written these since the form was opened.
            setattr(plan, name, getattr(before, name))
        if before is None:
            plan.created_by, plan.created_at = by, now
        _begin(plan, before, now)
        plan.save()
        detail = {"asset": str(plan.asset), "trigger": plan.trigger, "rule": plan.rule, "enabled": plan.enabled}
        action = "plan changed" if before else "plan created"
        audit.record(action, f"plan {plan.pk} {plan}", by=by, site_id=plan.asset.site_id, detail=detail)
    return plan


def _begin(plan: Plan, before: Plan | None, now: datetime) -> None:
    """What the plan has to remember from the start, and when it starts anew."""
    resumed = before is None or (plan.enabled and not before.enabled)
    if resumed:
        plan.watched_from = now
    if resumed or any(getattr(before, name) != getattr(plan, name) for name in METERED):
        plan.metered_from, plan.counter_then, plan.used_before, plan.used = now, None, 0.0, 0.0
    plan.next_look_at, plan.next_due_at, plan.problem = now, None, ""
    if plan.trigger == Plan.Trigger.CALENDAR:
        yesterday = today(plan, now) - timedelta(days=1)
        plan.seen_to = yesterday if resumed or plan.seen_to is None else plan.seen_to
        upcoming = next(coming(plan, plan.seen_to, today(plan, now) + LOOK_AHEAD), None)
        if upcoming is None and plan.enabled:
            raise Refused("rule_without_days", "The rule names no day of the next twenty years.", 422)
        plan.next_due_at = upcoming.at if upcoming else None


def follow_due(now: datetime) -> int:
    """Look at every plan whose time has come, each in a transaction of its own; returns how many orders were made.

    May run in any number of processes at once. A plan that fails says so on its page and is looked at an hour later.
    """
    made = 0
    while (plan_id := Plan.objects.to_look_at(now).order_by("next_look_at").values_list("pk", flat=True).first()) and (
        followed := _follow(plan_id, now)
    ) is not None:
        made += followed
    return made


def _follow(plan_id: int, now: datetime) -> int | None:
    """How many orders the plan made; None when somebody else has it in hand."""
    try:
        with transaction.atomic():
            rows = Plan.objects.to_look_at(now).select_related("asset__site", "assignee")
            plan = rows.select_for_update(of=("self",), skip_locked=True).filter(pk=plan_id).first()
            return follow(plan, now) if plan else None
    except Exception as error:
        logger.exception("plan %s failed", plan_id)
        Plan.objects.filter(pk=plan_id).update(next_look_at=now + AFTER_A_PROBLEM, problem=f"{error}"[:300])
        return 0


def follow(plan: Plan, now: datetime) -> int:
    """Make the orders that are due of a plan that is locked; returns how many, and notes when to look again."""
    made = FOLLOW[Plan.Trigger(plan.trigger)](plan, now)
    plan.problem = ""
    plan.save(update_fields=MEMORY)
    return made


def _by_calendar(plan: Plan, now: datetime) -> int:
    start, latest = plan.starts_on, _latest_order(plan)
    seen_to = plan.seen_to or today(plan, now) - timedelta(days=1)
    if plan.counts_from == Plan.CountsFrom.COMPLETED and latest:
        done_at = _done_at(latest)
        if done_at is None:
            plan.next_due_at, plan.next_look_at = None, now + READ_EVERY
            return 0
        start = today(plan, done_at)
        seen_to = max(seen_to, start)
    ahead = today(plan, now) + timedelta(days=plan.lead_days)
    due = list(takewhile(lambda each: each.day <= ahead, coming(plan, seen_to, ahead, start)))
    if plan.counts_from == Plan.CountsFrom.COMPLETED:
        due = due[:1]
    made = _make(plan, due, now)
    plan.seen_to = max([seen_to, *(each.named for each in due)])
    upcoming = next(coming(plan, plan.seen_to, today(plan, now) + LOOK_AHEAD, start), None)
    if made and plan.counts_from == Plan.CountsFrom.COMPLETED:
        plan.next_due_at, plan.next_look_at = None, now + READ_EVERY
    else:
        plan.next_due_at = upcoming.at if upcoming else None
        plan.next_look_at = max(_made_from(plan, upcoming), now + LOOK_EVERY) if upcoming else None
    return made


def _make(plan: Plan, due: list[Due], now: datetime) -> int:
    """Orders of what lies ahead and of the newest that is late; the others that are late were missed."""
    newest_late = max((each.at for each in due if each.at <= now), default=now)
    missed = [each for each in due if each.at < newest_late and each.at <= now]
    rows = [PlanOccurrence(plan=plan, key=each.named.isoformat(), due_at=each.at) for each in missed]
    PlanOccurrence.objects.bulk_create(rows)
    ahead = [each for each in due if each not in missed]
    return sum(_occur(plan, each.named.isoformat(), each.at, _order(plan, each.at)) for each in ahead)


def _made_from(plan: Plan, due: Due) -> datetime:
    """When the order of this occurrence is to be made."""
    day = due.day - timedelta(days=plan.lead_days)
    return datetime.combine(day, time.min, plan.asset.site.timezone).astimezone(UTC)


def _by_meter(plan: Plan, now: datetime) -> int:
    plan.next_look_at = now + READ_EVERY
    plan.metered_from = plan.metered_from or now
    latest = _latest_order(plan)
    if plan.counts_from == Plan.CountsFrom.COMPLETED and latest:
        done_at = _done_at(latest)
        if done_at is None:
            return 0
        if done_at > plan.metered_from:
            plan.metered_from, plan.counter_then, plan.used_before = done_at, None, 0.0
    _settle_meter(plan, now)
    plan.used = plan.used_before + _used(plan, now).amount
    assert plan.every
    full = plan.used // plan.every
    if full < 1:
        return 0
    plan.rounds += 1
    plan.used_before -= full * plan.every
    plan.used -= full * plan.every
    due_at = now + timedelta(days=plan.lead_days)
    return _occur(plan, f"round {plan.rounds}", due_at, _order(plan, due_at))


def _settle_meter(plan: Plan, now: datetime) -> None:
    """Add up once and for all what is old enough, so that a look never costs more than a week of hours."""
    settled = (now - SETTLED_AFTER).replace(minute=0, second=0, microsecond=0)
    if plan.metered_from is not None and plan.metered_from < settled:
        used = _used(plan, settled)
        plan.used_before += used.amount
        plan.metered_from, plan.counter_then = settled, used.shown


def _used(plan: Plan, stop: datetime) -> metering.Used:
    assert plan.sensor_id
    assert plan.metered_from
    if plan.meter == Plan.Meter.COUNTER:
        return metering.counted(plan.sensor_id, plan.metered_from, stop, plan.counter_then)
    assert plan.threshold is not None
    return metering.running_hours(plan.sensor_id, plan.metered_from, stop, plan.threshold)


def _by_condition(plan: Plan, now: datetime) -> int:
    """One order at a time: what else is told while it runs belongs to it."""
    plan.next_look_at = now + LOOK_EVERY
    latest = _latest_order(plan)
    order = latest if latest and latest.is_running else None
    made = 0
    for alert in _new_alerts(plan):
        order = order or WorkOrder.objects.running().filter(alert=alert).first()
        is_made = order is None
        order = order or _order(plan, now + timedelta(days=plan.lead_days), alert)
        _occur(plan, f"alert {alert.pk}", order.due_at or now, order)
        made += is_made
    return made


def _new_alerts(plan: Plan) -> list[Alert]:
    seen = plan.occurrences.filter(key__startswith="alert ", created_at__gte=plan.watched_from)
    rows = Alert.objects.unresolved().filter(
        asset__in=_with_parts(plan.asset),
        kind__in=plan.alert_kinds,
        severity__gte=plan.least_severity,
        opened_at__gte=plan.watched_from,
        historical=False,
    )
    known = set(seen.values_list("key", flat=True))
    return [alert for alert in rows.order_by("opened_at", "pk") if f"alert {alert.pk}" not in known][:ALERTS_AT_ONCE]


def _with_parts(asset: Asset) -> list[int]:
    """The asset and everything below it."""
    parts: dict[int | None, list[int]] = {}
    for pk, parent in Asset.objects.filter(site=asset.site_id).order_by().values_list("pk", "parent"):
        parts.setdefault(parent, []).append(pk)
    found = [asset.pk]
    for pk in found:
        found += parts.get(pk, [])
    return found


def _order(plan: Plan, due_at: datetime, alert: Alert | None = None) -> WorkOrder:
    return work_orders.propose(
        plan.asset,
        None,
        title=plan.title,
        description=plan.description,
        kind=KINDS.get(Plan.Trigger(plan.trigger), WorkOrder.Kind.PREVENTIVE),
        priority=plan.priority,
        due_at=due_at,
        estimated_hours=plan.estimated_hours,
        assignee=plan.assignee if plan.assignee and plan.assignee.is_active else None,
        checklist=plan.checklist,
        alert=alert,
        approved=plan.approved,
    )


def _occur(plan: Plan, key: str, due_at: datetime, order: WorkOrder | None) -> int:
    """Record it; returns how many orders it has."""
    PlanOccurrence.objects.create(plan=plan, key=key, due_at=due_at, order=order)
    return int(order is not None)


def _latest_order(plan: Plan) -> WorkOrder | None:
    latest = plan.occurrences.exclude(order=None).select_related("order").order_by("-pk").first()
    return latest.order if latest else None


def _done_at(order: WorkOrder) -> datetime | None:
    """When the work was done, or given up; None while it is still to be done."""
    return order.done_at or order.closed_at


FOLLOW: dict[Plan.Trigger, Callable[[Plan, datetime], int]] = {
    Plan.Trigger.CALENDAR: _by_calendar,
    Plan.Trigger.METER: _by_meter,
    Plan.Trigger.CONDITION: _by_condition,
}

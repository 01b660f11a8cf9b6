"""The life of a work order: proposed, approved, scheduled, worked on, done, closed with what was found."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from alerts import evidence, lifecycle, silences
from alerts.models import Alert
from alerts.models import State as AlertState
from maintenance import checklists, verdicts
from maintenance.models import FailureMode, MaintenanceLog, Outcome, WorkOrder, WorkOrderStep
from sensors import live
from sensors.access import people_who_may
from sensors.errors import Refused
from sensors.models import Asset, Site

# A note that comes twice within this time was sent twice, by a double tap or a phone on a bad network.
DOUBLE_TAP = timedelta(minutes=1)
# People say that they have started when they have the machine in hand already.
BEFORE_THE_START = timedelta(minutes=5)
# A machine is not kept quiet for longer by an order that somebody forgot to close.
LONGEST_WORK = timedelta(days=7)
MAX_REASON = 500

State = WorkOrder.State
CHANGE, APPROVE = "maintenance.change_workorder", "maintenance.approve_workorder"


@dataclass(frozen=True)
class Move:
    """A way on in the life of an order: from which states, to which one, and what somebody must be allowed for it."""

    sources: tuple[WorkOrder.State, ...]
    to: WorkOrder.State
    permissions: tuple[str, ...] = (CHANGE,)


READY = (State.APPROVED, State.SCHEDULED)
BEGUN = (State.IN_PROGRESS, State.ON_HOLD, State.DONE)
MOVES = {
    "approve": Move((State.PROPOSED,), State.APPROVED, (APPROVE,)),
    "schedule": Move(READY, State.SCHEDULED),
    "start": Move((*READY, State.ON_HOLD), State.IN_PROGRESS),
    "hold": Move((State.IN_PROGRESS,), State.ON_HOLD),
    "finish": Move((State.IN_PROGRESS,), State.DONE),
    "reopen": Move((State.DONE,), State.IN_PROGRESS),
    "close": Move((*READY, *BEGUN), State.CLOSED, (CHANGE, "maintenance.add_verdict")),
    "cancel": Move((State.PROPOSED, *READY, *BEGUN), State.CANCELLED),
}


def moves_of(order: WorkOrder, user: User) -> list[str]:
    """The moves that this person may make with the order as it is."""
    return [name for name, move in MOVES.items() if order.state in move.sources and user.has_perms(move.permissions)]


def propose(
    asset: Asset,
    by: User | None,
    *,
    title: str,
    description: str = "",
    kind: str = WorkOrder.Kind.CORRECTIVE,
    priority: int = WorkOrder.Priority.MEDIUM,
    due_at: datetime | None = None,
    planned_start: datetime | None = None,
    estimated_hours: float | None = None,
    assignee: User | None = None,
    checklist: Sequence[object] = (),
    alert: Alert | None = None,
    follows: WorkOrder | None = None,
    approved: bool = False,
) -> WorkOrder:
    """Make a job on an asset; `by` None stands for the platform. It waits for approval unless `approved`.

    `checklist` is a list of dicts as `maintenance.checklists.Task` has them; raises Refused when it is none. An alert
    has one running order: where there is one already, that is the answer.
    """
    tasks = checklists.parsed(list(checklist))
    order = WorkOrder(
        site_id=asset.site_id,
        asset=asset,
        alert=alert,
        follows=follows,
        title=title,
        description=description,
        kind=kind,
        priority=priority,
        state=State.APPROVED if approved else State.PROPOSED,
        due_at=due_at,
        planned_start=planned_start,
        estimated_hours=estimated_hours,
        assignee=assignee,
    )
    try:
        with transaction.atomic():
            enter(order, by)
            checklists.add_to(order, tasks)
    except IntegrityError:
        if alert is None:
            raise
        # Two people tapped at once: the partial unique index let one of them through.
        running: WorkOrder | None = WorkOrder.objects.running().filter(alert=alert).first()
        if running is None:
            raise Refused("work_order_ended", "The work order of this alert has just ended; look again.") from None
        return running
    return order


def enter(order: WorkOrder, by: User | None) -> None:
    """Store a new order in the state that it has, with the first step of its life."""
    order.created_by = by
    order.save()
    _write(order, "", by, "", order.created_at)


def propose_for_alert(alert: Alert, by: User, *, approved: bool = False) -> WorkOrder:
    """A job because of an alert, with what the alert says; the one that runs already, if there is one. The alert is
    acknowledged by it.

    Raises Refused when the alert is resolved or belongs to no asset.
    """
    if alert.asset is None:
        raise Refused("alert_without_asset", "This alert belongs to no asset, so there is nothing to work on.")
    if alert.state == AlertState.RESOLVED:
        raise Refused("alert_resolved", "This alert is resolved; open a work order on the asset instead.")
    with transaction.atomic():
        order = propose(
            alert.asset,
            by,
            title=alert.title,
            description=" ".join(evidence.sentences(alert.evidence, alert.site.timezone)),
            kind=WorkOrder.Kind.CONDITION_BASED,
            priority=alert.severity,  # Both scales have four steps.
            alert=alert,
            approved=approved,
        )
        lifecycle.acknowledge(alert, lifecycle.Actor(by), reason=f"Work order WO-{order.pk} {order.state}.")
    return order


def approve(order: WorkOrder, by: User) -> WorkOrder:
    """Somebody has looked at the proposal and wants it done."""
    return _take(order, "approve", by)


def approve_if_proposed(order: WorkOrder, by: User) -> WorkOrder:
    """For who starts at once: what is approved already, or further on, stays as it is."""
    return approve(order, by) if order.state == State.PROPOSED else order


def schedule(
    order: WorkOrder, by: User, *, planned_start: datetime, assignee: User | None = None, crew: Iterable[User] = ()
) -> WorkOrder:
    """Say when work is to begin and who does it; saying it again plans anew.

    Raises Refused when somebody among them cannot work on orders of this site.
    """
    with transaction.atomic():
        order = _locked(order)
        _require(order, "schedule")
        asked = {*crew, *([assignee] if assignee else [])}
        able = set(workers_of(order.site_id).filter(pk__in=[person.pk for person in asked]))
        if missing := sorted(person.username for person in asked - able):
            raise Refused("cannot_take_it", f"{', '.join(missing)} cannot work on orders of {order.site}.", 422)
        order.planned_start, order.assignee = planned_start, assignee
        order.crew.set(asked - {assignee})
        _move(order, "schedule", by)
    return order


def start(order: WorkOrder, by: User) -> WorkOrder:
    """Work begins, or goes on after a hold: as long as it is in progress readings of the asset count as a maintenance
    window, and nobody is told of its alerts (for a week at most).
    """
    return _take(order, "start", by)


def hold(order: WorkOrder, by: User, reason: str) -> WorkOrder:
    """Work stands still, for parts or access for instance; the asset is watched again meanwhile."""
    if not reason.strip():
        raise Refused("reason_needed", "Say what the work waits for.", 422)
    return _take(order, "hold", by, reason)


def finish(order: WorkOrder, by: User) -> WorkOrder:
    """The work is done, what was found is still to be said."""
    return _take(order, "finish", by)


def reopen(order: WorkOrder, by: User, reason: str = "") -> WorkOrder:
    """What was said to be done was not."""
    return _take(order, "reopen", by, reason)


def cancel(order: WorkOrder, by: User, reason: str = "") -> WorkOrder:
    """The job is not needed. Its alert stays as it is."""
    return _take(order, "cancel", by, reason)


def comment(order: WorkOrder, by: User, text: str) -> WorkOrderStep:
    """Note something for everybody who looks at the order, ended or not. Raises Refused when there is no text."""
    if not text.strip():
        raise Refused("empty_comment", "Write something first.", 422)
    with transaction.atomic():
        order = _locked(order)
        return _write(order, order.state, by, text.strip(), timezone.now())


def add_log(
    order: WorkOrder,
    by: User,
    notes: str,
    *,
    duration_minutes: int | None = None,
    completion_date: datetime | None = None,
    key: str = "",
) -> MaintenanceLog:
    """Note what was done; the same words sent twice, or anything with the same key, are one note.

    Raises Refused once the order has ended.
    """
    with transaction.atomic():
        order = _locked(order)
        just_now = timezone.now() - DOUBLE_TAP
        again = Q(external_id=key) if key else Q(notes=notes, completion_date__gte=just_now)
        log: MaintenanceLog | None = order.logs.filter(again, done_by=by, source="").first()
        if log is not None:
            return log
        _require_running(order)
        log = MaintenanceLog.objects.create(
            asset_id=order.asset_id,
            work_order=order,
            kind=order.kind,
            done_by=by,
            notes=notes,
            duration_minutes=duration_minutes,
            completion_date=completion_date or timezone.now(),
            external_id=key,
        )
        live.publish("work", site_id=order.site_id, asset_id=order.asset_id)
    return log


def close(
    order: WorkOrder,
    by: User,
    outcome: Outcome,
    notes: str = "",
    *,
    failure_mode: FailureMode | None = None,
    also: Iterable[Alert] = (),
    actual_hours: float | None = None,
    downtime_minutes: int | None = None,
    downtime_reason: str = "",
    other_cost: Decimal | None = None,
) -> WorkOrder:
    """Close the order with what was found: logs `notes`, gives the verdict on its alert and on those of the asset that
    it covered as well (`also`), and resolves them.

    Closing again with the same outcome changes nothing, so that a phone may send twice. Raises Refused when the order
    was closed with another outcome or cancelled, and when it waits for approval.
    """
    with transaction.atomic():
        order = _locked(order)
        if order.state == State.CLOSED and (order.outcome or verdicts.of(order)) in ("", None, outcome):
            return order
        _require(order, "close")
        covered = {alert.pk: alert for alert in (order.alert, *also) if alert is not None}
        if any(alert.asset_id != order.asset_id for alert in covered.values()):
            raise Refused("alert_of_another_asset", f"An order on {order.asset} settles alerts of it alone.", 422)
        if notes:
            add_log(order, by, notes)
        order.outcome, order.failure_mode = outcome, failure_mode
        order.downtime_minutes, order.downtime_reason = downtime_minutes, downtime_reason
        order.other_cost = other_cost
        _move(order, "close", by, Outcome(outcome).label)
        order.actual_hours = worked_hours(order) if actual_hours is None else actual_hours
        order.save()
        verdicts.record(order, list(covered.values()), by)
        for alert in covered.values():
            lifecycle.resolve(alert, lifecycle.Actor(by), f"WO-{order.pk} closed: {Outcome(outcome).label}.")
    return order


def open_alerts_of(order: WorkOrder) -> list[Alert]:
    """The unresolved alerts of the order's asset besides its own, the newest first."""
    rows = Alert.objects.unresolved().filter(asset=order.asset_id, historical=False).exclude(pk=order.alert_id)
    return list(rows.defer("evidence").order_by("-opened_at"))


def workers_of(site: Site | int) -> QuerySet[User]:
    """Who can be asked to work on orders of a site."""
    return people_who_may("change_workorder", site)


def worked_hours(order: WorkOrder) -> float | None:
    """How long work was in progress, in hours; None when it never was, or somebody forgot to say that it was over."""
    now = timezone.now()
    seconds = sum((((over or now) - began).total_seconds() for began, over in _stretches(order)), 0.0)
    return round(seconds / 3600, 2) if 0 < seconds < LONGEST_WORK.total_seconds() else None


def periods(sensor: int, start: datetime, end: datetime) -> list[tuple[datetime, datetime | None]]:
    """When somebody was working on the sensor's asset between `start` and `end`; None stands for "still"."""
    overlapping = Q(closed_at__isnull=True) | Q(closed_at__gte=start)
    orders = WorkOrder.objects.filter(overlapping, asset__sensors=sensor, started_at__lte=end + BEFORE_THE_START)
    stretches = [stretch for order in orders.prefetch_related("steps") for stretch in _stretches(order)]
    return [
        (began - BEFORE_THE_START, over)
        for began, over in stretches
        if began - BEFORE_THE_START <= end and (over is None or over >= start)
    ]


def _stretches(order: WorkOrder) -> list[tuple[datetime, datetime | None]]:
    """When work was in progress; orders that came without steps were so from their start to their end."""
    steps = [step for step in order.steps.all() if step.from_state != step.to_state]
    if not any(step.to_state == State.IN_PROGRESS for step in steps):
        return [(order.started_at, order.done_at or order.closed_at)] if order.started_at else []
    ends = [*(step.at for step in steps[1:]), None]
    pairs = zip(steps, ends, strict=True)
    return [(step.at, over) for step, over in pairs if step.to_state == State.IN_PROGRESS]


def _take(order: WorkOrder, name: str, by: User, reason: str = "") -> WorkOrder:
    """Make a move; making it again changes nothing."""
    with transaction.atomic():
        order = _locked(order)
        if order.is_running and order.state == MOVES[name].to:
            return order
        _require(order, name)
        _move(order, name, by, reason)
    return order


def _move(order: WorkOrder, name: str, by: User, reason: str = "") -> None:
    now, was = timezone.now(), order.state
    order.state = MOVES[name].to
    if order.state == State.IN_PROGRESS:
        order.started_at = order.started_at or now
        order.assignee = order.assignee or by
    if order.state in (State.IN_PROGRESS, State.DONE):
        order.done_at = now if order.state == State.DONE else None
    if order.state in (State.CLOSED, State.CANCELLED):
        order.closed_at = now
    order.save()
    _write(order, was, by, reason, now)
    if order.state == State.IN_PROGRESS:
        silences.begin(_silence_of(order), order.asset, f"WO-{order.pk} is in progress.", now + LONGEST_WORK)
    elif was == State.IN_PROGRESS:
        silences.end_of(_silence_of(order))


def _write(order: WorkOrder, was: str, by: User | None, reason: str, at: datetime) -> WorkOrderStep:
    step = WorkOrderStep.objects.create(
        order=order, from_state=was, to_state=order.state, at=at, by=by, reason=reason[:MAX_REASON]
    )
    live.publish("work", site_id=order.site_id, asset_id=order.asset_id)
    return step


def _silence_of(order: WorkOrder) -> str:
    return f"work-order-{order.pk}"


def locked_running(order: WorkOrder) -> WorkOrder:
    """The order, locked until the end of the transaction. Raises Refused once it has ended."""
    order = _locked(order)
    _require_running(order)
    return order


def _locked(order: WorkOrder) -> WorkOrder:
    rows = WorkOrder.objects.select_for_update(of=("self",)).select_related("site", "asset", "alert", "assignee")
    locked: WorkOrder = rows.get(pk=order.pk)
    return locked


def _require(order: WorkOrder, name: str) -> None:
    _require_running(order)
    if order.state not in MOVES[name].sources:
        first = " or ".join(source.label for source in MOVES[name].sources)
        detail = f"WO-{order.pk} is {order.get_state_display()}; to {name} it, it must be {first}."
        raise Refused("step_not_possible", detail)


def _require_running(order: WorkOrder) -> None:
    if not order.is_running:
        raise Refused("work_order_ended", f"WO-{order.pk} is {order.get_state_display()}; it can no longer be changed.")

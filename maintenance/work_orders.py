"""The life of a work order: opened (usually for an alert), started, logged, closed with a verdict."""

from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from alerts import lifecycle, silences
from alerts.models import Alert, State
from maintenance import verdicts
from maintenance.models import MaintenanceLog, Outcome, WorkOrder, WorkOrderStep
from sensors import live
from sensors.errors import Refused
from sensors.models import Asset

# A note that comes twice within this time was sent twice, by a double tap or a phone on a bad network.
DOUBLE_TAP = timedelta(minutes=1)
# People say that they have started when they have the machine in hand already.
BEFORE_THE_START = timedelta(minutes=5)
# A machine is not kept quiet for longer by an order that somebody forgot to close.
LONGEST_WORK = timedelta(days=7)


def open_for_alert(alert: Alert, by: User) -> WorkOrder:
    """The running work order of this alert; opened now if there is none. Opening one acknowledges the alert.

    Raises Refused when the alert is resolved or belongs to no asset.
    """
    if alert.asset is None:
        raise Refused("alert_without_asset", "This alert belongs to no asset, so there is nothing to work on.")
    if alert.state == State.RESOLVED:
        raise Refused("alert_resolved", "This alert is resolved; open a work order on the asset instead.")
    try:
        with transaction.atomic():
            order = WorkOrder.objects.create(
                site_id=alert.site_id,
                asset=alert.asset,
                alert=alert,
                title=alert.title,
                priority=alert.severity,  # Both scales have four steps.
                created_by=by,
            )
            lifecycle.acknowledge(alert, lifecycle.Actor(by), reason=f"Work order WO-{order.pk} opened.")
            live.publish("work", site_id=order.site_id, asset_id=order.asset_id)
            return order
    except IntegrityError:
        # Two people tapped at once: the partial unique index let one of them through.
        running: WorkOrder | None = WorkOrder.objects.running().filter(alert=alert).first()
        if running is None:
            raise Refused("work_order_ended", "The work order of this alert has just ended; look again.") from None
        return running


def open_for_asset(
    asset: Asset,
    by: User,
    *,
    title: str,
    description: str = "",
    priority: int = WorkOrder.Priority.MEDIUM,
    due_at: datetime | None = None,
) -> WorkOrder:
    """Open a job on an asset that no alert asked for."""
    with transaction.atomic():
        order = WorkOrder.objects.create(
            site_id=asset.site_id,
            asset=asset,
            title=title,
            description=description,
            priority=priority,
            due_at=due_at,
            created_by=by,
        )
        live.publish("work", site_id=order.site_id, asset_id=order.asset_id)
    return order


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
    alert: Alert | None = None,
    follows: WorkOrder | None = None,
    approved: bool = False,
) -> WorkOrder:
    """Make an order, which waits for approval unless it is `approved`; `by` None stands for the platform."""
    state = WorkOrder.State.APPROVED if approved else WorkOrder.State.PROPOSED
    with transaction.atomic():
        order = WorkOrder.objects.create(
            site_id=asset.site_id,
            asset=asset,
            alert=alert,
            follows=follows,
            title=title,
            description=description,
            kind=kind,
            priority=priority,
            state=state,
            due_at=due_at,
            planned_start=planned_start,
            estimated_hours=estimated_hours,
            assignee=assignee,
            created_by=by,
        )
        WorkOrderStep.objects.create(order=order, to_state=state, by=by)
        live.publish("work", site_id=order.site_id, asset_id=order.asset_id)
    return order


def start(order: WorkOrder, by: User) -> WorkOrder:
    """Work begins: until the order is closed readings of the asset count as a maintenance window, and nobody is told of
    its alerts (for a week at most).
    """
    with transaction.atomic():
        order = _locked_running(order)
        if order.state != WorkOrder.State.IN_PROGRESS:
            order.state = WorkOrder.State.IN_PROGRESS
            order.started_at = timezone.now()
            order.assignee = order.assignee or by
            order.save(update_fields=["state", "started_at", "assignee"])
            until = order.started_at + LONGEST_WORK
            silences.begin(_silence_of(order), order.asset, f"WO-{order.pk} is in progress.", until)
            live.publish("work", site_id=order.site_id, asset_id=order.asset_id)
    return order


def add_log(
    order: WorkOrder,
    by: User,
    notes: str,
    *,
    duration_minutes: int | None = None,
    completion_date: datetime | None = None,
) -> MaintenanceLog:
    """Note what was done; the same words sent twice are one note. Raises Refused once the order has ended."""
    with transaction.atomic():
        order = _locked_running(order)
        just_now = timezone.now() - DOUBLE_TAP
        log: MaintenanceLog | None = order.logs.filter(done_by=by, notes=notes, completion_date__gte=just_now).first()
        if log is not None:
            return log
        log = MaintenanceLog.objects.create(
            asset_id=order.asset_id,
            work_order=order,
            done_by=by,
            notes=notes,
            duration_minutes=duration_minutes,
            completion_date=completion_date or timezone.now(),
        )
        live.publish("work", site_id=order.site_id, asset_id=order.asset_id)
    return log


def close(order: WorkOrder, by: User, outcome: Outcome, notes: str = "") -> WorkOrder:
    """Close the order with what was found: logs `notes`, gives the verdict on its alert and resolves that.

    Closing again with the same outcome changes nothing, so that a phone may send twice. Raises Refused when the order
    was closed with another outcome or cancelled.
    """
    with transaction.atomic():
        order = WorkOrder.objects.select_for_update(of=("self",)).select_related("alert").get(pk=order.pk)
        if order.state == WorkOrder.State.CLOSED and verdicts.of(order) in (None, outcome):
            return order
        _require_running(order)
        if notes:
            add_log(order, by, notes)
        order.state = WorkOrder.State.CLOSED
        order.closed_at = timezone.now()
        order.save(update_fields=["state", "closed_at"])
        if order.alert:
            verdicts.record(order, outcome, by, at=order.closed_at)
            reason = f"WO-{order.pk} closed: {Outcome(outcome).label}."
            lifecycle.resolve(order.alert, lifecycle.Actor(by), reason)
        silences.end_of(_silence_of(order))
        live.publish("work", site_id=order.site_id, asset_id=order.asset_id)
    return order


def cancel(order: WorkOrder, by: User) -> WorkOrder:
    """The job is not needed. Its alert stays as it is."""
    with transaction.atomic():
        order = _locked_running(order)
        order.state = WorkOrder.State.CANCELLED
        order.closed_at = timezone.now()
        order.save(update_fields=["state", "closed_at"])
        silences.end_of(_silence_of(order))
        live.publish("work", site_id=order.site_id, asset_id=order.asset_id)
    return order


def periods(sensor: int, start: datetime, end: datetime) -> list[tuple[datetime, datetime | None]]:
    """When somebody was working on the sensor's asset between `start` and `end`; None stands for "still"."""
    overlapping = Q(closed_at__isnull=True) | Q(closed_at__gte=start)
    orders = WorkOrder.objects.filter(overlapping, asset__sensors=sensor, started_at__lte=end + BEFORE_THE_START)
    return [(began - BEFORE_THE_START, over) for began, over in orders.values_list("started_at", "closed_at")]


def _silence_of(order: WorkOrder) -> str:
    return f"work-order-{order.pk}"


def _locked_running(order: WorkOrder) -> WorkOrder:
    order = WorkOrder.objects.select_for_update().get(pk=order.pk)
    _require_running(order)
    return order


def _require_running(order: WorkOrder) -> None:
    if not order.is_running:
        raise Refused("work_order_ended", f"WO-{order.pk} is {order.get_state_display()}; it can no longer be changed.")

"""What was found behind alerts: the labels that training and thresholds learn from."""

from collections.abc import Sequence
from datetime import datetime

from django.contrib.auth.models import User

from alerts.models import Alert
from maintenance.models import Outcome, Verdict, WorkOrder


def record(order: WorkOrder, alerts: Sequence[Alert], by: User) -> None:
    """Give the verdicts of a closed order: one on each alert, for the time from when its cause began to the end.

    A fault that was found where no alert was is one verdict on the asset, from when the job was asked for.
    """
    began: dict[Alert | None, datetime] = {alert: alert.began_at for alert in alerts}
    if not alerts and order.outcome == Outcome.FAULT_FOUND:
        began = {None: order.created_at}
    assert order.closed_at is not None
    for alert, start in began.items():
        Verdict.objects.update_or_create(
            alert=alert,
            work_order=order,
            defaults={
                "asset_id": order.asset_id,
                "outcome": order.outcome,
                "failure_mode": order.failure_mode,
                "given_by": by,
                "given_at": order.closed_at,
                "window_start": min(start, order.closed_at),
                "window_end": order.closed_at,
            },
        )


def of(order: WorkOrder) -> str | None:
    """The outcome an order was closed with, or None when it had no alert to judge."""
    return order.verdicts.values_list("outcome", flat=True).first()


def of_faults(asset: int, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """The times between `start` and `end` for which people found a fault of the asset."""
    found = Verdict.objects.filter(asset=asset, outcome=Outcome.FAULT_FOUND)
    overlapping = found.filter(window_start__lte=end, window_end__gte=start)
    return list(overlapping.order_by("pk").values_list("window_start", "window_end"))

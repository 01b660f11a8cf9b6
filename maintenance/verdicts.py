"""What was found behind an alert: the labels that training and thresholds learn from."""

from datetime import datetime

from django.contrib.auth.models import User

from maintenance.models import Outcome, Verdict, WorkOrder


def record(order: WorkOrder, outcome: Outcome, by: User, at: datetime) -> Verdict:
    """Give the verdict of a work order on its alert; it holds from when the alert's cause began to `at`."""
    assert order.alert is not None
    verdict, _ = Verdict.objects.update_or_create(
        alert=order.alert,
        work_order=order,
        defaults={
            "asset_id": order.asset_id,
            "outcome": outcome,
            "given_by": by,
            "given_at": at,
            "window_start": min(order.alert.began_at, at),
            "window_end": at,
        },
    )
    return verdict


def of(order: WorkOrder) -> str | None:
    """The outcome an order was closed with, or None when it had no alert to judge."""
    return order.verdicts.values_list("outcome", flat=True).first()


def of_faults(asset: int, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """The times between `start` and `end` for which people found a fault of the asset."""
    found = Verdict.objects.filter(asset=asset, outcome=Outcome.FAULT_FOUND)
    overlapping = found.filter(window_start__lte=end, window_end__gte=start)
    return list(overlapping.order_by("pk").values_list("window_start", "window_end"))

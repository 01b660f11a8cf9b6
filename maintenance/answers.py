"""What came of the tasks of a checklist, and the jobs that follow from those that failed."""

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from maintenance import work_orders
from maintenance.models import ChecklistItem, WorkOrder
from sensors import live
from sensors.errors import Refused
from sensors.models import Reading

Kind = ChecklistItem.Kind


def answer(item: ChecklistItem, by: User, *, value: float | None = None, choice: str = "") -> ChecklistItem:
    """Say what came of a task; saying it again corrects it. A reading without a value is the sensor's latest one.

    Raises Refused when the order has ended, and 422 when the answer is none to this task.
    """
    with transaction.atomic():
        work_orders.locked_running(item.order)
        item = ChecklistItem.objects.select_related("sensor", "order").get(pk=item.pk)
        item.value, item.measured_at, item.answer, item.failed = None, None, "", False
        match item.kind:
            case Kind.NUMBER:
                _take_value(item, value)
            case Kind.READING:
                _take_reading(item, value)
            case Kind.CHOICE:
                _take_choice(item, choice)
            case Kind.PHOTO:
                if not item.attachments.exists():
                    raise Refused("photo_missing", "Add a photo to this task.", 422)
        item.done_by, item.done_at = by, timezone.now()
        item.save()
        live.publish("work", site_id=item.order.site_id, asset_id=item.order.asset_id)
    return item


def follow_up(item: ChecklistItem, by: User) -> WorkOrder:
    """Propose an order because of a task that failed; asked again, the same one."""
    with transaction.atomic():
        item = ChecklistItem.objects.select_for_update(of=("self",)).select_related("order__asset").get(pk=item.pk)
        if not item.failed:
            raise Refused("task_not_failed", "This task has not failed; open a work order on the asset instead.")
        if item.follow_up is None:
            found = item.answer or f"{item.value:g} {item.measures_in}".strip()
            item.follow_up = work_orders.propose(
                item.order.asset,
                by,
                title=f"{item.text}: {found}"[:200],
                description=f"Failed in the checklist of WO-{item.order_id}{_limits(item)}.",
                priority=item.order.priority,
                follows=item.order,
            )
            item.save(update_fields=["follow_up"])
    return item.follow_up


def _take_value(item: ChecklistItem, value: float | None) -> None:
    if value is None:
        raise Refused("value_missing", "Give a number.", 422)
    item.value = value
    item.failed = (item.low is not None and value < item.low) or (item.high is not None and value > item.high)


def _take_reading(item: ChecklistItem, value: float | None) -> None:
    if value is None:
        latest = Reading.objects.filter(sensor=item.sensor).order_by("-timestamp").first()
        if latest is None:
            raise Refused("no_reading", f"{item.sensor} has sent nothing yet; type what you read.", 422)
        value, item.measured_at = latest.value, latest.timestamp
    _take_value(item, value)


def _take_choice(item: ChecklistItem, choice: str) -> None:
    bad = {offered["text"]: offered["bad"] for offered in item.choices}
    if choice not in bad:
        raise Refused("choice_unknown", f"Choose one of: {', '.join(bad)}.", 422)
    item.answer, item.failed = choice, bad[choice]


def _limits(item: ChecklistItem) -> str:
    limits = {"at least": item.low, "at most": item.high}
    said = " and ".join(f"{words} {limit:g}" for words, limit in limits.items() if limit is not None)
    return f", where {said} {item.measures_in}".rstrip() + " is asked for" if said else ""

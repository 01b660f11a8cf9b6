"""Spare parts taken out of the store for work, put back, and delivered."""

import uuid
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from maintenance.models import Part, PartUse, WorkOrder
from sensors import audit, live
from sensors.errors import Refused

LARGEST = Decimal(1_000_000)


def take(
    order: WorkOrder,
    part: Part,
    quantity: Decimal,
    by: User,
    *,
    key: uuid.UUID | None = None,
    beyond_stock: bool = False,
) -> PartUse:
    """Take so much of a part for an order that runs; the same `key` again is the same use.

    Raises Refused (`not_enough_in_stock`) when less is there, unless `beyond_stock`: somebody holds it in hand, so the
    figure is wrong and goes below zero until it is counted. Raises Refused when the order has ended, or the part lies
    at another site.
    """
    _require_quantity(quantity)
    with transaction.atomic():
        part = Part.objects.select_for_update().get(pk=part.pk)
        known: PartUse | None = PartUse.objects.filter(key=key).first() if key else None
        if known and known.order_id != order.pk:
            raise Refused("key_used", "This key was used for another order; make a new one.")
        if known:
            return known
        _require_running(order)
        if part.site_id != order.site_id:
            raise Refused("other_site", "This part lies in the store of another site.", 422)
        if part.quantity < quantity and not beyond_stock:
            detail = f"Only {part.quantity.normalize():f} {part.unit} of {part.number} are in stock."
            raise Refused("not_enough_in_stock", f"{detail} If you hold more in hand, take it all the same.")
        part.quantity -= quantity
        part.save(update_fields=["quantity"])
        use: PartUse = PartUse.objects.create(
            order=order, part=part, quantity=quantity, unit_cost=part.unit_cost, by=by, key=key or uuid.uuid4()
        )
        live.publish("work", site_id=order.site_id, asset_id=order.asset_id)
    return use


def put_back(use: PartUse, by: User) -> PartUse:
    """It was not needed after all; putting it back twice changes nothing. Raises Refused once the order has ended."""
    with transaction.atomic():
        use = PartUse.objects.select_for_update(of=("self",)).select_related("order").get(pk=use.pk)
        if use.put_back_at:
            return use
        _require_running(use.order)
        part = Part.objects.select_for_update().get(pk=use.part_id)
        part.quantity += use.quantity
        part.save(update_fields=["quantity"])
        use.put_back_at = timezone.now()
        use.save(update_fields=["put_back_at"])
        detail = {"order": use.order_id, "quantity": str(use.quantity)}
        audit.record("part put back", f"part {part.number}", by=by, site_id=part.site_id, detail=detail)
        live.publish("work", site_id=use.order.site_id, asset_id=use.order.asset_id)
    return use


def deliver(part: Part, quantity: Decimal, by: User) -> Part:
    """So much came in."""
    _require_quantity(quantity)
    with transaction.atomic():
        part = Part.objects.select_for_update().get(pk=part.pk)
        part.quantity += quantity
        part.save(update_fields=["quantity"])
        detail = {"quantity": str(quantity), "now": str(part.quantity)}
        audit.record("part delivered", f"part {part.number}", by=by, site_id=part.site_id, detail=detail)
    return part


def count(part: Part, quantity: Decimal, by: User) -> Part:
    """Somebody has counted what is there."""
    if not 0 <= quantity <= LARGEST:
        raise Refused("invalid_quantity", f"A quantity lies between 0 and {LARGEST:,}.", 422)
    with transaction.atomic():
        part = Part.objects.select_for_update().get(pk=part.pk)
        detail = {"was": str(part.quantity), "is": str(quantity)}
        part.quantity = quantity
        part.save(update_fields=["quantity"])
        audit.record("part counted", f"part {part.number}", by=by, site_id=part.site_id, detail=detail)
    return part


def cost_of(order: WorkOrder) -> Decimal:
    """What the parts of an order cost, in the currency of its site; parts without a price cost nothing."""
    return sum((use.cost or Decimal(0) for use in PartUse.objects.standing().filter(order=order)), Decimal(0))


def _require_quantity(quantity: Decimal) -> None:
    if not 0 < quantity <= LARGEST:
        raise Refused("invalid_quantity", f"A quantity lies above 0 and is at most {LARGEST:,}.", 422)


def _require_running(order: WorkOrder) -> None:
    if WorkOrder.objects.filter(pk=order.pk, closed_at=None).first() is None:
        raise Refused("work_order_ended", f"WO-{order.pk} has ended; its parts can no longer be changed.")

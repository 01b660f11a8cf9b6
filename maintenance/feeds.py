"""A person's work as an iCalendar (RFC 5545) that programs fetch by a secret address."""

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q
from django.utils import timezone

from alerts.delivery.links import absolute
from maintenance.models import CalendarLink, WorkOrder
from maintenance.models.work_orders import WHEN

# Programs keep what they once fetched; what has ended a month ago is of no use to them.
BACK = timedelta(days=30)
MOST_EVENTS = 1000
USUAL = timedelta(hours=1)
NOTED_EVERY = timedelta(hours=1)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


STATUS = {WorkOrder.State.CANCELLED.value: "CANCELLED", WorkOrder.State.PROPOSED.value: "TENTATIVE"}


def make_link(person: User) -> str:
    """A new secret of 256 bits, which ends the one before; it can be read now and never again."""
    secret = secrets.token_urlsafe(32)
    fields = {"digest": _digest(secret), "made_at": timezone.now(), "last_fetched_at": None}
    CalendarLink.objects.update_or_create(person=person, defaults=fields)
    return secret


def revoke_link(person: User) -> None:
    CalendarLink.objects.filter(person=person).delete()


def person_of(secret: str) -> User | None:
    """Whose secret it is; None for one that is not, or no longer, valid."""
    link = CalendarLink.objects.select_related("person").filter(digest=_digest(secret), person__is_active=True).first()
    if link is None or not link.person.has_perm("maintenance.view_workorder"):
        return None
    now = timezone.now()
    if link.last_fetched_at is None or link.last_fetched_at < now - NOTED_EVERY:
        CalendarLink.objects.filter(pk=link.pk).update(last_fetched_at=now)
    person: User = link.person
    return person


def calendar_of(person: User, now: datetime) -> bytes:
    """The running orders that are theirs, as assignee or in the crew, and those that ended lately. Times are in UTC."""
    # Loading the package costs a tenth of a second, which only this needs.
    from icalendar import Calendar

    file = Calendar()
    file.add("prodid", "-//Smart Maintenance//Work orders//EN")
    file.add("version", "2.0")
    file.add("method", "PUBLISH")
    file.add("x-wr-calname", f"Work of {person.username}")
    for order in _orders(person, now):
        file.add_component(_event(order, now))
    written: bytes = file.to_ical()
    return written


def _orders(person: User, now: datetime) -> list[Any]:
    helping = WorkOrder.crew.through.objects.filter(user=person).values("workorder")
    mine = WorkOrder.objects.filter(Q(assignee=person) | Q(pk__in=helping))
    rows = mine.visible_to(person).filter(Q(closed_at=None) | Q(closed_at__gte=now - BACK)).annotate(when=WHEN)
    rows = rows.filter(when__gte=now - timedelta(days=365)).select_related("site", "asset")
    return list(rows.order_by("when", "pk")[:MOST_EVENTS])


def _event(order: Any, now: datetime) -> Any:
    from icalendar import Event

    status = STATUS.get(order.state, "CONFIRMED")
    address = absolute(order.get_absolute_url())
    hours = timedelta(hours=order.estimated_hours) if order.estimated_hours else USUAL
    event = Event()
    event.add("uid", f"work-order-{order.pk}@smart-maintenance")
    event.add("dtstamp", now)
    event.add("dtstart", order.when)
    event.add("duration", min(hours, timedelta(days=30)))
    event.add("summary", CONTROL.sub(" ", f"{order} ({order.get_state_display()})"))
    event.add("location", CONTROL.sub(" ", f"{order.asset}, {order.site}"))
    event.add("description", CONTROL.sub(" ", f"{order.description}\n{address}".strip()))
    event.add("url", address)
    event.add("status", status)
    return event


def _digest(secret: str) -> str:
    # No salt and no slow hash: nobody guesses 256 random bits.
    return hashlib.sha512(secret.encode()).hexdigest()

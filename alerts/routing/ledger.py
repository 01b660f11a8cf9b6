"""The messages that wait or went out within the last hour: what a further alert may join, and who has had enough."""

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Self

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from alerts.models import Alert, Delivery, DeliveryItem, Severity
from alerts.routing.budget import HOUR

State = Delivery.State
# Who is told, by which channel; without a person, the place that the channel is.
Target = tuple[int | None, int]
ITEMS = Coalesce(
    Subquery(
        DeliveryItem.objects.filter(delivery=OuterRef("pk")).order_by().values("delivery").values(count=Count("pk"))
    ),
    0,
)
URGENT = (Delivery.Kind.ALERT, Delivery.Kind.ESCALATION)


class Slot(NamedTuple):
    """At most one message that nobody has tried to send yet exists for each of these."""

    person_id: int | None
    channel_id: int
    kind: str
    group_key: str

    @property
    def target(self) -> Target:
        return self.person_id, self.channel_id


@dataclass
class Message:
    delivery: Delivery
    count: int = 0
    stored: tuple[datetime, int, int | None] | None = None
    items: dict[int, str] = field(default_factory=dict)

    @property
    def state(self) -> tuple[datetime, int, int | None]:
        """What a further alert may change of it."""
        return self.delivery.due_at, self.delivery.severity, self.delivery.site_id


@dataclass
class Ledger:
    """`waiting` by slot; `times` of messages that are not critical, in order, per person and channel."""

    waiting: dict[Slot, Message] = field(default_factory=dict)
    times: dict[Target, list[datetime]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def held(cls, group_keys: Iterable[str], now: datetime) -> Self:
        """With the waiting messages of these groups, so that nobody begins to send what is about to change."""
        # No two rows are locked in another order.
        return cls._of(_unsent(group_keys).order_by("pk").select_for_update(of=("self",)), now)

    @classmethod
    def seen(cls, group_keys: Iterable[str], now: datetime) -> Self:
        """With the waiting messages of these groups, to be looked at only."""
        return cls._of(_unsent(group_keys), now)

    @classmethod
    def _of(cls, unsent: "QuerySet[Delivery]", now: datetime) -> Self:
        ledger = cls()
        for row in unsent.annotate(count=ITEMS):
            slot = Slot(row.person_id, row.channel_id, row.kind, row.group_key)
            ledger.waiting[slot] = message = Message(row, row.count)
            message.stored = message.state
        recent = Q(state__in=[State.WAITING, State.SENDING]) | Q(state=State.SENT, sent_at__gt=now - HOUR)
        counted = Delivery.objects.filter(recent, person__isnull=False, severity__lt=Severity.CRITICAL)
        counted = counted.exclude(kind=Delivery.Kind.TEST).order_by()
        for person, channel, at in counted.values_list("person_id", "channel_id", Coalesce("sent_at", "due_at")):
            insort(ledger.times[person, channel], at)
        return ledger

    def due(self, slot: Slot) -> datetime | None:
        """When the message goes out that may be joined, if there is one."""
        message = self.waiting.get(slot)
        return message.delivery.due_at if message else None

    def count(self, slot: Slot) -> int:
        message = self.waiting.get(slot)
        return message.count if message else 0

    def times_without(self, slot: Slot) -> list[datetime]:
        """The times of all messages but this one to the same person."""
        times, due = self.times.get(slot.target, []), self.due(slot)
        if due is None or due not in times:
            return times
        at = times.index(due)
        return [*times[:at], *times[at + 1 :]]

    def add(self, alert: Alert, slot: Slot, at: datetime, reason: str, now: datetime) -> None:
        """Tell of an alert by the message of `slot`, at `at` or when it goes out anyway if that is earlier."""
        # What holds alerts back, or says that they are settled, never passes what is critical.
        severity = alert.severity if slot.kind in URGENT else min(alert.severity, Severity.HIGH)
        message = self.waiting.get(slot)
        if message is None:
            message = self.waiting[slot] = Message(_begin(alert, slot, at, reason, severity, now))
            if slot.person_id is not None and severity < Severity.CRITICAL:
                insort(self.times[slot.target], at)
        delivery = message.delivery
        if at < delivery.due_at:
            if slot.person_id is not None:
                self.times[slot.target] = self.times_without(slot)
                if severity < Severity.CRITICAL:
                    insort(self.times[slot.target], at)
            delivery.due_at = at
        delivery.severity = max(delivery.severity, severity)
        if delivery.site_id != alert.site_id:
            # It is about several sites: in the log only those see it who see all.
            delivery.site_id = None
        message.count += alert.pk not in message.items
        message.items[alert.pk] = reason

    def write(self, now: datetime) -> int:
        """Store what was added; returns how many messages are new or changed."""
        touched = [message for message in self.waiting.values() if message.items]
        begun = [message.delivery for message in touched if message.delivery.pk is None]
        changed = [message.delivery for message in touched if message.stored not in (None, message.state)]
        Delivery.objects.bulk_create(begun)
        Delivery.objects.bulk_update(changed, ["due_at", "severity", "site"])
        rows = [
            DeliveryItem(delivery=message.delivery, alert_id=alert, reason=reason, added_at=now)
            for message in touched
            for alert, reason in message.items.items()
        ]
        DeliveryItem.objects.bulk_create(rows, ignore_conflicts=True, batch_size=5000)
        for message in touched:
            message.items = {}
        return len(touched)


def _unsent(group_keys: Iterable[str]) -> "QuerySet[Delivery]":
    return Delivery.objects.filter(state=State.WAITING, attempts=0, group_key__in=set(group_keys))


def _begin(alert: Alert, slot: Slot, at: datetime, reason: str, severity: int, now: datetime) -> Delivery:
    return Delivery(
        site_id=alert.site_id,
        channel_id=slot.channel_id,
        person_id=slot.person_id,
        kind=slot.kind,
        group_key=slot.group_key,
        severity=severity,
        reason=reason,
        due_at=at,
        created_at=now,
    )

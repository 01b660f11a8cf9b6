"""Whether a channel works: a circuit breaker spares a receiver that fails, and one that goes on failing is paused and
its owner told by another way.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import pybreaker
import redis
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from alerts.delivery.transports import NotTakenNow, PermanentFailure
from alerts.models import Channel, Delivery, Severity
from sensors import valkey

logger = logging.getLogger(__name__)

# So many failures in a row, and nothing is tried for so many seconds; then one message is.
BREAKER_FAILURES, BREAKER_SECONDS = 5, 30
# A channel that fails for so long is paused, again and again, and its owner is told once.
TROUBLE, PAUSE = timedelta(minutes=10), timedelta(minutes=10)
# How far behind `last_sent_at` may be: a row is not written anew for every message.
SENT_NOTED_EVERY = timedelta(seconds=10)
# So many people are told of a channel without an owner.
MOST_WATCHERS = 20


class Refusing(Exception):
    """The channel is spared just now."""


class _Circuit(NamedTuple):
    breaker: pybreaker.CircuitBreaker
    storage: pybreaker.CircuitRedisStorage


@cache
def _circuit(channel_pk: int) -> _Circuit:
    storage = pybreaker.CircuitRedisStorage(
        pybreaker.STATE_CLOSED, valkey.client(), namespace=f"sm:channel:{channel_pk}"
    )
    breaker = pybreaker.CircuitBreaker(
        fail_max=BREAKER_FAILURES,
        reset_timeout=BREAKER_SECONDS,
        # What is wrong with one message says nothing against the channel.
        exclude=[PermanentFailure, NotTakenNow],
        state_storage=storage,
        throw_new_error_on_trip=False,
    )
    return _Circuit(breaker, storage)


def is_open(channel_pk: int, now: datetime) -> bool:
    """Whether nothing may be tried just now. While Valkey is away everything may."""
    try:
        breaker, storage = _circuit(channel_pk)
    except redis.RedisError:
        return False
    if breaker.current_state != pybreaker.STATE_OPEN:
        return False
    opened_at = storage.opened_at
    return bool(opened_at and now < opened_at + timedelta(seconds=BREAKER_SECONDS))


def is_on_trial(channel_pk: int) -> bool:
    """Whether the next message decides if the channel works again."""
    try:
        return bool(_circuit(channel_pk).breaker.current_state != pybreaker.STATE_CLOSED)
    except redis.RedisError:
        return False


@contextmanager
def trying(channel_pk: int) -> Iterator[None]:
    """Around one attempt, so that its outcome counts. Raises Refusing instead of trying when the channel is spared."""
    try:
        attempt: Any = _circuit(channel_pk).breaker.calling()
    except redis.RedisError:
        attempt = nullcontext()
    try:
        with attempt:
            yield
    except pybreaker.CircuitBreakerError as error:
        raise Refusing from error


def succeeded(channel: Channel, *, was_on_trial: bool) -> None:
    """A message got through: what has waited for the channel is due now."""
    now = timezone.now()
    is_noted = channel.last_sent_at is not None and now - channel.last_sent_at < SENT_NOTED_EVERY
    if channel.failing_since is None and channel.paused_until is None and is_noted:
        return
    with transaction.atomic():
        before = Channel.objects.select_for_update(no_key=True).get(pk=channel.pk)
        Channel.objects.filter(pk=channel.pk).update(
            last_sent_at=now, failing_since=None, paused_until=None, last_error=""
        )
        if before.failing_since and (was_on_trial or before.paused_until):
            waiting = Delivery.objects.filter(channel=channel, state=Delivery.State.WAITING, attempts__gt=0)
            waiting.filter(due_at__gt=now).update(due_at=now)
        if before.failing_since and before.paused_until:
            _tell(before, "works", f"{before.name} works again", "What has waited for it is being sent now.")
    channel.last_sent_at, channel.failing_since, channel.paused_until = now, None, None


def failed(channel: Channel, error: str) -> None:
    """A message did not get through, and the channel may be to blame. After a while it is paused."""
    now = timezone.now()
    with transaction.atomic():
        row = Channel.objects.select_for_update(no_key=True).get(pk=channel.pk)
        row.failing_since, row.last_error = row.failing_since or now, error[:300]
        if now - row.failing_since >= TROUBLE:
            if row.paused_until is None:
                since = (
                    f"{row.failing_since.astimezone(row.site.timezone if row.site else now.tzinfo):%Y-%m-%d %H:%M %Z}"
                )
                said = f"Since {since} nothing gets through: {error}. It is tried every ten minutes; nothing is lost."
                _tell(row, "fails", f"{row.name} fails", said)
            row.paused_until = now + PAUSE
        row.save(update_fields=["failing_since", "last_error", "paused_until"])
    channel.failing_since, channel.paused_until = row.failing_since, row.paused_until


def line_up(channel: Channel) -> None:
    """Have the first that waits for a paused channel show whether it works again, whenever its own turn would be."""
    waiting = Delivery.objects.filter(channel=channel, state=Delivery.State.WAITING, attempts__gt=0)
    if channel.paused_until is not None and not waiting.filter(due_at__lte=channel.paused_until).exists():
        first = waiting.order_by("-severity", "due_at", "pk").values("pk")[:1]
        Delivery.objects.filter(pk__in=first).update(due_at=channel.paused_until)


def _tell(channel: Channel, what: str, subject: str, body: str) -> None:
    """Let those who look after the channel know, each by another way; by a place when none of them has one."""
    others = list(Channel.objects.filter(enabled=True, failing_since=None).exclude(pk=channel.pk))
    notices = [
        _notice(channel, other, person, what, subject, body)
        for person in watchers(channel)
        if (other := _way_to(person, others)) is not None
    ]
    places = [other for other in others if not other.is_personal and other.site_id in (None, channel.site_id)]
    if not notices and places:
        notices.append(_notice(channel, places[0], None, what, subject, body))
    # One that still waits says the same.
    Delivery.objects.bulk_create(notices, ignore_conflicts=True)


def _notice(channel: Channel, by: Channel, person: User | None, what: str, subject: str, body: str) -> Delivery:
    return Delivery(
        site=channel.site,
        channel=by,
        person=person,
        kind=Delivery.Kind.NOTICE,
        group_key=f"channel-{channel.pk}-{what}",
        severity=Severity.HIGH,
        reason=f"you look after the channel {channel.name}." if person else "nobody could be told in person.",
        subject=subject,
        body=body,
    )


def watchers(channel: Channel) -> "list[User]":
    """Its owner, or else those who may change it."""
    if channel.owner is not None and channel.owner.is_active:
        return [channel.owner]
    may = Q(groups__permissions__codename="change_channel") | Q(is_superuser=True)
    everywhere = Q(groups__permissions__codename="view_all_sites") | Q(is_superuser=True)
    seeing = everywhere if channel.site_id is None else everywhere | Q(sites=channel.site_id)
    able: QuerySet[User] = User.objects.filter(may, is_active=True).filter(
        pk__in=User.objects.filter(seeing).values("pk")
    )
    return list(able.distinct().order_by("pk")[:MOST_WATCHERS])


def _way_to(person: User, others: list[Channel]) -> Channel | None:
    """A personal channel by which this person can be reached."""
    theirs = set(person.contacts.values_list("channel", flat=True))
    for other in others:
        if other.is_personal and (other.pk in theirs or (other.kind == Channel.Kind.EMAIL and person.email)):
            return other
    return None

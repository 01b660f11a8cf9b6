"""Messages on their way: claimed, sent and marked, so that each ends sent or visibly failed, whoever dies meanwhile.

A message is leased before it is sent and marked after it. When its sender dies in between, the lease runs out and it is
sent again under the same key: at least once, and a receiver can tell.
"""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from alerts import lifecycle, nudge
from alerts.delivery import channel_health, messages, secrets
from alerts.delivery.channel_health import Refusing
from alerts.delivery.messages import NotNeeded
from alerts.delivery.transports import Failure, Message, NotSetUp, NotTakenNow, PermanentFailure, Send, network, opened
from alerts.models import Alert, Channel, Contact, Delivery, Severity
from alerts.querysets import DeliveryQuerySet
from sensors import nudges
from sensors.models import Site

logger = logging.getLogger(__name__)

State = Delivery.State
# Who has claimed messages sends all of them within this time: 5 x 10 s (transports.network.SEND_SECONDS).
LEASE, CLAIM = timedelta(seconds=60), 5
# So many threads of a process send by one channel at once: a receiver that hangs holds up these, and no other channel.
SENDERS = 2
# And so many by all channels that are one site's: whatever hangs there, others have threads left.
SENDERS_OF_SITE = 6
# A turn ends after this long, so that a channel with a long queue lets others have the thread.
TURN_SECONDS = 5.0
# Temporary failures: eight attempts within half a day to a day. Half of each wait is fixed, the other half is chance:
# with chance alone all eight may fall into the same outage.
ATTEMPTS = 8
FIRST_WAIT, FACTOR, LONGEST_WAIT = timedelta(seconds=30), 4, timedelta(hours=10)
# Of a channel that is down attempts do not count, but for no longer than this.
PATIENCE = timedelta(days=1)
URGENCY = ("-severity", "due_at", "pk")

_lock = threading.Lock()
_senders: Counter[tuple[str, int]] = Counter()


def waited_for() -> list[int]:
    """The channels by which something is due and may be tried."""
    nudges.looking(nudge.DELIVER)
    now = timezone.now()
    awake = Q(channel__enabled=True) & (Q(channel__paused_until=None) | Q(channel__paused_until__lte=now))
    rows = _due(now).filter(awake | Q(kind=Delivery.Kind.TEST)).order_by()
    return list(rows.values_list("channel", flat=True).distinct())


def deliver_due() -> int:
    """Send what is due by every channel; returns how many messages were seen to."""
    return sum(deliver_by(channel) for channel in waited_for())


def deliver_by(channel_pk: int) -> int:
    """Send what is due by one channel, for a turn at most; returns how many messages were seen to.

    Any number of threads and processes may do so at once: each claims its own.
    """
    done, deadline = 0, time.monotonic() + TURN_SECONDS
    with _place(channel_pk) as is_free:
        if not is_free:
            return 0
        channel, claimed = _claim(channel_pk)
        if not claimed:
            return 0
        with opened(channel) as send:
            while claimed:
                for delivery in claimed:
                    _deliver(delivery, send)
                done += len(claimed)
                claimed = _claim(channel_pk)[1] if time.monotonic() < deadline else []
    return done


@contextmanager
def _place(channel_pk: int) -> Iterator[bool]:
    site = Channel.objects.filter(pk=channel_pk).values_list("site", flat=True).first()
    most = {("channel", channel_pk): SENDERS} | ({} if site is None else {("site", site): SENDERS_OF_SITE})
    with _lock:
        is_free = all(_senders[place] < number for place, number in most.items())
        _senders.update(dict.fromkeys(most, int(is_free)))
    try:
        yield is_free
    finally:
        with _lock:
            _senders.subtract(dict.fromkeys(most, int(is_free)))


def _due(now: datetime) -> DeliveryQuerySet:
    waits, lost = Q(state=State.WAITING, due_at__lte=now), Q(state=State.SENDING, lease_until__lte=now)
    # The first condition is the one of the index.
    return Delivery.objects.filter(Q(state__in=[State.WAITING, State.SENDING]) & (waits | lost))


def _claim(channel_pk: int) -> tuple[Channel, list[Delivery]]:
    """Lease the most urgent messages of a channel, as many as its limits allow."""
    now = timezone.now()
    with transaction.atomic():
        # Two claims at once would both see the same room under the limit.
        channel = (
            Channel.objects.select_for_update(no_key=True, of=("self",))
            .select_related("site", "owner")
            .get(pk=channel_pk)
        )
        rows, most = _allowed(channel, _due(now).filter(channel=channel), now)
        rows = rows.select_related("person", "site").select_for_update(skip_locked=True, of=("self",))
        claimed = list(rows[:most])
        Delivery.objects.filter(pk__in=[row.pk for row in claimed]).update(
            state=State.SENDING, attempts=F("attempts") + 1, lease_until=now + LEASE
        )
    people = {row.person_id: row.person for row in claimed}
    for row in claimed:
        # One object for all messages of a person: it remembers what they may do.
        row.person = people[row.person_id]
        row.channel, row.state, row.attempts, row.lease_until = channel, State.SENDING, row.attempts + 1, now + LEASE
    return channel, claimed


def _allowed(channel: Channel, rows: DeliveryQuerySet, now: datetime) -> tuple[DeliveryQuerySet, int]:
    """What of the due messages may be tried, in order, and how many at once.

    A test is tried always: somebody waits for it.
    """
    rows = rows.order_by(*URGENCY)
    tests, paused = rows.filter(kind=Delivery.Kind.TEST), bool(channel.paused_until and channel.paused_until > now)
    if not channel.enabled or paused or channel_health.is_open(channel.pk, now):
        return tests, CLAIM
    if channel.paused_until or channel_health.is_on_trial(channel.pk):
        # One that was tried in vain may be what is wrong; it must not speak for the others again and again.
        return rows.order_by("attempts", "due_at", "pk"), 1
    mine = Delivery.objects.filter(channel=channel)
    lately = mine.filter(sent_at__gt=now - timedelta(minutes=1)).count()
    room = channel.per_minute - lately - mine.filter(state=State.SENDING, lease_until__gt=now).count()
    if room > 0:
        return rows, min(room, CLAIM)
    return rows.filter(Q(severity=Severity.CRITICAL) | Q(kind=Delivery.Kind.TEST)), CLAIM


def _deliver(delivery: Delivery, send: Send) -> None:
    """One attempt at one message, and its outcome in its row."""
    if delivery.lease_until is None or delivery.lease_until < timezone.now() + timedelta(seconds=network.SEND_SECONDS):
        # Those before it took too long (a name server that hangs is not cut off): somebody else may have it soon.
        return
    if delivery.attempts > ATTEMPTS:
        # It was never marked: whoever sent it has died of it, or with it, each time.
        _fail(delivery, delivery.error or "its sender was interrupted again and again")
        return
    channel, was_on_trial = delivery.channel, channel_health.is_on_trial(delivery.channel_id)
    try:
        message, to = _composed(delivery)
        with channel_health.trying(channel.pk):
            send(message, to)
    except NotNeeded as reason:
        _mark(delivery, State.CANCELLED, error=str(reason))
    except Refusing:
        # Another thread has seen the channel fail after this message was claimed: it was not tried.
        delivery.attempts = max(1, delivery.attempts - 1)
        _put_off(delivery, timezone.now() + timedelta(seconds=channel_health.BREAKER_SECONDS), "the channel fails")
    except NotSetUp as failure:
        # Whoever runs the installation knows; an alert on it would take the same way.
        _mark(delivery, State.FAILED, error=str(failure))
    except PermanentFailure as failure:
        _fail(delivery, str(failure))
    except NotTakenNow as failure:
        _try_again(delivery, failure, str(failure))
    except Exception as error:
        _failed_for_now(delivery, error)
    else:
        kept = {"subject": message.subject, "body": messages.as_kept(message)}
        _mark(delivery, State.SENT, sent_at=timezone.now(), error="", **kept)
        channel_health.succeeded(channel, was_on_trial=was_on_trial)


def _composed(delivery: Delivery) -> tuple[Message, str]:
    """What to send, and where to. Raises NotNeeded and failures, none of which speaks against the channel."""
    try:
        return messages.compose(delivery), _address(delivery)
    except (NotNeeded, Failure):
        raise
    except Exception as error:
        raise NotTakenNow(_detail(delivery, error)) from error


def _address(delivery: Delivery) -> str:
    """Where this person is reached by the channel; empty where it is a place. Raises PermanentFailure."""
    person, channel = delivery.person, delivery.channel
    if person is None:
        return ""
    contact = Contact.objects.filter(person=person, channel=channel).first()
    address = contact.address if contact else ""
    if not address and channel.kind == Channel.Kind.EMAIL:
        address = person.email
    if not address and channel.is_personal:
        raise PermanentFailure(f"{person} has no address for {channel}")
    return address


def _failed_for_now(delivery: Delivery, error: Exception) -> None:
    channel, detail = delivery.channel, _detail(delivery, error)
    was_down = channel.paused_until is not None
    channel_health.failed(channel, detail)
    if was_down and channel.failing_since and timezone.now() - channel.failing_since < PATIENCE:
        # Not the message's fault. At one attempt it stays, because further alerts may join what has none.
        delivery.attempts = max(1, delivery.attempts - 1)
    _try_again(delivery, error, detail)
    channel_health.line_up(channel)


def _try_again(delivery: Delivery, error: Exception, detail: str) -> None:
    if delivery.attempts >= ATTEMPTS or delivery.kind == Delivery.Kind.TEST:
        _fail(delivery, detail)
    else:
        _put_off(delivery, _next_attempt(delivery, error), detail)


def _detail(delivery: Delivery, error: Exception) -> str:
    if isinstance(error, Failure | secrets.Unreadable):
        return str(error)
    # The text of an unknown error may hold addresses with tokens; it is for the log.
    about = {"delivery": delivery.pk, "channel": delivery.channel_id}
    logger.error("message not sent", exc_info=error, extra=about)
    return f"unexpected failure ({type(error).__name__}); the log has more"


def _next_attempt(delivery: Delivery, error: Exception) -> datetime:
    now, failing_since = timezone.now(), delivery.channel.failing_since
    at = now + wait_after(delivery.attempts, random.random())  # noqa: S311
    if failing_since is not None and now < failing_since + channel_health.TROUBLE:
        # By then somebody has to know whether the channel is in trouble, however seldom it is used.
        at = min(at, failing_since + channel_health.TROUBLE)
    return max(at, now + timedelta(seconds=getattr(error, "retry_after_seconds", None) or 0))


def wait_after(attempts: int, chance: float) -> timedelta:
    """How long to wait after so many attempts; `chance` is between 0 and 1.

    >>> [str(wait_after(attempts, 1)) for attempts in (1, 2, 3, 4, 5, 6, 7)]
    ['0:00:30', '0:02:00', '0:08:00', '0:32:00', '2:08:00', '8:32:00', '10:00:00']
    """
    longest: timedelta = min(FIRST_WAIT * FACTOR ** (attempts - 1), LONGEST_WAIT)
    return longest * (1 + chance) / 2


def _put_off(delivery: Delivery, until: datetime, error: str) -> None:
    _mark(delivery, State.WAITING, due_at=until, error=error[:300], attempts=delivery.attempts)


def _fail(delivery: Delivery, error: str) -> None:
    _mark(delivery, State.FAILED, error=error[:300], attempts=min(delivery.attempts, ATTEMPTS))
    if delivery.kind != Delivery.Kind.TEST:
        _raise_alert_of(delivery, error)


def _mark(delivery: Delivery, state: Delivery.State, **values: object) -> None:
    """Unless somebody else has: a sender that was held up for longer than its lease comes too late."""
    mine = Delivery.objects.filter(pk=delivery.pk, state=State.SENDING, lease_until=delivery.lease_until)
    mine.update(state=state, lease_until=None, **values)


def _raise_alert_of(delivery: Delivery, error: str) -> None:
    """One alert says that messages of a channel have failed for good; those who see to it find them in the log."""
    channel = delivery.channel
    site = delivery.site or channel.site or Site.objects.order_by("pk").first()
    if site is None:
        return
    now = timezone.now()
    lifecycle.raise_alert(
        # One a site: what it says of an address is not for others to read.
        dedup_key=f"{_alert_key(channel)}{site.pk}",
        site=site,
        kind=Alert.Kind.SYSTEM,
        title=f"Messages by {channel} cannot be delivered",
        severity=Severity.HIGH,
        evidence={"channel": channel.pk, "error": error},
        began_at=now,
        last_seen_at=now,
    )


def _alert_key(channel: Channel) -> str:
    return f"channel:{channel.pk}:"


def redrive(rows: DeliveryQuerySet, actor: lifecycle.Actor = lifecycle.PLATFORM) -> int:
    """Send failed messages again, each under its own key; returns how many. The alert on their channels is settled when
    nothing of them is left.
    """
    now = timezone.now()
    with transaction.atomic():
        failed = list(rows.filter(state=State.FAILED).select_for_update(of=("self",)).values_list("pk", "channel"))
        # At one attempt, because other alerts may join a message that has none.
        Delivery.objects.filter(pk__in=[pk for pk, _ in failed]).update(
            state=State.WAITING, attempts=1, due_at=now, error=""
        )
        for channel in Channel.objects.filter(pk__in={channel for _, channel in failed}):
            if not channel.deliveries.filter(state=State.FAILED).exists():
                _settle(channel, actor)
        nudge.deliver()
    return len(failed)


def _settle(channel: Channel, actor: lifecycle.Actor) -> None:
    for alert in Alert.objects.filter(dedup_key__startswith=_alert_key(channel)).unresolved():
        lifecycle.resolve(alert, actor, "Its messages are sent again.")

"""What a message says, made from its alerts as they stand when it is sent."""

import logging
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from alerts.delivery import links, message_templates, template_versions
from alerts.delivery.message_templates import Rendered
from alerts.delivery.transports import Message
from alerts.models import Alert, Delivery, DeliveryItem, Severity, State

logger = logging.getLogger(__name__)

LISTED = 50
# What SMS and the like are cut to: two parts of a long SMS.
SHORT = 320
Kind = Delivery.Kind


class NotNeeded(Exception):
    """What the message was to say holds no longer; its text says why."""


def compose(delivery: Delivery) -> Message:
    """The message of a delivery. Raises NotNeeded.

    Its alerts are looked at anew: what is resolved meanwhile is shown as settled, what the person may not see any more
    is left out.
    """
    items = _of_interest(delivery)
    context = context_of(delivery, items, timezone.now())
    rendered = _rendered(context)
    return Message(
        key=delivery.key,
        kind=context["kind"],
        group=delivery.group_key,
        severity=context["severity"],
        subject=rendered.subject,
        text=rendered.text,
        html=rendered.html,
        short=short(rendered.subject, context["acknowledge_url"] or context["url"]),
        url=context["url"],
        made_at=timezone.now(),
        alerts=context["alerts"],
    )


def _of_interest(delivery: Delivery) -> list[DeliveryItem]:
    """Its items, the worst first. Raises NotNeeded."""
    if delivery.kind in (Kind.NOTICE, Kind.TEST):
        return []
    person: User | None = delivery.person
    if person is not None and not person.is_active:
        raise NotNeeded("the account is not active any more")
    rows = delivery.items.select_related("alert__site", "alert__asset", "alert__sensor")
    if person is not None:
        rows = rows.filter(alert__in=Alert.objects.visible_to(person))
    if delivery.channel.site_id is not None:
        # It may have become another site's since the message was written.
        rows = rows.filter(alert__site=delivery.channel.site_id)
    items = sorted(rows, key=lambda item: (item.alert.is_resolved, -item.alert.severity, item.pk))
    if not items:
        raise NotNeeded("none of its alerts is for this person or place any more")
    _require_wanted(Kind(delivery.kind), [State(item.alert.state) for item in items])
    return items


def _require_wanted(kind: Delivery.Kind, states: list[State]) -> None:
    if kind == Kind.ALERT and all(state == State.RESOLVED for state in states):
        raise NotNeeded("everything it tells of was resolved before it was sent")
    if kind == Kind.ESCALATION and State.OPEN not in states:
        raise NotNeeded("somebody has taken it on before it was sent")
    if kind == Kind.SETTLED and State.RESOLVED not in states:
        raise NotNeeded("what was settled is open again")


def context_of(delivery: Delivery, items: list[DeliveryItem], now: datetime) -> dict[str, Any]:
    """The values that templates may name (message_templates.VARIABLES): plain texts, numbers and lists of these."""
    listed = [_item(item, delivery) for item in items[:LISTED]]
    worst: dict[str, Any] = listed[0] if listed else {}
    severity = Severity(max((item.alert.severity for item in items), default=delivery.severity)).label
    return {
        "kind": _kind(delivery, items),
        "severity": severity,
        "is_critical": severity == Severity.CRITICAL.label,
        "count": len(items),
        "open_count": sum(not item.alert.is_resolved for item in items),
        "title": worst.get("title", delivery.subject),
        **{name: worst.get(name, "") for name in ("site", "asset", "sensor", "state", "opened_at", "acknowledge_url")},
        "reason": delivery.reason,
        "person": (delivery.person.get_full_name() or delivery.person.get_username()) if delivery.person else "",
        "channel": delivery.channel.name,
        "alerts": listed,
        "more": max(len(items) - LISTED, 0),
        "url": worst["url"] if len(items) == 1 else links.absolute(_page(delivery, items)),
        "text": "" if items else delivery.body,
    }


def _page(delivery: Delivery, items: list[DeliveryItem]) -> str:
    return reverse("alerts:inbox") if items else reverse("alerts:channels")


def _kind(delivery: Delivery, items: list[DeliveryItem]) -> str:
    if delivery.kind != Kind.ALERT:
        return str(delivery.kind)
    kind = str(items[0].alert.kind)
    return kind if kind in message_templates.KINDS else "system"


def _item(item: DeliveryItem, delivery: Delivery) -> dict[str, Any]:
    alert = item.alert
    person: User | None = delivery.person
    # In a room others would acknowledge by it.
    unseen = delivery.channel.is_personal and alert.state in (State.OPEN, State.SNOOZED)
    may = unseen and person is not None and person.has_perm("alerts.acknowledge_alert")
    return {
        "id": alert.pk,
        "title": alert.title,
        "kind": alert.get_kind_display(),
        "severity": alert.get_severity_display(),
        "state": alert.get_state_display().lower(),
        "is_settled": alert.is_resolved,
        "site": alert.site.name,
        "asset": alert.asset.name if alert.asset else "",
        "sensor": str(alert.sensor) if alert.sensor else "",
        "opened_at": f"{alert.opened_at.astimezone(alert.site.timezone):%Y-%m-%d %H:%M} {alert.site.timezone}",
        "occurrences": alert.occurrences,
        "reason": item.reason,
        "url": links.absolute(alert.get_absolute_url()),
        "acknowledge_url": links.acknowledge_url(alert, person) if may and person else "",
    }


def _rendered(context: dict[str, Any]) -> Rendered:
    kind = context["kind"]
    try:
        return message_templates.render(template_versions.in_use(kind), context)
    except Exception:
        # Better in other words than not at all.
        logger.exception("a template fails; the delivered one serves", extra={"kind": kind})
        return message_templates.render(message_templates.default(kind), context)


def as_kept(message: Message) -> str:
    """The text for the log, without the links by which its reader acknowledges: others read the log, too."""
    text = message.text
    for alert in message.alerts:
        if alert["acknowledge_url"]:
            text = text.replace(alert["acknowledge_url"], "(a link of their own)")
    return text


def short(subject: str, url: str) -> str:
    """One line that ends with the address, cut in its words where it is too long.

    >>> short("[CRITICAL] Pump P-101 is hot", "https://plant.example.com/alerts/7/")
    '[CRITICAL] Pump P-101 is hot https://plant.example.com/alerts/7/'
    >>> len(short("x" * 500, "https://plant.example.com/alerts/7/"))
    320
    """
    room = SHORT - len(url) - 1
    return f"{subject if len(subject) <= room else subject[: room - 1] + '…'} {url}"

"""Versions of templates: which one is in use, a new one, an older one again, and how each reads on an example."""

from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max

from alerts.delivery import message_templates
from alerts.delivery.message_templates import ITEM_VARIABLES, Rendered, Source
from alerts.models import MessageTemplate
from sensors.errors import Refused


def in_use(kind: str) -> Source:
    """What messages of a kind are made by now."""
    row = MessageTemplate.objects.filter(kind=kind, active=True).first()
    return source_of(row) if row else message_templates.default(kind)


def source_of(row: MessageTemplate) -> Source:
    return Source(row.subject, row.text, row.html)


def checked(kind: str, source: Source) -> Rendered:
    """How a template reads on the example of its kind. Raises Refused with everything that is wrong with it."""
    if found := message_templates.problems(source):
        raise Refused("bad_template", " ".join(problem.rstrip(".") + "." for problem in found), 422)
    try:
        rendered = message_templates.render(source, example(kind))
    except Exception as error:
        raise Refused("bad_template", f"It cannot be filled in: {error}", 422) from error
    if not rendered.subject or not rendered.text.strip():
        raise Refused("empty_template", "A message needs a subject and a text.", 422)
    return rendered


@transaction.atomic
def keep(row: MessageTemplate, by: User) -> None:
    """Store a new version, not in use yet. Raises Refused."""
    checked(row.kind, source_of(row))
    # Two at once would count to the same version.
    same = list(MessageTemplate.objects.filter(kind=row.kind).select_for_update().values_list("pk", flat=True))
    newest = MessageTemplate.objects.filter(pk__in=same).aggregate(newest=Max("version"))["newest"] or 0
    row.version, row.by, row.active = newest + 1, by, False
    row.save(force_insert=True)


@transaction.atomic
def use(row: MessageTemplate) -> None:
    """Make messages by this version from now on. Raises Refused when it is not good any more."""
    checked(row.kind, source_of(row))
    MessageTemplate.objects.filter(kind=row.kind, active=True).exclude(pk=row.pk).update(active=False)
    MessageTemplate.objects.filter(pk=row.pk).update(active=True)


def use_delivered(kind: str) -> None:
    """Make messages by the template that the platform brings along again."""
    MessageTemplate.objects.filter(kind=kind, active=True).update(active=False)


def example(kind: str) -> dict[str, Any]:
    """Values as a message of this kind may have them; every variable has one."""
    texts = {name: f"example of {name}" for name in ITEM_VARIABLES}
    item: dict[str, Any] = texts | {
        "id": 4711,
        "title": "Vibration of P-101 far above its usual level",
        "kind": kind.replace("_", " "),
        "severity": "critical",
        "state": "resolved" if kind == "settled" else "open",
        "is_settled": kind == "settled",
        "site": "North plant",
        "asset": "Pump P-101",
        "sensor": "north.p101.vibration",
        "opened_at": "2026-03-01 12:04 Europe/Berlin",
        "occurrences": 3,
        "reason": "the route “High and critical alerts” names those who may acknowledge.",
        "url": "https://plant.example.com/alerts/4711/",
        "acknowledge_url": "https://plant.example.com/alerts/by-link/example/",
    }
    other = item | {"id": 4712, "title": "Temperature of P-101 above its limit", "severity": "high"}
    alerts = [] if kind in ("notice", "test") else [item, other]
    shared = ("title", "severity", "site", "asset", "sensor", "state", "opened_at", "reason", "url", "acknowledge_url")
    return {name: item[name] for name in shared} | {
        "kind": kind,
        "is_critical": True,
        "count": len(alerts),
        "open_count": sum(not alert["is_settled"] for alert in alerts),
        "person": "Olga Operator",
        "channel": "E-mail",
        "alerts": alerts,
        "more": 0,
        "text": "" if alerts else "Since 2026-03-01 12:04 UTC nothing gets through: the receiver answers 503.",
    }

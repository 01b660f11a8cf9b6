"""Templates of messages: the defaults in templates/alerts/messages/, and what admins have put in their place.

A template is rendered by an engine of its own that knows plain values and the tags of `message_tags` only.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from django.conf import settings
from django.template import Context, Engine, Library, Template, TemplateSyntaxError
from django.template.base import FilterExpression, Node, Variable
from django.template.defaulttags import ForNode
from django.template.smartif import TokenBase

from alerts.delivery import message_tags

DIRECTORY = settings.BASE_DIR / "templates" / "alerts" / "messages"
# What a message may be about, and when it is sent.
KINDS = {
    "anomaly": "Something unusual in the readings of a sensor or a machine.",
    "limit": "A limit was passed.",
    "sensor_fault": "An instrument is broken.",
    "silent": "Sensors, or what sends for them, have fallen silent.",
    "drift": "Readings are no longer like those that a model has learned from.",
    "model": "A model was trained again, or something is wrong with one.",
    "maintenance": "Maintenance is due.",
    "forecast": "A failure or a limit lies ahead.",
    "system": "The platform itself needs somebody.",
    "escalation": "Nobody has acknowledged it, and now others are asked.",
    "digest": "What could wait, collected.",
    "settled": "What people were told of is over.",
    "notice": "A channel fails, or works again.",
    "test": "Somebody tries a channel out.",
}
# What every template may name: plain texts and numbers.
VARIABLES = {
    "kind": "what the message is about, one of the kinds of templates",
    "severity": "the worst severity of its alerts: critical, high, medium or low",
    "is_critical": "whether that is critical",
    "count": "how many alerts it tells of",
    "open_count": "how many of them are not resolved",
    "title": "the title of the worst alert",
    "site": "the site of the worst alert",
    "asset": "the machine of the worst alert",
    "sensor": "the sensor of the worst alert",
    "state": "the state of the worst alert: open, acknowledged, snoozed or resolved",
    "opened_at": "when the worst alert was raised, in the time zone of its site",
    "reason": "why this person or place is told",
    "person": "who is told; empty where the channel is a place",
    "channel": "the channel it goes by",
    "alerts": "the alerts, the worst first, fifty at most; see below",
    "more": "how many further alerts are not listed",
    "url": "the address of the alert's page, or of the inbox when it tells of several",
    "acknowledge_url": "the link by which this person acknowledges the worst alert; empty where there is none",
    "text": "of a notice or a test, what is to be said",
}
ITEM_VARIABLES = {
    "id": "its number",
    "title": "what has happened",
    "kind": "anomaly, limit, sensor fault, ...",
    "severity": "critical, high, medium or low",
    "state": "open, acknowledged, snoozed or resolved",
    "is_settled": "whether it is resolved",
    "site": "its site",
    "asset": "its machine",
    "sensor": "its sensor",
    "opened_at": "when it was raised, in the time zone of its site",
    "occurrences": "how often its cause was seen",
    "reason": "why this person or place is told of it",
    "url": "the address of its page",
    "acknowledge_url": "the link by which this person acknowledges it; empty where there is none",
}
EMPTY_LINES = re.compile(r"\n\s*\n\s*\n")
MAX_SUBJECT, MAX_SOURCE, MAX_RENDERED = 200, 20_000, 100_000


@dataclass(frozen=True)
class Source:
    """The three parts of a template. `html` is made from the default layout when it is empty."""

    subject: str
    text: str
    html: str = ""


@dataclass(frozen=True)
class Rendered:
    subject: str
    text: str
    html: str


class _Engine(Engine):
    """Without {% load %}, {% include %}, {% extends %} and everything else that reaches beyond the template."""

    default_builtins = ["alerts.delivery.message_tags"]

    def get_template_builtins(self, builtins: list[str]) -> list[Library]:
        return [message_tags.register]


@cache
def _engine(escaping: bool) -> Engine:
    return _Engine(loaders=[], autoescape=escaping)


@cache
def default(kind: str) -> Source:
    """The template as it is delivered: a file whose first line is the subject, and HTML beside it where it differs."""
    subject, _, text = (DIRECTORY / f"{kind}.txt").read_text().partition("\n")
    own = DIRECTORY / f"{kind}.html"
    return Source(subject, text.lstrip("\n"), (own if own.exists() else DIRECTORY / "message.html").read_text())


def render(source: Source, context: dict[str, Any]) -> Rendered:
    """Raises TemplateSyntaxError for a template that cannot be read, and whatever rendering it raises."""
    subject = " ".join(_render(source.subject, context, escaping=False).split())
    # Where an {% if %} was not met an empty line is left.
    text = EMPTY_LINES.sub("\n\n", _render(source.text, context, escaping=False).strip()) + "\n"
    # A layout shows the text of templates that have no HTML of their own.
    html = _render(source.html or _layout(), context | {"body": text}, escaping=True)
    return Rendered(subject[:MAX_SUBJECT], text[:MAX_RENDERED], html[:MAX_RENDERED])


def _render(source: str, context: dict[str, Any], *, escaping: bool) -> str:
    return str(_kept(source, escaping).render(Context(context, autoescape=escaping)))


@cache
def _layout() -> str:
    return (DIRECTORY / "plain.html").read_text()


@lru_cache(maxsize=100)
def _kept(source: str, escaping: bool) -> Template:
    """Reading a template takes longer than filling it in."""
    return _compiled(source, escaping)


def _compiled(source: str, escaping: bool) -> Template:
    if len(source) > MAX_SOURCE:
        raise TemplateSyntaxError(f"A template has at most {MAX_SOURCE:,} characters.")
    return Template(source, engine=_engine(escaping))


def problems(source: Source) -> list[str]:
    """What is wrong with a template, in words for whoever wrote it; nothing when it may be used."""
    found = []
    for name, text in (("subject", source.subject), ("text", source.text), ("html", source.html)):
        try:
            template = _compiled(text, escaping=name == "html")
        except TemplateSyntaxError as error:
            found.append(f"{name}: {error}")
            continue
        found += [f"{name}: {problem}" for problem in _misuse(template)]
    return found


def _misuse(template: Template) -> Iterator[str]:
    nodes: Any = template.nodelist
    loops: list[Any] = nodes.get_nodes_by_type(ForNode)
    if any(inner is not loop for loop in loops for inner in loop.nodelist_loop.get_nodes_by_type(ForNode)):
        yield "a loop inside a loop is not allowed"
    own = {name for loop in loops for name in loop.loopvars} | {"forloop", "body"}
    for path in sorted(_names(nodes, own)):
        first, *rest = path.split(".")
        if first not in VARIABLES and first not in own:
            yield f"nothing is called {first}"
        elif rest and first in own - {"forloop", "body"} and rest[0] not in ITEM_VARIABLES:
            yield f"an alert has no {rest[0]}"
        elif rest and (first not in own or first == "body"):
            yield f"{first} has no parts"


def _names(part: Any, own: set[str]) -> set[str]:
    """Every variable that part of a template names; those that {% with %} makes are put into `own`."""
    if isinstance(part, Variable):
        return {part.var} if part.lookups and isinstance(part.var, str) else set()
    if isinstance(part, dict):
        own.update(part)
    if isinstance(part, FilterExpression):
        return _names(part.var, own).union(*(_names(argument, own) for _, row in part.filters for _, argument in row))
    if isinstance(part, Node | TokenBase):
        skipped = {"token", "origin", "parser", "lbp", "id"}
        return set().union(*(_names(value, own) for name, value in vars(part).items() if name not in skipped))
    inner: Any = part.values() if isinstance(part, dict) else part if isinstance(part, list | tuple) else ()
    return set().union(*(_names(value, own) for value in inner))

"""Who would be told of an alert, and who will be next: the plans of `routes` and `escalation` in words."""

from copy import copy
from dataclasses import dataclass, field
from datetime import datetime

from alerts.models import Alert, Delivery, Escalation, State
from alerts.routing import escalation, ladders
from alerts.routing.circumstances import Circumstances, Terms
from alerts.routing.escalation import Planned
from alerts.routing.ledger import Ledger, Target
from alerts.routing.routes import DIGEST, QUIET, Explanation, explain


@dataclass(frozen=True)
class Entry:
    """`who` hears by `channel` at `at` and why; without `at` they do not, and `timing` says why not."""

    who: str
    channel: str
    at: datetime | None
    why: str
    timing: str = ""


@dataclass
class Preview:
    """What will be sent, in order of time. `held` says why nobody is told now; `look_again` is when that may change."""

    entries: list[Entry] = field(default_factory=list)
    held: str = ""
    look_again: datetime | None = None


def if_raised_now(alert: Alert, now: datetime, route: Terms | None = None) -> Preview:
    """Who would hear, and when, if this alert were raised at `now`; with `route` in place of the saved one it is of.

    The alert need not be saved. Of a policy the first round is shown.
    """
    fresh = copy(alert)
    fresh.state, fresh.told_severity, fresh.historical = State.OPEN, None, False
    known = Circumstances.load([fresh], now)
    if route is not None:
        known.routes = [row for row in known.routes if row.pk is None or row.pk != route.pk] + [route]
        wanted = {row.policy_id for row in known.routes if row.policy_id}
        known.ladders = ladders.load(wanted, now)
    found = explain(fresh, known, Ledger.seen({DIGEST, QUIET, known.group_key(fresh)}, now), now)
    entries = _told(found, known)
    for policy in sorted(found.policies):
        if rungs := known.ladders[policy].rungs:
            steps = escalation.ahead(known.ladders[policy], 0, 0, now + rungs[0].wait, known, fresh.site_id)
            entries += [entry for step in steps for entry in _planned(step, known)]
    return Preview(_in_order(entries), found.held, found.look_again)


def coming(alert: Alert, now: datetime) -> Preview:
    """What will be sent about an alert besides the messages that wait already, unless somebody acknowledges it."""
    if alert.state != State.OPEN or alert.historical:
        return Preview()
    running = list(Escalation.objects.running().filter(alert=alert))
    known = Circumstances.load([alert], now)
    known.ladders |= ladders.load({row.policy_id for row in running}, now)
    entries = [
        entry
        for row in running
        if row.next_at is not None
        for step in escalation.ahead(
            known.ladders[row.policy_id], row.round, row.step, row.next_at, known, alert.site_id
        )
        for entry in _planned(step, known)
    ]
    found = explain(alert, known, Ledger.seen({DIGEST, QUIET, known.group_key(alert)}, now), now)
    told = _told(found, known)
    if alert.told_severity is not None:
        # The rest was told; whom nothing reaches still does not know.
        return Preview(_in_order([*(entry for entry in told if entry.at is None), *entries]))
    return Preview(_in_order([*told, *entries]), found.held, found.look_again)


def _told(found: Explanation, known: Circumstances) -> list[Entry]:
    entries = []
    for line in found.lines:
        who, channel = _names(line.slot.target, known)
        what = "Digest. " if line.slot.kind == Delivery.Kind.DIGEST else ""
        entries.append(Entry(who, channel, line.at, line.reason, what + line.timing))
    return entries


def _planned(step: Planned, known: Circumstances) -> list[Entry]:
    name = f"Step {step.step} of “{step.ladder}”"
    if not step.targets:
        return [Entry("Nobody", "", step.at, f"{name} reaches nobody then: the next one follows at once.")]
    timing = "If nobody has acknowledged it by then."
    return [Entry(*_names(target, known), step.at, f"{name}, {why}.", timing) for target, why in step.targets.items()]


def _names(target: Target, known: Circumstances) -> tuple[str, str]:
    person_id, channel_id = target
    channel = known.directory.channels.get(channel_id)
    name = channel.name if channel else ""
    return (name, "") if person_id is None else (known.directory.people[person_id].name, name)


def _in_order(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: (entry.at is None, entry.at.timestamp() if entry.at else 0, entry.who))

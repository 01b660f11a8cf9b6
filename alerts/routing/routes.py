"""Who is told of an alert, by which channel, when, and why: the one answer that messages, previews and pages share.

`explain` only looks at what it is given, so that it can be asked about alerts that never were and routes that are not
saved.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from alerts import silences
from alerts.models import Alert, Delivery, Preference, Severity
from alerts.routing import budget, quiet_hours
from alerts.routing.circumstances import Circumstances, Terms
from alerts.routing.directory import Person
from alerts.routing.ledger import Ledger, Slot, Target

Kind = Delivery.Kind
# What comes together is one message; a critical alert waits for nothing.
GROUP_WAIT = timedelta(seconds=10)
# So many alerts are worth a digest at once.
FULL_DIGEST = 10
DIGEST, QUIET = "digest", "quiet"
# Stands for the channel of somebody whom nothing reaches.
NO_WAY = 0
MAX_REASON = 300
EVERY_DAY = frozenset(range(7))


@dataclass(frozen=True)
class Line:
    """That somebody, or a place, is told, and why; without `at` they are not, and `timing` says why not."""

    slot: Slot
    at: datetime | None
    reason: str
    timing: str = ""


@dataclass
class Explanation:
    """Everybody whom a route names for an alert. `held` says why nobody is told now,
    `look_again` when that changes; `policies` are those that go on telling people until somebody acknowledges.
    """

    lines: list[Line] = field(default_factory=list)
    held: str = ""
    look_again: datetime | None = None
    policies: frozenset[int] = frozenset()


@dataclass
class _Wish:
    """What the routes that name somebody say together."""

    reason: str
    as_digest: bool = False


def explain(alert: Alert, known: Circumstances, ledger: Ledger, now: datetime) -> Explanation:
    """Who is to hear of an alert that stands open, as things are at `now`.

    `ledger` holds the messages that wait or went out lately; it is not changed.
    """
    if silenced := silences.covering(known.silences, alert, known.above(alert.asset_id), now):
        last = max(silenced, key=lambda silence: silence.ends_at)
        return Explanation(held=f"Silenced: {last.reason}", look_again=last.ends_at)
    if held := _quieted(alert, known, now):
        return Explanation(held=held)
    applying, later = _applying(alert, known, now)
    if not applying:
        return Explanation(held=_nobody(later), look_again=later)
    wishes = _wishes(alert, applying, known)
    lines = [_line(alert, target, wish, known, ledger, now) for target, wish in wishes.items()]
    policies = frozenset(route.policy_id for route in applying if route.policy_id is not None)
    held = "" if lines or policies else "Nobody whom a route names sees the site."
    return Explanation(lines, held=held, policies=policies)


def explain_settled(alert: Alert, told: set[Target], known: Circumstances, ledger: Ledger, now: datetime) -> list[Line]:
    """The all-clear for those of `told` whose routes want it."""
    wanting = [route for route in known.routes if route.tells_when_settled and not mismatch(route, alert, known)]
    if not wanting:
        return []
    wish = _Wish("You were told when it began.")
    return [
        _line(alert, target, wish, known, ledger, now, Kind.SETTLED)
        for target in sorted(told, key=str)
        if target[0] is None or target[0] in known.directory.people
    ]


def _quieted(alert: Alert, known: Circumstances, now: datetime) -> str:
    """Which alert speaks for this one; one that is silenced itself speaks for none."""
    above = known.above(alert.asset_id)
    for number, asset_id in enumerate(above[1:], 1):
        parent = known.quieting.get(asset_id)
        if parent is None or parent.severity < alert.severity:
            continue
        if not silences.covering(known.silences, parent, above[number:], now):
            return f"Alert {parent.pk} ({parent.title}) on what it is part of speaks for it until it is resolved."
    return ""


def mismatch(route: Terms, alert: Alert, known: Circumstances) -> str:
    """Why a route does not apply to an alert, whatever the time; empty when it does."""
    if route.site_id not in (None, alert.site_id):
        return "It is for another site."
    if route.asset_id is not None and route.asset_id not in known.above(alert.asset_id):
        return "It is for another asset."
    if route.kinds and alert.kind not in route.kinds:
        return "It is for alerts of other kinds."
    if alert.severity < route.least_severity:
        return f"It is for alerts that are {Severity(route.least_severity).label} or worse."
    return ""


def opens(route: Terms, site_id: int, known: Circumstances, now: datetime) -> datetime:
    """When the days and hours of a route begin: `now` within them."""
    zone, days = known.sites[site_id].timezone, route.weekdays or EVERY_DAY
    if route.begins is None or route.ends is None:
        if days == EVERY_DAY or now.astimezone(zone).weekday() in days:
            return now
        return quiet_hours.next_of([quiet_hours.MIDNIGHT], zone, now, days)
    # What begins on Friday evening is Friday's also on Saturday morning.
    if (within := quiet_hours.stretch(route.begins, route.ends, zone, now)) and within[0].weekday() in days:
        return now
    return quiet_hours.next_of([route.begins], zone, now, days)


def _applying(alert: Alert, known: Circumstances, now: datetime) -> tuple[list[Terms], datetime | None]:
    """The routes that apply now, and when the next one would if there is none."""
    matching = [
        (opens(route, alert.site_id, known, now), route) for route in known.routes if not mismatch(route, alert, known)
    ]
    later = [at for at, _ in matching if at > now]
    return [route for at, route in matching if at <= now], min(later, default=None)


def _nobody(later: datetime | None) -> str:
    return "No route matches it now; the next one applies later." if later else "No route matches it."


def _wishes(alert: Alert, routes: list[Terms], known: Circumstances) -> dict[Target, _Wish]:
    """Whom the routes name, each person once per channel. At once wins over in a digest."""
    found: dict[Target, _Wish] = {}
    for route in routes:
        for target, reason in _named(route, alert.site_id, known):
            if wish := found.get(target):
                wish.reason = f"{wish.reason} {reason}"[:MAX_REASON]
                wish.as_digest = wish.as_digest and route.as_digest
            else:
                found[target] = _Wish(reason[:MAX_REASON], route.as_digest)
    return found


def _named(route: Terms, site_id: int, known: Circumstances) -> list[tuple[Target, str]]:
    key = route, site_id
    if key not in known.named:
        everybody = known.directory.people.values()
        people = [
            ((person.pk, way), f"Route “{route.name}”: {why}.")
            for person in everybody
            if person.sees(site_id) and (why := _part(route, person))
            for way in known.directory.ways(person, site_id) or [NO_WAY]
        ]
        places = [pk for pk in sorted(route.channels) if known.directory.serves(pk, site_id)]
        known.named[key] = [*people, *(((None, pk), f"Route “{route.name}”.") for pk in places)]
    found: list[tuple[Target, str]] = known.named[key]
    return found


def _part(route: Terms, person: Person) -> str:
    """As what a route names a person; empty when it does not."""
    if person.pk in route.people:
        return "by name"
    if route.roles & person.roles:
        return "by role"
    return "who may acknowledge" if route.responsible and person.may_act else ""


def _line(
    alert: Alert,
    target: Target,
    wish: _Wish,
    known: Circumstances,
    ledger: Ledger,
    now: datetime,
    kind: str = Kind.ALERT,
) -> Line:
    slot = Slot(*target, kind, known.group_key(alert))
    if slot.channel_id == NO_WAY:
        return Line(slot, None, wish.reason, "Nothing reaches them: no e-mail address and no other channel.")
    if alert.severity == Severity.CRITICAL and kind == Kind.ALERT:
        return Line(slot, now, wish.reason, "Critical: at once.")
    if slot.person_id is None:
        return _to_place(slot, wish, ledger, now)
    preference = known.directory.people[slot.person_id].preference
    if kind == Kind.ALERT and (wish.as_digest or alert.severity < (preference.digest_below or 0)):
        return _in_digest(slot, wish, preference, ledger, now, "Comes in a digest.")
    due, timing = now + GROUP_WAIT, ""
    if end := quiet_hours.quiet_until(preference, due):
        slot, due, timing = slot._replace(group_key=QUIET), end, "Quiet hours until then."
    waiting = ledger.due(slot)
    if waiting is None and not budget.has_room(ledger.times.get(target, []), due, preference.per_hour):
        held = f"More than {preference.per_hour} messages an hour: held for the digest."
        return _in_digest(slot, wish, preference, ledger, now, held)
    return Line(slot, waiting or due, wish.reason, timing)


def _to_place(slot: Slot, wish: _Wish, ledger: Ledger, now: datetime) -> Line:
    if not wish.as_digest:
        return Line(slot, ledger.due(slot) or now + GROUP_WAIT, wish.reason)
    slot = slot._replace(kind=Kind.DIGEST, group_key=DIGEST)
    due = ledger.due(slot) or now + quiet_hours.SOON
    return Line(slot, now if ledger.count(slot) + 1 >= FULL_DIGEST else due, wish.reason, "Comes in a digest.")


def _in_digest(slot: Slot, wish: _Wish, preference: Preference, ledger: Ledger, now: datetime, timing: str) -> Line:
    slot = slot._replace(kind=Kind.DIGEST, group_key=DIGEST)
    due = ledger.due(slot)
    is_full = preference.digest == Preference.Digest.SOON and ledger.count(slot) + 1 >= FULL_DIGEST
    if due is None or (is_full and due > now):
        wanted = now if is_full else quiet_hours.digest_due(preference, now)
        free = _free(preference, ledger.times_without(slot), wanted)
        due = min(due or free, free)
    return Line(slot, due, wish.reason, timing)


def _free(preference: Preference, times: list[datetime], at: datetime) -> datetime:
    """The first moment from `at` on that is neither in quiet hours nor beyond the budget."""
    while True:
        awake = quiet_hours.quiet_until(preference, at) or at
        at = budget.earliest(times, awake, preference.per_hour)
        if at == awake:
            return at

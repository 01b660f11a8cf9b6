"""Tells more people while nobody has acknowledged an alert: the steps of a policy, one after the other.

A step is a row with a time, looked at every second; it is taken only while the alert stands open, so that nothing comes
after somebody has acknowledged, snoozed or resolved it. Steps pass quiet hours and the budget, because who is on call
expects them.
"""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from alerts import nudge, silences
from alerts.models import Alert, Delivery, Escalation, State, Transition
from alerts.routing import ladders
from alerts.routing.circumstances import Circumstances
from alerts.routing.ladders import Ladder
from alerts.routing.ledger import Ledger, Slot, Target
from sensors.alone import alone

logger = logging.getLogger(__name__)

BATCH = 200
# What cannot be seen to is tried again after this long.
AFTER_FAILURE = timedelta(minutes=1)
TURN_SECONDS = 2.0
MAX_REASON = 300


@dataclass(frozen=True)
class Planned:
    """A step that will be taken at `at` unless somebody acknowledges before, and whom it would reach then."""

    ladder: str
    step: int
    at: datetime
    targets: dict[Target, str]


def begin(alert: Alert, policies: Iterable[int], known: Circumstances, now: datetime) -> list[Escalation]:
    """The escalations of an alert that people are told of now, to be stored; those that run already go on."""
    found = []
    for policy in sorted(policies):
        if rungs := known.ladders[policy].rungs:
            found.append(Escalation(alert=alert, policy_id=policy, began_at=now, next_at=now + rungs[0].wait))
    return found


def end(alerts: Iterable[int], now: datetime) -> None:
    """Nobody else is told of these alerts; a snoozed one begins anew when it wakes."""
    Escalation.objects.running().filter(alert__in=list(alerts)).update(ended_at=now, next_at=None)


def ahead(ladder: Ladder, round_: int, step: int, at: datetime, known: Circumstances, site_id: int) -> list[Planned]:
    """The steps that follow from this one on, taken at `at`, to the end of the round."""
    found = []
    here: tuple[int, int, datetime] | None = (round_, step, at) if step < len(ladder.rungs) else None
    while here and here[0] == round_:
        _, number, at = here
        targets = ladders.reached(ladder.rungs[number], known.directory, site_id, at)
        found.append(Planned(ladder.name, number + 1, at, targets))
        following = ladder.after(round_, number)
        # A step that reaches nobody is followed by the next one at once.
        here = (following[0], following[1], at + following[2] if targets else at) if following else None
    return found


def climb(now: datetime | None = None) -> int:
    """Take the steps whose time has come, one process at a time; returns how many escalations were looked at."""
    deadline = time.monotonic() + TURN_SECONDS
    seen = 0
    while (some := _climb_some(now or timezone.now())) and time.monotonic() < deadline:
        seen += some
    return seen + some


@transaction.atomic
def _climb_some(now: datetime) -> int:
    if not alone("climb"):
        return 0
    due = Escalation.objects.running().filter(next_at__lte=now).select_related("alert").order_by("next_at", "pk")
    # The alerts, too: whoever acknowledges one meanwhile waits until its message is written, or comes first.
    rows = list(due.select_for_update(of=("self", "alert"), skip_locked=True)[:BATCH])
    if not rows:
        return 0
    alerts = [row.alert for row in rows]
    known = Circumstances.load(alerts, now)
    known.ladders = ladders.load({row.policy_id for row in rows}, now)
    ledger = Ledger.held(map(known.group_key, alerts), now)
    notes = [note for row in rows for note in _try_to_take(row, known, ledger, now)]
    if ledger.write(now):
        nudge.deliver()
    Transition.objects.bulk_create(notes)
    Escalation.objects.bulk_update(rows, ["round", "step", "next_at", "ended_at"])
    return len(rows)


def _try_to_take(row: Escalation, known: Circumstances, ledger: Ledger, now: datetime) -> list[Transition]:
    """One that fails does not keep others from going on."""
    try:
        return _take(row, known, ledger, now)
    except Exception:
        logger.exception("a step of an escalation fails", extra={"escalation": row.pk})
        row.next_at = now + AFTER_FAILURE
        return []


def _take(row: Escalation, known: Circumstances, ledger: Ledger, now: datetime) -> list[Transition]:
    """Take a step, and those after it at once if it reaches nobody; returns what is to be noted of that."""
    alert, ladder = row.alert, known.ladders[row.policy_id]
    if alert.state != State.OPEN:
        _wait(row, None, now)
        return []
    quiet = silences.covering(known.silences, alert, known.above(alert.asset_id), now)
    if quiet:
        row.next_at = max(silence.ends_at for silence in quiet)
        return []
    notes: list[Transition] = []
    for _ in ladder.rungs:
        here = min(row.step, len(ladder.rungs) - 1)
        targets = ladders.reached(ladder.rungs[here], known.directory, alert.site_id, now)
        following = ladder.after(row.round, here)
        if targets:
            _tell(row, here, targets, known, ledger, now)
            _wait(row, following, now)
            return notes
        notes.append(_note(alert, f"Step {here + 1} of “{ladder.name}” reaches nobody now.", now))
        if following is None:
            break
        row.round, row.step = following[:2]
    _wait(row, None, now)
    return [*notes, _tell_everybody(row, known, ledger, now)]


def _wait(row: Escalation, following: tuple[int, int, timedelta] | None, now: datetime) -> None:
    if following is None:
        row.ended_at, row.next_at = now, None
    else:
        row.round, row.step, row.next_at = following[0], following[1], now + following[2]


def _tell(
    row: Escalation, step: int, targets: dict[Target, str], known: Circumstances, ledger: Ledger, now: datetime
) -> None:
    minutes = int((now - row.began_at).total_seconds() // 60)
    since = f"nobody has acknowledged it for {minutes} minute{'s' if minutes != 1 else ''}"
    for target, why in targets.items():
        reason = f"Step {step + 1} of “{known.ladders[row.policy_id].name}”, {why}: {since}."
        _add(row.alert, target, reason, known, ledger, now)


def _tell_everybody(row: Escalation, known: Circumstances, ledger: Ledger, now: datetime) -> Transition:
    """No step reaches anybody: whoever could acknowledge the alert hears of it."""
    name, site = known.ladders[row.policy_id].name, row.alert.site_id
    able = [person for person in known.directory.people.values() if person.may_act and person.sees(site)]
    targets = [(person.pk, way) for person in able for way in known.directory.ways(person, site)]
    for target in targets:
        _add(row.alert, target, f"“{name}” reaches nobody, and you may acknowledge.", known, ledger, now)
    if targets:
        return _note(row.alert, f"“{name}” reaches nobody: all who may acknowledge are told instead.", now)
    return _note(row.alert, f"“{name}” reaches nobody, and there is nobody else to tell.", now)


def _add(alert: Alert, target: Target, reason: str, known: Circumstances, ledger: Ledger, now: datetime) -> None:
    slot = Slot(*target, Delivery.Kind.ESCALATION, known.group_key(alert))
    ledger.add(alert, slot, now, reason[:MAX_REASON], now)


def _note(alert: Alert, text: str, now: datetime) -> Transition:
    return Transition(
        alert=alert,
        step=Transition.Step.COMMENTED,
        from_state=alert.state,
        to_state=alert.state,
        at=now,
        reason=text[:MAX_REASON],
    )

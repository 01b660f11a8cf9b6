"""Escalation policies as they are now, and whom each of their steps reaches."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Prefetch

from alerts.models import EscalationPolicy, Override, Schedule
from alerts.routing import on_call
from alerts.routing.directory import Directory, Person
from alerts.routing.ledger import Target
from alerts.routing.on_call import Rota

# Between two rounds people get time to answer, whatever the first step says.
LEAST_BETWEEN_ROUNDS = timedelta(minutes=5)


@dataclass(frozen=True)
class Rung:
    wait: timedelta
    people: frozenset[int] = frozenset()
    roles: frozenset[int] = frozenset()
    rota: Rota | None = None
    channel_id: int | None = None


@dataclass(frozen=True)
class Ladder:
    """A policy: its steps in order, and how often they are taken again."""

    name: str
    repeat: int
    rungs: tuple[Rung, ...]

    def after(self, round_: int, step: int) -> tuple[int, int, timedelta] | None:
        """The round, step and wait that follow a step; None after the last one."""
        if step + 1 < len(self.rungs):
            return round_, step + 1, self.rungs[step + 1].wait
        if round_ < self.repeat:
            return round_ + 1, 0, max(self.rungs[0].wait, LEAST_BETWEEN_ROUNDS)
        return None


def load(policies: Iterable[int], now: datetime) -> dict[int, Ladder]:
    """These policies by key, in at most eight queries. Who stood in before `now` is left out."""
    wanted = set(policies)
    if not wanted:
        return {}
    rows = list(EscalationPolicy.objects.filter(pk__in=wanted).prefetch_related("steps__people", "steps__roles"))
    rotas = rotas_of({step.schedule_id for row in rows for step in row.steps.all() if step.schedule_id}, now)
    return {row.pk: of(row, rotas) for row in rows}


def rotas_of(schedules: Iterable[int], now: datetime) -> dict[int, Rota]:
    standing = Prefetch("overrides", Override.objects.filter(end__gt=now))
    rows = Schedule.objects.filter(pk__in=set(schedules)).prefetch_related("rotations__members", standing)
    return {row.pk: Rota.of(row) for row in rows}


def of(policy: EscalationPolicy, rotas: dict[int, Rota]) -> Ladder:
    rungs = [
        Rung(
            timedelta(minutes=step.wait_minutes),
            frozenset(person.pk for person in step.people.all()),
            frozenset(role.pk for role in step.roles.all()),
            rotas[step.schedule_id] if step.schedule_id else None,
            step.channel_id,
        )
        for step in policy.steps.all()
    ]
    return Ladder(policy.name, policy.repeat, tuple(rungs))


def reached(rung: Rung, directory: Directory, site_id: int, at: datetime) -> dict[Target, str]:
    """Whom a step reaches at this time, and as what; empty when it reaches nobody."""
    on_duty = on_call.who(rung.rota, at) if rung.rota else None
    found: dict[Target, str] = {}
    for person in directory.people.values():
        why = _part(rung, person, on_duty)
        if why and person.sees(site_id):
            found |= {(person.pk, way): why for way in _ways(rung, person, directory, site_id)}
    channel = directory.channels.get(rung.channel_id or 0)
    if channel is not None and not channel.is_personal and directory.serves(channel.pk, site_id):
        found[None, channel.pk] = "the place it names"
    return found


def _part(rung: Rung, person: Person, on_duty: int | None) -> str:
    if rung.rota and person.pk == on_duty:
        return f"on call ({rung.rota.name})"
    if person.pk in rung.people:
        return "by name"
    return "by role" if rung.roles & person.roles else ""


def _ways(rung: Rung, person: Person, directory: Directory, site_id: int) -> list[int]:
    """The channel of the step where the person has an address there, or else those they chose."""
    channel = directory.channels.get(rung.channel_id or 0)
    if channel is None or not channel.is_personal or not directory.serves(channel.pk, site_id):
        return directory.ways(person, site_id)
    has_address = channel.pk in person.contacts or (channel.kind == channel.Kind.EMAIL and person.email)
    return [channel.pk] if has_address else directory.ways(person, site_id)

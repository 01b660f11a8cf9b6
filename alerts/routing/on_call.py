"""Who is on call, and when shifts change: by clocks on the wall, whatever these do in spring and autumn.

At every moment from a schedule's first turn on exactly one person is on call. A shift that would change in an hour that
clocks leave out changes when they jump; in an hour that comes twice it changes the first time.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Self

from alerts.models import Rotation, Schedule
from alerts.routing.quiet_hours import moment


@dataclass(frozen=True)
class Turns:
    """People, by key, who take turns of a length on the clock, the first one from `hand_over` on `starts_on`."""

    starts_on: date
    hand_over: time
    length: timedelta
    people: tuple[int, ...]

    @classmethod
    def of(cls, rotation: Rotation) -> Self:
        lengths = {Rotation.Every.DAY: timedelta(days=1), Rotation.Every.WEEK: timedelta(weeks=1)}
        length = lengths.get(Rotation.Every(rotation.every), timedelta(hours=rotation.hours))
        people = tuple(member.person_id for member in rotation.members.all())
        return cls(rotation.starts_on, rotation.hand_over, length, people)

    def begin(self, number: int, zone: tzinfo) -> datetime:
        """When the turn of this number, from 0, begins."""
        naive = datetime.combine(self.starts_on, self.hand_over) + number * self.length
        return moment(naive.date(), naive.time(), zone)

    def number(self, at: datetime, zone: tzinfo) -> int:
        """The turn that runs at this moment; negative before the first one."""
        shown = at.astimezone(zone).replace(tzinfo=None)
        number = (shown - datetime.combine(self.starts_on, self.hand_over)) // self.length
        while self.begin(number, zone) > at:
            number -= 1
        while self.begin(number + 1, zone) <= at:
            number += 1
        return number


@dataclass(frozen=True)
class StandIn:
    person: int
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Rota:
    """A schedule as it is: later turns take over from earlier ones, and the stand-in made last comes first."""

    name: str
    zone: tzinfo
    turns: tuple[Turns, ...] = ()
    stand_ins: tuple[StandIn, ...] = ()

    @classmethod
    def of(cls, schedule: Schedule) -> Self:
        """Rotations with their members, and overrides, are best prefetched."""
        rows = sorted(schedule.overrides.all(), key=lambda row: -row.pk)
        turns = [Turns.of(rotation) for rotation in schedule.rotations.all()]
        return cls(
            schedule.name,
            schedule.timezone,
            tuple(sorted((some for some in turns if some.people), key=lambda some: (some.starts_on, some.hand_over))),
            tuple(StandIn(row.person_id, row.start, row.end) for row in rows),
        )


@dataclass(frozen=True)
class Shift:
    """Somebody is on call from `start` to before `end`; None stands for nobody."""

    person: int | None
    start: datetime
    end: datetime
    stands_in: bool = False


def who(rota: Rota, at: datetime) -> int | None:
    """Who is on call at this moment; None before the first turn, or when there are none."""
    standing = next((row.person for row in rota.stand_ins if row.start <= at < row.end), None)
    return standing if standing is not None else _by_turn(rota, at)


def shifts(rota: Rota, start: datetime, end: datetime) -> list[Shift]:
    """Who is on call from `start` to `end`, without a gap: a shift per turn, cut where somebody stands in."""
    found = []
    while start < end:
        until = min(end, _next_change(rota, start) or end)
        stands_in = any(row.start <= start < row.end for row in rota.stand_ins)
        found.append(Shift(who(rota, start), start, until, stands_in))
        start = until
    return found


def _turns_at(rota: Rota, at: datetime) -> Turns | None:
    return next((turns for turns in reversed(rota.turns) if turns.begin(0, rota.zone) <= at), None)


def _by_turn(rota: Rota, at: datetime) -> int | None:
    turns = _turns_at(rota, at)
    return turns.people[turns.number(at, rota.zone) % len(turns.people)] if turns else None


def _next_change(rota: Rota, at: datetime) -> datetime | None:
    turns = _turns_at(rota, at)
    edges = [edge for row in rota.stand_ins for edge in (row.start, row.end)]
    edges += [later.begin(0, rota.zone) for later in rota.turns]
    if turns:
        edges.append(turns.begin(turns.number(at, rota.zone) + 1, rota.zone))
    return min((edge for edge in edges if edge > at), default=None)

"""What is asked of readings: the limits of a sensor or the conditions of a rule, as numbers."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from functools import cached_property
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from alerts.models import Condition as ConditionRow
from alerts.models import Rule
from sensors.models import Limits, Sensor

SECOND_US = 1_000_000
# A pause of more than so many expected intervals, five minutes at least, ends what held before it; of a sensor of which
# nobody has said how often it is read, one of an hour.
GAP_INTERVALS, LEAST_GAP_SECONDS, GAP_SECONDS = 5, 300, 3600
# For limits of sensors. A lone reading is no firing, and a value that swings around its limit is one: ISA-18.2 and
# EEMUA 191 propose a minute and a deadband of a few percent to begin with, for quantities as slow as temperatures.
DURATION_SECONDS, HYSTERESIS = 60, 0.02
# Zones of the world change their clocks at whole quarters of an hour.
CLOCK_US = 900 * SECOND_US


class Reset(NamedTuple):
    """Between these a value is back inside; infinite where there is no limit."""

    low: float
    high: float


@dataclass(frozen=True)
class Condition:
    """One sensor (its primary key) beyond its limits, which are in its unit; it is not known for longer than a gap."""

    sensor: int
    limits: Limits
    gap_us: int

    @property
    def low(self) -> float:
        """The first limit that a falling value passes."""
        return max((each for each in self.limits[:2] if each is not None), default=-np.inf)

    @property
    def high(self) -> float:
        return min((each for each in self.limits[2:] if each is not None), default=np.inf)

    def reset(self, hysteresis: float) -> Reset:
        """Inside by this share of the limit, but never by more than a quarter of the room between the two."""
        room = (self.high - self.low) / 4
        back = [min(abs(limit) * hysteresis, room) if np.isfinite(limit) else 0.0 for limit in (self.low, self.high)]
        return Reset(self.low + back[0], self.high - back[1])


@dataclass(frozen=True)
class Schedule:
    """When a rule is looked at, on the clock of a zone. A time of day that ends before it begins goes over midnight
    and belongs to the day on which it begins.
    """

    weekdays: tuple[int, ...]
    time_of_day: tuple[time, time] | None
    zone: str

    def turns(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """The day (since 1970) whose turn each time (microseconds UTC) lies in, -1 where it lies in none."""
        local = times + self._offsets(times)
        begin, end = (_of_day(at) for at in self.time_of_day or (time(0), time(0)))
        length = (end - begin) % DAY_US or DAY_US
        days, into = np.divmod(local - begin, DAY_US)
        # 1970-01-01 was a Thursday.
        chosen = np.isin((days + 3) % 7, self.weekdays or range(7))
        return np.where(chosen & (into < length), days, -1)

    def _offsets(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        quarters, places = np.unique(times // CLOCK_US, return_inverse=True)
        zone = ZoneInfo(self.zone)
        found = [_offset(int(quarter) * CLOCK_US, zone) for quarter in quarters]
        return np.array(found, np.int64)[places]


DAY_US = 86_400 * SECOND_US


def _of_day(at: time) -> int:
    return (at.hour * 3600 + at.minute * 60 + at.second) * SECOND_US


def _offset(us: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(us / 1e6, UTC).astimezone(zone).utcoffset()
    assert offset is not None
    return round(offset.total_seconds()) * SECOND_US


@dataclass(frozen=True)
class Definition:
    """All conditions at once, or any of them; held for so long without a reading that contradicts.

    `hysteresis` is a share of the limit. `rule` is the primary key of a rule, None for the limits of a sensor.
    """

    conditions: tuple[Condition, ...]
    duration_us: int = DURATION_SECONDS * SECOND_US
    hysteresis: float = HYSTERESIS
    needs_all: bool = True
    schedule: Schedule | None = None
    rule: int | None = None

    @cached_property
    def digest(self) -> str:
        """Changes with whatever changes an answer."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


def of_sensor(sensor: Sensor) -> Definition:
    """The limits a sensor has by itself."""
    return Definition((condition(sensor, sensor.limits),))


def of_rule(rule: Rule, conditions: Sequence[ConditionRow]) -> Definition:
    """A rule as its row and those of its conditions (with their sensors) say; neither has to be stored."""
    schedule = None
    if rule.weekdays or rule.time_of_day:
        schedule = Schedule(tuple(sorted(rule.weekdays)), rule.time_of_day, str(rule.asset.site.timezone))
    return Definition(
        tuple(condition(row.sensor, row.limits) for row in conditions),
        rule.duration_seconds * SECOND_US,
        rule.hysteresis_percent / 100,
        rule.combination == Rule.Combination.ALL,
        schedule,
        rule.pk,
    )


def condition(sensor: Sensor, limits: Limits) -> Condition:
    """A sensor beyond these limits, for as long as its readings count."""
    if sensor.cadence_seconds is None:
        gap = float(GAP_SECONDS)
    else:
        gap = max(GAP_INTERVALS * sensor.cadence_seconds, LEAST_GAP_SECONDS)
    return Condition(sensor.pk, limits, round(gap * SECOND_US))

"""From readings to the stretches of time in which a definition held. Pure: the same readings give the same answer.

At the time of each reading, of whatever sensor, a condition is what the latest reading of its sensor says, as long as
that is no older than a gap. It is *beyond* past its first limit, and *kept* as long as it is not back inside by the
hysteresis. The definition is beyond, or kept, when all or any of its conditions are. It begins to hold when it has been
beyond at every reading for its duration, from the first of these on, and ends with the last reading at which it is
kept: readings back inside, a gap, and the end of the schedule's turn all end it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alerts.rules.definition import Condition, Definition
from sensors.history import EMPTY, Series

Mask = NDArray[np.bool_]


class Peak(NamedTuple):
    """The worst reading: the primary key of its sensor, and how far it was beyond the limit, as a share of that."""

    excess: float
    at: int
    value: float
    sensor: int

    def __or__(self, other: "Peak") -> "Peak":
        """The worse one; of equal ones the earlier."""
        return min(self, other, key=lambda peak: (-peak.excess, peak.at, peak.sensor))


class Held(NamedTuple):
    """A definition held from `start` to `end` (both are times of readings, microseconds UTC), and from `alarm_at` on it
    was an alarm.
    """

    start: int
    end: int
    peak: Peak
    alarm_at: int | None = None
    goes_on: bool = False  # nothing that was looked at has ended it

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / 1e6


@dataclass(frozen=True)
class Rows:
    """What a definition is at the time of every reading. Where a condition gets too old is a row as well."""

    times: NDArray[np.int64]
    is_reading: Mask
    beyond: Mask
    kept: Mask
    alarmed: Mask
    turns: NDArray[np.int64]

    def between(self, start: int, end: int) -> "Rows":
        """From the first reading at `start` or later to the last row at `end` or before."""
        readings = self.times[self.is_reading]
        place = int(np.searchsorted(readings, start))
        begin = int(np.searchsorted(self.times, readings[place])) if place < len(readings) else len(self.times)
        part = slice(begin, int(np.searchsorted(self.times, end, "right")))
        return Rows(*(column[part] for column in vars(self).values()))


def held(definition: Definition, series: Sequence[Series]) -> list[Held]:
    """Every stretch in these readings, one series for each condition, each in time order."""
    return stretches(definition, series, rows_of(definition, series))


def rows_of(definition: Definition, series: Sequence[Series]) -> Rows:
    times = _merged([timestamps for timestamps, _ in series])
    last = times[-1] if len(times) else 0
    ends = [_too_old(condition, own[0], last) for condition, own in zip(definition.conditions, series, strict=True)]
    merged = _merged([times, *ends])
    states = [
        _at(merged, *_states(definition, condition, own), condition.gap_us)
        for condition, own in zip(definition.conditions, series, strict=True)
    ]
    combine = np.logical_and.reduce if definition.needs_all else np.logical_or.reduce
    beyond, kept = (combine([state[number] for state in states]) for number in (0, 1))
    is_reading = np.isin(merged, times, assume_unique=True)
    turns = _turns(definition, merged, is_reading)
    in_turn = turns >= 0
    return Rows(
        merged,
        is_reading,
        beyond & in_turn,
        kept & in_turn,
        _alarmed(definition, states) & beyond & in_turn,
        turns,
    )


def _merged(columns: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Every time once, in order. The columns are sorted already, which a stable sort makes use of and `unique` not."""
    times = np.sort(np.concatenate([EMPTY[0], *columns]), kind="stable")
    once: NDArray[np.int64] = times[np.append(True, times[1:] != times[:-1])[: len(times)]]
    return once


def _turns(definition: Definition, times: NDArray[np.int64], is_reading: Mask) -> NDArray[np.int64]:
    """Which turn of the schedule each row lies in. Nothing begins but with a reading, not even a turn."""
    if definition.schedule is None:
        return np.zeros(len(times), np.int64)
    return definition.schedule.turns(times)[_latest(is_reading)]


def _latest(is_reading: Mask) -> NDArray[np.int64]:
    """The number of the last reading up to each row."""
    return np.maximum.accumulate(np.where(is_reading, np.arange(len(is_reading)), 0))


def _too_old(condition: Condition, timestamps: NDArray[np.int64], last: int) -> NDArray[np.int64]:
    """When the condition stops to be known, just after a gap has begun."""
    expires = timestamps + condition.gap_us + 1
    until = np.append(timestamps[1:], last + 1)
    return expires[expires < until]


def _states(definition: Definition, condition: Condition, series: Series) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Of each reading: 0 back inside, 1 kept, 2 beyond the first limit, 3 beyond one to alarm at."""
    timestamps, values = series
    reset, limits = condition.reset(definition.hysteresis), condition.limits
    states = ((values >= reset.high) & np.isfinite(reset.high)).astype(np.int8)
    states |= ((values <= reset.low) & np.isfinite(reset.low)).astype(np.int8)
    states[(values > condition.high) | (values < condition.low)] = 2
    alarm_low = -np.inf if limits.alarm_low is None else limits.alarm_low
    alarm_high = np.inf if limits.alarm_high is None else limits.alarm_high
    states[(values > alarm_high) | (values < alarm_low)] = 3
    return timestamps, states


def _at(
    times: NDArray[np.int64], timestamps: NDArray[np.int64], states: NDArray[np.int8], gap_us: int
) -> tuple[Mask, Mask, Mask]:
    """Beyond, kept and alarmed at each of these times, by the latest reading before it."""
    if not len(timestamps):
        nothing = np.zeros(len(times), bool)
        return nothing, nothing, nothing
    latest = np.searchsorted(timestamps, times, "right") - 1
    known = (latest >= 0) & (times - timestamps[latest] <= gap_us)
    now = np.where(known, states[latest], 0)
    return now >= 2, now >= 1, now >= 3


def _alarmed(definition: Definition, states: list[tuple[Mask, Mask, Mask]]) -> Mask:
    """An alarm needs a limit to alarm at; where all conditions are needed, those that have one are all beyond it."""
    with_one = [
        state[2]
        for condition, state in zip(definition.conditions, states, strict=True)
        if condition.limits.alarm_low is not None or condition.limits.alarm_high is not None
    ]
    if not with_one:
        return np.zeros(len(states[0][0]) if states else 0, bool)
    combine = np.logical_and.reduce if definition.needs_all else np.logical_or.reduce
    alarmed: Mask = combine(with_one)
    return alarmed


def stretches(definition: Definition, series: Sequence[Series], rows: Rows, goes_on: bool = False) -> list[Held]:
    """The stretches in these rows; if the definition `goes_on`, it held before the first of them already."""
    begins, ends = _runs(rows.kept, rows.turns)
    firsts = _first_within(_lasting(definition, rows, rows.beyond), begins, ends)
    if goes_on and len(begins) and begins[0] == 0:
        firsts[0] = 0
    # Most stretches are too short: nothing is done for each of those.
    long = firsts >= 0
    begins, ends, firsts = begins[long], ends[long], firsts[long]
    alarms = _first_within(_lasting(definition, rows, rows.alarmed), firsts, ends)
    found = []
    for begin, end, first, alarm in zip(*(column.tolist() for column in (begins, ends, firsts, alarms)), strict=True):
        last = begin + int(np.flatnonzero(rows.is_reading[begin:end])[-1])
        start, stop = int(rows.times[first]), int(rows.times[last])
        peak = peak_of(definition, series, start, stop)
        alarm_at = int(rows.times[alarm]) if alarm >= 0 else None
        found.append(Held(start, stop, peak, alarm_at, goes_on=end == len(rows.times)))
    return found


def _runs(mask: Mask, turns: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First rows, and those after the last, of the stretches in which a mask holds within one turn."""
    padded = np.concatenate([[False], mask, [False]])
    parted = np.concatenate([[False], turns[1:] != turns[:-1], [False]]) if len(mask) else np.zeros(1, bool)
    begins = np.flatnonzero(padded[1:] & (~padded[:-1] | parted))
    ends = np.flatnonzero(padded[:-1] & (~padded[1:] | parted))
    return begins, ends


def _lasting(definition: Definition, rows: Rows, mask: Mask) -> NDArray[np.int64]:
    """The first rows of those stretches of a mask that last for the duration, from reading to reading."""
    begins, ends = _runs(mask, rows.turns)
    lasts = _latest(rows.is_reading)[ends - 1]
    return begins[rows.times[lasts] - rows.times[begins] >= definition.duration_us]


def _first_within(numbers: NDArray[np.int64], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each stretch the first of these sorted numbers that lies in it, or -1."""
    padded = np.append(numbers, np.iinfo(np.int64).max)
    first = padded[np.searchsorted(numbers, begins)]
    return np.where(first < ends, first, -1)


def peak_of(definition: Definition, series: Sequence[Series], start: int, end: int) -> Peak:
    """The worst reading from `start` to `end`. One that is not beyond its limit has an excess below zero."""
    peaks = []
    for condition, (timestamps, values) in zip(definition.conditions, series, strict=True):
        part = slice(*np.searchsorted(timestamps, [start, end + 1]).tolist())
        if part.stop > part.start:
            excess = _excess(condition, values[part])
            worst = int(np.argmax(excess))
            at, value = int(timestamps[part][worst]), float(values[part][worst])
            peaks.append(Peak(float(excess[worst]), at, value, condition.sensor))
    whole = peaks[0]
    for peak in peaks[1:]:
        whole |= peak
    return whole


def _excess(condition: Condition, values: NDArray[np.float64]) -> NDArray[np.float64]:
    sizes = [abs(limit) for limit in (condition.low, condition.high) if np.isfinite(limit)]
    # Limits of 0 are no measure of anything.
    size = max(sizes) or 1.0
    excess: NDArray[np.float64] = np.maximum(values - condition.high, condition.low - values) / size
    return excess


def peak_again(definition: Definition, at: int, value: float, sensor: int) -> Peak:
    """A peak as it was written down."""
    condition = next(condition for condition in definition.conditions if condition.sensor == sensor)
    return Peak(float(_excess(condition, np.array([value]))[0]), at, value, sensor)

"""What is written down of a definition, kept true as readings come in: in order or late, in pieces of any size.

Around new readings only as much is looked at again as they can have changed. What was written down and reaches beyond
that is joined with what is found there now, when all it says of these readings is found again; otherwise all of it is
looked at again. So a condition that lasts for weeks costs each batch a few readings.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from alerts.rules.definition import Definition
from alerts.rules.evaluation import Held, rows_of, stretches
from sensors.history import Series

# Gives the readings of each condition's sensor between two times, and one on either side of them.
Read = Callable[[int, int], Sequence[Series]]


@dataclass(frozen=True)
class Recorded:
    """A stretch that is written down, and the key of its row."""

    key: int
    held: Held


@dataclass(frozen=True)
class Settled:
    """Stretches that are to be written down, in time order, in place of those before."""

    found: list[Held]
    replaced: list[Recorded]


class Wider(Exception):
    """The window is too narrow to say what new readings have changed."""

    def __init__(self, begin: int, end: int) -> None:
        self.begin, self.end = begin, end


def settle(definition: Definition, begin: int, end: int, recorded: Sequence[Recorded], read: Read) -> Settled:
    """What holds from `begin` to `end` (see `window`), joined with what is recorded."""
    while True:
        try:
            return _settle(definition, begin, end, recorded, read(begin, end))
        except Wider as wider:
            begin, end = min(begin, wider.begin), max(end, wider.end)


def _settle(
    definition: Definition, begin: int, end: int, recorded: Sequence[Recorded], series: Sequence[Series]
) -> Settled:
    rows = rows_of(definition, series).between(begin, end)
    first, last = (int(rows.times[0]), int(rows.times[rows.is_reading][-1])) if len(rows.times) else (end, begin)
    touched = [row for row in recorded if row.held.end >= begin and row.held.start <= end]
    left = next((row for row in touched if row.held.start < begin and first <= row.held.end), None)
    right = next((row for row in touched if row.held.start <= last and end < row.held.end), None)
    for row in touched:
        # What it begins or ends with is not there any more.
        _require((row.held.start >= begin or row == left) and (row.held.end <= end or row == right), row)
    found = stretches(definition, series, rows, goes_on=left is not None)
    lasts = bool(found) and found[-1].goes_on
    beyond = [int(own[0][-1]) for own in series if len(own[0]) and own[0][-1] > end]
    if lasts and right is None and beyond:
        raise Wider(begin, max(beyond) + definition.duration_us + end - begin)
    if left:
        _require(bool(found) and found[0].start == first and (left != right or len(found) == 1), left)
    if right:
        _require(lasts, right)
        found[-1] = _joined(found[-1], begin, end, right)
    if left and left != right:
        found[0] = _joined(found[0], begin, end, left)
    return Settled(found, touched)


def _require(holds: bool, row: Recorded) -> None:
    if not holds:
        raise Wider(row.held.start, row.held.end)


def _joined(now: Held, begin: int, end: int, row: Recorded) -> Held:
    """Both as one. Raises Wider when something that was said of this window is not found in it any more."""
    before = row.held
    if begin <= before.peak.at <= end:
        _require(now.peak | before.peak == now.peak, row)
    if before.alarm_at is not None and begin <= before.alarm_at <= end:
        _require(now.alarm_at is not None and now.alarm_at <= before.alarm_at, row)
    return Held(
        before.start if before.start < begin else now.start,
        before.end if before.end > end else now.end,
        now.peak | before.peak,
        min((at for at in (now.alarm_at, before.alarm_at) if at is not None), default=None),
        now.goes_on,
    )


def window(
    definition: Definition, first: int, last: int, before: Sequence[int], after: Sequence[int]
) -> tuple[int, int]:
    """Where to look again when readings from `first` to `last` are new.

    `before` and `after` are, for each condition, the times of the last reading before and the first one after them, or
    `first` and `last` where there is none. What is new counts until its sensor's next reading, or for a gap.
    """
    until = [
        min(following, last + condition.gap_us) if following > last else last + condition.gap_us
        for condition, following in zip(definition.conditions, after, strict=True)
    ]
    lately = [
        at - definition.duration_us
        for condition, at in zip(definition.conditions, before, strict=True)
        if first - condition.gap_us <= at < first
    ]
    return max(lately, default=first), max(until) + definition.duration_us


def series_between(whole: Sequence[Series]) -> Read:
    """For readings that are in memory."""

    def read(begin: int, end: int) -> list[Series]:
        return [_part(series, begin, end) for series in whole]

    return read


def _part(series: Series, begin: int, end: int) -> Series:
    first, stop = np.searchsorted(series[0], [begin, end + 1]).tolist()
    part = slice(max(first - 1, 0), stop + 1)
    return series[0][part], series[1][part]

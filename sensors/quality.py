"""How far a reading can be trusted, 0 (not at all) to 1, and why. Readings are marked down and flagged, never dropped.

A reading is judged when it comes in, against what its sensor can measure, what it usually does (`SensorProfile`), and
the readings just before it. Readings below QUALITY_THRESHOLD are masked from scoring and training. Only what says
something about the instrument lowers the quality: a sudden and lasting change is what the detectors are there for.
"""

from dataclasses import dataclass
from enum import IntFlag
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Flag(IntFlag):
    """Why a reading is doubted, or what is remarkable about it; stored as a bit mask with the reading."""

    OUT_OF_RANGE = 1
    STUCK = 2
    SPIKE = 4
    RATE = 8
    GAP = 16
    LATE = 32
    OUT_OF_ORDER = 64
    FUTURE = 128
    DUPLICATE = 256
    CLOCK_SKEW = 512


# The highest quality that a flag leaves. Below QUALITY_THRESHOLD's default of 0.8 means masked; flags that are not here
# are remarks. A value that cannot be is worth nothing; one that is only implausible may still be looked at.
CEILINGS = {
    Flag.OUT_OF_RANGE: 0.0,
    Flag.STUCK: 0.3,
    Flag.SPIKE: 0.5,
    Flag.RATE: 0.5,
    Flag.FUTURE: 0.9,
    Flag.CLOCK_SKEW: 0.9,
    Flag.DUPLICATE: 0.9,
}
# Clocks that are kept by NTP differ by less.
FUTURE_AFTER_US = 1_000_000
# A sensor that usually repeats its value this often (a switch, a set point, a coarse display) cannot be called stuck.
REPEATS_ARE_NORMAL = 0.2
# The neighbours of a spike agree with each other: they differ by less than this share of its height.
SPIKE_RETURN = 0.5


class Limits(NamedTuple):
    """What a sensor's readings are held against; NaN means that the check is off or its basis not yet known.

    Values are in the sensor's unit, times in microseconds. `spike` is the height from which a lone reading is one.
    """

    low: float = np.nan
    high: float = np.nan
    max_rate: float = np.nan
    stuck_repeats: float = np.nan
    spike: float = np.nan
    gap_us: float = np.nan
    clock_ahead_us: float = np.nan


@dataclass(frozen=True)
class Context:
    """The newest stored readings of each sensor of a batch before the batch's first one; NaN where there are none.

    `newest` is the time of the very newest reading, which may be younger than those of the batch. `run` counts how many
    stored readings in a row equal the last one; it may stop counting at a sensor's `stuck_repeats`.
    """

    last_at: Floats
    last_value: Floats
    before_last_value: Floats
    newest: Floats
    run: Ints


def nothing_known(sensors: int) -> Context:
    """The context of sensors that have no readings yet."""
    last_at, last_value, before_last_value, newest = np.full((4, sensors), np.nan)
    return Context(last_at, last_value, before_last_value, newest, np.zeros(sensors, np.int64))


@dataclass(frozen=True)
class Assessment:
    """Quality and flags of each reading; `spiked` are the sensors whose last stored reading proves to be a spike."""

    qualities: Floats
    flags: NDArray[np.int16]
    spiked: Ints


def assess(
    codes: Ints,
    timestamps: Ints,
    values: Floats,
    claimed: Floats,
    *,
    limits: Floats,
    context: Context,
    contradicted: Bools,
    now_us: int,
    late_before_us: int | None,
) -> Assessment:
    """Judge readings that are sorted by sensor and time.

    `codes` number the sensors; row i of `limits` holds the `Limits` of sensor i, and so do the arrays of `context`.
    `claimed` is the quality their sender states, `contradicted` marks readings that were sent twice with different
    values. Without `late_before_us` the readings are history: nothing of them is late or out of order.
    """
    if not len(codes):
        return Assessment(claimed, np.zeros(0, np.int16), np.zeros(0, np.int64))
    limit = dict(zip(Limits._fields, limits.T, strict=True))
    first = np.ones(len(codes), bool)
    first[1:] = codes[1:] != codes[:-1]
    opening = codes[first]
    before, before_at = np.roll(values, 1), np.roll(timestamps.astype(np.float64), 1)
    before[first], before_at[first] = context.last_value[opening], context.last_at[opening]
    after = np.append(values[1:], np.nan)
    after[:-1][first[1:]] = np.nan
    with np.errstate(invalid="ignore"):
        pause = timestamps - before_at
        found = {
            Flag.OUT_OF_RANGE: (values < limit["low"][codes]) | (values > limit["high"][codes]),
            Flag.RATE: np.abs(values - before) * 1e6 > limit["max_rate"][codes] * pause,
            Flag.GAP: pause > limit["gap_us"][codes],
            Flag.SPIKE: _is_spike(before, values, after, limit["spike"][codes]),
            # Exactly 0 is what many instruments read while their machine rests.
            Flag.STUCK: (values != 0)
            & (_run_lengths(values, before, first, context.run[codes]) >= limit["stuck_repeats"][codes]),
            Flag.FUTURE: timestamps > now_us + FUTURE_AFTER_US,
            Flag.CLOCK_SKEW: (timestamps[first] > now_us + limit["clock_ahead_us"][opening])[np.cumsum(first) - 1],
            Flag.DUPLICATE: contradicted,
        }
        if late_before_us is not None:
            found[Flag.LATE] = timestamps < late_before_us
            found[Flag.OUT_OF_ORDER] = timestamps < context.newest[codes]
        # Only what is new tells about what is stored: a late reading may be a repeat, and is then not stored.
        spiked = (timestamps[first] > context.newest[opening]) & _is_spike(
            context.before_last_value[opening], context.last_value[opening], values[first], limit["spike"][opening]
        )
    qualities, flags = claimed.copy(), np.zeros(len(codes), np.int16)
    for flag, rows in found.items():
        if rows.any():
            flags[rows] |= flag
            if flag in CEILINGS:
                qualities[rows] = np.minimum(qualities[rows], CEILINGS[flag])
    return Assessment(qualities, flags, opening[spiked])


def _is_spike(before: Floats, values: Floats, after: Floats, height: Floats) -> Bools:
    """Whether a reading stands out from both neighbours by `height` while they agree with each other."""
    off = np.abs(values - (before + after) / 2)
    spike: Bools = (off > height) & (np.abs(after - before) < SPIKE_RETURN * off)
    return spike


def _run_lengths(values: Floats, before: Floats, first: Bools, stored: Ints) -> Ints:
    """How many equal readings in a row end at each one; `stored` is the length of the run before the sensor's first."""
    changed = values != before
    place = np.arange(len(values))
    begin = np.maximum.accumulate(np.where(changed | first, place, 0))
    continues = first[begin] & ~changed[begin]
    return place - begin + 1 + np.where(continues, stored, 0)

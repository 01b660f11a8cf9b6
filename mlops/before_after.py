"""Did the repair work? The signals of a machine before and after a job, held against what was normal before the fault.

Readings are compared in the same operating state only: where a sensor shows the load (power, current, speed, flow), the
normal past is cut into levels of it, and each reading is measured against those of its own level. Readings at a load
that the normal past does not know say nothing.

Distances are in robust spreads of the normal past; their bounds come from resampling whole hours, as readings close in
time are not independent (H. R. Künsch, 1989, "The Jackknife and the Bootstrap for General Stationary Observations").
All limits are chosen by us.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlops.two_states import threshold_between_states
from sensors.units import Kind

STEP_US = 300_000_000
HOUR_US = 3_600_000_000
# The first of these that an asset has shows how hard it works.
LOADS = (Kind.POWER, Kind.CURRENT, Kind.SPEED, Kind.FLOW)
# Of these less is never worse.
MORE_IS_WORSE = (Kind.VIBRATION, Kind.TEMPERATURE, Kind.SOUND)
LEVELS = 5
# So far from normal a sensor shows a fault; how much further it must be to be worse than before.
FAR, FURTHER = 2.0, 1.0
# Fewer than these say too little: readings of a level of the past, usable hours, the share of usable readings.
FEWEST_OF_LEVEL, FEWEST_HOURS_BEFORE, FEWEST_HOURS_AFTER, LEAST_USABLE = 30, 2, 6, 0.3
FEWEST_NORMAL = 100
RESAMPLES = 400
MAD_TO_SIGMA = 1.4826


class Answer(StrEnum):
    FIXED = "fixed"
    UNCHANGED = "unchanged"
    WORSE = "worse"
    CANNOT_TELL = "cannot_tell"


class Samples(NamedTuple):
    """Readings of one sensor: times in microseconds UTC, values in its unit."""

    times: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Signal:
    """A sensor (`key`) with its readings of the normal past, of the time of the fault, and of that after the job."""

    key: int
    name: str
    kind: str
    normal: Samples
    before: Samples
    after: Samples


@dataclass(frozen=True)
class Distance:
    """How far from normal, in spreads: the median, and 95 % bounds of it."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Compared:
    """What one sensor says; the distances are None where too little can be compared."""

    key: int
    name: str
    answer: Answer
    reason: str
    before: Distance | None = None
    after: Distance | None = None


def compare(signals: Sequence[Signal], fault: bool, alerting: Collection[int] = (), seed: int = 0) -> list[Compared]:
    """What each sensor says of a job; `fault` when a fault was found, otherwise it was planned work.

    `alerting` are sensors that told of the fault: none of them is taken for the one that shows the load.
    """
    load = load_of(signals, alerting)
    random = np.random.default_rng(seed)
    return [_compared(signal, load, fault, random) for signal in signals if signal is not load]


def load_of(signals: Sequence[Signal], alerting: Collection[int] = ()) -> Signal | None:
    """The sensor that shows how hard the machine works, or None."""
    usable = [each for each in signals if each.key not in alerting and len(each.normal.times) >= FEWEST_NORMAL]
    found = [each for kind in LOADS for each in usable if each.kind == kind]
    return found[0] if found else None


def overall(compared: Sequence[Compared], fault: bool) -> tuple[Answer, str]:
    """The answer for the machine, and why: worse if any sensor is, else unchanged if any still shows the fault."""
    for answer in (Answer.WORSE, Answer.UNCHANGED) if fault else (Answer.WORSE,):
        if said := [each for each in compared if each.answer == answer]:
            return answer, " ".join(each.reason for each in said)
    unsure = [each for each in compared if each.answer == Answer.CANNOT_TELL]
    if not fault:
        if unsure or not compared:
            return Answer.CANNOT_TELL, " ".join(each.reason for each in unsure) or "There is no sensor to compare."
        return Answer.UNCHANGED, "Every sensor is where it usually was before the work."
    if said := [each for each in compared if each.answer == Answer.FIXED]:
        return Answer.FIXED, " ".join(each.reason for each in said)
    return Answer.CANNOT_TELL, " ".join(each.reason for each in unsure) or "There is no sensor to compare."


def _compared(signal: Signal, load: Signal | None, fault: bool, random: np.random.Generator) -> Compared:
    if len(signal.normal.times) < FEWEST_NORMAL:
        return Compared(
            signal.key, signal.name, Answer.CANNOT_TELL, f"{signal.name}: too little is known of its normal past."
        )
    measure = _Measure(signal, load)
    before, states = None, None
    if fault:
        loads = load.before if load else None
        before, states = measure.distance(signal.before, loads, FEWEST_HOURS_BEFORE, random)
    # A fault that shows at full load only is not gone because the machine idles.
    shown = before is not None and before.low > FAR
    comparable = states if shown else None
    after, _ = measure.distance(signal.after, load.after if load else None, FEWEST_HOURS_AFTER, random, comparable)
    if after is None:
        why = f"{signal.name}: since the work the machine has not run long enough in a state to compare it in."
        return Compared(signal.key, signal.name, Answer.CANNOT_TELL, why, before)
    answer, words = _judged(before, after, fault)
    if answer == Answer.WORSE and not shown and load is None and not measure.one_sided:
        # Without a sensor of its load a machine that stands still looks like one in trouble.
        answer, words = Answer.CANNOT_TELL, f"{words}, and no sensor shows whether the machine runs"
    return Compared(signal.key, signal.name, answer, f"{signal.name} {words}.", before, after)


def _judged(before: Distance | None, after: Distance, fault: bool) -> tuple[Answer, str]:
    now = f"{after.median:.1f} spreads from normal"
    showed = before is not None and before.low > FAR
    if showed and before is not None:
        was = f"it was {before.median:.1f} before"
        if after.low > before.high + FURTHER:
            return Answer.WORSE, f"is {now}, {was}"
        if after.low > FAR:
            return Answer.UNCHANGED, f"is still {now}, {was}"
        if after.high < FAR:
            return Answer.FIXED, f"is normal again, {was}"
        return Answer.CANNOT_TELL, f"is {now}, {was}: too little to be sure"
    if after.low > FAR:
        return Answer.WORSE, f"is {now} since the work"
    if after.high >= FAR:
        return Answer.CANNOT_TELL, f"is {now}: too little to be sure"
    return (Answer.CANNOT_TELL, "did not show the fault") if fault else (Answer.UNCHANGED, "is normal")


class _Measure:
    """How far readings of a signal are from its normal past at the same level of load."""

    def __init__(self, signal: Signal, load: Signal | None) -> None:
        self.one_sided = signal.kind in MORE_IS_WORSE
        # Where no other sensor shows it, its own values tell whether the machine runs.
        self.idle_below = None if load else threshold_between_states(signal.normal.values)
        loads = _at(signal.normal.times, load.normal) if load else np.zeros(len(signal.normal.times))
        known = np.isfinite(loads)
        self.edges = np.unique(np.quantile(loads[known], np.linspace(0, 1, LEVELS + 1))) if known.any() else np.zeros(1)
        levels = self._levels(loads, signal.normal.values)
        self.usual = {
            int(level): _usual(signal.normal.values[levels == level]) for level in np.unique(levels[levels >= 0])
        }

    def distance(
        self,
        samples: Samples,
        load: Samples | None,
        fewest_hours: int,
        random: np.random.Generator,
        states: set[int] | None = None,
    ) -> tuple[Distance | None, set[int]]:
        """The distance, None when too few of the readings were taken in a state that the normal past knows (and that is
        one of `states`, if these are given); and the states they were taken in.
        """
        loads = _at(samples.times, load) if load else np.zeros(len(samples.times))
        levels = self._levels(loads, samples.values)
        if states is not None:
            levels = np.where(np.isin(levels, sorted(states)), levels, -1)
        usual = np.array([self.usual.get(int(level)) or (np.nan, np.nan) for level in levels]).reshape(-1, 2)
        distances = (samples.values - usual[:, 0]) / usual[:, 1]
        usable = np.isfinite(distances)
        seen = set(levels[usable].tolist())
        hours = samples.times[usable] // HOUR_US
        if not usable.any() or usable.mean() < LEAST_USABLE or len(np.unique(hours)) < fewest_hours:
            return None, seen
        per_hour = np.array([np.median(distances[usable][hours == hour]) for hour in np.unique(hours)])
        per_hour = np.maximum(per_hour, 0) if self.one_sided else np.abs(per_hour)
        drawn = np.median(random.choice(per_hour, (RESAMPLES, len(per_hour))), axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        return Distance(float(np.median(per_hour)), float(low), float(high)), seen

    def _levels(self, loads: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.int64]:
        """The level of each load; -1 for what is idle, unknown, or beyond the past's loads by more than a margin."""
        margin = (self.edges[-1] - self.edges[0]) / (10 * LEVELS)
        runs = np.ones(len(values), bool) if self.idle_below is None else values > self.idle_below
        inside = runs & (loads >= self.edges[0] - margin) & (loads <= self.edges[-1] + margin)
        level = np.clip(np.searchsorted(self.edges, loads, side="right") - 1, 0, max(len(self.edges) - 2, 0))
        return np.where(inside, level, -1)


def _at(times: NDArray[np.int64], other: Samples) -> NDArray[np.float64]:
    """The value of another sensor in the same step as each of these times; NaN where it has none."""
    if not len(other.times):
        return np.full(len(times), np.nan)
    steps, wanted = other.times // STEP_US, times // STEP_US
    place = np.clip(np.searchsorted(steps, wanted), 0, len(steps) - 1)
    return np.where(steps[place] == wanted, other.values[place], np.nan)


def _usual(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """Median and robust spread; None where they say too little."""
    if len(values) < FEWEST_OF_LEVEL:
        return None
    median = float(np.median(values))
    spread = MAD_TO_SIGMA * float(np.median(np.abs(values - median)))
    return (median, spread) if spread > 0 else None

"""The demo plant's own model (sensors.simulator) with faults of known onset: needs no data folder.

Each machine is normal for two weeks, from which everything is learned; in the twenty days after, its bearing wears out
twice, once in six hours and once in three days, and is repaired each time.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlops import baselines, calibration
from mlops.detectors import robust
from mlops.detectors.asset_ensemble import AssetEnsemble
from mlops.events import EVENT_GAP, EVENT_GAP_US, find_events
from mlops.gauntlets import Gate, Number, Result
from mlops.grid import Grid, Series
from mlops.measures import ByBaseline, N
from sensors.simulator import DAY_SECONDS, MACHINES, Machine, measure

Times = NDArray[np.int64]
Span = tuple[int, int]

# 4 March 2024, 00:00 UTC.
START_SECONDS = 1_709_510_400
TRAINING_DAYS, TEST_DAYS = 14, 20
# Of the training days, those that set the threshold of the asset detector and not what it takes for normal.
HELD_BACK_DAYS = 4
# (name, days after training, days from the first sign to the end); machines begin two days apart.
FAULTS = (("fast faults", 3.0, 0.25), ("slow faults", 9.0, 3.0))
APART_DAYS = 2.0
SEEDS = (1, 2, 3)
STEP_SECONDS = 60
LOST = 0.01
FALSE_EVENTS_A_DAY = 1 / 30


@dataclass(frozen=True)
class Plant:
    """One machine's readings, by sensor, and when it was faulty (microseconds UTC)."""

    series: dict[str, Series]
    faults: list[Span]

    @property
    def normal(self) -> list[Span]:
        """What is tested and not faulty."""
        edges = [TESTED_FROM, *(edge for fault in self.faults for edge in fault), TESTED_UNTIL]
        return list(zip(edges[::2], edges[1::2], strict=True))

    def between(self, first_day: float, last_day: float) -> dict[str, Series]:
        """The readings of these days, counted from the beginning."""
        return {key: _between(each, _us(first_day), _us(last_day)) for key, each in self.series.items()}


def _us(day: float) -> int:
    return round((START_SECONDS + day * DAY_SECONDS) * 1e6)


TESTED_FROM, TESTED_UNTIL = _us(TRAINING_DAYS), _us(TRAINING_DAYS + TEST_DAYS)
# The alarms of each sensor, or of the asset under its own name.
Alarms = dict[str, list[Span]]
NOTES = [
    "The plant of the demo, simulated three times: three machines of five sensors that report every minute, each at "
    "its own second. Fourteen normal days to learn from; in the twenty after, the bearing of each machine wears out in "
    "six hours, and later in three days. Wear goes from 0 to 1 evenly; delays are from its first sign to the first "
    "alarm of the machine, or to the end where there was none.",
    "A false event is one that begins while nothing is wrong; alarms less than six hours apart are one. Per machine, "
    "the events of its sensors count each. A month has thirty days.",
    "The built-in detector learns anew every hour from the two weeks before, faults included, as it does in service. "
    "The asset detector learns from ten days; the four after set its threshold, for one false event a month. How well "
    "four days show the tail differs: in a longer run (18 machine-months, six seeds) there were 15 false events, 11 of "
    "them of one machine.",
]


def run(data: Path) -> Result:
    """Takes nothing from `data`."""
    plants = [simulated(machine, seed) for seed in SEEDS for machine in MACHINES]
    ours = {
        "built-in, each sensor alone": figures(plants, map(built_in, plants)),
        "asset detector": figures(plants, map(asset_detector, plants)),
    }
    trivial = {
        "fixed 3 sigma, each sensor alone": figures(plants, map(three_sigma, plants)),
        "always": figures(plants, map(always, plants)),
    }
    return Result("synthetic", {}, ours, trivial, gates(*ours.values()), NOTES, SEEDS)


def gates(built_in: dict[str, Number], asset: dict[str, Number]) -> list[Gate]:
    """All faults found by a third of the way to failure, and as few false events as people bear: one of a sensor in
    ten months; of an asset twice the one a month it is set for (chance exceeds that in one of a hundred such runs).
    """
    return [
        Gate("built-in: faults found, %", built_in["found %"], ">= 100"),
        Gate("built-in: wear when found at the latest", built_in["worst wear"], "<= 0.333"),
        Gate("built-in: false events per sensor-month", built_in["false / sensor-month"], "<= 0.1"),
        Gate("asset: faults found, %", asset["found %"], ">= 100"),
        Gate("asset: wear when found at the latest", asset["worst wear"], "<= 0.333"),
        Gate("asset: false events per machine-month", asset["false / machine-month"], "<= 2"),
    ]


def simulated(machine: Machine, seed: int) -> Plant:
    """Sensors report every minute, each at its own second and with jitter; one in a hundred readings is lost."""
    rng = np.random.default_rng([seed, MACHINES.index(machine)])
    first_fault = TRAINING_DAYS + APART_DAYS * MACHINES.index(machine)
    faults = [(START_SECONDS + (first_fault + at) * DAY_SECONDS, length * DAY_SECONDS) for _, at, length in FAULTS]
    series = {}
    for key in machine.sensors:
        seconds = START_SECONDS + np.arange(0, (TRAINING_DAYS + TEST_DAYS) * DAY_SECONDS, STEP_SECONDS)
        seconds = seconds[rng.random(len(seconds)) >= LOST]
        seconds = seconds + rng.uniform(0, STEP_SECONDS / 2) + rng.uniform(0, STEP_SECONDS / 4, len(seconds))
        values = measure(machine, seconds, rng, _wear(seconds, faults))[key]
        series[key] = np.rint(seconds * 1e6).astype(np.int64), values
    return Plant(series, [(round(at * 1e6), round((at + length) * 1e6)) for at, length in faults])


def _wear(seconds: NDArray[np.float64], faults: list[tuple[float, float]]) -> NDArray[np.float64]:
    shares = [(seconds - at) / length for at, length in faults]
    wear: NDArray[np.float64] = np.sum([np.where((each >= 0) & (each < 1), each, 0.0) for each in shares], axis=0)
    return wear


def built_in(plant: Plant) -> Alarms:
    """What serves a sensor that has no model: a baseline of the two weeks before each hour."""
    return {key: _built_in(*series) for key, series in plant.series.items()}


def _built_in(timestamps: Times, values: NDArray[np.float64]) -> list[Span]:
    blocks, which = np.unique(timestamps // baselines.BLOCK_US, return_inverse=True)
    _, sampled = np.unique(timestamps // baselines.SAMPLE_STEP_US, return_index=True)
    times, samples = timestamps[sampled], values[sampled]
    profiles: list[robust.Profile | None] = []
    for start in blocks * baselines.BLOCK_US:
        part = slice(*np.searchsorted(times, [start - baselines.HISTORY_US, start]))
        profiles.append(robust.learn(times[part], samples[part]) if start >= TESTED_FROM else None)
    events = find_events(ByBaseline(timestamps, values, profiles, which), TESTED_FROM)
    # An event begins with the first of the readings that confirm it; nobody hears of it before the last of them.
    last = np.searchsorted(timestamps, [event.start for event in events]) + N - 1
    confirmed = timestamps[np.minimum(last, len(timestamps) - 1)].tolist()
    return [(min(at, event.end), event.end) for at, event in zip(confirmed, events, strict=True)]


def asset_detector(plant: Plant) -> Alarms:
    grid = Grid.learn(plant.between(0, TRAINING_DAYS))
    cut = TRAINING_DAYS - HELD_BACK_DAYS
    detector = AssetEnsemble().fit(grid.frame(plant.between(0, cut)))
    held_back = grid.frame(plant.between(cut, TRAINING_DAYS))
    limit = calibration.calibrate(
        held_back.timestamps, detector.score(held_back), FALSE_EVENTS_A_DAY, EVENT_GAP.total_seconds()
    )
    frame = grid.frame(plant.series)
    return {"asset": _spans(frame.timestamps, detector.score(frame) >= limit.threshold)}


def three_sigma(plant: Plant) -> Alarms:
    """Beyond three standard deviations of the training readings, whatever the time of day."""
    alarms = {}
    for key, (_, trained) in plant.between(0, TRAINING_DAYS).items():
        timestamps, values = plant.series[key]
        alarms[key] = _spans(timestamps, np.abs(values - trained.mean()) > 3 * trained.std())
    return alarms


def always(plant: Plant) -> Alarms:
    return {key: [(TESTED_FROM, TESTED_UNTIL)] for key in plant.series}


def figures(plants: list[Plant], alarms: Iterable[Alarms]) -> dict[str, Number]:
    """What was found, how long after its first sign and how worn the bearing was by then; what was no fault."""
    delays: list[tuple[int, int]] = []
    hits = false = normal_us = alarmed_us = 0
    for plant, by_sensor in zip(plants, alarms, strict=True):
        spans = sorted(span for each in by_sensor.values() for span in each)
        false += sum(not any(onset <= first < end for onset, end in plant.faults) for first, _ in spans)
        for onset, end in plant.faults:
            found = [max(first, onset) for first, last in spans if first < end and last >= onset]
            delays.append((min(found, default=end) - onset, end - onset))
            hits += bool(found)
        for first, last in plant.normal:
            normal_us += last - first
            alarmed_us += _covered(spans, first, last)
    months, sensors = len(plants) * TEST_DAYS / 30, np.mean([len(plant.series) for plant in plants])
    return {
        "found %": 100 * hits / len(delays),
        **{f"delay of {name}, h": _mean_hours(delays, length) for name, _, length in FAULTS},
        "worst wear": max(delay / length for delay, length in delays),
        "false / sensor-month": float(false / months / sensors),
        "false / machine-month": false / months,
        "normal time in alarm %": 100 * alarmed_us / normal_us,
    }


def _mean_hours(delays: list[tuple[int, int]], length_days: float) -> float:
    """Of the faults of this length."""
    found = [delay for delay, length in delays if length == round(length_days * robust.DAY_US)]
    return float(np.mean(found)) / robust.HOUR_US


def _covered(spans: list[Span], first: int, last: int) -> int:
    """The time between `first` and `last` that lies in some of the spans, which are in order of their beginnings."""
    covered, until = 0, first
    for start, end in spans:
        covered += max(min(end, last) - max(start, until), 0)
        until = max(until, end)
    return covered


def _spans(timestamps: Times, alarmed: NDArray[np.bool_]) -> list[Span]:
    """From the first to the last row of each event; alarms closer than events' gap are one."""
    times = timestamps[alarmed & (timestamps >= TESTED_FROM)]
    if not len(times):
        return []
    parts = np.split(times, np.flatnonzero(np.diff(times) > EVENT_GAP_US) + 1)
    return [(int(part[0]), int(part[-1])) for part in parts]


def _between(series: Series, first: int, last: int) -> Series:
    timestamps, values = series
    part = slice(*np.searchsorted(timestamps, [first, last]))
    return timestamps[part], values[part]

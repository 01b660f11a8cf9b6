"""Failures of the demo plant's motor, simulated: what its sensors read while it wears out, again and again."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops.failures import Failure
from mlops.grid import Series
from sensors.simulator import DAY_SECONDS, MOTOR, measure, sensor_id

RUNS = 36
STEP_SECONDS = 300.0
# A bearing stays healthy for days, then wears ever faster; it fails at another damage every time (uniform draws).
HEALTHY_DAYS = (2.0, 5.0)
WEARING_DAYS = (1.0, 4.0)
FAILS_AT = (0.45, 1.0)
REPAIR_SECONDS = 4 * 3600.0
SEED = 201


@dataclass(frozen=True)
class Life:
    """From `start` healthy, wearing from `worn_from` on, failed at `end` with damage `damage` (seconds, and 0 to 1)."""

    start: float
    worn_from: float
    end: float
    damage: float

    def wear(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        worn = np.clip((seconds - self.worn_from) / (self.end - self.worn_from), 0, 1)
        return self.damage * worn**2


def simulate(until: float) -> tuple[dict[str, Series], list[Failure]]:
    """What the motor's sensors read up to the repair of its last failure, which ends at `until` (seconds since 1970),
    and the failures; there are no readings while it is repaired.
    """
    lives = list(_lives(until))
    noise = np.random.default_rng(SEED)
    times, measured = [], []
    for life in lives:
        seconds = np.arange(life.start, life.end, STEP_SECONDS)
        times.append(np.rint(seconds * 1e6).astype(np.int64))
        measured.append(measure(MOTOR, seconds, noise, life.wear(seconds)))
    timestamps = np.concatenate(times)
    values = {key: np.concatenate([each[key] for each in measured]) for key in MOTOR.sensors}
    series = {sensor_id(MOTOR, key): (timestamps, each) for key, each in values.items()}
    return series, [Failure(_us(life.end), _us(life.end), _us(life.end + REPAIR_SECONDS)) for life in lives]


def _lives(until: float) -> Iterator[Life]:
    rng = np.random.default_rng(SEED)
    healthy, wearing = (DAY_SECONDS * rng.uniform(*days, RUNS) for days in (HEALTHY_DAYS, WEARING_DAYS))
    damages = rng.uniform(*FAILS_AT, RUNS)
    start = until - float(np.sum(healthy + wearing)) - RUNS * REPAIR_SECONDS
    for well, ill, damage in zip(healthy.tolist(), wearing.tolist(), damages.tolist(), strict=True):
        yield Life(start, start + well, start + well + ill, damage)
        start += well + ill + REPAIR_SECONDS


def _us(seconds: float) -> int:
    return round(seconds * 1e6)

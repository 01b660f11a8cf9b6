"""The demo plant: a pump, a motor and a compressor as a small physical model.

Every value follows from what drives a plant: the load of the shift, the temperature of the day, and wear. Sensors of
one machine move together because they share these. The model knows nothing of the platform; `seed_demo` stores its past
and `manage.py simulate` sends its present through the same HTTP door as everybody else.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class Conditions:
    """What drives the plant at each of n times.

    `load` is the share of rated load (about 0.55 to 0.95), `ambient` the air in °C, `wear` the damage of the machine
    from 0 (healthy) to 1 (about to fail).
    """

    load: Values
    ambient: Values
    wear: Values


@dataclass(frozen=True)
class SimulatedSensor:
    """A sensor and its law: conditions -> value in `unit`, to which measurement noise of sd `noise` is added."""

    name: str
    kind: str
    unit: str
    noise: float
    low: float
    high: float
    law: Callable[[Conditions], Values]


@dataclass(frozen=True)
class Machine:
    key: str
    name: str
    criticality: int
    sensors: dict[str, SimulatedSensor]


# Vibration: velocity RMS of a healthy machine of this size lies near 1.5-2.5 mm/s; beyond 7.1 it is dangerous (ISO
# 20816-3). Worn bearings shake with the square of the damage, run hot, cost current and lose flow.
PUMP = Machine(
    "p101",
    "Pump P-101",
    3,
    {
        "vibration": SimulatedSensor(
            "Bearing vibration", "vibration", "mm/s", 0.08, 0, 50, lambda c: 1.4 + 0.9 * c.load + 7.0 * c.wear**2
        ),
        "bearing_temperature": SimulatedSensor(
            "Bearing temperature",
            "temperature",
            "°C",
            0.25,
            -40,
            150,
            lambda c: c.ambient + 18 + 14 * c.load + 24 * c.wear,
        ),
        "pressure": SimulatedSensor(
            "Discharge pressure", "pressure", "kPa", 2.5, 0, 1600, lambda c: 430 - 60 * c.load**2 - 25 * c.wear
        ),
        "flow": SimulatedSensor("Flow", "flow", "m³/h", 0.5, 0, 200, lambda c: 92 * c.load - 6 * c.wear),
        "current": SimulatedSensor(
            "Motor current", "current", "A", 0.25, 0, 100, lambda c: 9 + 19 * c.load + 1.8 * c.wear
        ),
    },
)
MOTOR = Machine(
    "m201",
    "Conveyor motor M-201",
    2,
    {
        "vibration": SimulatedSensor(
            "Drive end vibration", "vibration", "mm/s", 0.06, 0, 50, lambda c: 1.1 + 0.7 * c.load + 5 * c.wear**2
        ),
        "winding_temperature": SimulatedSensor(
            "Winding temperature",
            "temperature",
            "°C",
            0.4,
            -40,
            200,
            lambda c: c.ambient + 22 + 38 * c.load**2 + 30 * c.wear,
        ),
        "current": SimulatedSensor("Current", "current", "A", 0.4, 0, 200, lambda c: 14 + 31 * c.load + 5 * c.wear),
        "speed": SimulatedSensor("Speed", "speed", "rpm", 1.2, 0, 3600, lambda c: 1496 - 24 * c.load - 8 * c.wear),
        "voltage": SimulatedSensor("Supply voltage", "voltage", "V", 0.8, 0, 1000, lambda c: 403 - 4.5 * c.load),
    },
)
COMPRESSOR = Machine(
    "c301",
    "Air compressor C-301",
    2,
    {
        "pressure": SimulatedSensor(
            "Outlet pressure", "pressure", "kPa", 3.0, 0, 1600, lambda c: 742 - 48 * c.load - 60 * c.wear
        ),
        "oil_temperature": SimulatedSensor(
            "Oil temperature", "temperature", "°C", 0.4, -40, 150, lambda c: c.ambient + 38 + 22 * c.load + 25 * c.wear
        ),
        "power": SimulatedSensor("Power", "power", "kW", 0.5, 0, 200, lambda c: 18 + 54 * c.load + 9 * c.wear),
        "sound": SimulatedSensor("Sound level", "sound", "dB", 0.5, 0, 140, lambda c: 74 + 9 * c.load + 8 * c.wear),
        "humidity": SimulatedSensor(
            "Intake humidity", "humidity", "%", 0.7, 0, 100, lambda c: np.clip(92 - 1.9 * c.ambient, 5, 98)
        ),
    },
)
MACHINES = (PUMP, MOTOR, COMPRESSOR)


def sensor_id(machine: Machine, key: str) -> str:
    return f"demo.{machine.key}.{key}"


def conditions(machine: Machine, seconds: Values, wear: Values | float = 0.0) -> Conditions:
    """The conditions of a machine at these times (seconds since 1970 UTC); the same times always give the same."""
    day = 2 * np.pi * seconds / DAY_SECONDS
    number = MACHINES.index(machine)
    # Two shifts and a quiet night, and the slow to and fro of production: sines that never repeat together.
    shift = 0.72 + 0.10 * np.sin(day - 1.8)
    production = 0.035 * np.sin(seconds / 1_870 + number) + 0.025 * np.sin(seconds / 547 + 2.1 * number)
    ambient = 21 + 4.5 * np.sin(day - 2.4) + 1.2 * np.sin(seconds / (5.3 * DAY_SECONDS))
    return Conditions(shift + production, ambient, np.broadcast_to(np.asarray(wear, float), seconds.shape))


def measure(
    machine: Machine, seconds: Values, noise: np.random.Generator, wear: Values | float = 0.0
) -> dict[str, Values]:
    """What each sensor of the machine reads at these times, noise included."""
    now = conditions(machine, seconds, wear)
    return {
        key: np.clip(sensor.law(now) + noise.normal(0, sensor.noise, len(seconds)), sensor.low, sensor.high)
        for key, sensor in machine.sensors.items()
    }


@dataclass
class PumpWear:
    """The wear of the demo pump's bearing: it begins soon after the start, grows, and ends when somebody repairs it.

    Weeks of wear pass in minutes, so that a visitor sees an alert come; after a repair the next one is an hour away.
    """

    begins_at: float
    growth_seconds: float = 240.0
    rest_seconds: float = 3600.0

    def at(self, now: float) -> float:
        return float(np.clip((now - self.begins_at) / self.growth_seconds, 0.0, 1.0))

    def repair(self, now: float) -> None:
        self.begins_at = now + self.rest_seconds

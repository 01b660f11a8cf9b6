"""Kinds of measurement and their units. A unit that is not in this table is refused, never guessed."""

from dataclasses import dataclass
from functools import cache

from django.db.models import TextChoices


class Kind(TextChoices):
    TEMPERATURE = "temperature"
    VIBRATION = "vibration"
    PRESSURE = "pressure"
    HUMIDITY = "humidity"
    VOLTAGE = "voltage"
    CURRENT = "current"
    POWER = "power"
    FLOW = "flow"
    SPEED = "speed", "rotational speed"
    SOUND = "sound"
    GENERIC = "generic"


@dataclass(frozen=True)
class Conversion:
    """`base = value * factor + offset`; units of one dimension share a base."""

    dimension: str
    factor: float = 1.0
    offset: float = 0.0


# Factors: BIPM, The International System of Units, 9th edition, tables 4 and 8; NIST SP 811, appendix B.
CONVERSIONS: dict[str, Conversion] = {
    "°C": Conversion("temperature"),
    "°F": Conversion("temperature", 5 / 9, -160 / 9),
    "K": Conversion("temperature", 1.0, -273.15),
    "mm/s": Conversion("velocity"),
    "in/s": Conversion("velocity", 25.4),
    "m/s²": Conversion("acceleration"),
    "g": Conversion("acceleration", 9.80665),
    "kPa": Conversion("pressure"),
    "mbar": Conversion("pressure", 0.1),
    "hPa": Conversion("pressure", 0.1),
    "Pa": Conversion("pressure", 0.001),
    "bar": Conversion("pressure", 100.0),
    "MPa": Conversion("pressure", 1000.0),
    "psi": Conversion("pressure", 6.894757),
    "%": Conversion("ratio"),
    "V": Conversion("voltage"),
    "kV": Conversion("voltage", 1000.0),
    "A": Conversion("current"),
    "mA": Conversion("current", 0.001),
    "kW": Conversion("power"),
    "W": Conversion("power", 0.001),
    "m³/h": Conversion("flow"),
    "l/min": Conversion("flow", 0.06),
    "rpm": Conversion("rotation"),
    "Hz": Conversion("rotation", 60.0),
    "dB": Conversion("level"),
    "µm": Conversion("length"),
    "Nm": Conversion("torque"),
    "kWh": Conversion("energy"),
    "1": Conversion("number"),
}
# What people and gateways write for the same unit.
ALIASES: dict[str, str] = {
    "C": "°C",
    "degC": "°C",
    "celsius": "°C",
    "F": "°F",
    "degF": "°F",
    "fahrenheit": "°F",
    "m/s2": "m/s²",
    "m3/h": "m³/h",
    "L/min": "l/min",
    "percent": "%",
    "% rF": "%",
    "%rF": "%",
    "% RH": "%",
    "%RH": "%",
    "RPM": "rpm",
    "U/min": "rpm",
    "1/min": "rpm",
    "min-1": "rpm",
    "r/min": "rpm",
    "\u03bcm": "µm",  # With the Greek letter instead of the micro sign.
    "um": "µm",
    "": "1",
}
UNIT_CHOICES = [(name, name) for name in CONVERSIONS]

DEFAULT_UNIT: dict[str, str] = {
    Kind.TEMPERATURE: "°C",
    Kind.VIBRATION: "mm/s",
    Kind.PRESSURE: "kPa",
    Kind.HUMIDITY: "%",
    Kind.VOLTAGE: "V",
    Kind.CURRENT: "A",
    Kind.POWER: "kW",
    Kind.FLOW: "m³/h",
    Kind.SPEED: "rpm",
    Kind.SOUND: "dB",
    Kind.GENERIC: "1",
}


def canonical(unit: str) -> str | None:
    """The table's spelling of `unit`, or None when it is unknown."""
    unit = unit.strip()
    unit = ALIASES.get(unit, unit)
    return unit if unit in CONVERSIONS else None


def not_known(unit: str, like: str | None = None) -> str:
    """What to tell whoever sent `unit`, with the units that could be meant: those of the dimension of `like`, or all.

    >>> not_known("inHg", like="kPa")
    "Unit 'inHg' is not known; known are kPa, mbar, hPa, Pa, bar, MPa, psi."
    """
    return f"Unit {unit[:40]!r} is not known; known are {_known(like)}."


@cache
def _known(like: str | None) -> str:
    return ", ".join(name for name in CONVERSIONS if like is None or conversion(name, like))


def conversion(source: str, target: str) -> tuple[float, float] | None:
    """`(factor, offset)` with `target_value = source_value * factor + offset`; None when the dimensions differ.

    >>> factor, offset = conversion("°F", "°C")
    >>> round(212 * factor + offset, 6)
    100.0
    """
    a, b = CONVERSIONS[source], CONVERSIONS[target]
    if a.dimension != b.dimension:
        return None
    return a.factor / b.factor, (a.offset - b.offset) / b.factor

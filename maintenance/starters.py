"""What a new installation begins with: failure modes by class of assets, and templates of three kinds of machines.

The codes are those of failure modes in ISO 14224 (annex B), written down from memory and shortened to what a workshop
tells apart; the standard itself is the authority. Plants add their own in the admin; nothing of theirs is changed.
"""

from typing import Any

from django.apps import apps as installed

ANY_ASSET = {
    "BRD": "Breakdown",
    "NOI": "Noise",
    "OHE": "Overheating",
    "PDE": "Parameter deviation",
    "STD": "Structural deficiency",
    "SER": "Minor in-service problems",
    "AIR": "Abnormal instrument reading",
    "OTH": "Other",
    "UNK": "Unknown",
}
ROTATING = {
    "VIB": "Abnormal vibration",
    "FTS": "Fails to start on demand",
    "STP": "Fails to stop on demand",
    "UST": "Spurious stop",
}
LEAKS = {
    "ELP": "External leakage of the process medium",
    "ELU": "External leakage of a utility medium",
    "INL": "Internal leakage",
}
OUTPUT = {"LOO": "Low output", "HIO": "High output", "ERO": "Erratic output"}
FAILURE_MODES: dict[str, dict[str, str]] = {
    "Pump": ROTATING | LEAKS | OUTPUT | {"PLU": "Plugged or choked"},
    "Electric motor": ROTATING | OUTPUT | {"ELU": LEAKS["ELU"]},
    "Fan": ROTATING | OUTPUT,
    "Compressor": ROTATING | LEAKS | OUTPUT,
    "Gearbox": {"VIB": ROTATING["VIB"], "ELU": LEAKS["ELU"], "ERO": OUTPUT["ERO"]},
}


def _sensor(key: str, name: str, kind: str, unit: str, **more: Any) -> dict[str, Any]:
    return {"key": key, "name": name, "kind": kind, "unit": unit, "cadence_seconds": 10} | more


# Chosen by us for rolling bearings and windings of class F; what is agreed for a machine comes first.
BEARING = {"range_low": -40, "range_high": 200, "warn_high": 80, "alarm_high": 95}
WINDING = {"range_low": -40, "range_high": 250, "warn_high": 130, "alarm_high": 150}
# ISO 20816-3, group 2 on rigid supports: zone boundaries B/C and C/D.
SHAKING = {"range_low": 0, "range_high": 100, "machine_class": "group 2 rigid", "warn_high": 2.8, "alarm_high": 4.5}

PUMP_WITH_MOTOR = [
    _sensor("vibration", "Pump vibration", "vibration", "mm/s", **SHAKING),
    _sensor("bearing", "Pump bearing temperature", "temperature", "°C", **BEARING),
    _sensor("pressure", "Discharge pressure", "pressure", "kPa"),
    _sensor("flow", "Flow", "flow", "m³/h", range_low=0),
    _sensor("motor.vibration", "Motor vibration", "vibration", "mm/s", **SHAKING),
    _sensor("motor.winding", "Motor winding temperature", "temperature", "°C", **WINDING),
    _sensor("motor.current", "Motor current", "current", "A", range_low=0),
]
FAN = [
    _sensor("vibration", "Fan vibration", "vibration", "mm/s", **SHAKING),
    _sensor("bearing", "Bearing temperature", "temperature", "°C", **BEARING),
    _sensor("speed", "Speed", "speed", "rpm", range_low=0),
    _sensor("current", "Motor current", "current", "A", range_low=0),
]
COMPRESSOR = [
    _sensor("vibration", "Vibration", "vibration", "mm/s", **SHAKING),
    _sensor("outlet", "Outlet temperature", "temperature", "°C", range_low=-40, range_high=300),
    _sensor("pressure", "Outlet pressure", "pressure", "kPa", range_low=0),
    _sensor("power", "Power", "power", "kW", range_low=0),
]
GREASE = {"title": "Grease the bearings", "rule": "FREQ=MONTHLY;INTERVAL=3", "estimated_hours": 0.5}
LOOK_AT_LIMIT = {
    "title": "Look at it: a limit was passed",
    "trigger": "condition",
    "alert_kinds": ["limit"],
    "lead_days": 2,
    "approved": False,
}
FILTERS = {"title": "Change oil and air filters", "rule": "FREQ=YEARLY", "estimated_hours": 4}
# The class, the sensors and the plans of each. Intervals are chosen by us: the maker's manual is the authority.
TEMPLATES: dict[str, tuple[str, list[dict[str, Any]], list[dict[str, Any]]]] = {
    "Pump with motor": ("Pump", PUMP_WITH_MOTOR, [GREASE, LOOK_AT_LIMIT]),
    "Fan with motor": ("Fan", FAN, [GREASE]),
    "Screw compressor": ("Compressor", COMPRESSOR, [FILTERS, LOOK_AT_LIMIT]),
}


def provide(apps: Any = installed, **_: Any) -> None:
    """Fill an installation that has no failure modes yet; after every migrate."""
    try:
        mode, template = apps.get_model("maintenance", "FailureMode"), apps.get_model("maintenance", "AssetTemplate")
    except LookupError:  # Migrated to a state before these tables.
        return
    if mode.objects.exists():
        return
    asset_class = apps.get_model("sensors", "AssetClass")
    classes = {name: asset_class.objects.get_or_create(name=name)[0] for name in FAILURE_MODES}
    listed = [(None, ANY_ASSET), *((classes[name], modes) for name, modes in FAILURE_MODES.items())]
    mode.objects.bulk_create(
        [mode(asset_class=of, code=code, name=name) for of, modes in listed for code, name in modes.items()]
    )
    template.objects.bulk_create(
        [
            template(
                name=name, asset_class=classes[of], content={"sensors": sensors, "failure_modes": [], "plans": planned}
            )
            for name, (of, sensors, planned) in TEMPLATES.items()
        ],
        ignore_conflicts=True,
    )

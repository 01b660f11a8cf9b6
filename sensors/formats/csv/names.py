"""What the names of columns say: a role, a unit, the key of a sensor."""

import re
from collections.abc import Sequence

from sensors import units
from sensors.formats import MAX_SENSOR_ID
from sensors.formats.csv.layout import Column, Layout, Role

# Names that say what a column holds, compared without case.
NAMES = {
    Role.TIMESTAMP: ("timestamp", "time", "datetime", "date", "ts", "zeit", "datum", "uhrzeit", "zeitstempel", "_time"),
    Role.SENSOR: (
        *("sensor", "sensor_id", "sensorid", "tag", "tagname", "tag name", "tag_name", "name", "channel", "signal"),
        *("point", "variable", "metric", "entity_id", "messstelle", "kanal"),
    ),
    Role.VALUE: ("value", "reading", "measurement", "val", "wert", "messwert", "state", "_value"),
    Role.QUALITY: ("quality", "qualität"),
    Role.UNIT: ("unit", "units", "uom", "einheit"),
}
# No column of a table of readings has a longer name.
MAX_NAME = 200
_UNIT = re.compile(r"(?P<name>.*?)\s*(\[(?P<square>[^\[\]]*)\]|\((?P<round>[^()]*)\))\s*\Z")


def says(name: str, role: Role) -> bool:
    """Whether a column of this name has this role.

    >>> says("Wert [bar]", Role.VALUE)
    True
    """
    return split_unit(name)[0].lower() in NAMES[role]


def split_unit(name: str) -> tuple[str, str]:
    """`Temperature [°C]` is a name and a unit; `Pump (inlet)` is a name.

    >>> split_unit("Temperature [°C]"), split_unit("Pump (inlet)")
    (('Temperature', '°C'), ('Pump (inlet)', ''))
    """
    found = _unit_part(name)
    unit = units.canonical(found["square"] or found["round"] or "?") if found else None
    return (found["name"], unit) if found and found["name"] and unit else (name, "")


def unknown_unit(name: str) -> str:
    """The unit that the name of a column puts in square brackets, if nobody knows it.

    >>> unknown_unit("Pressure [inHg]"), unknown_unit("Pressure [bar]"), unknown_unit("Pump (inlet)")
    ('inHg', '', '')
    """
    found = _unit_part(name)
    unit = (found["square"] or "").strip() if found else ""
    return unit if unit and units.canonical(unit) is None else ""


def _unit_part(name: str) -> re.Match[str] | None:
    # What has to be looked at grows with the square of the name's length.
    return _UNIT.match(name) if len(name) <= MAX_NAME else None


def keys_apart(names: Sequence[str], keys: Sequence[str]) -> list[str]:
    """A key for each of these columns, no two the same: those that come second get a number.

    `keys[i]` is what `names[i]` would be by itself; a column that is named exactly so keeps it.

    >>> keys_apart(["Pump 1", "Pump_1", "Pump_1", "x"], ["Pump_1", "Pump_1", "Pump_1", "x"])
    ['Pump_1_3', 'Pump_1', 'Pump_1_2', 'x']
    """
    found = list(keys)
    taken, wanted, numbers = {""}, set(keys), dict.fromkeys(keys, 1)
    for place in sorted(range(len(keys)), key=lambda place: names[place] != keys[place]):
        key = base = keys[place]
        while key in taken and base:
            numbers[base] += 1
            suffix = f"_{numbers[base]}"
            numbered = base[: MAX_SENSOR_ID - len(suffix)] + suffix
            key = base if numbered in wanted else numbered
        taken.add(key)
        found[place] = key
    return found


def names_of_sensors(layout: Layout) -> dict[str, str]:
    """What a file calls the sensors of its columns, by their keys, where that is more than the key itself."""
    columns = [layout.columns[place] for place in layout.places(Role.VALUE)] if layout.header else []
    return {column.sensor_id: name for column in columns if (name := _own_name(column)) not in ("", column.sensor_id)}


def _own_name(column: Column) -> str:
    return "" if says(column.name, Role.VALUE) else split_unit(column.name)[0].replace("\0", "�")[:MAX_NAME]

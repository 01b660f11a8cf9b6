"""Sensors that a file brings with it."""

from collections.abc import Iterator

import numpy as np
from django.conf import settings

from sensors import discovery
from sensors.columns import Columns
from sensors.formats import MAX_SENSOR_ID, as_sensor_id
from sensors.models import Asset, Sensor

MAX_SENSOR_NAME: int = Sensor._meta.get_field("name").max_length or 0


def units_sent(columns: Columns) -> Iterator[tuple[str, str | None]]:
    """Each sensor of a batch, with the unit of its first reading, None where that names none."""
    codes, places = np.unique(columns.codes, return_index=True)
    for code, unit in zip(codes.tolist(), columns.units[places].tolist(), strict=True):
        yield columns.sensor_ids[code], columns.unit_names[unit] if unit >= 0 else None


def create_sensors(unit_of: dict[str, str | None], names: dict[str, str], site_id: int, asset: Asset | None) -> int:
    """Create those of these sensors that the site does not have, on `asset` or waiting to be placed; returns how many.

    `names` are what the file calls them, where that is not their key. Their readings are kept for ever, as imported
    history is. What makes no sensor is left to `store_batch` to refuse.
    """
    known = set(Sensor.objects.filter(site=site_id, sensor_id__in=list(unit_of)).values_list("sensor_id", flat=True))
    new = [name for name in unit_of if name not in known and name == as_sensor_id(name)[:MAX_SENSOR_ID]]
    waiting = 0 if asset else Sensor.objects.discovered().filter(site=site_id).count()
    new = new[: max(0, settings.DISCOVERY_LIMIT - waiting)]
    if not new:
        return 0
    place = asset or discovery.waiting_room(site_id)
    status = Sensor.Status.ACTIVE if asset else Sensor.Status.DISCOVERED
    sensors = []
    for name in new:
        kind, unit = discovery.infer(name, unit_of[name])
        about = {"sensor_id": name, "kind": kind, "unit": unit, "status": status, "retention_days": 0}
        sensors.append(Sensor(site_id=site_id, asset=place, name=names.get(name, "")[:MAX_SENSOR_NAME], **about))
    return len(Sensor.objects.bulk_create(sensors, ignore_conflicts=True))

"""Sensors that nobody has set up yet: created from their first readings, they wait for an engineer to place them."""

import re

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from sensors import units
from sensors.access import Sender
from sensors.models import Asset, Sensor, Site
from sensors.models.plant import valid_sensor_id
from sensors.units import Kind

WAITING_ROOM = "Not yet placed"
# Words in a sensor's key that tell its kind where no unit does; the longest ones decide.
WORDS: dict[str, Kind] = {
    **dict.fromkeys(["temperature", "temp", "tmp"], Kind.TEMPERATURE),
    **dict.fromkeys(["vibration", "vib", "velocity"], Kind.VIBRATION),
    **dict.fromkeys(["pressure", "press", "prs"], Kind.PRESSURE),
    **dict.fromkeys(["humidity", "humid", "hum", "rh"], Kind.HUMIDITY),
    **dict.fromkeys(["voltage", "volt", "volts"], Kind.VOLTAGE),
    **dict.fromkeys(["current", "amp", "amps", "ampere"], Kind.CURRENT),
    **dict.fromkeys(["power", "watt", "watts", "kw"], Kind.POWER),
    **dict.fromkeys(["flow", "flowrate"], Kind.FLOW),
    **dict.fromkeys(["speed", "rpm"], Kind.SPEED),
    **dict.fromkeys(["sound", "noise", "acoustic", "db"], Kind.SOUND),
}


def place_of(sender: Sender | None) -> int | None:
    """The site where this sender's unknown sensors belong; None when that cannot be told."""
    if sender is None:
        return None
    visible = Site.objects.visible_to(sender.user).order_by()
    if sender.site_id:
        visible = visible.filter(pk=sender.site_id)
    sites = list(visible.values_list("pk", flat=True)[:2])
    return sites[0] if len(sites) == 1 else None


def discover(unit_of: dict[str, str | None], site_id: int) -> dict[str, tuple[str, str]]:
    """Create the sensors with these keys; returns those that could not be, each with a code and the reason.

    `unit_of` gives the unit each one's first reading was sent in, None where it named none. Callers in several
    processes may discover the same sensors at once.
    """
    refused: dict[str, tuple[str, str]] = {}
    created: list[Sensor] = []
    waiting = Sensor.objects.discovered().filter(site=site_id).count()
    for sensor_id, unit in sorted(unit_of.items()):
        if not _is_valid(sensor_id):
            refused[sensor_id] = (
                "invalid_sensor_id",
                "A sensor's key has up to 100 letters, digits and . _ : / - only.",
            )
        elif unit and units.canonical(unit) is None:
            refused[sensor_id] = ("unknown_unit", units.not_known(unit, _unit_by_words(sensor_id)))
        elif waiting + len(created) >= settings.DISCOVERY_LIMIT:
            detail = "Too many sensors of this site wait to be placed; place or retire some first."
            refused[sensor_id] = ("too_many_discovered", detail)
        else:
            kind, own_unit = infer(sensor_id, unit)
            created.append(
                Sensor(site_id=site_id, sensor_id=sensor_id, kind=kind, unit=own_unit, status=Sensor.Status.DISCOVERED)
            )
    if created:
        with transaction.atomic():
            room = waiting_room(site_id)
            for sensor in created:
                sensor.asset = room
            Sensor.objects.bulk_create(created, ignore_conflicts=True)
    return refused


def waiting_room(site_id: int) -> Asset:
    """The asset that a site's discovered sensors are on until somebody places them."""
    room, _ = Asset.objects.get_or_create(site_id=site_id, name=WAITING_ROOM, defaults={"level": Asset.Level.AREA})
    return room


def infer(sensor_id: str, unit: str | None) -> tuple[str, str]:
    """Kind and unit of a sensor, from the unit it was sent in or else from words in its key.

    >>> infer("line1/p7.oil", "degC"), infer("line1/p7_temp", None), infer("line1/p7", None)
    (('temperature', '°C'), ('temperature', '°C'), ('generic', '1'))
    """
    named = _kind_by_words(sensor_id)
    known = units.canonical(unit) if unit else None
    if known is None:
        kind = named or Kind.GENERIC
        return kind.value, units.DEFAULT_UNIT[kind]
    fitting = [Kind(kind) for kind, default in units.DEFAULT_UNIT.items() if units.conversion(known, default)]
    return (named if named in fitting else next(iter(fitting), Kind.GENERIC)).value, known


def _kind_by_words(sensor_id: str) -> Kind | None:
    words = set(re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", sensor_id).lower()))
    return next((WORDS[word] for word in sorted(words & WORDS.keys(), key=len, reverse=True)), None)


def _unit_by_words(sensor_id: str) -> str | None:
    kind = _kind_by_words(sensor_id)
    return units.DEFAULT_UNIT[kind] if kind else None


def _is_valid(sensor_id: str) -> bool:
    try:
        valid_sensor_id(sensor_id)
    except ValidationError:
        return False
    return len(sensor_id) <= 100

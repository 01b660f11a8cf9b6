"""Placing discovered sensors: where they seem to belong, and what becomes of them when somebody decides."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from sensors import afresh, audit, live, lookup
from sensors.discovery import WAITING_ROOM
from sensors.errors import Refused
from sensors.models import Asset, Sensor, Site

SAMPLE_VALUES = 60
MOST_COUNTED = 1_000
# Sensors of a site that a suggestion is looked for among.
MOST_NEIGHBOURS = 20_000
# The outbox's consumer that passes sensors over as long as nobody has placed them.
JUDGES = "score"
# What the audit log says of a discovered sensor that was changed, and by its new state, how.
ABOUT = ("asset_id", "name", "kind", "unit", "status")
STEPS = {Sensor.Status.DISCOVERED: "change", Sensor.Status.ACTIVE: "place", Sensor.Status.RETIRED: "ignore"}
_SEPARATOR = re.compile(r"[._:/-]")


@dataclass(frozen=True)
class Sample:
    """The newest values of a sensor in its unit, oldest first, at most SAMPLE_VALUES, and the time of the last.

    `count` is how many it has sent, counted up to MOST_COUNTED.
    """

    values: list[float]
    last_at: datetime | None
    count: int

    @property
    def many(self) -> bool:
        return self.count == MOST_COUNTED

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)

    def line(self, width: int = 120, height: int = 28) -> str:
        """The values as points of an SVG polyline."""
        step = width / max(len(self.values) - 1, 1)
        span = self.high - self.low
        heights = [(self.high - value) / span if span else 0.5 for value in self.values]
        return " ".join(f"{i * step:.1f},{2 + share * (height - 4):.1f}" for i, share in enumerate(heights))


def samples(sensors: Iterable[Sensor]) -> dict[int, Sample]:
    """The newest values of each sensor, in one query, by primary key."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT sensor.id, newest.values, newest.last_at, newest.count
            FROM unnest(%s::bigint[]) AS sensor(id)
            CROSS JOIN LATERAL (
                SELECT array_agg(value ORDER BY "timestamp") FILTER (WHERE place <= %s) AS values,
                       max("timestamp") AS last_at, count(*)
                FROM (
                    SELECT value, "timestamp", row_number() OVER (ORDER BY "timestamp" DESC) AS place
                    FROM sensors_reading WHERE sensor_id = sensor.id
                    ORDER BY "timestamp" DESC LIMIT %s
                ) AS few
            ) AS newest
            """,
            [[sensor.pk for sensor in sensors], SAMPLE_VALUES, MOST_COUNTED],
        )
        return {pk: Sample(values or [], last_at, count) for pk, values, last_at, count in cursor.fetchall()}


def suggestions(sensors: Iterable[Sensor]) -> dict[int, Asset]:
    """For each sensor the asset that it seems to belong to, if its key leaves no doubt; by primary key.

    That is the one asset whose sensors share the longest beginning of the key, up to a separator; else the one asset
    whose name has a part of the key in it, such as `p101` in "Pump P-101".
    """
    sensors = list(sensors)
    sites = {sensor.site_id for sensor in sensors}
    by_prefix, by_name = _prefixes(sites), _names(sites)
    found: dict[int, int] = {}
    for sensor in sensors:
        site, key = sensor.site_id, sensor.sensor_id
        longest = next((by_prefix[site, prefix] for prefix in _prefixes_of(key) if (site, prefix) in by_prefix), set())
        named = [by_name[site, word] for word in reversed(_words(key)) if (site, word) in by_name]
        clear = [assets for assets in (longest, *named) if len(assets) == 1]
        if clear:
            (found[sensor.pk],) = clear[0]
    rows = Asset.objects.in_bulk(set(found.values()))
    return {pk: rows[asset] for pk, asset in found.items()}


def _prefixes(sites: set[int]) -> dict[tuple[int, str], set[int]]:
    """The assets whose active sensors have keys that begin so."""
    found: dict[tuple[int, str], set[int]] = defaultdict(set)
    rows = Sensor.objects.active().filter(site__in=sites).order_by("-pk").values_list("site", "sensor_id", "asset")
    for site, sensor_id, asset in rows[:MOST_NEIGHBOURS]:
        for prefix in _prefixes_of(sensor_id):
            found[site, prefix].add(asset)
    return found


def _prefixes_of(sensor_id: str) -> list[str]:
    """The beginnings of a key that end at a separator, the longest first.

    >>> _prefixes_of("hall1/p101.temp")
    ['hall1/p101.', 'hall1/']
    """
    return [sensor_id[: match.end()] for match in _SEPARATOR.finditer(sensor_id)][::-1]


def _names(sites: set[int]) -> dict[tuple[int, str], set[int]]:
    found: dict[tuple[int, str], set[int]] = defaultdict(set)
    for site, pk, name in placeable(sites).order_by().values_list("site", "pk", "name")[:MOST_NEIGHBOURS]:
        for part in name.split():
            for word in _words(re.sub(r"[^\w]", "", part)):
                found[site, word].add(pk)
    return found


def _words(text: str) -> list[str]:
    """The parts of a key that tell one machine from another: those with a digit, and more than that."""
    return [word for word in _SEPARATOR.split(text.lower()) if len(word) > 1 and any(map(str.isdigit, word))]


def placeable(sites: Iterable[Any]) -> Any:
    """The assets of these sites that a sensor can be on for good."""
    return Asset.objects.filter(site__in=sites).exclude(name=WAITING_ROOM)


def place(sensor: Sensor, asset: Asset, by: User, **about: Any) -> None:
    """Put a discovered sensor on an asset and into use; `about` may say its `name`, `kind` and `unit`.

    With another unit the values that are stored already mean that unit: nothing is converted. Raises Refused when the
    sensor waits no longer, or the model's ValidationError when it cannot be so.
    """
    with seeing_to(sensor, by):
        sensor.asset, sensor.status = asset, Sensor.Status.ACTIVE
        for name, value in about.items():
            setattr(sensor, name, value)
        sensor.full_clean()
        sensor.save()


def ignore(sensor: Sensor, by: User) -> None:
    """Retire a discovered sensor: its readings are refused from now on. Raises Refused when it waits no longer."""
    with seeing_to(sensor, by):
        sensor.status = Sensor.Status.RETIRED
        sensor.save(update_fields=["status"])


@contextmanager
def seeing_to(sensor: Sensor, by: User) -> Iterator[None]:
    """Around the change of a discovered sensor: one person at a time, and the audit log says what it was and is.

    What it sent before it was placed is scored in the background, as history: nobody is told of what is long over.
    Raises Refused when it waits no longer.
    """
    with transaction.atomic():
        waiting = Sensor.objects.discovered().select_for_update().filter(pk=sensor.pk)
        before = waiting.values(*ABOUT).first()
        if before is None:
            raise Refused("already_placed", f"Somebody has seen to {sensor.sensor_id} already.")
        yield
        detail = {"before": before, "after": {name: getattr(sensor, name) for name in ABOUT}}
        action = STEPS[Sensor.Status(sensor.status)]
        audit.record(action, f"sensor {sensor.pk}", by=by, site_id=sensor.site_id, detail=detail)
        if sensor.status == Sensor.Status.ACTIVE:
            afresh.enqueue_stored(sensor, JUDGES, "placement", timezone.now())
        live.publish("readings", site_id=sensor.site_id, asset_id=sensor.asset_id)
    lookup.forget()


def new_machine(site: Site, name: str, parent: Asset | None) -> Asset:
    """The asset of that name: sensors placed one after another may name the same new one.

    Raises Refused when an asset of that name stands elsewhere in the tree, ValidationError when it cannot be.
    """
    found = Asset.objects.filter(site=site, name=name).first()
    if found is None:
        found = Asset(site=site, name=name, parent=parent)
        found.full_clean()
        found.save()
    elif found.name == WAITING_ROOM or (parent and found.parent_id != parent.pk):
        raise Refused("asset_exists", f"There is an asset {name!r} already, elsewhere; choose it from the list.")
    return found

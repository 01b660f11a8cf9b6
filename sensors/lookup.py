"""Which sensors a batch speaks of, with what their readings are held against."""

import math
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db.models import IntegerField
from django.db.models.expressions import RawSQL

from sensors.access import CACHE_SECONDS, Sender
from sensors.arrays import any_of
from sensors.models import QualityPolicy, Sensor
from sensors.quality import REPEATS_ARE_NORMAL, Limits


class Known(NamedTuple):
    """A sensor as ingest sees it."""

    pk: int
    site_id: int
    unit: str
    retired: bool
    limits: Limits
    committed: bool = True


# One of several sites may be meant.
AMBIGUOUS = Known(-1, -1, "", False, Limits())

_FIELDS = (
    *(
        "sensor_id",
        "pk",
        "site_id",
        "unit",
        "status",
        "range_low",
        "range_high",
        "max_rate",
        "cadence_seconds",
    ),
    *("profile__cadence_seconds", "profile__noise", "profile__repeat_share"),
)
# Transactions between the row's and this one; 0 and below for rows of this one, its savepoints, or younger ones.
_AGE = RawSQL("age(sensors_sensor.xmin)", [], output_field=IntegerField())
_POLICY = (
    *("check_range", "check_rate", "stuck_repeats", "spike_factor", "gap_factor"),
    "clock_ahead_seconds",
)
_DEFAULTS: dict[str, Any] = {name: getattr(QualityPolicy(), name) for name in _POLICY}

Table = dict[str, Known]
Who = tuple[int | None, int | None]
_tables: dict[Who, Table] = {}
# The keys each sender used in the period before, to be looked up again together: one query, not one for each batch.
_used: dict[Who, list[str]] = {}
_period = 0


def known_sensors(sensor_ids: list[str], sender: Sender | None) -> list[Known | None]:
    """The sensor of each key, as far as the sender may see it; AMBIGUOUS when it stands for several.

    What was looked up is kept for CACHE_SECONDS: a changed or retired sensor acts after that time at the latest.
    """
    who = (sender.user.pk, sender.site_id) if sender else (None, None)
    table = _table_of(who)
    missing = [sensor_id for sensor_id in sensor_ids if sensor_id not in table]
    if not missing:
        return [table[sensor_id] for sensor_id in sensor_ids]
    found = _look_up({*missing, *_used.pop(who, ())}, sender)
    # What this very transaction has made may vanish with it.
    table.update({sensor_id: known for sensor_id, known in found.items() if known.committed})
    return [found.get(sensor_id) or table.get(sensor_id) for sensor_id in sensor_ids]


def forget() -> None:
    """Look everything up anew."""
    _tables.clear()
    _used.clear()


def _table_of(who: Who) -> Table:
    global _period
    period = int(time.monotonic() // CACHE_SECONDS)
    if period != _period:
        _period = period
        used = {who: list(table) for who, table in _tables.items()}
        forget()
        _used.update(used)
    return _tables.setdefault(who, {})


def _look_up(sensor_ids: Iterable[str], sender: Sender | None) -> Table:
    rows = Sensor.objects.all() if sender is None else Sensor.objects.visible_to(sender.user)
    if sender and sender.site_id:
        rows = rows.filter(site=sender.site_id)
    # PostgreSQL has no text with NUL in it, so no sensor has such a key, and asking for one would be an error.
    asked = [sensor_id for sensor_id in sensor_ids if "\0" not in sensor_id]
    found: Table = {}
    sensors = list(rows.filter(sensor_id__in=any_of(asked, "text")).order_by().values(*_FIELDS, age=_AGE))
    policies = _policies({row["site_id"] for row in sensors})
    for row in sensors:
        sensor_id = row["sensor_id"]
        known = Known(
            pk=row["pk"],
            site_id=row["site_id"],
            unit=row["unit"],
            retired=row["status"] == Sensor.Status.RETIRED,
            limits=_limits(row, policies.get(row["site_id"], _DEFAULTS)),
            committed=row["age"] > 0,
        )
        found[sensor_id] = AMBIGUOUS if sensor_id in found else known
    return found


def _policies(sites: set[int]) -> dict[int, dict[str, Any]]:
    rows = QualityPolicy.objects.filter(site__in=sites).values("site_id", *_POLICY)
    return {row["site_id"]: row for row in rows}


def _limits(sensor: dict[str, Any], policy: dict[str, Any]) -> Limits:
    cadence = sensor["cadence_seconds"] or sensor["profile__cadence_seconds"]
    repeats = sensor["profile__repeat_share"]
    return Limits(
        low=_number(sensor["range_low"]) if policy["check_range"] else math.nan,
        high=_number(sensor["range_high"]) if policy["check_range"] else math.nan,
        max_rate=_number(sensor["max_rate"]) if policy["check_rate"] else math.nan,
        # Whether repeats are normal has to be known first.
        stuck_repeats=math.nan
        if repeats is None or repeats >= REPEATS_ARE_NORMAL
        else _number(policy["stuck_repeats"]),
        # Without noise any change would be a spike.
        spike=_number(policy["spike_factor"]) * (sensor["profile__noise"] or math.nan),
        gap_us=_number(policy["gap_factor"]) * _number(cadence) * 1e6,
        clock_ahead_us=_number(policy["clock_ahead_seconds"]) * 1e6,
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value

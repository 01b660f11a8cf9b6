"""A plant with a long past to try things on: any number of sensors, any number of days.

Values follow the day, the shifts and the week, with noise, a resolution as instruments have, and a slow drift on some
sensors. They depend on sensor and time alone, so that filling the same days again finds every reading stored.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from sensors.columns import Columns
from sensors.ingest import store_batch
from sensors.models import Asset, ReadingBatch, Sensor, Site

SITE = "Seeded plant"
DAY_SECONDS = 86_400
WEEK_SECONDS = 7 * DAY_SECONDS
# Noise and drift as shares of the range a kind works in.
NOISE, DRIFT = 0.012, 0.18
DRIFT_SECONDS = 45 * DAY_SECONDS
EVERY_NTH_DRIFTS = 7


@dataclass(frozen=True)
class Quantity:
    """What a machine of the fleet has one sensor for: it works between `low` and `high`, read to `decimals` places."""

    kind: str
    unit: str
    low: float
    high: float
    physical: tuple[float, float]
    decimals: int = 1


QUANTITIES = (
    Quantity("vibration", "mm/s", 28, 82, (0, 200)),
    Quantity("pressure", "kPa", 29, 55, (0, 200)),
    Quantity("temperature", "°C", 11, 89, (-40, 150)),
    Quantity("humidity", "%", 32, 88, (0, 100)),
    Quantity("voltage", "V", 21, 58, (0, 120)),
)


@transaction.atomic
def create(sensors: int) -> list[Sensor]:
    """The first `sensors` sensors of the fleet, five to a machine; what exists already stays as it is."""
    site, _ = Site.objects.get_or_create(name=SITE, defaults={"timezone": "Europe/Berlin"})
    found = []
    for number in range(sensors):
        machine, quantity = number // len(QUANTITIES) + 1, quantity_of(number)
        asset, _ = Asset.objects.get_or_create(site=site, name=f"Machine {machine:03d}")
        low, high = quantity.physical
        about = {
            "asset": asset,
            "name": quantity.kind.capitalize(),
            "kind": quantity.kind,
            "unit": quantity.unit,
            "range_low": low,
            "range_high": high,
            # A past that was asked for shall stay.
            "retention_days": 0,
        }
        key = f"fleet.{machine:03d}.{quantity.kind}"
        found.append(Sensor.objects.get_or_create(site=site, sensor_id=key, defaults=about)[0])
    return found


def quantity_of(number: int) -> Quantity:
    return QUANTITIES[number % len(QUANTITIES)]


def values(number: int, day: int, step_seconds: int) -> NDArray[np.float64]:
    """What the fleet's sensor `number` reads on `day` (since 1970, UTC), once every `step_seconds` from midnight on."""
    quantity = quantity_of(number)
    seconds = day * DAY_SECONDS + np.arange(0, DAY_SECONDS, step_seconds, dtype=np.float64)
    phase = 0.7 * number
    hour = seconds % DAY_SECONDS / 3600
    # Two shifts and a quiet night; less work at the weekend (1970 began on a Thursday).
    shift = np.where((hour >= 6) & (hour < 14), 1.0, np.where((hour >= 14) & (hour < 22), 0.85, 0.4))
    weekend = (seconds + 3 * DAY_SECONDS) % WEEK_SECONDS >= 5 * DAY_SECONDS
    load = shift * np.where(weekend, 0.85, 1.0)
    daily = np.sin(2 * np.pi * hour / 24 - 1.9 + 0.2 * phase)
    production = np.sin(seconds / 1_870 + phase) + 0.6 * np.sin(seconds / 547 + 2 * phase)
    level = 0.12 + 0.45 * load + 0.12 * daily + 0.03 * production
    if number % EVERY_NTH_DRIFTS == EVERY_NTH_DRIFTS - 1:
        level += DRIFT * ((seconds / DRIFT_SECONDS + phase) % 1.0) ** 3
    level += np.random.default_rng([number, day]).normal(0, NOISE, len(seconds))
    measured: NDArray[np.float64] = quantity.low + (quantity.high - quantity.low) * level
    return measured.clip(quantity.low, quantity.high).round(quantity.decimals)


def fill(sensors: list[Sensor], days: int, step_seconds: int, now: datetime) -> Iterator[int]:
    """Store the last `days` days of these sensors as history, a day at a time; yields how many readings were new."""
    end = int(now.timestamp())
    for day in range((end - days * DAY_SECONDS) // DAY_SECONDS, end // DAY_SECONDS + 1):
        times = day * DAY_SECONDS + np.arange(0, DAY_SECONDS, step_seconds)
        wanted = (times >= end - days * DAY_SECONDS) & (times < end)
        columns = [values(number, day, step_seconds)[wanted] for number in range(len(sensors))]
        yield store_batch(
            _columns(sensors, times[wanted], columns), source="demo", mode=ReadingBatch.Mode.HISTORY
        ).accepted


def _columns(sensors: list[Sensor], seconds: NDArray[np.int64], measured: list[NDArray[np.float64]]) -> Columns:
    count = len(seconds) * len(sensors)
    return Columns(
        sensor_ids=[sensor.sensor_id for sensor in sensors],
        codes=np.repeat(np.arange(len(sensors)), len(seconds)),
        timestamps=np.tile(seconds * 1_000_000, len(sensors)),
        values=np.concatenate(measured),
        qualities=np.ones(count),
        unit_names=[],
        units=np.full(count, -1),
        indexes=np.arange(count),
    )

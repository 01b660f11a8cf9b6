"""Readings to look at, written in pieces small enough for any server."""

from datetime import UTC, datetime, timedelta

import numpy as np
from django.conf import settings

from sensors import outbox
from sensors.columns import Columns
from sensors.ingest import Stored, store_batch
from sensors.models import Asset, Reading, Sensor, Site

DAY = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
ROWS_AT_ONCE = 500


def make_sensor(sensor_id: str = "pump.temperature", **about: object) -> Sensor:
    site, _ = Site.objects.get_or_create(name="North")
    pump, _ = Asset.objects.get_or_create(site=site, name="Pump")
    # The readings of these tests grow old.
    about = {"kind": "temperature", "unit": "°C", "retention_days": 0} | about
    return Sensor.objects.create(asset=pump, sensor_id=sensor_id, **about)


def record(sensor: Sensor, start: datetime, values: list[float], seconds: float = 60.0) -> None:
    """Readings that no batch tells of."""
    rows = [
        Reading(sensor=sensor, timestamp=start + timedelta(seconds=seconds * i), value=value)
        for i, value in enumerate(values)
    ]
    Reading.objects.bulk_create(rows, batch_size=ROWS_AT_ONCE)


def store(sensor: Sensor, start: datetime, values: list[float], seconds: float = 60.0) -> list[Stored]:
    """Readings that come in as batches."""
    step = timedelta(seconds=seconds)
    return [
        store_batch(
            _columns(sensor, start + first * step, values[first : first + ROWS_AT_ONCE], seconds), source="test"
        )
        for first in range(0, len(values), ROWS_AT_ONCE)
    ]


def _columns(sensor: Sensor, start: datetime, values: list[float], seconds: float) -> Columns:
    count = len(values)
    return Columns(
        sensor_ids=[sensor.sensor_id],
        codes=np.zeros(count, np.int64),
        timestamps=round(start.timestamp() * 1e6) + np.round(np.arange(count) * seconds * 1e6).astype(np.int64),
        values=np.array(values, np.float64),
        qualities=np.ones(count),
        unit_names=[],
        units=np.full(count, -1),
        indexes=np.arange(count),
    )


def settle_outbox() -> None:
    while sum(outbox.drain(consumer) for consumer in settings.OUTBOX_CONSUMERS):
        pass

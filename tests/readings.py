"""Readings for tests, taken in by the one way there is."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from sensors.columns import Columns
from sensors.ingest import Stored, store_batch
from sensors.models import ReadingBatch, Sensor

LIVE, HISTORY = ReadingBatch.Mode.LIVE, ReadingBatch.Mode.HISTORY
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def columns(sensor: Sensor, times: list[datetime], values: Any) -> Columns:
    count = len(times)
    return Columns(
        sensor_ids=[sensor.sensor_id],
        codes=np.zeros(count, np.int64),
        timestamps=np.array([round(at.timestamp() * 1e6) for at in times]),
        values=np.asarray(values, float),
        qualities=np.ones(count),
        unit_names=[],
        units=np.full(count, -1),
        indexes=np.arange(count),
    )


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(4).normal(60, 0.5, count)


def store(
    sensor: Sensor, last: datetime, count: int, step: timedelta, mode: ReadingBatch.Mode = LIVE, values: Any = None
) -> Stored:
    """Readings `step` apart, the newest at `last`."""
    times = [last - step * (count - 1 - i) for i in range(count)]
    return store_batch(columns(sensor, times, noise(count) if values is None else values), source="test", mode=mode)


def deliver(sensor: Sensor, received: datetime, count: int = 1, step: timedelta = SECOND, values: Any = None) -> None:
    """As `store`, live, but taken in at `received`."""
    batch = store(sensor, received, count, step, values=values).batch_id
    ReadingBatch.objects.filter(pk=batch).update(received_at=received)

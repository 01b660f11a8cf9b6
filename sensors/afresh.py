"""Readings that are stored already, seen to once more by a consumer of the outbox: as history, in the background."""

from datetime import UTC, datetime, timedelta

import numpy as np
from django.db.models import Max, Min
from numpy.typing import NDArray

from sensors import summary
from sensors.models import Pending, Reading, ReadingBatch, Sensor
from sensors.summary import Hours
from sensors.timescale.rebuild import HOUR_US

# More than readings are kept by default; of a sensor that keeps them for ever, what is older stays as it is.
LOOK_BACK = timedelta(days=400)
# Of one batch, which is worked on in one transaction.
MAX_READINGS = 100_000


def enqueue_stored(sensor: Sensor, consumer: str, source: str, now: datetime) -> int:
    """Enqueue the sensor's readings of the LOOK_BACK before `now` for a consumer; returns in how many batches.

    The work is done where the caller's transaction is committed. Readings are counted by the hourly summary, not looked
    at. They belong to no other sensor's batches, so that nothing else is seen to again.
    """
    stored = Reading.objects.filter(sensor=sensor, timestamp__gt=now - LOOK_BACK)
    ends = stored.aggregate(first=Min("timestamp"), last=Max("timestamp"))
    if ends["last"] is None:
        return 0
    hours = summary.hours([sensor.pk], ends["first"], ends["last"] + timedelta(microseconds=1))
    parts = np.flatnonzero(np.diff((np.cumsum(hours.count) - 1) // MAX_READINGS)) + 1
    batches = [
        _batch(sensor, hours, part, source, now, ends["last"]) for part in np.split(np.arange(len(hours.count)), parts)
    ]
    ReadingBatch.objects.bulk_create(batches)
    Pending.objects.bulk_create(Pending(batch=batch, consumer=consumer, live=False, due_at=now) for batch in batches)
    return len(batches)


def _batch(
    sensor: Sensor, hours: Hours, part: NDArray[np.int64], source: str, now: datetime, last: datetime
) -> ReadingBatch:
    """A batch of these hours, one span for each run of them; none goes on beyond the `last` reading."""
    runs = np.split(hours.bucket[part], np.flatnonzero(np.diff(hours.bucket[part]) > HOUR_US) + 1)
    return ReadingBatch(
        received_at=now,
        source=source,
        mode=ReadingBatch.Mode.HISTORY,
        accepted=int(hours.count[part].sum()),
        sensors=[sensor.pk] * len(runs),
        firsts=[_datetime(run[0]) for run in runs],
        lasts=[min(_datetime(run[-1] + HOUR_US - 1), last) for run in runs],
    )


def _datetime(us: np.int64) -> datetime:
    return datetime.fromtimestamp(int(us) / 1e6, UTC)

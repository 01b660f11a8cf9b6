"""The only way readings get into the database.

`store_batch` checks a batch, stores what is good and writes the work it causes, all in one transaction. When it
returns, the rows are durable: a caller may be told so.
"""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from numpy.typing import NDArray

from sensors import live, outbox, quality, units
from sensors.access import Sender
from sensors.arrays import Bigints, Doubles, Timestamps, numpy_cursor
from sensors.columns import Columns, Rejection
from sensors.models import Pending, ReadingBatch, Sensor

# 1980-01-01 UTC. A device that lost its clock counts from 1970; such a reading would pass for the sensor's first.
EARLIEST_US = 315_532_800_000_000
# No quantity of a plant in any unit we know comes near; sums and squares of such values stay finite.
LARGEST_VALUE = 1e15
# A batch is worked on in one transaction; what is larger is stored as several.
BATCH_ROWS = 10_000
# Readings of a sensor further apart than this are separate spans of their batch.
SPAN_GAP_US = 3_600_000_000


@dataclass(frozen=True)
class Stored:
    """What became of a batch. `batch_id` is None when it held nothing new."""

    batch_id: int | None
    accepted: int
    duplicates: int
    rejected: list[Rejection]

    def as_json(self) -> dict[str, Any]:
        return {
            "batch": self.batch_id,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": [{"index": row.index, "code": row.code, "detail": row.detail} for row in self.rejected],
        }


def store_batch(
    columns: Columns,
    *,
    source: str,
    sender: Sender | None = None,
    mode: ReadingBatch.Mode = ReadingBatch.Mode.LIVE,
) -> Stored:
    """Store the good rows of a batch, once each, and say which rows were refused and why.

    Rows of a live batch that are older than LATE_AFTER_SECONDS make a batch of history beside it: they are scored after
    everything live, and nobody is told.

    The first value of a `(sensor, timestamp)` wins; later ones count as duplicates. Sensors that the sender may
    not see count as unknown; without a sender every sensor is known.
    """
    now = timezone.now()
    batch = _Batch(columns, sender)
    batch.refuse_unknown_sensors()
    batch.convert_units()
    batch.refuse_impossible(now)
    batch.keep_first_of_each()
    batch.assess_quality()
    rejected = sorted(batch.rejected)
    if not len(batch.columns):
        return Stored(None, 0, batch.repeated, rejected)
    accepted, batch_ids = 0, []
    with transaction.atomic():
        for part, part_mode in batch.parts(mode, now):
            if new := _insert(part.sensor_pks(), part.columns):
                accepted += new
                batch_ids.append(_announce(part, part_mode, source, now, new))
        if batch_ids:
            transaction.on_commit(partial(_tell, batch.site_ids()), robust=True)
    duplicates = batch.repeated + len(batch.columns) - accepted
    return Stored(batch_ids[0] if batch_ids else None, accepted, duplicates, rejected)


def _announce(part: "_Batch", mode: ReadingBatch.Mode, source: str, now: datetime, accepted: int) -> int:
    """Write down what was stored and the work it causes."""
    starts = part.span_starts()
    ends = np.append(starts[1:], len(part.columns)) - 1
    stored = ReadingBatch.objects.create(
        received_at=now,
        source=source,
        mode=mode,
        accepted=accepted,
        duplicates=len(part.columns) - accepted,
        sensors=part.sensor_pks()[starts].tolist(),
        firsts=_as_datetimes(part.columns.timestamps[starts]),
        lasts=_as_datetimes(part.columns.timestamps[ends]),
    )
    live_batch = mode == ReadingBatch.Mode.LIVE
    Pending.objects.bulk_create(
        Pending(batch=stored, consumer=consumer, live=live_batch, due_at=now) for consumer in settings.OUTBOX_CONSUMERS
    )
    return stored.pk


def _tell(site_ids: set[int]) -> None:
    outbox.nudge()
    live.publish_readings(site_ids)


class _Batch:
    """The rows of one batch on their way through the checks; what fails one moves to `rejected`."""

    def __init__(self, columns: Columns, sender: Sender | None) -> None:
        self.columns = columns
        self.rejected = list(columns.rejected)
        self.repeated = 0
        known = Sensor.objects.all() if sender is None else Sensor.objects.visible_to(sender.user)
        fields = ("sensor_id", "pk", "unit", "range_low", "range_high", "status", "site_id")
        # PostgreSQL has no text with NUL in it, so no sensor has such a key, and asking for one would be an error.
        asked = [sensor_id for sensor_id in columns.sensor_ids if "\0" not in sensor_id]
        rows = known.filter(sensor_id__in=asked).values_list(*fields, named=True)
        by_id = {row.sensor_id: row for row in rows}
        self.sensors = [by_id.get(sensor_id) for sensor_id in columns.sensor_ids]

    def per_sensor(self, value_of: Callable[[Any], Any], dtype: Any) -> NDArray[Any]:
        """`value_of(sensor)` for the sensor of each row, computed once per distinct sensor."""
        return np.array([value_of(sensor) for sensor in self.sensors], dtype)[self.columns.codes]

    def sensor_pks(self) -> NDArray[np.int64]:
        return self.per_sensor(lambda sensor: sensor.pk if sensor else -1, np.int64)

    def site_ids(self) -> set[int]:
        return {sensor.site_id for sensor in self.sensors if sensor}

    def refuse(self, bad: NDArray[np.bool_], code: str, detail: Callable[[int], str]) -> None:
        """Move the marked rows to the rejected ones; `detail` is asked with a row's place in the present columns."""
        if not bad.any():
            return
        for row in np.flatnonzero(bad):
            self.rejected.append(Rejection(int(self.columns.indexes[row]), code, detail(int(row))))
        self.take(np.flatnonzero(~bad))

    def take(self, rows: NDArray[np.int64]) -> None:
        c = self.columns
        self.columns = replace(
            c,
            codes=c.codes[rows],
            timestamps=c.timestamps[rows],
            values=c.values[rows],
            qualities=c.qualities[rows],
            units=c.units[rows],
            indexes=c.indexes[rows],
        )

    def parts(self, mode: ReadingBatch.Mode, now: datetime) -> Iterator[tuple["_Batch", ReadingBatch.Mode]]:
        """The rows by mode, the live ones first, in batches of which each is work for seconds at most."""
        late = np.full(len(self.columns), mode == ReadingBatch.Mode.HISTORY)
        late |= self.columns.timestamps < int((now.timestamp() - settings.LATE_AFTER_SECONDS) * 1e6)
        for part_mode, rows in ((ReadingBatch.Mode.LIVE, ~late), (ReadingBatch.Mode.HISTORY, late)):
            places = np.flatnonzero(rows)
            for first in range(0, len(places), BATCH_ROWS):
                part = copy(self)
                part.take(places[first : first + BATCH_ROWS])
                yield part, part_mode

    def sensor_id(self, row: int) -> str:
        return self.columns.sensor_ids[int(self.columns.codes[row])]

    def refuse_unknown_sensors(self) -> None:
        self.refuse(
            self.per_sensor(lambda sensor: sensor is None, bool),
            "unknown_sensor",
            lambda row: f"There is no sensor {self.sensor_id(row)!r}; create it, or check the key.",
        )
        self.refuse(
            self.per_sensor(lambda sensor: sensor and sensor.status == Sensor.Status.RETIRED, bool),
            "sensor_retired",
            lambda row: f"Sensor {self.sensor_id(row)!r} is retired and takes no readings.",
        )

    def convert_units(self) -> None:
        """Bring values that came in another unit of the same dimension to the sensor's unit."""
        named = self.columns.units >= 0
        if not named.any():
            return
        names = [units.canonical(name) for name in self.columns.unit_names]

        def name_of(row: int) -> str:
            return self.columns.unit_names[int(self.columns.units[row])]

        unknown = np.array([name is None for name in names])[self.columns.units] & named
        self.refuse(unknown, "unknown_unit", lambda row: f"Unit {name_of(row)!r} is not known.")
        # One factor per distinct (sensor, unit) pair; code -1 means the sensor's own unit.
        width = len(names) + 1
        pairs, pair_of_row = np.unique(self.columns.codes * width + self.columns.units + 1, return_inverse=True)
        conversions = [self._conversion(int(pair // width), int(pair % width) - 1, names) for pair in pairs]
        mismatch = np.array([found is None for found in conversions], bool)[pair_of_row]
        linear = np.array([found or (1.0, 0.0) for found in conversions], np.float64).reshape(-1, 2)[pair_of_row]
        with np.errstate(over="ignore"):
            self.columns = replace(self.columns, values=self.columns.values * linear[:, 0] + linear[:, 1])
        self.refuse(
            mismatch,
            "unit_mismatch",
            lambda row: f"Sensor {self.sensor_id(row)!r} cannot be measured in {name_of(row)!r}.",
        )

    def _conversion(self, code: int, unit: int, names: list[str | None]) -> tuple[float, float] | None:
        sensor, name = self.sensors[code], names[unit] if unit >= 0 else None
        return units.conversion(name, sensor.unit) if sensor and name else (1.0, 0.0)

    def refuse_impossible(self, now: datetime) -> None:
        self.refuse(
            ~np.isfinite(self.columns.values), "value_not_finite", lambda row: "NaN and infinity are not readings."
        )
        self.refuse(
            np.abs(self.columns.values) > LARGEST_VALUE,
            "value_out_of_bounds",
            lambda row: f"No plant measures {self.columns.values[row]:g}; check the sender.",
        )
        bad_quality = ~((self.columns.qualities >= 0) & (self.columns.qualities <= 1))
        self.refuse(bad_quality, "invalid_quality", lambda row: "Quality lies between 0 and 1.")
        self.refuse(
            self.columns.timestamps < EARLIEST_US,
            "timestamp_too_old",
            lambda row: "The timestamp lies before 1980: the sender's clock was probably reset.",
        )
        latest_us = int((now.timestamp() + settings.FUTURE_TOLERANCE_SECONDS) * 1e6)
        self.refuse(
            self.columns.timestamps > latest_us,
            "timestamp_in_future",
            lambda row: (
                f"The timestamp is more than {settings.FUTURE_TOLERANCE_SECONDS} s ahead of the server's clock."
            ),
        )

    def keep_first_of_each(self) -> None:
        """Sort by sensor and time and drop repeats within the batch.

        The common order also keeps two transactions with the same keys from waiting for each other in a circle.
        """
        order = np.lexsort((self.columns.timestamps, self.sensor_pks()))
        codes, timestamps = self.columns.codes[order], self.columns.timestamps[order]
        first = np.ones(len(order), bool)
        first[1:] = (np.diff(codes) != 0) | (np.diff(timestamps) != 0)
        self.repeated = int(len(order) - first.sum())
        self.take(order[first])

    def span_starts(self) -> NDArray[np.int64]:
        """Where in the sorted rows another sensor begins, or the same one goes on after a gap.

        Who reads a span back reads all that is stored in it: two readings a year apart must not stand for the year.
        """
        codes, timestamps = self.columns.codes, self.columns.timestamps
        new = np.ones(len(codes), bool)
        new[1:] = (np.diff(codes) != 0) | (np.diff(timestamps) > SPAN_GAP_US)
        return np.flatnonzero(new)

    def assess_quality(self) -> None:
        lows = self.per_sensor(lambda s: np.nan if s is None or s.range_low is None else s.range_low, np.float64)
        highs = self.per_sensor(lambda s: np.nan if s is None or s.range_high is None else s.range_high, np.float64)
        c = self.columns
        self.columns = replace(c, qualities=quality.assess(c.values, c.qualities, lows, highs))


def _insert(sensor_pks: NDArray[np.int64], columns: Columns) -> int:
    """Insert the rows that are not there yet; returns how many those were."""
    with numpy_cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO sensors_reading (sensor_id, timestamp, value, quality)
            SELECT * FROM unnest(%s, %s, %s, %s)
            ON CONFLICT DO NOTHING
            """,
            [
                Bigints(sensor_pks),
                Timestamps(columns.timestamps),
                Doubles(columns.values),
                Doubles(columns.qualities),
            ],
        )
        return cursor.rowcount


def _as_datetimes(timestamps: NDArray[np.int64]) -> list[datetime]:
    return [datetime.fromtimestamp(us / 1e6, UTC) for us in timestamps.tolist()]

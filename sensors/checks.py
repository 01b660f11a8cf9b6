"""The rows of a batch on their way through the checks: what may not be stored is refused row by row, with a code."""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from sensors import discovery, lookup, quality, units
from sensors.access import Sender
from sensors.arrays import Bigints, numpy_cursor
from sensors.columns import Columns, Rejection
from sensors.lookup import AMBIGUOUS, Known
from sensors.models import ReadingBatch

# 1980-01-01 UTC. A device that lost its clock counts from 1970; such a reading would pass for the sensor's first.
EARLIEST_US = 315_532_800_000_000
# No quantity of a plant in any unit we know comes near; sums and squares of such values stay finite.
LARGEST_VALUE = 1e15
# A batch is worked on in one transaction; what is larger is stored as several.
BATCH_ROWS = 10_000
# Readings of a sensor further apart than this are separate spans of their batch.
SPAN_GAP_US = 3_600_000_000
NO_LIMITS = quality.Limits()


class Batch:
    """Rows that have passed so far in `columns`, the others in `rejected`; `sensors[code]` is a row's sensor."""

    def __init__(self, columns: Columns, sender: Sender | None, now: datetime) -> None:
        self.columns = columns
        # The values before they are brought to the sensor's unit.
        self.sent = columns.values
        self.sender = sender
        self.now = now
        self.rejected = list(columns.rejected)
        self.repeated: NDArray[np.int64] = np.empty(0, np.int64)
        self.contradicted: NDArray[np.bool_] = np.zeros(0, bool)
        self.flags: NDArray[np.int16] = np.zeros(0, np.int16)
        self.spiked: NDArray[np.int64] = np.empty(0, np.int64)
        self.context = quality.nothing_known(0)
        self.sensors = lookup.known_sensors(columns.sensor_ids, sender)
        self._undiscovered: dict[str, tuple[str, str]] = {}

    def check(self, mode: ReadingBatch.Mode) -> None:
        """Everything from refusing unknown sensors to judging the quality of what is left."""
        self.discover()
        self.refuse_unknown_sensors()
        self.convert_units()
        self.refuse_impossible()
        self.keep_first_of_each()
        self.assess_quality(live=mode == ReadingBatch.Mode.LIVE)

    def per_sensor(self, value_of: Callable[[Any], Any], dtype: Any) -> NDArray[Any]:
        """`value_of(sensor)` for the sensor of each row, computed once per distinct sensor."""
        return np.array([value_of(sensor) for sensor in self.sensors], dtype)[self.columns.codes]

    def sensor_pks(self) -> NDArray[np.int64]:
        return self.per_sensor(lambda sensor: sensor.pk if sensor else -1, np.int64)

    def site_ids(self) -> set[int]:
        """The sites of the sensors whose rows have passed."""
        present = np.unique(self.columns.codes).tolist()
        return {sensor.site_id for code in present if (sensor := self.sensors[code])}

    def refuse(self, bad: NDArray[np.bool_], code: str, detail: Callable[[int], str]) -> None:
        """Move the marked rows to the rejected ones; `detail` is asked with a row's place in the present columns."""
        if not bad.any():
            return
        for row in np.flatnonzero(bad).tolist():
            self.rejected.append(Rejection(int(self.columns.indexes[row]), code, detail(row), self.payload(row)))
        self.take(np.flatnonzero(~bad))

    def payload(self, row: int) -> dict[str, Any]:
        """A row as its sender may have written it, so that a person can correct it."""
        c = self.columns
        at, value, unit = int(c.timestamps[row]), float(self.sent[row]), int(c.units[row])
        sent: dict[str, Any] = {
            "sensor_id": self.sensor_id(row),
            "timestamp": _iso(at),
            "value": value if np.isfinite(value) else str(value),
        }
        if unit >= 0:
            sent["unit"] = c.unit_names[unit]
        if c.qualities[row] != 1:
            sent["quality"] = float(c.qualities[row]) if np.isfinite(c.qualities[row]) else str(c.qualities[row])
        return sent

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
        self.sent = self.sent[rows]
        if len(self.flags):
            self.flags = self.flags[rows]

    def parts(self, mode: ReadingBatch.Mode) -> Iterator[tuple["Batch", ReadingBatch.Mode]]:
        """The rows by mode, the live ones first, in batches of which each is work for seconds at most."""
        late = self.columns.timestamps < self.late_before_us()
        if mode == ReadingBatch.Mode.HISTORY:
            late[:] = True
        if len(late) <= BATCH_ROWS and (late.all() or not late.any()):
            yield self, ReadingBatch.Mode.HISTORY if late.all() else ReadingBatch.Mode.LIVE
            return
        for part_mode, rows in ((ReadingBatch.Mode.LIVE, ~late), (ReadingBatch.Mode.HISTORY, late)):
            places = np.flatnonzero(rows)
            for first in range(0, len(places), BATCH_ROWS):
                part = copy(self)
                part.take(places[first : first + BATCH_ROWS])
                yield part, part_mode

    def late_before_us(self) -> int:
        return int((self.now.timestamp() - settings.LATE_AFTER_SECONDS) * 1e6)

    def sensor_id(self, row: int) -> str:
        return self.columns.sensor_ids[int(self.columns.codes[row])]

    def discover(self) -> None:
        """Have unknown sensors created, where the sender's key allows it and their site is clear."""
        if not self.sender or not self.sender.discovers or None not in self.sensors:
            return
        codes, place = np.unique(self.columns.codes, return_index=True)
        units_sent = {int(code): int(self.columns.units[row]) for code, row in zip(codes, place, strict=True)}
        unit_of = {
            self.columns.sensor_ids[code]: self.columns.unit_names[unit] if unit >= 0 else None
            for code, unit in units_sent.items()
            if self.sensors[code] is None
        }
        site_id = discovery.place_of(self.sender) if unit_of else None
        if site_id is not None:
            self._undiscovered = discovery.discover(unit_of, site_id)
            self.sensors = lookup.known_sensors(self.columns.sensor_ids, self.sender)

    def refuse_unknown_sensors(self) -> None:
        if all(sensor and sensor is not AMBIGUOUS and not sensor.retired for sensor in self.sensors):
            return
        reasons: dict[str, dict[int, str]] = {}
        for number, sensor_id in enumerate(self.columns.sensor_ids):
            if sensor_id in self._undiscovered:
                code, detail = self._undiscovered[sensor_id]
                reasons.setdefault(code, {})[number] = detail
        for code, details in reasons.items():
            undiscovered = np.isin(self.columns.codes, list(details))
            self.refuse(undiscovered, code, lambda row, of=details: of[int(self.columns.codes[row])])  # type: ignore[misc]
        self.refuse(
            self.per_sensor(lambda sensor: sensor is None, bool),
            "unknown_sensor",
            lambda row: f"There is no sensor {self.sensor_id(row)[:100]!r}; create it, or check the key.",
        )
        self.refuse(
            self.per_sensor(lambda sensor: sensor is AMBIGUOUS, bool),
            "ambiguous_sensor",
            lambda row: f"Several sites have a sensor {self.sensor_id(row)!r}; use an API key of one site.",
        )
        self.refuse(
            self.per_sensor(lambda sensor: bool(sensor and sensor.retired), bool),
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
        self.refuse(unknown, "unknown_unit", lambda row: units.not_known(name_of(row), self._unit_of(row)))
        # One factor per distinct (sensor, unit) pair; code -1 means the sensor's own unit.
        width = len(names) + 1
        pairs, pair_of_row = np.unique(self.columns.codes * width + self.columns.units + 1, return_inverse=True)
        conversions = [self._conversion(int(pair // width), int(pair % width) - 1, names) for pair in pairs]
        mismatch = np.array([found is None for found in conversions], bool)[pair_of_row]
        self.refuse(
            mismatch,
            "unit_mismatch",
            lambda row: f"Sensor {self.sensor_id(row)!r} cannot be measured in {name_of(row)!r}.",
        )
        linear = np.array([found or (1.0, 0.0) for found in conversions], np.float64).reshape(-1, 2)
        linear = linear[pair_of_row[~mismatch]]
        with np.errstate(over="ignore"):
            self.columns = replace(self.columns, values=self.columns.values * linear[:, 0] + linear[:, 1])

    def _unit_of(self, row: int) -> str | None:
        sensor = self.sensors[int(self.columns.codes[row])]
        return sensor.unit if sensor else None

    def _conversion(self, code: int, unit: int, names: list[str | None]) -> tuple[float, float] | None:
        sensor, name = self.sensors[code], names[unit] if unit >= 0 else None
        return units.conversion(name, sensor.unit) if sensor and name else (1.0, 0.0)

    def refuse_impossible(self) -> None:
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
        latest_us = int((self.now.timestamp() + settings.FUTURE_TOLERANCE_SECONDS) * 1e6)
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
        pks = self.sensor_pks()
        order = np.lexsort((self.columns.timestamps, pks))
        pks, timestamps = pks[order], self.columns.timestamps[order]
        first = np.ones(len(order), bool)
        first[1:] = (np.diff(pks) != 0) | (np.diff(timestamps) != 0)
        if first.all():
            self.take(order)
            self.contradicted = np.zeros(len(order), bool)
            return
        kept = np.cumsum(first) - 1
        values = self.columns.values[order]
        self.contradicted = np.zeros(int(first.sum()), bool)
        self.contradicted[kept[values != values[first][kept]]] = True
        self.repeated = self.columns.indexes[order[~first]]
        self.take(order[first])

    def span_starts(self) -> NDArray[np.int64]:
        """Where in the sorted rows another sensor begins, or the same one goes on after a gap.

        Who reads a span back reads all that is stored in it: two readings a year apart must not stand for the year.
        """
        codes, timestamps = self.columns.codes, self.columns.timestamps
        new = np.ones(len(codes), bool)
        new[1:] = (np.diff(codes) != 0) | (np.diff(timestamps) > SPAN_GAP_US)
        return np.flatnonzero(new)

    def assess_quality(self, *, live: bool) -> None:
        c = self.columns
        limits = np.array([sensor.limits if sensor else NO_LIMITS for sensor in self.sensors], np.float64)
        self.context = _context(c, self.sensors)
        found = quality.assess(
            c.codes,
            c.timestamps,
            c.values,
            c.qualities,
            limits=limits.reshape(-1, len(NO_LIMITS)),
            context=self.context,
            contradicted=self.contradicted,
            now_us=int(self.now.timestamp() * 1e6),
            late_before_us=self.late_before_us() if live else None,
        )
        self.columns, self.flags, self.spiked = replace(c, qualities=found.qualities), found.flags, found.spiked


def _context(columns: Columns, sensors: list[Known | None]) -> quality.Context:
    """What is stored of the batch's sensors before it; one query, and a second one for the few that may be stuck."""
    context = quality.nothing_known(len(sensors))
    codes, places = np.unique(columns.codes, return_index=True)
    if not len(codes):
        return context
    firsts = columns.timestamps[places]
    pks = np.array([sensor.pk if (sensor := sensors[code]) else -1 for code in codes.tolist()], np.int64)
    number, at, value = _newest(pks, None, 2)
    np.maximum.at(newest := np.full(len(codes), -np.inf), number, at.astype(np.float64))
    context.newest[codes] = np.where(np.isfinite(newest), newest, np.nan)
    if (late := newest >= firsts).any():
        # The batch is older than what is stored: its neighbours lie further back.
        again = np.flatnonzero(late)
        keep = ~late[number]
        number_2, at_2, value_2 = _newest(pks[again], firsts[again], 2)
        number = np.concatenate([number[keep], again[number_2]])
        at, value = np.concatenate([at[keep], at_2]), np.concatenate([value[keep], value_2])
    order = np.lexsort((-at, number))
    number, at, value = number[order], at[order], value[order]
    is_last = np.ones(len(number), bool)
    is_last[1:] = number[1:] != number[:-1]
    of_last, of_other = codes[number[is_last]], codes[number[~is_last]]
    context.last_at[of_last], context.last_value[of_last] = at[is_last], value[is_last]
    context.before_last_value[of_other] = value[~is_last]
    context.run[of_last] = 1
    _count_runs(context, codes, places, columns, pks, sensors)
    return context


def _count_runs(
    context: quality.Context,
    codes: NDArray[np.int64],
    places: NDArray[np.int64],
    columns: Columns,
    pks: NDArray[np.int64],
    sensors: list[Known | None],
) -> None:
    """Where a sensor seems to repeat itself, how long it has done so."""
    repeats = np.array(
        [sensor.limits.stuck_repeats if (sensor := sensors[code]) else np.nan for code in codes.tolist()]
    )
    value = context.last_value[codes]
    suspect = np.flatnonzero(
        np.isfinite(repeats) & (value == context.before_last_value[codes]) & (value == columns.values[places])
    )
    if not len(suspect):
        return
    number, at, values = _newest(pks[suspect], columns.timestamps[places[suspect]], int(repeats[suspect].max()))
    order = np.lexsort((-at, number))
    number, values = number[order], values[order]
    differs = values != value[suspect][number]
    rank = np.arange(len(number)) - np.searchsorted(number, number)
    run = np.bincount(number, minlength=len(suspect))
    np.minimum.at(run, number[differs], rank[differs])
    context.run[codes[suspect]] = run


def _newest(
    pks: NDArray[np.int64], before_us: NDArray[np.int64] | None, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The newest `count` readings of each sensor (before a time): number of the sensor, time, value."""
    earlier = "AND r.timestamp < to_timestamp(s.before_us / 1e6)" if before_us is not None else ""
    with numpy_cursor() as cursor:
        cursor.execute(
            f"""
            SELECT array_agg(s.number - 1), array_agg(r.timestamp), array_agg(r.value)
            FROM unnest(%s, %s) WITH ORDINALITY AS s(sensor, before_us, number)
            CROSS JOIN LATERAL (
                SELECT timestamp, value FROM sensors_reading r
                WHERE r.sensor_id = s.sensor {earlier}
                ORDER BY r.timestamp DESC LIMIT %s
            ) r
            """,  # noqa: S608 - the one variable part is a constant of ours
            [Bigints(pks), Bigints(pks if before_us is None else before_us), count],
            prepare=True,
        )
        found: tuple[Any, Any, Any] | None = cursor.fetchone()
    if found is None or found[0] is None:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    return found


def _iso(us: int) -> str:
    try:
        return datetime.fromtimestamp(us / 1e6, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return f"{us} microseconds since 1970"

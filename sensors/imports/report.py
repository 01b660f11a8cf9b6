"""What a file would bring in, sensor by sensor: the report of a dry run."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from sensors import discovery, units
from sensors.checks import EARLIEST_US, LARGEST_VALUE
from sensors.columns import Columns, Rejection
from sensors.formats.csv import Layout
from sensors.models import Import, Sensor

# A report is read by a person.
MAX_SENSORS = 500
MAX_EXAMPLES = 20


class Facts(msgspec.Struct):
    """The readings of one sensor: how many, between which values and times (microseconds UTC), the longest gap."""

    sensor_id: str
    readings: int
    low: float
    high: float
    first: int
    last: int
    longest_gap_us: int = 0
    unit: str = ""


class Report(msgspec.Struct):
    """Grows with every block of a file; kept as JSON in `Import.report`."""

    # A list: PostgreSQL does not keep the order of an object's fields.
    sensors: list[Facts] = []
    more_sensors: bool = False
    refused: dict[str, int] = {}
    examples: list[dict[str, Any]] = []
    # Sensors that were there before, whose readings are kept for ever because of this file: sensor_ids.
    kept: list[str] = []

    def add(self, columns: Columns, layout: Layout, latest_us: int, sensors: dict[str, Sensor]) -> int:
        """Add a block's readings; returns how many of its rows would be refused, as far as can be told beforehand.

        `sensors` are those of the block's that exist, by their keys.
        """
        for rejection in columns.rejected:
            self._refuse(rejection, layout)
        # What a sensor does not fit is refused, but is still a reading: its facts show what is wrong.
        bad, impossible = np.zeros((2, len(columns)), bool)
        for code, detail, wrong in (
            *_unfit(columns, sensors),
            (
                "invalid_quality",
                "Quality lies between 0 and 1.",
                ~((columns.qualities >= 0) & (columns.qualities <= 1)),
            ),
            ("value_not_finite", "NaN and infinity are not readings.", ~np.isfinite(columns.values)),
            ("value_out_of_bounds", "No plant measures that.", np.abs(columns.values) > LARGEST_VALUE),
            ("timestamp_too_old", "The time lies before 1980.", columns.timestamps < EARLIEST_US),
            ("timestamp_in_future", "The time lies in the future.", columns.timestamps > latest_us),
        ):
            for row in np.flatnonzero(wrong & ~bad).tolist():
                self._refuse(Rejection(int(columns.indexes[row]), code, detail), layout)
            bad |= wrong
            impossible |= wrong & (code.startswith(("value", "timestamp")))
        self._measure(columns, np.flatnonzero(~impossible))
        return len(columns.rejected) + int(bad.sum())

    def keep(self, sensor_ids: list[str]) -> None:
        """Add sensors to those that are kept for ever."""
        self.kept = sorted({*self.kept, *sensor_ids})

    def _refuse(self, rejection: Rejection, layout: Layout) -> None:
        self.refused[rejection.code] = self.refused.get(rejection.code, 0) + 1
        if len(self.examples) < MAX_EXAMPLES:
            said = {"line": line_of(rejection.index, layout), "code": rejection.code, "detail": rejection.detail}
            self.examples.append(said | {"payload": rejection.payload})

    def _measure(self, columns: Columns, rows: "np.typing.NDArray[np.int64]") -> None:
        if not len(rows):
            return
        rows = rows[np.lexsort((columns.timestamps[rows], columns.codes[rows]))]
        codes, at, values = columns.codes[rows], columns.timestamps[rows], columns.values[rows]
        starts = np.flatnonzero(np.append(True, np.diff(codes) != 0))
        steps = np.append(0, np.diff(at))
        steps[starts] = 0
        ends = np.append(starts[1:], len(rows))
        lows, highs = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
        gaps = np.maximum.reduceat(steps, starts)
        known = {facts.sensor_id: number for number, facts in enumerate(self.sensors)}
        for place, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            unit = int(columns.units[rows[start]])
            facts = Facts(
                sensor_id=columns.sensor_ids[int(codes[start])],
                readings=end - start,
                low=float(lows[place]),
                high=float(highs[place]),
                first=int(at[start]),
                last=int(at[end - 1]),
                longest_gap_us=int(gaps[place]),
                unit=columns.unit_names[unit] if unit >= 0 else "",
            )
            if facts.sensor_id in known:
                self.sensors[known[facts.sensor_id]] = _joined(self.sensors[known[facts.sensor_id]], facts)
            elif len(self.sensors) < MAX_SENSORS:
                self.sensors.append(facts)
            else:
                self.more_sensors = True


def _unfit(columns: Columns, sensors: dict[str, Sensor]) -> Iterator[tuple[str, str, "np.typing.NDArray[np.bool_]"]]:
    """Rows of retired sensors, and those whose unit is unknown or not one of their sensor's."""
    known = [sensors.get(name) for name in columns.sensor_ids]
    retired = np.array([bool(one and one.status == Sensor.Status.RETIRED) for one in known], bool)
    yield "sensor_retired", "The sensor is retired.", retired[columns.codes]
    names = [units.canonical(name) for name in columns.unit_names]
    for number, (sent, name) in enumerate(zip(columns.unit_names, names, strict=True)):
        rows = columns.units == number
        if name is None:
            yield "unknown_unit", units.not_known(sent), rows
            continue
        unfit = np.array([bool(one and units.conversion(name, one.unit) is None) for one in known], bool)
        yield "unit_mismatch", f"The sensor cannot be measured in {name}.", rows & unfit[columns.codes]


def _joined(old: Facts, new: Facts) -> Facts:
    return Facts(
        sensor_id=old.sensor_id,
        readings=old.readings + new.readings,
        low=min(old.low, new.low),
        high=max(old.high, new.high),
        first=min(old.first, new.first),
        last=max(old.last, new.last),
        longest_gap_us=max(old.longest_gap_us, new.longest_gap_us, new.first - old.last, old.first - new.last),
        unit=old.unit,
    )


def line_of(row: int, layout: Layout) -> int:
    """The number of a row's line in the file, as editors count: from 1, header and all."""
    return row + 1 + layout.header + layout.skip_lines


@dataclass(frozen=True)
class Line:
    """A sensor of a report, for people and programs. `problem` says why its readings would be refused."""

    sensor_id: str
    sensor: Sensor | None
    readings: int
    low: float
    high: float
    first: datetime
    last: datetime
    mean_step_seconds: float
    longest_gap_seconds: float
    unit: str
    kind: str
    problem: str


def lines(row: Import) -> Iterator[Line]:
    """The report of an import's last check, sensor by sensor, with what the platform knows of each."""
    report = msgspec.convert(row.report, Report)
    sensor_ids = [facts.sensor_id for facts in report.sensors]
    sensors = Sensor.objects.filter(site=row.site_id, sensor_id__in=sensor_ids)
    known = {sensor.sensor_id: sensor for sensor in sensors}
    for facts in report.sensors:
        sensor_id = facts.sensor_id
        sensor = known.get(sensor_id)
        kind, unit = (sensor.kind, sensor.unit) if sensor else discovery.infer(sensor_id, facts.unit or None)
        yield Line(
            sensor_id=sensor_id,
            sensor=sensor,
            readings=facts.readings,
            low=facts.low,
            high=facts.high,
            first=_at(facts.first),
            last=_at(facts.last),
            mean_step_seconds=(facts.last - facts.first) / 1e6 / max(1, facts.readings - 1),
            longest_gap_seconds=facts.longest_gap_us / 1e6,
            unit=facts.unit or unit,
            kind=kind,
            problem=_problem(sensor, facts),
        )


def _problem(sensor: Sensor | None, facts: Facts) -> str:
    unit = units.canonical(facts.unit) if facts.unit else None
    if facts.unit and unit is None:
        return units.not_known(facts.unit, sensor.unit if sensor else None)
    if sensor is None:
        return ""
    if sensor.status == Sensor.Status.RETIRED:
        return "The sensor is retired."
    if unit and units.conversion(unit, sensor.unit) is None:
        return f"The sensor is measured in {sensor.unit}, which {unit} cannot be turned into."
    return ""


def _at(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)

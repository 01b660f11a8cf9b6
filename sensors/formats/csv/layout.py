"""How a file is laid out: what its columns mean and how its times and numbers are written."""

from enum import StrEnum
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from sensors import units
from sensors.errors import Refused
from sensors.formats import MAX_SENSOR_ID

# Those that are guessed and offered; a file may name another sign (`sep=^`).
DELIMITERS = {"\t": "tab", ";": "semicolon", ",": "comma", "|": "bar"}
OTHER_DELIMITERS = "^~#!$&*@ "
ENCODINGS = ("utf-8", "cp1252")
# A file with more columns than this is no table of readings; each costs a row of the report and of the form.
MAX_COLUMNS = 2000
MAX_SKIPPED_LINES = 1000


def is_delimiter(sign: str) -> bool:
    """Whether columns may be parted by it. Letters, digits and what times, numbers and quotes are made of cannot."""
    return sign in DELIMITERS or (len(sign) == 1 and sign in OTHER_DELIMITERS)


class Role(StrEnum):
    """What a column holds. Several columns of role `timestamp` (date and time of day) are joined by a space."""

    TIMESTAMP = "timestamp"
    VALUE = "value"
    SENSOR = "sensor"
    QUALITY = "quality"
    UNIT = "unit"
    IGNORE = "ignore"


class TimeFormat(StrEnum):
    ISO = "iso"  # 2026-12-31 23:59:59, with or without zone, date and time parted by T or space
    DAY_FIRST = "day_first"  # 31.12.2026 23:59:59, 31/12/26 11:59 PM
    MONTH_FIRST = "month_first"  # 12/31/2026 11:59:59 PM, 12/31/26
    EPOCH_S = "epoch_s"
    EPOCH_MS = "epoch_ms"
    EPOCH_US = "epoch_us"
    EPOCH_NS = "epoch_ns"


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`sensor_id` and `unit` are those of the readings in a column of values; unit "" is the sensor's own."""

    name: str
    role: Role = Role.IGNORE
    sensor_id: str = ""
    unit: str = ""


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`skip_lines` come before the first line of the table, which is the header if there is one."""

    columns: list[Column]
    delimiter: str = ","
    decimal: Literal[".", ","] = "."
    encoding: str = "utf-8"
    time_format: TimeFormat = TimeFormat.ISO
    timezone: str = ""
    header: bool = True
    skip_lines: int = 0

    def places(self, role: Role) -> list[int]:
        return [place for place, column in enumerate(self.columns) if column.role is role]

    @property
    def kind(self) -> Literal["long", "wide", "single"]:
        if self.places(Role.SENSOR):
            return "long"
        return "wide" if len(self.places(Role.VALUE)) > 1 else "single"

    def zone(self) -> ZoneInfo | None:
        """The zone of times that carry none. Raises Refused when there is no such zone."""
        try:
            return ZoneInfo(self.timezone) if self.timezone else None
        except (KeyError, OSError, ValueError) as error:
            detail = f"Time zone {self.timezone!r} is not known; write it like Europe/Berlin."
            raise Refused("unknown_timezone", detail, 400) from error

    def with_roles(self, names: dict[Role, str]) -> "Layout":
        """The same with the named columns in these roles and no others. Raises Refused for a column there is not."""
        columns = [
            msgspec.structs.replace(column, role=Role.IGNORE) if column.role in names else column
            for column in self.columns
        ]
        for role, name in names.items():
            wanted = name.strip().lower()
            place = next((at for at, column in enumerate(columns) if column.name.lower() == wanted), None)
            if place is None:
                raise _refused(f"There is no column {name!r}; there are: {self._names()}.")
            columns[place] = msgspec.structs.replace(columns[place], role=role)
        return msgspec.structs.replace(self, columns=columns)

    def of_one_sensor(self, sensor_id: str, unit: str) -> "Layout":
        """The same with one column of values, the first, which is this sensor's."""
        first = (self.places(Role.VALUE) or [-1])[0]
        columns = [
            msgspec.structs.replace(column, sensor_id=sensor_id, unit=unit)
            if place == first
            else msgspec.structs.replace(column, role=Role.IGNORE)
            if column.role in (Role.VALUE, Role.SENSOR, Role.UNIT)
            else column
            for place, column in enumerate(self.columns)
        ]
        return msgspec.structs.replace(self, columns=columns)

    def _names(self) -> str:
        return ", ".join(column.name for column in self.columns[:50])

    def check(self) -> None:
        """Raises Refused when a file could not be read this way; the message says what to change."""
        if not 0 < len(self.columns) <= MAX_COLUMNS:
            raise _refused(f"A file may have {MAX_COLUMNS:,} columns and this one has {len(self.columns):,}.")
        if not is_delimiter(self.delimiter) or self.encoding not in ENCODINGS:
            raise _refused("Choose a delimiter and an encoding from those offered.")
        if not 0 <= self.skip_lines <= MAX_SKIPPED_LINES:
            raise _refused(f"From 0 to {MAX_SKIPPED_LINES:,} lines may come before the table.")
        if self.delimiter == self.decimal:
            raise _refused("The delimiter and the decimal sign cannot be the same.")
        self.zone()
        self._check_roles()

    def _check_roles(self) -> None:
        values = self.places(Role.VALUE)
        if not self.places(Role.TIMESTAMP) or not values:
            detail = "Name a column of times and one of values (timestamp=COLUMN,value=COLUMN); there are"
            raise _refused(f"{detail}: {self._names()}.")
        for role in (Role.SENSOR, Role.QUALITY, Role.UNIT):
            if len(self.places(role)) > 1:
                raise _refused(f"Only one column can be the {role}.")
        if self.kind == "long" and len(values) > 1:
            raise _refused("Where a column names the sensor, only one column can be the value.")
        chosen = [self.columns[place] for place in values] if self.kind != "long" else []
        for column in chosen:
            if not 0 < len(column.sensor_id) <= MAX_SENSOR_ID:
                raise _refused(
                    f"Say which sensor the column {column.name!r} is; a key has 1 to {MAX_SENSOR_ID} characters."
                )
            twin = next(other for other in chosen if other.sensor_id == column.sensor_id)
            if twin is not column:
                detail = f"The columns {twin.name!r} and {column.name!r} are both given to the sensor"
                raise _refused(f"{detail} {column.sensor_id!r}; name another one for one of them.")
        for column in self.columns:
            if column.unit and units.canonical(column.unit) is None:
                raise Refused("unknown_unit", f"Column {column.name!r}: {units.not_known(column.unit)}", 400)


def parse_layout(data: Any) -> Layout:
    """The layout that `msgspec.to_builtins` made `data` of. Raises Refused when it is none, or makes no sense."""
    try:
        layout = msgspec.convert(data, Layout)
    except msgspec.ValidationError as error:
        raise _refused(f"The mapping cannot be read: {error}.") from error
    layout.check()
    return layout


def _refused(detail: str) -> Refused:
    return Refused("unknown_columns", detail, 400)

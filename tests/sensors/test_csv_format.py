import gzip
from io import BytesIO
from typing import Any

import msgspec
import numpy as np
import pytest

from sensors.columns import Columns
from sensors.errors import Refused
from sensors.formats import csv

Readings = list[tuple[str, str, float]]


def guess(text: str | bytes, **changes: Any) -> csv.Layout:
    data = text.encode() if isinstance(text, str) else text
    return msgspec.structs.replace(csv.guess(data, stem="file"), **changes)


def read(text: str | bytes, **changes: Any) -> tuple[Readings, list[tuple[int, str]]]:
    """The readings (sensor, time, value) in the order of the file, and the refusals (row, code)."""
    data = text.encode() if isinstance(text, str) else text
    layout = guess(data, **changes)
    layout.check()
    found: Readings = []
    rejected: list[tuple[int, str]] = []
    for chunk in csv.read(BytesIO(data), layout):
        found += readings(chunk.columns)
        rejected += [(row.index, row.code) for row in chunk.columns.rejected]
    return found, rejected


def readings(columns: Columns) -> Readings:
    order = np.argsort(columns.indexes, kind="stable").tolist()
    return [
        (
            columns.sensor_ids[int(columns.codes[row])],
            str(np.datetime64(int(columns.timestamps[row]), "us")).removesuffix(".000000"),
            float(columns.values[row]),
        )
        for row in order
    ]


NOON = "2026-02-01T12:00:00"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("time,value\n2026-02-01T12:00:00Z,1\n", "single"),
        ("time,a,b\n2026-02-01T12:00:00Z,1,2\n", "wide"),
        ("time,sensor,value\n2026-02-01T12:00:00Z,a,1\n", "long"),
        ("time\tentity_id\tstate\n2026-02-01T12:00:00Z\ta\t1\n", "long"),
        ("time;tag name;reading;quality;unit\n2026-02-01T12:00:00Z;a;1;1;°C\n", "long"),
        ("time,name,value,quality\n2026-02-01T12:00:00Z,7,1,1\n", "long"),
        ("time,value,quality\n2026-02-01T12:00:00Z,1,1\n", "single"),
        ("2026-02-01T12:00:00Z,1\n", "single"),
    ],
)
def test_wide_long_and_single_files_are_told_apart(text: str, kind: str) -> None:
    layout = guess(text)
    layout.check()
    assert layout.kind == kind


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-02-01T12:00:00Z", NOON),
        ("2026-02-01 12:00:00+01:00", "2026-02-01T11:00:00"),
        ("2026-02-01 12:00", NOON),
        ("2026-02-01", "2026-02-01T00:00:00"),
        ("2026-02-01 12:00:00.25", NOON + ".250000"),
        ("13.02.2026 12:00:00", "2026-02-13T12:00:00"),
        ("13.2.2026 9:05", "2026-02-13T09:05:00"),
        ("01.02.2026 12:00:00", NOON),
        ("13/02/2026 12:00:00", "2026-02-13T12:00:00"),
        ("02/13/2026 11:59:59 PM", "2026-02-13T23:59:59"),
        ("2/13/2026 12:00:00 am", "2026-02-13T00:00:00"),
        ("31.12.25", "2025-12-31T00:00:00"),
        ("1.2.26 12:00", NOON),
        ("12/31/25", "2025-12-31T00:00:00"),
        ("31-12-98 23:59", "1998-12-31T23:59:00"),
        ("2/1/26 12:00:00 p.\u00a0m.", NOON),
        ("2/1/2026 12:00\u202fPM", NOON),
        ("2026-02-01 12:00:00 PM", NOON),
        ("1769947200", NOON),
        ("1769947200.5", NOON + ".500000"),
        ("1769947200000", NOON),
        ("1769947200000000", NOON),
        ("1769947200000000001", NOON),
    ],
)
def test_common_ways_to_write_a_time_are_recognised(time: str, expected: str) -> None:
    assert read(f"time;value\n{time};1\n", timezone="UTC") == ([("file", expected, 1.0)], [])


def test_date_and_time_of_day_may_be_two_columns() -> None:
    text = "Date,Time,A\n01/31/2026,1:05:09 PM,1\n01/31/2026,12:05:09 AM,2\n"
    assert read(text, timezone="UTC")[0] == [("A", "2026-01-31T13:05:09", 1.0), ("A", "2026-01-31T00:05:09", 2.0)]


@pytest.mark.parametrize(
    ("date", "time_of_day", "expected"),
    [
        ("01/02/26", "1:05 PM", "2026-01-02T13:05:00"),
        ("1/2/2026", "12:05:09 am", "2026-01-02T00:05:09"),
        ("01/02/2026", "13:05", "2026-02-01T13:05:00"),
        ("2026-01-02", "1:05 p.m.", "2026-01-02T13:05:00"),
        ("02.01.26", "1:05 PM", "2026-01-02T13:05:00"),
    ],
)
def test_hours_of_half_a_day_beside_a_date_say_that_the_month_comes_first(
    date: str, time_of_day: str, expected: str
) -> None:
    text = f"Date,Time,A\n{date},{time_of_day},1\n"
    assert read(text, timezone="UTC") == ([("A", expected, 1.0)], [])


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;;;"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_line_that_tells_a_spreadsheet_what_parts_the_columns_is_no_data(first: str, end: str) -> None:
    text = "\ufeff" + end.join([first, "Zeit;a,b;c", "01.02.2026 12:00;1,5;2", ""])
    layout = guess(text)
    assert (layout.delimiter, layout.decimal, layout.skip_lines, layout.header) == (";", ",", 1, True)
    assert read(text, timezone="UTC") == ([("a_b", NOON, 1.5), ("c", NOON, 2.0)], [])


@pytest.mark.parametrize("sign", ["\t", ",", "|", "^", "~", "#"])
def test_the_first_line_may_name_any_sign_that_can_part_columns(sign: str) -> None:
    text = f"sep={sign}\nLogger 5;3\ntime;;{sign}a\n{NOON}Z{sign}1\n"
    assert read(text) == ([("a", NOON, 1.0)], [])
    with pytest.raises(Refused, match="'5' parts the columns"):
        guess(f"sep=5\ntime,a\n{NOON}Z,1\n")


@pytest.mark.parametrize(
    ("header", "sensor", "unit"),
    [
        ("Temp [°C]", "Temp", "°C"),
        ("Druck (bar)", "Druck", "bar"),
        ("Pump (inlet)", "Pump_inlet_", ""),
        ("p101.temperature", "p101.temperature", ""),
        ("Öl Druck [kPa]", "Oel_Druck", "kPa"),
        ("Druck [mbar]", "Druck", "mbar"),
        ("Drehzahl [U/min]", "Drehzahl", "rpm"),
        ("Drehzahl (1/min)", "Drehzahl", "rpm"),
        ("Feuchte [% rF]", "Feuchte", "%"),
        ("Weg [\u03bcm]", "Weg", "µm"),
        ("Moment [Nm]", "Moment", "Nm"),
    ],
)
def test_sensor_and_unit_are_taken_from_the_name_of_a_column(header: str, sensor: str, unit: str) -> None:
    column = guess(f"time,{header},other\n2026-02-01T12:00:00Z,1,2\n").columns[1]
    assert (column.sensor_id.replace("__", "_"), column.unit) == (sensor, unit)


def test_a_column_named_as_a_known_sensor_is_that_sensor() -> None:
    text = b"time,Pump [bar],b\n2026-02-01T12:00:00Z,1,2\n"
    assert csv.guess(text, known=frozenset(["Pump"])).columns[1].sensor_id == "Pump"


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["Öl", "Oel"], ["Oel_2", "Oel"]),
        (["Temp [°C]", "Temp [°F]"], ["Temp", "Temp_2"]),
        (["Pump 1", "Pump (a)", "Pump_1"], ["Pump_1_2", "Pump__a_", "Pump_1"]),
        (["T", "T", "T_2"], ["T", "T_3", "T_2"]),
        (["x" * 150, "x" * 150], ["x" * 100, "x" * 98 + "_2"]),
    ],
)
def test_columns_whose_names_become_one_key_are_never_merged(names: list[str], keys: list[str]) -> None:
    layout = guess(f"time,{','.join(names)}\n2026-02-01T12:00:00Z{',1' * len(names)}\n")
    layout.check()
    assert [column.sensor_id for column in layout.columns[1:]] == keys


def test_a_mapping_that_gives_two_columns_to_one_sensor_is_refused_by_their_names() -> None:
    time, a, b = guess("time,Inlet,Outlet\n2026-02-01T12:00:00Z,1,2\n").columns
    layout = csv.Layout([time, a, msgspec.structs.replace(b, sensor_id="Inlet")])
    with pytest.raises(Refused, match=r"columns 'Inlet' and 'Outlet' .* sensor 'Inlet'"):
        layout.check()


@pytest.mark.parametrize("block", [64, 512 * 1024])
def test_rows_whose_names_become_one_key_are_not_merged(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("sensors.formats.csv.reader.BLOCK_BYTES", block)
    rows = [f"2026-02-01T12:00:0{at}Z,{name},{at}\n" for at, name in enumerate(["Pump 1", "x", "Pump_1", " Pump 1 "])]
    data = ("time,tag,value\n" + "".join(rows)).encode()
    chunks = list(csv.read(BytesIO(data), guess(data)))
    found = [(name, value) for chunk in chunks for name, _, value in readings(chunk.columns)]
    assert found == [("Pump_1", 0), ("x", 1), ("Pump_1", 3)]
    (refused,) = [row for chunk in chunks for row in chunk.columns.rejected]
    assert (refused.index, refused.code) == (2, "sensor_name_clash")
    assert "'Pump_1' and 'Pump 1'" in refused.detail
    assert chunks[-1].names == {"Pump_1": "Pump 1", "x": ""}


def test_a_column_of_numbers_taken_for_names_of_sensors_ends_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensors.formats.csv.reader.MAX_SENSORS", 2)
    data = "time,tag,value\n" + "".join(f"2026-02-01T12:00:00Z,{name},1\n" for name in range(3))
    with pytest.raises(Refused, match="more than 2 names"):
        read(data)


def test_decimal_commas_foreign_encodings_and_lines_before_the_table_are_recognised() -> None:
    text = "Logger 5000\nSerie: 4711\n\nZeit;Temp [°C];Druck [bar]\n13.02.2026 12:00;20,5;1\n".encode("cp1252")
    layout = guess(text)
    assert (layout.delimiter, layout.decimal, layout.encoding, layout.skip_lines) == (";", ",", "cp1252", 3)
    assert read(text, timezone="UTC")[0] == [("Temp", "2026-02-13T12:00:00", 20.5), ("Druck", "2026-02-13T12:00:00", 1)]


@pytest.mark.parametrize("nothing", ["", " ", "NaN", "null", "N/A", "-"])
def test_an_empty_cell_of_a_wide_file_is_no_reading(nothing: str) -> None:
    assert read(f"time,a,b\n2026-02-01T12:00:00Z,{nothing},2\n") == ([("b", NOON, 2.0)], [])


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("2026-02-01T12:00:00Z,warm", "invalid_value"),
        ("2026-02-01T12:00:00Z,", "invalid_value"),
        ("2026-02-01T12:00:00Z,1_0", "invalid_value"),
        ("2026-02-01T12:00:00Z,0x1F", "invalid_value"),
        ("yesterday,1", "invalid_timestamp"),
        ("2026-13-01T12:00:00Z,1", "invalid_timestamp"),
        ("2026-02-01T12:00:00,1", "naive_timestamp"),
        ("2026-02-01T12:00:00Z", "malformed_row"),
        ("2026-02-01T12:00:00Z,1,2", "malformed_row"),
        ('2026-02-01T12:00:00Z,"1', "malformed_row"),
    ],
)
def test_a_bad_row_is_refused_alone_and_kept(line: str, code: str) -> None:
    good = "2026-02-01T12:00:00Z,1\n"
    data = f"time,value\n{good}\n{line}\n{good}".encode()
    layout = guess(data)
    (chunk,) = csv.read(BytesIO(data), layout)
    assert [(row.index, row.code) for row in chunk.columns.rejected] == [(2, code)]
    assert chunk.columns.indexes.tolist() == [0, 3]
    payload = chunk.columns.rejected[0].payload
    assert "raw" in payload or payload["sensor_id"] == "file"


def test_in_a_file_with_decimal_commas_a_point_is_no_number() -> None:
    text = "time;value\n2026-02-01T12:00:00Z;1,5\n2026-02-01T12:00:01Z;1.234\n"
    assert read(text) == ([("file", NOON, 1.5)], [(1, "invalid_value")])


def test_long_files_may_carry_quality_and_unit_for_each_row() -> None:
    text = "time,sensor,value,quality,unit\n2026-02-01T12:00:00Z,a,1,0.5,°C\n2026-02-01T12:00:00Z,b,2,,\n"
    (chunk,) = csv.read(BytesIO(text.encode()), guess(text))
    columns = chunk.columns
    assert columns.qualities.tolist() == [0.5, 1.0]
    assert [unit >= 0 and columns.unit_names[unit] for unit in columns.units.tolist()] == ["°C", False]


AUTUMN = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]


@pytest.mark.parametrize("sensors", [["a"], ["a", "b"]])
def test_the_hour_that_comes_twice_is_told_apart_for_each_sensor(sensors: list[str]) -> None:
    rows = [f"2025-10-26 {at}:00,{sensor},1\n" for at in AUTUMN for sensor in sensors]
    found, rejected = read("time,sensor,value\n" + "".join(rows), timezone="Europe/Berlin")
    for sensor in sensors:
        hours = [at[11:16] for name, at, _ in found if name == sensor]
        assert hours == ["23:30", "00:00", "00:30", "01:00", "01:30", "02:00"]
    assert not rejected


def test_reading_goes_on_from_any_position_as_if_it_had_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensors.formats.csv.reader.BLOCK_BYTES", 64)
    lines = [f"2025-10-26 {hour:02}:{minute:02},1" for hour in (1, 2, 2, 3) for minute in range(0, 60, 10)]
    data = ("time,value\n" + "\n".join(lines)).encode()
    for body in (data, gzip.compress(data), b"\xef\xbb\xbf" + data):
        layout = guess(data, timezone="Europe/Berlin")
        whole = list(csv.read(BytesIO(body), layout))
        assert len(whole) > 5
        for at, chunk in enumerate(whole[:-1]):
            rest = [row for one in csv.read(BytesIO(body), layout, chunk.position) for row in readings(one.columns)]
            assert rest == [row for one in whole[at + 1 :] for row in readings(one.columns)]
        times = [at for chunk in whole for _, at, _ in readings(chunk.columns)]
        assert times == sorted(times)
        assert len(set(times)) == 24


def test_lines_before_the_table_are_not_looked_for_after_the_end_of_the_file() -> None:
    class Counted(BytesIO):
        lines = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            self.lines += 1
            return super().readline(size)

    file = Counted(b"time,value\n2026-02-01T12:00:00Z,1\n")
    layout = guess(file.getvalue(), skip_lines=1000)
    assert list(csv.read(file, layout)) == []
    assert file.lines == 3


def test_a_line_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensors.formats.csv.reader.MAX_LINE_BYTES", 1000)
    data = b"time,value\n" + b"x" * 5000
    with pytest.raises(Refused) as refused:
        list(csv.read(BytesIO(data), guess(b"time,value\n2026-02-01T12:00:00Z,1\n")))
    assert refused.value.code == "line_too_long"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"columns": []}, "unknown_columns"),
        ({"skip_lines": -1}, "unknown_columns"),
        ({"skip_lines": 1001}, "unknown_columns"),
        ({"columns": [csv.Column("a", csv.Role.TIMESTAMP)]}, "unknown_columns"),
        ({"columns": [csv.Column("a", csv.Role.VALUE, "a")]}, "unknown_columns"),
        ({"timezone": "Mars/Base"}, "unknown_timezone"),
        ({"timezone": "../../etc/passwd"}, "unknown_timezone"),
        ({"delimiter": ":"}, "unknown_columns"),
        ({"decimal": ",", "delimiter": ","}, "unknown_columns"),
        ({"encoding": "rot13"}, "unknown_columns"),
    ],
)
def test_a_layout_that_makes_no_sense_is_refused(changes: dict[str, Any], code: str) -> None:
    layout = guess("time,value\n2026-02-01T12:00:00Z,1\n", **changes)
    with pytest.raises(Refused) as refused:
        layout.check()
    assert (refused.value.code, refused.value.status) == (code, 400)


def test_two_columns_cannot_be_the_same_sensor_and_units_must_be_known() -> None:
    layout = guess("time,a,b\n2026-02-01T12:00:00Z,1,2\n")
    time, a, b = layout.columns
    for columns in ([time, a, msgspec.structs.replace(b, sensor_id="a")], [time, msgspec.structs.replace(a, unit="x")]):
        with pytest.raises(Refused):
            msgspec.structs.replace(layout, columns=columns).check()


def test_a_column_with_an_endless_name_is_read_without_a_unit() -> None:
    name = "a" + " " * 60_000 + "[°C]"
    found = csv.guess(f"time,{name}\n2026-01-01T00:00:00Z,5\n".encode())
    assert found.columns[1].unit == ""

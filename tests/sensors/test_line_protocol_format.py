from datetime import UTC, datetime
from typing import Any

import pytest

from sensors.errors import Refused
from sensors.formats import MAX_ROWS, line_protocol

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NOW_US = 1_780_272_000_000_000


def parse(body: str, precision: str = "ns") -> tuple[list[tuple[str, int, float, str]], list[tuple[int, str]]]:
    """The readings (sensor, time, value, unit) and the refusals (line, code)."""
    columns = line_protocol.parse(body.encode(), precision, NOW)
    units = [columns.unit_names[unit] if unit >= 0 else "" for unit in columns.units.tolist()]
    names = [columns.sensor_ids[code] for code in columns.codes.tolist()]
    found = zip(names, columns.timestamps.tolist(), columns.values.tolist(), units, strict=True)
    return list(found), [(row.index, row.code) for row in columns.rejected]


@pytest.mark.parametrize(
    ("line", "sensors"),
    [
        ("m,sensor_id=p1.temp value=1", ["p1.temp"]),
        ("m,sensor=p1.temp celsius=1", ["p1.temp"]),
        ("m,host=h,sensor_id=p1 a=1,b=2,value=3", ["p1.a", "p1.b", "p1"]),
        ("temperature value=1", ["temperature"]),
        ("temperature celsius=1", ["temperature.celsius"]),
        (
            "cpu,host=edge1,cpu=cpu0 usage_idle=1,usage_user=2",
            ["cpu.cpu0.edge1.usage_idle", "cpu.cpu0.edge1.usage_user"],
        ),
        ("cpu,cpu=cpu0,host=edge1 usage_idle=1", ["cpu.cpu0.edge1.usage_idle"]),
        (r"disk,path=/var\ log,unit=% used\ percent=1", ["disk./var_log.used_percent"]),
        ("_internal,ä=ö value=1", ["internal.oe"]),
    ],
)
def test_which_sensor_a_field_is(line: str, sensors: list[str]) -> None:
    readings, rejected = parse(line)
    assert [reading[0] for reading in readings] == sensors
    assert not rejected


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        *[("1", 1.0), ("-1.5", -1.5), ("1.", 1.0), (".5", 0.5), ("1e3", 1000.0), ("2.5E-1", 0.25), ("+4", 4.0)],
        *[("7i", 7.0), ("-7i", -7.0), ("7u", 7.0)],
        *[("t", 1.0), ("T", 1.0), ("true", 1.0), ("True", 1.0), ("TRUE", 1.0)],
        *[("f", 0.0), ("F", 0.0), ("false", 0.0), ("False", 0.0), ("FALSE", 0.0)],
    ],
)
def test_numbers_integers_and_booleans_are_values(raw: str, value: float) -> None:
    assert parse(f"m value={raw} 1000") == ([("m", 1, value, "")], [])


@pytest.mark.parametrize("raw", ["x", "", "1_0", "0x1", "nan", "inf", "1.5i", "tru", "1e", "--1", "1,5"])
def test_what_is_no_value_is_refused(raw: str) -> None:
    readings, rejected = parse(f"m value={raw}")
    assert len(readings) + len(rejected) >= 1
    assert rejected
    assert rejected[0][1] in ("invalid_value", "malformed_line")


def test_text_is_refused_field_by_field_whatever_is_in_it() -> None:
    body = 'm a=1,text="a, b=c \\"quoted\\"\nsecond line",b=2 1000\nm c=3 1000'
    readings, rejected = parse(body)
    assert [(name, value) for name, _, value, _ in readings] == [("m.a", 1.0), ("m.b", 2.0), ("m.c", 3.0)]
    assert rejected == [(0, "not_a_number")]


def test_a_quote_that_is_never_closed_spoils_its_own_line_only() -> None:
    readings, rejected = parse('m a=1 1000\nm b="x 1000\nm c=3 1000')
    assert [reading[0] for reading in readings] == ["m.a", "m.c"]
    assert rejected == [(1, "malformed_line")]


@pytest.mark.parametrize(("precision", "stamp"), [("ns", "1500000000"), ("us", "1500000"), ("ms", "1500"), ("s", "1")])
def test_times_are_in_the_given_precision(precision: str, stamp: str) -> None:
    expected = 1_000_000 if precision == "s" else 1_500_000
    assert parse(f"m value=1 {stamp}", precision) == ([("m", expected, 1.0, "")], [])


def test_a_line_without_a_time_was_measured_now() -> None:
    assert parse("m value=1") == ([("m", NOW_US, 1.0, "")], [])


def test_the_unit_is_a_tag() -> None:
    assert parse("m,unit=°C,sensor=a value=1 1000") == ([("a", 1, 1.0, "°C")], [])


def test_comments_blank_lines_and_windows_line_ends_are_no_readings() -> None:
    assert parse("# said\n\r\n  \nm value=1 1000\r\n#\n") == ([("m", 1, 1.0, "")], [])


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("m", "malformed_line"),
        ("m ", "malformed_line"),
        ("m value", "invalid_value"),
        ("m value=1 2 3", "malformed_line"),
        ("m value=1 x", "invalid_timestamp"),
        ("m value=1 1.5", "invalid_timestamp"),
        ("m value=1 99999999999999999999999", "invalid_timestamp"),
        (",a=b value=1", "malformed_line"),
        ("m,a value=1", "malformed_line"),
        ("m,a= value=1", "malformed_line"),
        ("m =1", "invalid_value"),
        (f"m,unit={'x' * 60} value=1", "malformed_line"),
        (f"m,sensor={'x' * 101} value=1", "invalid_value"),
    ],
)
def test_each_bad_line_has_its_code_and_its_place_and_is_kept(line: str, code: str) -> None:
    columns = line_protocol.parse(f"a value=1\n{line}\nb value=2".encode(), "ns", NOW)
    assert [(row.index, row.code, row.payload) for row in columns.rejected] == [(1, code, {"raw": line})]
    assert columns.sensor_ids == ["a", "b"]


def test_an_unknown_precision_and_too_many_readings_are_refused() -> None:
    bodies: list[tuple[Any, ...]] = [
        (b"m value=1", "h", "invalid_precision", 400),
        (b"m value=1\n" * (MAX_ROWS + 1), "ns", "too_many_readings", 413),
        (b"bad\n" * (MAX_ROWS + 1), "ns", "too_many_readings", 413),
    ]
    for body, precision, code, status in bodies:
        with pytest.raises(Refused) as refused:
            line_protocol.parse(body, precision, NOW)
        assert (refused.value.code, refused.value.status) == (code, status)

"""What every format keeps, whatever is sent: good rows come out as they went in, bad ones are refused one by one with a
code and what was sent, and no body, however hostile, does anything but be parsed or refused.
"""

import json as standard_json
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from sensors.columns import Columns
from sensors.errors import Refused
from sensors.formats import csv, gzip, json, line_protocol
from sensors.ingest import store_batch
from sensors.models import Quarantined, Reading
from sensors.mqtt.messages import Gathered
from tests.conftest import make_plant

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NOW_US = round(NOW.timestamp() * 1e6)
MAX_BODY = 4 * 1024 * 1024

Row = tuple[str, int, float]


def iso(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat()


@dataclass(frozen=True)
class Format:
    """`write` gives a body of readings, `parse` the columns of a body, `spoil` a body with one bad row at `at`."""

    name: str
    write: Callable[[list[Row]], bytes]
    parse: Callable[[bytes], list[Columns]]
    spoil: Callable[[list[Row], int], bytes]
    # What the code of the spoiled row is.
    code: str
    seeds: tuple[bytes, ...] = ()


def write_json(rows: list[Row]) -> bytes:
    return standard_json.dumps(
        [{"sensor_id": name, "timestamp": iso(at), "value": value} for name, at, value in rows]
    ).encode()


def spoil_json(rows: list[Row], at: int) -> bytes:
    sent = standard_json.loads(write_json(rows))
    sent[at]["value"] = "warm"
    return standard_json.dumps(sent).encode()


def series_of(rows: list[Row]) -> list[dict[str, Any]]:
    """By columns; a new object wherever the sensor changes, so that the order stays."""
    found: list[dict[str, Any]] = []
    for name, at, value in rows:
        if not found or found[-1]["sensor_id"] != name:
            found.append({"sensor_id": name, "timestamps": [], "values": []})
        found[-1]["timestamps"].append(iso(at))
        found[-1]["values"].append(value)
    return found


def spoil_columns(rows: list[Row], at: int) -> bytes:
    found = series_of(rows)
    for one in found:
        if at < len(one["values"]):
            one["values"][at] = None
            break
        at -= len(one["values"])
    return standard_json.dumps(found).encode()


def write_lines(rows: list[Row]) -> bytes:
    return "\n".join(f"m,sensor_id={name} value={value!r} {at * 1000}" for name, at, value in rows).encode()


def spoil_lines(rows: list[Row], at: int) -> bytes:
    lines = write_lines(rows).split(b"\n")
    lines[at] = lines[at].replace(b"value=", b"value=x")
    return b"\n".join(lines)


def write_long(rows: list[Row]) -> bytes:
    return ("time,sensor,value\n" + "".join(f"{iso(at)},{name},{value!r}\n" for name, at, value in rows)).encode()


def spoil_long(rows: list[Row], at: int) -> bytes:
    lines = write_long(rows).split(b"\n")
    lines[at + 1] += b"x"
    return b"\n".join(lines)


LONG = csv.Layout(
    [
        csv.Column("time", csv.Role.TIMESTAMP),
        csv.Column("sensor", csv.Role.SENSOR),
        csv.Column("value", csv.Role.VALUE),
    ]
)


def parse_long(body: bytes) -> list[Columns]:
    return [chunk.columns for chunk in csv.read(BytesIO(body), LONG)]


def parse_guessed(body: bytes) -> list[Columns]:
    """As an upload: whatever is guessed, and then read that way."""
    layout = csv.guess(body[: 64 * 1024], stem="file")
    layout.check()
    return [chunk.columns for chunk in csv.read(BytesIO(body), layout)]


def parse_messages(body: bytes) -> list[Columns]:
    """As a message of the topic of sensor "t"."""
    gathered = Gathered()
    gathered.add(body, "t", "plant/t", NOW_US)
    return [gathered.columns()]


def parse_gzipped(body: bytes) -> list[Columns]:
    return [json.parse(gzip.inflate(body, MAX_BODY))]


FORMATS = [
    Format("json", write_json, lambda body: [json.parse(body)], spoil_json, "invalid_value"),
    Format(
        "json by columns",
        lambda rows: standard_json.dumps(series_of(rows)).encode(),
        lambda body: [json.parse(body)],
        spoil_columns,
        "invalid_value",
    ),
    Format(
        "gzipped json",
        lambda rows: pack(write_json(rows)),
        parse_gzipped,
        lambda rows, at: pack(spoil_json(rows, at)),
        "invalid_value",
        seeds=(b"\x1f\x8b\x08",),
    ),
    Format(
        "line protocol",
        write_lines,
        lambda body: [line_protocol.parse(body, "ns", NOW)],
        spoil_lines,
        "invalid_value",
        seeds=(
            b'cpu,host=edge\\ 1,cpu=cpu0 usage_idle=97.5,up=true,n=5i,text="a \\"b\\", c" 1767225600000000000\n# x\n',
            b"m\\,a,t\\==x\\ y f\\,g=1u\n" * 3,
        ),
    ),
    Format(
        "csv",
        write_long,
        parse_long,
        spoil_long,
        "invalid_value",
        seeds=(b'time,sensor,value\n"2026-01-01 00:00:00Z","a","5"\n',),
    ),
    Format(
        "csv as guessed",
        write_long,
        parse_guessed,
        spoil_long,
        "invalid_value",
        seeds=(
            b"Zeit;Temp [\xb0C];Druck (bar)\n31.12.2025 23:59:59;20,5;1,25\n1.1.2026 0:00;;1,3\n",
            b"Date,Time,A,B\n01/31/2026,1:05:09 PM,1,2\n",
            b"1767225600,1,2\n1767225601,1,2\n",
        ),
    ),
    Format("mqtt", write_json, parse_messages, spoil_json, "invalid_value", seeds=(b"21.5", b'{"value": 5}')),
]
each_format = pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)


def pack(body: bytes) -> bytes:
    import gzip as standard_gzip

    return standard_gzip.compress(body)


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,20}", fullmatch=True)
times = st.integers(1_000_000_000_000_000, 1_800_000_000_000_000)
values = st.floats(allow_nan=False, allow_infinity=False, width=64)
some_rows = st.lists(st.tuples(names, times, values), min_size=1, max_size=20)


def readings(parsed: list[Columns]) -> list[Row]:
    found: list[Row] = []
    for columns in parsed:
        order = np.argsort(columns.indexes, kind="stable")
        for place in order.tolist():
            name = columns.sensor_ids[int(columns.codes[place])]
            found.append((name, int(columns.timestamps[place]), float(columns.values[place])))
    return found


@each_format
@given(rows=some_rows)
@hypothesis_settings(max_examples=50, deadline=None)
def test_readings_come_out_as_they_went_in(format: Format, rows: list[Row]) -> None:
    parsed = format.parse(format.write(rows))
    assert readings(parsed) == rows
    assert not [columns.rejected for columns in parsed if columns.rejected]


@each_format
@pytest.mark.parametrize("at", [0, 3, 9])
def test_a_bad_row_is_refused_alone_with_its_place_a_code_and_what_was_sent(format: Format, at: int) -> None:
    rows = [(f"s{number % 3}", 1_767_225_600_000_000 + number, float(number)) for number in range(10)]
    parsed = format.parse(format.spoil(rows, at))
    rejected = [row for columns in parsed for row in columns.rejected]
    assert readings(parsed) == rows[:at] + rows[at + 1 :]
    assert [(row.index, row.code) for row in rejected] == [(at, format.code)]
    assert rejected[0].payload.get("sensor_id") == f"s{at % 3}" or f"s{at % 3}" in rejected[0].payload["raw"]


# Per format; with the seeds of the mutations more than 10,000 bodies.
RANDOM_BODIES = 10_000
HOSTILE = [
    *(b"", b"\0", b"\n" * 999, b"\r\n" * 99, b"," * 9_999, b'"' * 9_999, b"\\" * 9_999, b"=" * 9_999, b" " * 9_999),
    *(b"[" * 99_999, b"{" * 99_999, b'{"a":' * 9_999, b"[{}]", b"[[],[],{}]", b"null", b"true", b"1" * 9_999, b"1e999"),
    *(b"\xff\xfe" * 99, "\ud800".encode("utf-8", "surrogatepass"), b"\xef\xbb\xbf", b"\xef\xbb\xbf1,2\n" * 3),
    b'{"sensor_id":"' + b"a" * 100_000 + b'","timestamps":["x"],"values":[1]}',
    b'{"sensor_id":"a","timestamps":' + b"[" * 500 + b"]" * 500 + b',"values":[1]}',
    b'{"sensor_id":"a","unit":"' + b"u" * 100_000 + b'","timestamps":["2026-01-01T00:00:00Z"],"values":[1]}',
    b'[{"sensor_id":"a","timestamp":"0001-01-01T00:00:00+23:59","value":1e308}]',
    b'[{"sensor_id":"\\u0000","timestamp":"9999-12-31T23:59:59-23:59","value":-0.0}]',
    b"m v=1 " + b"9" * 5_000,
    b"m v=1 -9223372036854775808\nm v=1 9223372036854775807",
    b"m," + b"t=1," * 9_999 + b"t=1 v=1",
    b"m " + b"v=1," * 9_999 + b"v=1",
    b'm v="' + b'\\"' * 9_999,
    b'm v="a\n' * 9_999,
    b"time,sensor,value\n" + b"2026-01-01T00:00:00Z,a,1\n" * 50 + b'"' + b"x\n" * 500,
    b"time,sensor,value\n0001-01-01,a,1\n9999-12-31T23:59:59+14:00,b,1\n99999-01-01,c,1\n",
    b"time," + b"a," * 1_900 + b"b\n" + b"2026-01-01T00:00:00Z" + b",1" * 1_901 + b"\n",
    b"time,sensor,value\n" + b"2026-01-01T00:00:00Z," + b"x" * 200_000 + b",1\n",
]


def mutations(format: Format, count: int) -> Iterator[bytes]:
    """Good bodies with bytes changed, cut out, doubled and put elsewhere; the same ones in every run."""
    dice = random.Random(format.name)
    rows = [(f"s{n % 3}", 1_767_225_600_000_000 + n * 1_000_000, n / 4) for n in range(6)]
    good = [format.write(rows), format.write(rows[:1]), *format.seeds]
    tokens = [
        b'"',
        b"\\",
        b",",
        b"=",
        b" ",
        b"\n",
        b"\0",
        b"\xff",
        b"[",
        b"{",
        b"}",
        b":",
        b"e9999",
        b"-",
        b"null",
        b"\r",
    ]
    for _ in range(count):
        body = bytearray(dice.choice(good))
        for _ in range(dice.randint(1, 6)):
            at, end = sorted((dice.randint(0, len(body)), dice.randint(0, len(body))))
            match dice.randint(0, 4):
                case 0:
                    body[at:at] = dice.choice(tokens)
                case 1:
                    del body[at : min(end, at + 8)]
                case 2:
                    body[at : at + 1] = bytes([dice.randint(0, 255)])
                case 3:
                    body[end:end] = body[at : min(end, at + 40)]
                case 4:
                    del body[at:]
        yield bytes(body)


def noise(count: int) -> Iterator[bytes]:
    dice = random.Random(5)
    for _ in range(count):
        yield dice.randbytes(dice.randint(0, 60))


@each_format
def test_ten_thousand_hostile_bodies_are_parsed_or_refused_and_nothing_else(format: Format) -> None:
    bodies = chain(HOSTILE, noise(2_000), mutations(format, RANDOM_BODIES - 2_000))
    slowest = 0.0
    for body in bodies:
        begin = time.perf_counter()
        try:
            parsed = format.parse(body)
        except Refused as refused:
            assert refused.code  # noqa: PT017
            assert 400 <= refused.status < 500  # noqa: PT017
            continue
        finally:
            slowest = max(slowest, time.perf_counter() - begin)
        for columns in parsed:
            assert_whole(columns)
    # Generous: one that takes quadratic time takes minutes.
    assert slowest < 5


def assert_whole(columns: Columns) -> None:
    size = len(columns.codes)
    for array in (columns.timestamps, columns.values, columns.qualities, columns.units, columns.indexes):
        assert len(array) == size
    if size:
        assert 0 <= columns.codes.min() <= columns.codes.max() < len(columns.sensor_ids)
        assert -1 <= columns.units.min() <= columns.units.max() < len(columns.unit_names)
    for row in columns.rejected:
        assert row.code
        assert row.detail
        assert len(row.detail) < 1_000
        assert len(standard_json.dumps(row.payload)) < 20_000


@each_format
@pytest.mark.parametrize("hostile", HOSTILE[-12:], ids=range(12))
def test_no_body_takes_memory_out_of_proportion(format: Format, hostile: bytes) -> None:
    tracemalloc.start()
    try:
        format.parse(hostile)
    except Refused:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 64 * 1024 * 1024


def test_what_unpacks_to_more_than_the_limit_is_refused_before_it_is_unpacked() -> None:
    bomb = pack(bytes(200 * 1024 * 1024))
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as refused:
            gzip.inflate(bomb, MAX_BODY)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (refused.value.code, refused.value.status) == ("body_too_large", 413)
    assert peak < 3 * MAX_BODY


@pytest.mark.parametrize("cut", [1, 5, 12, -1, -8])
def test_what_is_cut_off_is_refused(cut: int) -> None:
    with pytest.raises(Refused) as refused:
        gzip.inflate(pack(b"[]" * 100)[:cut], MAX_BODY)
    assert (refused.value.code, refused.value.status) == ("malformed_gzip", 400)


def test_all_members_of_a_packed_body_count_against_the_limit() -> None:
    assert gzip.inflate(pack(b"ab") + pack(b"cd"), 4) == b"abcd"
    with pytest.raises(Refused):
        gzip.inflate(pack(b"ab") + pack(b"cd"), 3)


def test_a_packed_body_of_a_great_many_members_is_refused() -> None:
    assert gzip.inflate(pack(b"a") * gzip.MAX_MEMBERS, MAX_BODY) == b"a" * gzip.MAX_MEMBERS
    with pytest.raises(Refused, match="members") as refused:
        gzip.inflate(pack(b"") * (gzip.MAX_MEMBERS + 1), MAX_BODY)
    assert (refused.value.code, refused.value.status) == ("malformed_gzip", 400)


@pytest.mark.parametrize("size", [1, 2, 7, 22, 64])
def test_where_a_slice_of_a_packed_body_ends_makes_no_difference(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzip, "SLICE_BYTES", size)
    body = pack(b"ab" * 500) + bytes(9) + pack(b"") + pack(b"cd") + bytes(5)
    assert gzip.inflate(body, 1002) == b"ab" * 500 + b"cd"
    with pytest.raises(Refused) as refused:
        gzip.inflate(body, 1001)
    assert refused.value.code == "body_too_large"


class WhatIsStored(TestCase):
    """Whatever is parsed, every row is accepted, a duplicate or refused, and the refused ones are kept."""

    @classmethod
    def setUpTestData(cls) -> None:
        make_plant("Hostile")

    @given(
        format=st.sampled_from(FORMATS),
        seed=st.integers(0, 10_000),
        rows=st.lists(
            st.tuples(
                st.sampled_from(["hostile.p101.temperature", "hostile.p101.vibration", "unknown"]), times, values
            ),
            max_size=8,
        ),
    )
    @hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_every_row_is_accounted_for(self, format: Format, seed: int, rows: list[Row]) -> None:
        dice = random.Random(seed)
        body = bytearray(format.write(rows))
        for _ in range(dice.randint(0, 3) if body else 0):
            body[dice.randrange(len(body))] = dice.randint(0, 255)
        try:
            parsed = format.parse(bytes(body))
        except Refused:
            return
        accepted = refused = 0
        for columns in parsed:
            stored = store_batch(columns, source="test")
            sent = len(columns) + len(columns.rejected)
            assert stored.accepted + stored.duplicates + len(stored.rejected) == sent
            accepted, refused = accepted + stored.accepted, refused + len(stored.rejected)
        assert Reading.objects.count() == accepted
        assert sum(Quarantined.objects.values_list("times", flat=True)) == refused

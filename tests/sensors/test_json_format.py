import json as stdlib_json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from sensors.errors import Refused
from sensors.formats import json
from sensors.ingest import store_batch
from sensors.models import Reading
from tests.conftest import make_plant

ROW = {"sensor_id": "a", "timestamp": "2026-01-01T00:00:00Z", "value": 1}


def test_one_object_is_a_batch_of_one() -> None:
    columns = json.parse(stdlib_json.dumps(ROW).encode())
    assert (columns.sensor_ids, columns.values.tolist(), columns.units.tolist()) == (["a"], [1.0], [-1])


def test_rows_keep_their_order_and_distinct_names_are_kept_once() -> None:
    rows = [ROW | {"sensor_id": name, "unit": unit} for name, unit in [("b", "V"), ("a", None), ("b", "V")]]
    columns = json.parse(stdlib_json.dumps(rows).encode())
    assert [columns.sensor_ids[code] for code in columns.codes] == ["b", "a", "b"]
    assert [unit >= 0 and columns.unit_names[unit] for unit in columns.units] == ["V", False, "V"]


def test_an_offset_is_turned_into_utc_to_the_microsecond() -> None:
    columns = json.parse(stdlib_json.dumps(ROW | {"timestamp": "2026-01-01T02:00:00.123456+02:00"}).encode())
    assert columns.timestamps.tolist() == [1_767_225_600_123_456]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sensor_id": 5}, "invalid_sensor_id"),
        ({"sensor_id": "x" * 101}, "invalid_sensor_id"),
        ({"timestamp": "2026-01-01T00:00:00"}, "naive_timestamp"),
        ({"timestamp": "yesterday"}, "invalid_timestamp"),
        ({"timestamp": 1_767_225_600}, "invalid_timestamp"),
        ({"value": "1"}, "invalid_value"),
        ({"value": True}, "invalid_value"),
        ({"value": None}, "invalid_value"),
        ({"quality": 1.5}, "invalid_quality"),
        ({"unit": 5}, "invalid_unit"),
    ],
)
def test_each_bad_field_has_its_code_and_its_row(change: dict[str, Any], code: str) -> None:
    columns = json.parse(stdlib_json.dumps([ROW, ROW | change]).encode())
    assert [(row.index, row.code) for row in columns.rejected] == [(1, code)]
    assert columns.indexes.tolist() == [0]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"5",
        b'"x"',
        b"null",
        b'[{"sensor_id":"\xff"}]',
        b'{"a":NaN}',
        b"[" * 9_999,
        b'{"a":' * 9_999,
        b"\x00",
        b"[]]",
    ],
)
def test_what_is_no_json_batch_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        json.parse(body)
    assert (refused.value.code, refused.value.status) == ("malformed_json", 400)


def test_more_readings_than_a_request_may_hold_are_refused_before_they_cost_anything() -> None:
    with pytest.raises(Refused) as refused:
        json.parse(b"[" + b",".join([b"{}"] * (json.MAX_ROWS + 1)) + b"]")
    assert (refused.value.code, refused.value.status) == ("too_many_readings", 413)


@pytest.mark.parametrize("form", [b'{"sensor_id":"a","timestamps":[],"values":[%s]}', b"[%s]"])
def test_lists_of_millions_are_refused_before_they_are_built(form: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    body = form % b",".join([b"1"] * 4_000_000)
    monkeypatch.setattr(json, "_series", None)  # What would build them.
    monkeypatch.setattr(json, "_many_series", None)
    with pytest.raises(Refused) as refused:
        json.parse(body)
    assert (refused.value.code, refused.value.status) == ("too_many_readings", 413)


def test_a_body_within_the_limits_is_taken_however_many_commas_it_has() -> None:
    note = ", ".join(['bearing \\ "drive end"'] * 10)
    rows = [ROW | {"sensor_id": f"p{i}", "note": note, "spectrum": [0] * 20} for i in range(json.MAX_ROWS - 1)]
    body = stdlib_json.dumps([*rows, ROW | {"value": "none, yet"}], separators=(",", ":")).encode()
    assert body.count(b",") > json.MAX_COMMAS
    columns = json.parse(body)
    assert len(columns) == json.MAX_ROWS - 1
    assert [(row.index, row.code) for row in columns.rejected] == [(json.MAX_ROWS - 1, "invalid_value")]


def test_a_body_by_columns_with_a_long_list_of_its_own_is_taken() -> None:
    count = json.MAX_ROWS
    lists = {"timestamps": [ROW["timestamp"]] * count, "values": [1] * count, "spectrum": [0] * 2_000_000}
    columns = json.parse(stdlib_json.dumps({"sensor_id": "a", **lists}).encode())
    assert (len(columns), columns.rejected) == (count, [])


@given(
    st.lists(
        st.recursive(st.text(alphabet='\\",[]{}a'), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)),
        min_size=1,
    )
)
def test_elements_are_counted_without_being_built(elements: list[Any]) -> None:
    assert json._length(stdlib_json.dumps(elements).encode()) == len(elements)


def test_what_was_sent_is_kept_once_for_all_rows_of_lists_that_differ() -> None:
    item = {"sensor_id": "a", "timestamps": [], "values": [1] * 100}
    columns = json.parse(stdlib_json.dumps(item).encode())
    assert [(row.index, row.code) for row in columns.rejected] == [(at, "lists_differ") for at in range(100)]
    assert len({id(row.payload) for row in columns.rejected}) == 1


def test_objects_without_an_array_around_them_are_no_json() -> None:
    row = stdlib_json.dumps(ROW).encode()
    with pytest.raises(Refused):
        json.parse(row + b"," + row)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
nearly_a_row = st.fixed_dictionaries(
    {"sensor_id": st.text() | st.just("hostile.p101.vibration") | anything},
    optional={
        "timestamp": st.sampled_from(["2026-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z"])
        | st.datetimes().map(str)
        | anything,
        "value": st.floats() | st.integers() | anything,
        "quality": st.floats() | anything,
        "unit": st.sampled_from(["mm/s", "in/s", "°C"]) | anything,
    },
)


class HostileBodies(TestCase):
    """Whatever comes in: every row is accepted, a duplicate or refused, and nothing is stored that should not be."""

    @classmethod
    def setUpTestData(cls) -> None:
        make_plant("Hostile")

    @given(st.lists(nearly_a_row | anything, max_size=6).map(lambda rows: stdlib_json.dumps(rows).encode()))
    def test_rows_nobody_should_send(self, body: bytes) -> None:
        try:
            columns = json.parse(body)
        except Refused:
            return
        stored = store_batch(columns, source="test")
        assert stored.accepted + stored.duplicates + len(stored.rejected) == len(stdlib_json.loads(body))
        assert Reading.objects.count() == stored.accepted

    @given(st.binary() | st.binary().map(lambda junk: b'[{"sensor_id":"' + junk + b'"}]'))
    def test_bytes_nobody_should_send(self, body: bytes) -> None:
        try:
            store_batch(json.parse(body), source="test")
        except Refused as refused:
            assert refused.code == "malformed_json"  # noqa: PT017
        assert not Reading.objects.exists()

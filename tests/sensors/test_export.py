import csv
import io
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse

from sensors import export, summary
from sensors.errors import Refused
from sensors.export import Table
from sensors.models import Asset, Reading
from tests.architecture.things import make_things
from tests.conftest import Plant

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")


def table(*pieces: list[Any]) -> Table:
    def read() -> Iterator[list[Any]]:
        yield from pieces

    columns: Any = {"name": "text", "value": "number", "number": "integer", "at": "time", "open": "flag"}
    return Table("things", columns, read, lambda: sum(len(piece[0]) for piece in pieces))


def content(found: Table, file_format: str) -> bytes:
    return b"".join(export.download(found, file_format, user_id=1))  # type: ignore[arg-type]


def csv_rows(body: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(body.decode())))


def cells_of(body: bytes) -> list[dict[str, str]]:
    """The cells of a workbook's sheet: their attributes, and what is in them."""
    sheet = zipfile.ZipFile(io.BytesIO(body)).read("xl/worksheets/sheet1.xml").decode()
    return [
        dict(re.findall(r'(\w+)="([^"]*)"', attributes)) | {"content": inner}
        for attributes, inner in re.findall(r"<c ([^>]*?)>(.*?)</c>", sheet)
    ]


PIECE = [["pump", None], [1.5, None], [7, None], [NOON, None], [True, None]]


def test_every_kind_of_column_and_empty_cells_survive_csv() -> None:
    assert csv_rows(content(table(PIECE), "csv")) == [
        ["name", "value", "number", "at", "open"],
        ["pump", "1.5", "7", "2026-07-01 12:00:00.000000Z", "true"],
        ["", "", "", "", ""],
    ]


def test_every_kind_of_column_and_empty_cells_survive_parquet() -> None:
    found = pq.read_table(io.BytesIO(content(table(PIECE, PIECE), "parquet")))
    assert found.to_pylist()[0] == {"name": "pump", "value": 1.5, "number": 7, "at": NOON, "open": True}
    assert found.num_rows == 4
    assert set(found.to_pylist()[3].values()) == {None}


def test_every_kind_of_column_survives_xlsx_and_times_are_times() -> None:
    cells = {cell["r"]: cell for cell in cells_of(content(table(PIECE), "xlsx"))}
    assert "at (UTC)" in cells["D1"]["content"]
    assert "pump" in cells["A2"]["content"]
    assert [cells[place]["content"] for place in ("B2", "C2", "E2")] == ["<v>1.5</v>", "<v>7</v>", "<v>1</v>"]
    days = float(re.sub("<.*?>", "", cells["D2"]["content"]))
    assert datetime(1899, 12, 30, tzinfo=UTC) + timedelta(days=days) == NOON
    assert "A3" not in cells


@pytest.mark.parametrize("file_format", ["csv", "parquet", "xlsx"])
def test_a_table_without_rows_is_a_file_with_its_columns(file_format: str) -> None:
    body = content(table(), file_format)
    if file_format == "csv":
        assert csv_rows(body) == [["name", "value", "number", "at", "open"]]
    elif file_format == "parquet":
        assert pq.read_table(io.BytesIO(body)).column_names == ["name", "value", "number", "at", "open"]
    else:
        assert len(cells_of(body)) == 5


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_text_that_looks_like_a_formula_is_never_run(text: str) -> None:
    hostile = table([[text], [-1.0], [-1], [NOON], [False]])
    row = csv_rows(content(hostile, "csv"))[1]
    assert row[:3] == [f"'{text}", "-1", "-1"]
    cells = {cell["r"]: cell for cell in cells_of(content(hostile, "xlsx"))}
    assert cells["A2"]["t"] in ("inlineStr", "s")
    assert "<f>" not in cells["A2"]["content"]
    assert pq.read_table(io.BytesIO(content(hostile, "parquet")))["name"].to_pylist() == [text]


def test_quotes_commas_and_line_breaks_stay_in_their_cell() -> None:
    text = 'says "stop",\nthen goes on'
    assert csv_rows(content(table([[text], [1.0], [1], [NOON], [True]]), "csv"))[1][0] == text


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(Refused, match="csv, xlsx, parquet"):
        export.download(table(), "pdf", user_id=1)


def test_a_table_too_long_for_xlsx_is_refused_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MOST_XLSX_ROWS", 1)
    with pytest.raises(Refused, match="parquet"):
        export.download(table(PIECE), "xlsx", user_id=1)


@pytest.fixture
def viewer(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["viewer"])
    return client


def record(plant: Plant, count: int) -> None:
    Reading.objects.bulk_create(
        Reading(sensor=plant.temperature, timestamp=NOON + timedelta(seconds=i), value=float(i)) for i in range(count)
    )


def test_a_series_is_exported_whole_in_order_piece_by_piece(
    viewer: Client, north: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sensors.api.series.READINGS_AT_ONCE", 7)
    record(north, 30)
    answer = viewer.get(reverse("api:sensor-series-export", args=[north.temperature.pk]), {"format": "parquet"})
    assert answer["Content-Disposition"] == 'attachment; filename="north.p101.temperature-readings.parquet"'
    found = pq.read_table(io.BytesIO(b"".join(answer)))
    assert found.column_names == ["sensor_id", "unit", "timestamp", "value", "quality", "flags"]
    assert found["value"].to_pylist() == [float(i) for i in range(30)]
    assert set(found["sensor_id"].to_pylist()) == {north.temperature.sensor_id}


def test_a_window_of_a_series_can_be_exported(viewer: Client, north: Plant) -> None:
    record(north, 30)
    window = {"from": "2026-07-01T12:00:10Z", "to": "2026-07-01T12:00:12Z"}
    answer = viewer.get(reverse("api:sensor-series-export", args=[north.temperature.pk]), window)
    assert [row[3] for row in csv_rows(b"".join(answer))] == ["value", "10", "11", "12"]


def test_the_hours_of_a_series_are_exported(viewer: Client, north: Plant) -> None:
    record(north, 30)
    query = {"resolution": "hourly", "from": "2026-07-01T11:30:00Z", "to": "2026-07-01T12:30:00Z"}
    answer = viewer.get(reverse("api:sensor-series-export", args=[north.temperature.pk]), query)
    header, row = csv_rows(b"".join(answer))
    assert dict(zip(header, row, strict=True)) | {"bucket": "2026-07-01 12:00:00.000000Z", "count": "30"} == dict(
        zip(header, row, strict=True)
    )


def test_hours_are_exported_whole_however_they_are_cut_into_pieces(
    viewer: Client, north: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sensors.api.series.HOURS_AT_ONCE", timedelta(hours=2))
    begin = NOON - timedelta(minutes=30)
    Reading.objects.bulk_create(
        Reading(sensor=north.temperature, timestamp=begin + timedelta(minutes=i), value=1.0) for i in range(600)
    )
    summary.mark_window([north.temperature.pk], begin, begin + timedelta(hours=10))
    query = {"resolution": "hourly", "from": "2026-07-01T11:15:00Z", "to": "2026-07-01T22:00:00Z"}
    answer = viewer.get(reverse("api:sensor-series-export", args=[north.temperature.pk]), query)
    rows = csv_rows(b"".join(answer))[1:]
    assert [int(row[3]) for row in rows] == [30, *[60] * 9, 30]


@pytest.mark.parametrize("name", ["asset", "sensor", "batch", "alert", "work-order", "verdict", "anomaly"])
def test_every_list_can_be_exported_and_shows_own_sites_only(viewer: Client, name: str) -> None:
    make_things("East")
    rows = csv_rows(b"".join(viewer.get(reverse(f"api:{name}-export"))))
    assert "id" in rows[0]
    assert "East" not in str(rows)


def test_a_list_is_exported_as_it_is_filtered_and_in_pieces(
    viewer: Client, north: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sensors.api.exportable.ROWS_AT_ONCE", 3)
    Asset.objects.bulk_create(
        Asset(site=north.site, name=f"=Fan {i}", level="component", criticality=1 + i % 2) for i in range(10)
    )
    rows = csv_rows(b"".join(viewer.get(reverse("api:asset-export"), {"criticality": 1, "level": "component"})))
    assert [row[rows[0].index("name")] for row in rows[1:]] == [f"'=Fan {i}" for i in range(0, 10, 2)]


@pytest.mark.parametrize("path", ["api:asset-export", "api:sensor-series-export"])
def test_an_unknown_format_is_answered_in_the_shape_of_errors(viewer: Client, north: Plant, path: str) -> None:
    pk = [north.temperature.pk] if "series" in path else []
    answer = viewer.get(reverse(path, args=pk), {"format": "exe"}, headers={"Accept": "text/csv"})
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_format")


@pytest.mark.django_db(transaction=True)
def test_no_connection_is_held_while_somebody_fetches_slowly(viewer: Client, north: Plant) -> None:
    record(north, 10)
    answer: Any = viewer.get(reverse("api:sensor-series-export", args=[north.temperature.pk]))

    async def header_and_rows() -> list[bytes]:
        pieces = aiter(answer.streaming_content)
        return [await anext(pieces), await anext(pieces)]

    assert b"north.p101.temperature" in async_to_sync(header_and_rows)()[1]
    assert connection.connection is None


def test_an_hour_of_numbers_as_numpy_has_them_is_exported() -> None:
    at = np.array([round(NOON.timestamp() * 1e6)]).view("datetime64[us]")
    piece = [np.array(["pump"]), np.array([1.5]), np.array([7]), at, np.array([True])]
    assert csv_rows(content(table(piece), "csv"))[1] == ["pump", "1.5", "7", "2026-07-01 12:00:00.000000Z", "true"]

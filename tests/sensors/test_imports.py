"""Uploaded files: what becomes of them, turn by turn."""

import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
from django.conf import LazySettings, settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from sensors import imports, outbox, retention
from sensors.errors import Refused
from sensors.formats import csv
from sensors.imports import turns, upload
from sensors.models import ApiKey, DirtyHour, Import, Quarantined, Reading, ReadingBatch, Sensor
from tests.conftest import Plant, make_user
from tests.platform import child_environment

pytestmark = pytest.mark.django_db
State = Import.State
WIDE = "Zeit;Temp [°C];Druck [bar]\n01.03.2026 12:00:00;20,5;1,25\n01.03.2026 12:01:00;21;\n"


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rows a block, so that a small file has many."""
    monkeypatch.setattr("sensors.formats.csv.reader.BLOCK_BYTES", 200)


@pytest.fixture
def receive(north: Plant, people: dict[str, User]) -> Callable[..., Import]:
    def receive(content: str | bytes, name: str = "history.csv", **about: Any) -> Import:
        data = content.encode() if isinstance(content, str) else content
        options = {"site": north.site, "user": people["engineer"], **about}
        return imports.receive(SimpleUploadedFile(name, data), **options)

    return receive


def rows(count: int, begin: str = "2026-01-01T00:00:00") -> str:
    at = datetime.fromisoformat(begin)
    lines = [f"{(at + timedelta(seconds=n)).isoformat()}Z,{n}\n" for n in range(count)]
    return "timestamp,value\n" + "".join(lines)


def finish(row: Import, turns_at_most: int = 100) -> Import:
    for _ in range(turns_at_most):
        imports.take_turn(row.pk)
        row.refresh_from_db()
        if not row.is_at_work:
            break
    return row


def test_a_file_is_guessed_checked_and_imported_and_its_file_removed(receive: Callable[..., Import]) -> None:
    row = receive(WIDE)
    assert (row.state, row.path.read_bytes()) == (State.UPLOADED, WIDE.encode())
    imports.check(row)
    assert (finish(row).state, row.rows, row.stored, row.refused) == (State.READY, 2, 3, 0)
    assert not Reading.objects.exists()
    imports.run(row)
    path = row.path
    assert (finish(row).state, row.stored, row.new_sensors, row.file) == (State.DONE, 3, 2, "")
    assert not path.exists()
    stored = Reading.objects.order_by("sensor__sensor_id", "timestamp").values_list("sensor__sensor_id", "value")
    assert list(stored) == [("Druck", 1.25), ("Temp", 20.5), ("Temp", 21.0)]
    assert Reading.objects.order_by("timestamp")[0].timestamp == datetime(2026, 3, 1, 11, tzinfo=UTC)  # Berlin
    assert set(ReadingBatch.objects.values_list("mode", "source")) == {("history", "import")}


def test_new_sensors_wait_to_be_placed_or_go_to_the_chosen_asset_and_are_kept_for_ever(
    receive: Callable[..., Import], north: Plant
) -> None:
    for asset, status in ((None, "discovered"), (north.pump, "active")):
        row = receive(WIDE.replace("Temp", f"Temp-{status}"), asset=asset)
        imports.run(row)
        finish(row)
        sensor = Sensor.objects.get(sensor_id=f"Temp-{status}")
        assert (sensor.status, sensor.retention_days, sensor.unit, sensor.kind) == (status, 0, "°C", "temperature")
        assert asset is None or sensor.asset == asset


def test_a_new_sensor_is_named_as_its_column_without_the_unit(receive: Callable[..., Import]) -> None:
    wide = WIDE.replace("Temp", "Öl Temp").replace("Druck", "Öl-Temp")
    for text in (wide, "time,tag,value\n2026-01-01T00:00:00Z,Lüfter 1,5\n", "time,Wert\n2026-01-01T00:00:00Z,5\n"):
        row = receive(text)
        imports.run(row)
        assert finish(row).state == State.DONE
    names = dict(Sensor.objects.filter(status="discovered").values_list("sensor_id", "name"))
    assert names == {"Oel_Temp": "Öl Temp", "Oel-Temp": "Öl-Temp", "Luefter_1": "Lüfter 1", "history": ""}


def test_history_imported_into_a_known_sensor_is_kept_and_the_check_and_the_result_say_so(
    receive: Callable[..., Import], north: Plant, client: Client, people: dict[str, User], settings: LazySettings
) -> None:
    settings.RETENTION_DAYS = 30
    Sensor.objects.filter(pk=north.vibration.pk).update(retention_days=10)
    now = timezone.now()
    begin = (now - timedelta(days=40)).isoformat()
    header = f"time,{north.temperature.sensor_id},{north.vibration.sensor_id}"
    row = receive(f"{header}\n{begin},20,1\n{now.isoformat()},21,2\n")
    client.force_login(people["engineer"])
    for begin_it, said in ((imports.check, "would keep"), (imports.run, "These sensors keep")):
        begin_it(row)
        assert finish(row).report["kept"] == [north.temperature.sensor_id]
        assert said in client.get(row.get_absolute_url()).content.decode()
        answer = client.get(reverse("api:import-detail", args=[row.pk])).json()
        assert answer["kept_for_ever"] == [north.temperature.sensor_id]
    days = dict(Sensor.objects.values_list("pk", "retention_days"))
    assert (days[north.temperature.pk], days[north.vibration.pk]) == (0, 10)
    while outbox.drain("summarise"):
        pass
    DirtyHour.objects.all().delete()
    retention.remove_readings(now, time.monotonic() + 60)
    assert Reading.objects.filter(sensor=north.temperature).count() == 2
    assert Reading.objects.filter(sensor=north.vibration).count() == 1


@pytest.mark.parametrize("dry_run", [True, False])
def test_history_that_the_command_imports_into_a_known_sensor_is_kept(
    north: Plant, tmp_path: Path, dry_run: bool, settings: LazySettings
) -> None:
    settings.RETENTION_DAYS = 30
    file = tmp_path / "old.csv"
    file.write_text(f"time,{north.temperature.sensor_id}\n2026-01-01T00:00:00Z,5\n2026-01-01T00:01:00Z,6\n")
    told = StringIO()
    call_command("import_readings", str(file), dry_run=dry_run, stderr=told, stdout=StringIO())
    assert told.getvalue().count("are kept for ever") == 1
    north.temperature.refresh_from_db()
    assert north.temperature.retention_days == (None if dry_run else 0)


def test_a_check_says_of_each_sensor_what_it_would_bring_in(receive: Callable[..., Import], north: Plant) -> None:
    known = north.temperature.sensor_id
    text = (
        f"time,{known} [bar],other\n2026-01-01T00:00:00Z,5,1\n2026-01-01T00:01:00Z,7,1\n"
        "2026-01-01T01:00:00Z,6,hot\n2999-01-01T00:00:00Z,6,\n"
    )
    row = receive(text)
    imports.check(row)
    finish(row)
    of_known, of_other = imports.lines(row)
    assert (of_known.sensor, of_known.readings, of_known.low, of_known.high) == (north.temperature, 3, 5, 7)
    assert (of_known.mean_step_seconds, of_known.longest_gap_seconds) == (1800, 3540)
    assert "measured in °C" in of_known.problem
    assert (of_other.sensor, of_other.problem) == (None, "")
    assert row.report["refused"] == {"invalid_value": 1, "unit_mismatch": 4}
    assert [(one["line"], one["code"]) for one in row.report["examples"]] == [
        (4, "invalid_value"),
        *((line, "unit_mismatch") for line in (2, 3, 4, 5)),
    ]


def test_a_check_counts_what_the_import_refuses(receive: Callable[..., Import], north: Plant) -> None:
    Sensor.objects.create(asset=north.pump, sensor_id="old", kind="temperature", unit="°C", status="retired")
    lines = [(north.temperature.sensor_id, "bar"), ("new", "furlong"), ("old", "°C"), ("new", "°C")]
    text = "".join(f"2026-01-01T00:00:0{at}Z,{name},5,{unit},1\n" for at, (name, unit) in enumerate(lines))
    row = receive("time,sensor,value,unit,quality\n" + text)
    imports.check(row)
    finish(row)
    assert row.report["refused"] == {"sensor_retired": 1, "unknown_unit": 1, "unit_mismatch": 1}
    assert (row.stored, row.refused) == (1, 3)


def test_an_import_that_could_store_nothing_has_failed_and_keeps_its_file(receive: Callable[..., Import]) -> None:
    row = receive("timestamp,value\n" + "2026-01-01T00:00:00Z,x\n" * 3)
    imports.run(row)
    assert (finish(row).state, row.refused, row.can_be_changed) == (State.FAILED, 3, True)
    assert row.path.exists()


def test_a_quality_in_percent_is_not_taken_for_a_quality_by_itself(receive: Callable[..., Import]) -> None:
    roles = [
        column["role"]
        for top in ("1", "100")
        for column in receive(f"time,value,quality\n2026-01-01T00:00:00Z,5,{top}\n").layout["columns"][2:]
    ]
    assert roles[0] == "quality" != roles[1]


def test_refused_readings_are_counted_and_go_into_quarantine_as_they_stand_in_the_file(
    receive: Callable[..., Import],
) -> None:
    row = receive("time,a,b\n2026-01-01T00:00:00Z,warm,1\n2026-01-01T00:01:00Z,2,3\nnever\n")
    imports.run(row)
    assert (finish(row).state, row.stored, row.refused) == (State.DONE, 3, 2)
    payloads = Quarantined.objects.order_by("code").values_list("code", "payload", "site")
    assert list(payloads) == [
        ("invalid_value", {"sensor_id": "a", "timestamp": "2026-01-01T00:00:00Z", "value": "warm"}, row.site_id),
        ("malformed_row", {"raw": "never"}, row.site_id),
    ]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("packed", [False, True])
def test_an_interrupted_import_goes_on_where_it_stopped_and_stores_everything_once(
    receive: Callable[..., Import], monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0)
    monkeypatch.setattr(turns, "TURN_PER_SEEK", 0)
    content = rows(100).encode()
    row = receive(gzip.compress(content) if packed else content, name="a.csv.gz" if packed else "a.csv")
    imports.run(row)
    store, calls = turns.store_batch, []

    def broken(*args: Any, **options: Any) -> Any:
        """The database goes away after every third block was stored, before its transaction ends."""
        stored = store(*args, **options)
        calls.append(1)
        if len(calls) % 3 == 0:
            raise ConnectionError("the database went away")
        return stored

    monkeypatch.setattr(turns, "store_batch", broken)
    finish(row)
    assert len(calls) > 15
    assert (row.state, row.rows, row.stored, row.duplicates) == (State.DONE, 100, 100, 0)
    assert sorted(Reading.objects.values_list("value", flat=True)) == list(range(100))


@pytest.mark.usefixtures("small_blocks")
def test_the_hour_that_comes_twice_is_told_apart_across_an_interruption(
    receive: Callable[..., Import], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0)
    times = [f"2025-10-26 {hour:02}:{minute:02}:00" for hour in (1, 2, 2, 3) for minute in range(0, 60, 2)]
    row = receive("timestamp,value\n" + "".join(f"{at},1\n" for at in times))
    imports.run(row)
    assert (finish(row).stored, row.duplicates) == (120, 0)
    stored = list(Reading.objects.order_by("timestamp").values_list("timestamp", flat=True))
    assert stored[-1] - stored[0] == timedelta(minutes=238)


def test_a_file_that_is_run_again_stores_nothing_twice(receive: Callable[..., Import]) -> None:
    for stored in (50, 0):
        row = receive(rows(50))
        imports.run(row)
        assert (finish(row).state, row.stored, row.stored + row.duplicates) == (State.DONE, stored, 50)


@pytest.mark.usefixtures("small_blocks")
def test_cancelling_stops_the_work_removes_the_file_and_keeps_what_was_stored(
    receive: Callable[..., Import], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0)
    row = receive(rows(100))
    imports.run(row)
    imports.take_turn(row.pk)
    path = row.path
    imports.cancel(row)
    imports.take_turn(row.pk)
    row.refresh_from_db()
    assert (row.state, 0 < Reading.objects.count() < 100, path.exists()) == (State.CANCELLED, True, False)
    with pytest.raises(Refused, match="over"):
        imports.cancel(row)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("small_blocks")
def test_a_worker_that_unpacks_up_to_its_place_keeps_nobody_from_cancelling(
    receive: Callable[..., Import], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0)
    monkeypatch.setattr(turns, "TURN_PER_SEEK", 0)
    row = receive(gzip.compress(rows(100).encode()), name="a.csv.gz")
    imports.run(row)
    imports.take_turn(row.pk)
    row.refresh_from_db()
    path, seek, waited = row.path, gzip.GzipFile.seek, []

    def cancel() -> None:
        """As a page does it; and another worker that comes meanwhile has nothing to do."""
        imports.take_turn(row.pk)
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '5s'")
        imports.cancel(row)
        connection.close()
        waited.append(True)

    def seek_slowly(self: gzip.GzipFile, *place: int) -> int:
        if not waited:
            page = Thread(target=cancel)
            page.start()
            page.join(20)
        return seek(self, *place)

    monkeypatch.setattr(gzip.GzipFile, "seek", seek_slowly)
    stored = Reading.objects.count()
    imports.take_turn(row.pk)
    row.refresh_from_db()
    assert (row.state, waited, path.exists()) == (State.CANCELLED, [True], False)
    assert 0 < stored == Reading.objects.count()


def test_a_wrong_mapping_is_stopped_before_it_fills_the_quarantine(
    receive: Callable[..., Import], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "MAX_REFUSED", 10)
    row = receive("timestamp,value\n" + "2026-01-01T00:00:00Z,x\n" * 20)
    imports.run(row)
    assert (finish(row).state, Quarantined.objects.count()) == (State.FAILED, 0)
    assert "correct the mapping" in row.error
    assert row.can_be_changed


def test_an_import_that_fails_without_progress_ends_with_the_reason(
    receive: Callable[..., Import], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **options: Any) -> None:
        raise ConnectionError("no database")

    monkeypatch.setattr(turns, "store_batch", broken)
    row = receive(rows(5))
    imports.run(row)
    assert (finish(row).state, row.error) == (State.FAILED, "ConnectionError: no database")


def test_an_import_nobody_works_on_is_announced_again(
    receive: Callable[..., Import], monkeypatch: pytest.MonkeyPatch
) -> None:
    announced: list[int] = []
    monkeypatch.setattr(turns, "_nudge", announced.append)
    row = receive(rows(5))
    imports.run(row)
    imports.resume()
    assert announced == []
    Import.objects.update(changed_at=timezone.now() - timedelta(minutes=1))
    imports.resume()
    assert announced == [row.pk]


def test_files_that_nobody_runs_are_removed_after_some_days(receive: Callable[..., Import]) -> None:
    row, fresh = receive(rows(5)), receive(rows(5))
    stray = settings.UPLOAD_DIR / "left-by-a-killed-upload"
    stray.touch()
    old = timezone.now() - timedelta(days=upload.KEPT_DAYS + 1)
    for path in (stray, row.path):
        os.utime(path, (old.timestamp(), old.timestamp()))
    Import.objects.filter(pk=row.pk).update(changed_at=old)
    imports.forget_old()
    assert [path.exists() for path in (row.path, stray, fresh.path)] == [False, False, True]
    row.refresh_from_db()
    assert (row.state, row.file) == (State.CANCELLED, "")


def test_a_site_may_keep_only_so_many_files(receive: Callable[..., Import], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "MAX_WAITING", 1)
    receive(rows(1))
    with pytest.raises(Refused) as refused:
        receive(rows(1))
    assert refused.value.code == "too_many_imports"


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", b"just text\n", gzip.compress(b"a,b\n" * 99, mtime=0)[:20]])
def test_what_is_no_table_is_refused_and_not_kept(receive: Callable[..., Import], content: bytes) -> None:
    before = set(settings.UPLOAD_DIR.iterdir())
    with pytest.raises(Refused):
        receive(content)
    assert set(settings.UPLOAD_DIR.iterdir()) == before
    assert not Import.objects.exists()


class TestPages:
    """From the upload to the result, as a person sees it."""

    def test_a_file_is_uploaded_mapped_checked_and_run(
        self, client: Client, people: dict[str, User], north: Plant
    ) -> None:
        client.force_login(people["engineer"])
        sent = {"site": north.site.pk, "file": SimpleUploadedFile("history.csv", WIDE.encode())}
        page = client.post(reverse("sensors:imports"), sent, follow=True)
        row = Import.objects.get()
        assert "Druck [bar]" in page.content.decode()
        start = reverse("sensors:import-start", args=[row.pk])
        client.post(start, self.mapping(row, do="check"))
        imports.take_turn(row.pk)
        text = client.get(row.get_absolute_url()).content.decode()
        assert "What the file would bring in" in text
        assert "new: temperature" in text
        client.post(start, self.mapping(row, do="run", **{"columns-1-sensor_id": north.temperature.sensor_id}))
        imports.take_turn(row.pk)
        assert "Imported" in client.get(row.get_absolute_url()).content.decode()
        assert Reading.objects.filter(sensor=north.temperature).count() == 2

    @staticmethod
    def mapping(row: Import, **changes: Any) -> dict[str, Any]:
        layout = msgspec.convert(row.layout, csv.Layout)
        sent: dict[str, Any] = msgspec.to_builtins(layout)
        columns = sent.pop("columns")
        sent |= {"columns-TOTAL_FORMS": len(columns), "columns-INITIAL_FORMS": len(columns)}
        for number, column in enumerate(columns):
            sent |= {f"columns-{number}-{name}": column[name] for name in ("role", "sensor_id", "unit")}
        return sent | changes

    def test_a_unit_that_nobody_knows_is_named_beside_its_column(
        self, client: Client, people: dict[str, User], receive: Callable[..., Import]
    ) -> None:
        client.force_login(people["engineer"])
        row = receive(WIDE.replace("bar", "inHg"))
        text = client.get(row.get_absolute_url()).content.decode()
        assert text.count("is not known") == 1
        assert "unit inHg is not known" in text

    @pytest.mark.parametrize(
        ("rows", "said"),
        [
            (["03.04.25 9:00"], "is read as 3 April 2025, 09:00:00. It could also mean 4 March 2025, 09:00:00"),
            (["03/04/25", "13/04/25"], "is read as 3 April 2025, 00:00:00.<"),
            (["1767225600"], "is read as 1 January 2026, 00:00:00.<"),
            (["03/03/25"], "is read as 3 March 2025, 00:00:00.<"),
            (["yesterday"], "cannot be read that way"),
        ],
    )
    def test_how_the_times_were_understood_is_said(
        self, client: Client, people: dict[str, User], receive: Callable[..., Import], rows: list[str], said: str
    ) -> None:
        client.force_login(people["engineer"])
        row = receive("time;a\n" + "".join(f"{at};5\n" for at in rows))
        assert said in client.get(row.get_absolute_url()).content.decode()

    def test_a_delimiter_that_the_file_names_stays_a_choice(
        self, client: Client, people: dict[str, User], receive: Callable[..., Import]
    ) -> None:
        client.force_login(people["engineer"])
        row = receive("sep=^\ntime^a\n2026-01-01T00:00:00Z^5\n")
        client.post(reverse("sensors:import-start", args=[row.pk]), self.mapping(row, do="run"))
        assert finish(row).stored == 1

    def test_a_mapping_that_makes_no_sense_is_shown_again_with_the_reason(
        self, client: Client, people: dict[str, User], receive: Callable[..., Import]
    ) -> None:
        client.force_login(people["engineer"])
        row = receive(WIDE)
        sent = self.mapping(row, do="run", **{"columns-0-role": "ignore"})
        page = client.post(reverse("sensors:import-start", args=[row.pk]), sent)
        assert (page.status_code, "Name a column of times" in page.content.decode()) == (400, True)
        row.refresh_from_db()
        assert row.state == State.UPLOADED

    @pytest.mark.parametrize(("cell", "said"), [("x", True), ("5", False)])
    def test_a_check_that_finds_no_reading_asks_for_another_mapping(
        self, client: Client, people: dict[str, User], receive: Callable[..., Import], cell: str, said: bool
    ) -> None:
        client.force_login(people["engineer"])
        row = receive(f"timestamp,value\n2026-01-01T00:00:00Z,{cell}\n")
        imports.check(row)
        page = client.get(finish(row).get_absolute_url()).content.decode()
        assert ("the file holds no reading" in page) == said
        assert ('primary" name="do" value="check"' in page) == said

    def test_an_asset_of_another_site_is_no_choice(
        self, client: Client, people: dict[str, User], receive: Callable[..., Import], south: Plant
    ) -> None:
        client.force_login(people["engineer"])
        row = receive(WIDE)
        sent = self.mapping(row, do="run", asset=south.pump.pk)
        assert client.post(reverse("sensors:import-start", args=[row.pk]), sent).status_code == 400

    def test_progress_is_shown_until_the_work_is_over_and_then_the_whole_page(
        self, client: Client, people: dict[str, User], receive: Callable[..., Import]
    ) -> None:
        client.force_login(people["engineer"])
        row = receive(WIDE)
        imports.run(row)
        answer = client.get(row.get_absolute_url(), headers={"HX-Request": "true"})
        assert (b"<progress" in answer.content, "HX-Refresh" in answer) == (True, False)
        finish(row)
        answer = client.get(row.get_absolute_url(), headers={"HX-Request": "true"})
        assert (b"<progress" in answer.content, answer["HX-Refresh"]) == (False, "true")

    def test_what_is_no_table_is_explained_beside_the_file(
        self, client: Client, people: dict[str, User], north: Plant
    ) -> None:
        client.force_login(people["engineer"])
        sent = {"site": north.site.pk, "file": SimpleUploadedFile("book.xlsx", b"PK\x03\x04\x00\x00")}
        answer = client.post(reverse("sensors:imports"), sent)
        assert (answer.status_code, "save it as CSV" in answer.content.decode()) == (400, True)


class TestApi:
    def post(self, client: Client, **sent: Any) -> Any:
        return client.post(reverse("api:import-list"), sent)

    def test_a_dry_run_reports_and_the_run_stores(self, client: Client, people: dict[str, User], north: Plant) -> None:
        client.force_login(people["engineer"])
        file = SimpleUploadedFile("history.csv", WIDE.encode())
        answer = self.post(client, site=north.site.pk, file=file, dry_run="true", asset=north.pump.pk)
        assert (answer.status_code, answer.json()["state"]) == (201, "checking")
        pk = answer.json()["id"]
        imports.take_turn(pk)
        report = client.get(reverse("api:import-detail", args=[pk])).json()
        assert [(one["sensor_id"], one["known"], one["readings"]) for one in report["sensors"]] == [
            ("Temp", False, 2),
            ("Druck", False, 1),
        ]
        assert client.post(reverse("api:import-run", args=[pk])).json()["state"] == "running"
        imports.take_turn(pk)
        done = client.get(reverse("api:import-detail", args=[pk])).json()
        assert (done["state"], done["stored"], done["percent"]) == ("done", 3, 100)

    def test_a_mapping_overrides_the_guess(self, client: Client, people: dict[str, User], north: Plant) -> None:
        client.force_login(people["engineer"])
        columns = [
            {"name": "a", "role": "timestamp"},
            {"name": "b", "role": "value", "sensor_id": north.temperature.sensor_id},
        ]
        sent = {"mapping": msgspec.json.encode({"columns": columns, "time_format": "epoch_s"}).decode()}
        file = SimpleUploadedFile("a.csv", b"a,b\n1767225600,5\n")
        answer = self.post(client, site=north.site.pk, file=file, **sent)
        assert answer.status_code == 201, answer.json()
        imports.take_turn(answer.json()["id"])
        assert Reading.objects.get().sensor == north.temperature

    @pytest.mark.parametrize(
        "mapping",
        [
            *("[]", '{"columns": 5}', '{"timezone": "Mars/Base"}', '{"delimiter": "xx"}', "no json"),
            '{"columns": [{"name": "\\u0000", "role": "timestamp"}, {"name": "b", "role": "value", "sensor_id": "b"}]}',
        ],
    )
    def test_a_mapping_that_makes_no_sense_is_refused(
        self, client: Client, people: dict[str, User], north: Plant, mapping: str
    ) -> None:
        client.force_login(people["engineer"])
        file = SimpleUploadedFile("history.csv", WIDE.encode())
        answer = self.post(client, site=north.site.pk, file=file, mapping=mapping)
        assert (answer.status_code, answer.json()["code"] != "server_error") == (400, True)
        assert not Import.objects.exclude(file="").exists()

    def test_a_key_may_import_if_its_user_may_and_it_may_write(self, client: Client, north: Plant) -> None:
        engineer, program = make_user("engineer", north.site), make_user("integration", north.site)
        for user, scopes, status in (
            (engineer, ["write"], 201),
            (engineer, ["ingest"], 403),
            (program, ["write"], 403),
        ):
            _, key = ApiKey.issue(user, "test", scopes)
            sent = {"site": north.site.pk, "file": SimpleUploadedFile("history.csv", WIDE.encode())}
            answer = client.post(reverse("api:import-list"), sent, headers={"X-API-Key": key})
            assert answer.status_code == status


CHILD = """
import django; django.setup()
from sensors import imports
from sensors.models import Import
pk = Import.objects.latest("pk").pk
while Import.objects.get(pk=pk).is_at_work:
    imports.take_turn(pk)
"""


@pytest.mark.django_db(transaction=True)
def test_a_worker_killed_in_the_middle_leaves_the_rest_to_the_next_one(
    receive: Callable[..., Import],
) -> None:
    row = receive(rows(150_000))
    imports.run(row)
    command = [sys.executable, "-c", CHILD]
    kills = 0
    while row.is_at_work and kills < 20:
        child = subprocess.Popen(command, env=child_environment(), stderr=subprocess.PIPE)
        before = row.rows
        while child.poll() is None and row.is_at_work and row.rows <= before:
            time.sleep(0.02)
            row.refresh_from_db()
        if child.poll() is None and kills < 3:
            child.send_signal(signal.SIGKILL)
            kills += 1
        _, said = child.communicate(timeout=60)
        assert child.returncode in (0, -signal.SIGKILL), said.decode()
        row.refresh_from_db()
    assert kills == 3
    assert (row.state, row.rows, row.stored, row.duplicates) == (State.DONE, 150_000, 150_000, 0)
    assert Reading.objects.count() == 150_000

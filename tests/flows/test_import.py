"""Real industrial data through the ordinary path: `import_readings` on a machine whose failures are known."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from alerts.models import Alert, State
from mlops.models import Anomaly
from sensors.models import Pending, Quarantined, Reading, Sensor, Site

NAB = settings.DATA_DIR / "nab"
SERIES = "realKnownCause/machine_temperature_system_failure.csv"

pytestmark = pytest.mark.django_db


def run(file: Path, *options: str) -> dict[str, Any]:
    out = StringIO()
    arguments = ["--sensor", "imported.temperature", "--unit", "°C", "--json", *options]
    call_command("import_readings", str(file), *arguments, stdout=out, stderr=StringIO())
    return json.loads(out.getvalue())


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "readings.csv"
        path.write_text(text, encoding="utf-8-sig")
        return path

    return write


@pytest.mark.data
@pytest.mark.skipif(not NAB.exists(), reason="the data folder is not there; set DATA_DIR")
def test_the_failures_of_a_real_machine_are_found_in_its_history() -> None:
    file = NAB / f"{SERIES}.gz"
    assert run(file, "--timezone", "UTC") == {
        "rows": 22_695,
        "stored": 22_683,
        "duplicates": 12,
        "rejected": {},
        "dry_run": False,
    }
    assert not Pending.objects.exists()
    windows = [
        tuple(datetime.fromisoformat(edge).replace(tzinfo=UTC) for edge in window)
        for window in json.loads((NAB / "combined_windows.json").read_text())[SERIES]
    ]
    events = list(Anomaly.objects.filter(alert__isnull=False).values_list("start", "end"))
    hit = [any(start <= until and end >= since for start, end in events) for since, until in windows]
    outside = [
        event for event in events if not any(event[0] <= until and event[1] >= since for since, until in windows)
    ]
    assert sum(hit) >= 3
    assert len(outside) <= 12
    assert Alert.objects.count() == len(events)
    assert not Alert.objects.exclude(historical=True, state=State.RESOLVED).exists()
    assert run(file, "--timezone", "UTC")["stored"] == 0


def test_times_without_a_zone_are_read_in_the_named_one(write: Callable[[str], Path]) -> None:
    run(write("timestamp,value\n2026-01-01 12:00:00,20\n"), "--timezone", "Europe/Berlin")
    assert Reading.objects.get().timestamp == datetime(2026, 1, 1, 11, tzinfo=UTC)


def test_the_hour_that_comes_twice_in_autumn_is_kept_twice(write: Callable[[str], Path]) -> None:
    times = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
    rows = "".join(f"2025-10-26 {time}:00,20\n" for time in times)
    assert run(write("timestamp,value\n" + rows), "--timezone", "Europe/Berlin")["stored"] == 6
    stored = list(Reading.objects.order_by("timestamp").values_list("timestamp", flat=True))
    assert {later - earlier for earlier, later in pairwise(stored)} == {timedelta(minutes=30)}


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_times_without_a_zone_stop_the_import_before_anything_is_stored(
    write: Callable[[str], Path], options: list[str]
) -> None:
    with pytest.raises(CommandError, match=r"line 3 has no zone: name it with --timezone, or --site\. Nothing"):
        run(write("timestamp,value\n2026-01-01T12:00:00Z,20\n2026-01-01 12:00:00,20\n"), *options)
    assert not Reading.objects.exists()
    assert not Quarantined.objects.exists()
    assert not Sensor.objects.exists()


def test_times_without_a_zone_are_those_of_the_named_site_and_that_is_said(write: Callable[[str], Path]) -> None:
    Site.objects.create(name="North", timezone="Europe/Berlin")
    told = StringIO()
    file = write("timestamp,value\n03.04.25 12:00:00,20\n")
    call_command("import_readings", str(file), "--site", "North", stdout=StringIO(), stderr=told)
    assert Reading.objects.get().timestamp == datetime(2025, 4, 3, 10, tzinfo=UTC)
    for said in ("read as 3 April 2025", "4 March 2025, 12:00:00: then the format is month", "those of Europe/Berlin"):
        assert said in told.getvalue()


def test_a_wrong_mapping_ends_the_import_before_it_fills_the_quarantine(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sensors.imports.turns.MAX_REFUSED", 10)
    file = write("timestamp,value\n" + "2026-01-01T12:00:00Z,warm\n" * 11)
    with pytest.raises(CommandError, match="11 of 11 readings were refused"):
        run(file)
    assert not Quarantined.objects.exists()
    with pytest.raises(CommandError, match="No row could be stored"):
        run(file, "--dry-run")


def test_columns_can_be_named(write: Callable[[str], Path]) -> None:
    file = write("Wert,Zeit\n20.5,2026-01-01T12:00:00Z\n")
    assert run(file, "--column-map", "timestamp=Zeit,value=Wert")["stored"] == 1
    assert Reading.objects.get().value == 20.5


def test_unknown_columns_are_listed(write: Callable[[str], Path]) -> None:
    with pytest.raises(CommandError, match="Pumpe, Motor"):
        run(write("Pumpe,Motor\n20.5,21.5\n"))


def test_bad_rows_are_counted_by_reason_and_the_good_ones_stored(write: Callable[[str], Path]) -> None:
    file = write(
        "timestamp,value\n2026-01-01T12:00:00Z,20\n2026-01-01T12:01:00Z,warm\nyesterday,20\n"
        "2026-01-01T12:02:00Z,nan\n2999-01-01T12:00:00Z,20\n2026-01-01T12:03:00Z\n"
    )
    report = run(file)
    assert (report["rows"], report["stored"]) == (6, 1)
    assert report["rejected"] == {
        "invalid_value": 1,
        "invalid_timestamp": 1,
        "malformed_row": 1,
        "value_not_finite": 1,
        "timestamp_in_future": 1,
    }


def test_a_dry_run_reports_and_stores_nothing(write: Callable[[str], Path]) -> None:
    report = run(write("timestamp,value\n2026-01-01T12:00:00Z,20\n"), "--dry-run")
    assert report["stored"] == 1
    assert not Reading.objects.exists()
    assert not Sensor.objects.exists()


def test_an_unknown_unit_is_refused(write: Callable[[str], Path]) -> None:
    with pytest.raises(CommandError, match="parsec"):
        run(write("timestamp,value\n"), "--unit", "parsec")


def test_a_cut_off_gzip_file_is_refused_in_words(tmp_path: Path) -> None:
    file = tmp_path / "readings.csv.gz"
    whole = gzip.compress(b"timestamp,value\n" + b"2026-01-01T12:00:00Z,20\n" * 10_000)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CommandError, match="gzipped"):
        run(file)


def test_a_binary_file_is_refused_in_words(tmp_path: Path) -> None:
    file = tmp_path / "readings.csv"
    file.write_bytes(bytes(range(256)) * 100)
    with pytest.raises(CommandError):
        run(file)

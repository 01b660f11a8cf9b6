"""Assets and past work out of tables, as the commands bring them in."""

import csv
import gzip
import io
import json
import subprocess
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from maintenance.figures import Period, Scope, figures
from maintenance.models import FailureMode, MaintenanceLog, Verdict
from sensors.models import Asset, AssetClass, Reading, Sensor, Site
from tests.conftest import Plant, make_user

AZURE = settings.DATA_DIR / "azure_pdm"
EXCAVATORS = settings.DATA_DIR / "excavator_work_orders"
MAP = ["asset=machine", "completion_date=day", "notes=text"]


def run(command: str, file: Path, site: str, **options: Any) -> dict[str, Any]:
    out = io.StringIO()
    call_command(command, str(file), site=site, json=True, stdout=out, **options)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


@pytest.fixture
def table(tmp_path: Path, north: Plant) -> Any:
    """Writes rows into a file and imports it into the log of North, where there is a Pump P-101."""

    def import_rows(*rows: str, names: str = "machine,day,text", mapping: list[str] = MAP, **options: Any) -> Any:
        file = tmp_path / "history.csv"
        file.write_bytes("\n".join([names, *rows, ""]).encode())
        return run("import_log", file, "North", map=mapping, **options)

    return import_rows


def test_a_row_becomes_an_entry_of_its_asset(table: Any, north: Plant) -> None:
    assert table("Pump P-101,2025-03-01 10:00,Greased")["stored"] == 1
    log = MaintenanceLog.objects.get()
    assert (log.asset, log.notes, log.source, log.done_by) == (north.pump, "Greased", "history", None)
    # The site is in Berlin.
    assert log.completion_date == datetime(2025, 3, 1, 9, tzinfo=UTC)


def test_a_zone_can_be_named(table: Any) -> None:
    table("Pump P-101,2025-03-01 10:00,Greased", timezone="UTC")
    assert MaintenanceLog.objects.get().completion_date.hour == 10


def test_the_same_file_twice_is_one_history_and_equal_rows_are_two_entries(table: Any) -> None:
    rows = ["Pump P-101,2025-03-01,Greased"] * 2
    assert table(*rows)["stored"] == 2
    again = table(*rows)
    assert (again["stored"], again["duplicates"]) == (0, 2)


def test_a_dry_run_says_the_same_and_stores_nothing(table: Any) -> None:
    rows = ["Pump P-101,2025-03-01,Greased", "Nobody,2025-03-01,Greased", "Crane,2025-03-01,Oiled"]
    dry = table(*rows, create_assets=True, dry_run=True)
    assert (dry["stored"], dry["new_assets"]) == (3, 2)
    assert MaintenanceLog.objects.count() == 0
    assert Asset.objects.count() == 1
    assert table(*rows, create_assets=True) == dry


BROKEN = {
    "too few cells": ("Pump P-101,2025-03-02", "malformed_row"),
    "too many cells": ("Pump P-101,2025-03-02,a,b", "malformed_row"),
    "a quote that nobody closes": ('Pump P-101,2025-03-02,"a,b', "malformed_row"),
    "an unknown asset": ("Crane,2025-03-02,Oiled", "unknown_asset"),
    "no time": ("Pump P-101,soon,Oiled", "invalid_time"),
    "a time nobody meant": ("Pump P-101,0001-01-01,Oiled", "invalid_time"),
    "no notes": ("Pump P-101,2025-03-02,NA", "missing"),
    "a novel": (f"Pump P-101,2025-03-02,{'a' * 5001}", "too_long"),
    "a zero byte": ("Pump P-101,2025-03-02,a\0b", "not_text"),
}


@pytest.mark.parametrize(("row", "code"), BROKEN.values(), ids=BROKEN)
def test_a_broken_row_is_refused_by_its_line_and_costs_no_other(
    tmp_path: Path, table: Any, row: str, code: str
) -> None:
    # What comes late in a file is not seen when its layout is guessed.
    dots = "." * 500
    good = [f"Pump P-101,2025-03-01,Greased {number}{dots}" for number in range(150)]
    found = table(*good, row, "Pump P-101,2025-03-03,Checked")
    assert found["stored"] == 151
    assert found["refused"] == {code: 1}
    assert [(one["line"], one["code"]) for one in found["first_refused"]] == [(152, code)]


def test_quoted_text_may_go_over_lines(table: Any) -> None:
    found = table('Pump P-101,2025-03-01,"Greased,\nand ""oiled"""', "Pump P-101,2025-03-02,Checked")
    assert (found["rows"], found["stored"]) == (2, 2)
    assert MaintenanceLog.objects.earliest("completion_date").notes == 'Greased,\nand "oiled"'


def test_numbers_and_kinds_are_read_and_refused(table: Any) -> None:
    names = "machine,day,text,type,stop,eur"
    mapping = [*MAP, "kind=type", "downtime_minutes=stop", "cost=eur"]
    found = table(
        "Pump P-101,2025-03-01,a,PM01,90,12.50",
        "Pump P-101,2025-03-01,b,Condition-based,NA,",
        "Pump P-101,2025-03-01,c,PM99,1,1",
        "Pump P-101,2025-03-01,d,PM01,-1,1",
        "Pump P-101,2025-03-01,e,PM01,1,cheap",
        names=names,
        mapping=mapping,
        kinds="PM01=corrective",
    )
    assert found["stored"] == 2
    assert found["refused"] == {"unknown_kind": 1, "invalid_number": 2}
    first, second = MaintenanceLog.objects.order_by("notes")
    assert (first.kind, first.downtime_minutes, str(first.cost)) == ("corrective", 90, "12.50")
    assert (second.kind, second.downtime_minutes, second.cost) == ("condition_based", None, None)


def test_corrective_rows_are_failures_if_one_says_so(table: Any, north: Plant) -> None:
    names, mapping = "machine,day,text,type,stop", [*MAP, "kind=type", "downtime_minutes=stop"]
    rows = ["Pump P-101,2025-03-01T12:00Z,a,corrective,60", "Pump P-101,2025-03-02,b,preventive,"]
    assert table(*rows, names=names, mapping=mapping, fault=True)["failures"] == 1
    verdict = Verdict.objects.get()
    assert (verdict.asset, verdict.outcome, verdict.alert, verdict.log.notes) == (north.pump, "fault_found", None, "a")
    assert (verdict.window_start.hour, verdict.window_end.hour) == (11, 12)
    table(*rows, names=names, mapping=mapping, fault=True)
    assert Verdict.objects.count() == 1


def test_failure_modes_are_those_of_the_class_or_of_any(table: Any, north: Plant) -> None:
    north.pump.asset_class = AssetClass.objects.get(name="Pump")
    north.pump.save()
    seal = FailureMode.objects.create(asset_class=north.pump.asset_class, code="SEAL", name="Seal leaks")
    FailureMode.objects.create(asset_class=AssetClass.objects.get(name="Fan"), code="BLADE", name="Blade broken")
    names, mapping = "machine,day,text,mode", [*MAP, "failure_mode=mode"]
    rows = [
        "Pump P-101,2025-03-01,a,seal leaks",
        "Pump P-101,2025-03-01,b,SEAL",
        "Pump P-101,2025-03-01,c,Blade broken",
    ]
    found = table(*rows, names=names, mapping=mapping)
    assert found["refused"] == {"unknown_failure_mode": 1}
    assert {log.failure_mode for log in MaintenanceLog.objects.all()} == {seal}
    rows = ["Pump P-101,2025-03-02,d,Cracked"]
    assert table(*rows, names=names, mapping=mapping, create_failure_modes=True)["new_failure_modes"] == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mapping": ["asset=machine", "notes=text"]}, "completion_date"),
        ({"mapping": ["asset=engine", "completion_date=day", "notes=text"]}, "machine, day, text"),
        ({"mapping": [*MAP, "colour=text"]}, "colour"),
        ({"mapping": [*MAP, "notes=Text {day"]}, "expected"),
        ({"timezone": "Nowhere/At"}, "Nowhere/At"),
        ({"kinds": "PM01=holiday"}, "holiday"),
    ],
)
def test_options_that_make_no_sense_are_refused_with_what_there_is(
    table: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(CommandError, match=said):
        table("Pump P-101,2025-03-01,a", **options)


def test_other_dialects_are_understood(tmp_path: Path, north: Plant) -> None:
    file = tmp_path / "alt.csv.gz"
    text = "Anlage;Datum;Tätigkeit;Kosten\nPump P-101;31.12.2025 14:30;Öl gewechselt;1234,50\n"
    file.write_bytes(gzip.compress(text.encode("cp1252")))
    fields = ["asset=Anlage", "completion_date=Datum", "notes=Tätigkeit", "cost=Kosten"]
    assert run("import_log", file, "North", map=fields)["stored"] == 1
    log = MaintenanceLog.objects.get()
    assert (log.notes, str(log.cost), log.completion_date.hour) == ("Öl gewechselt", "1234.50", 13)


def test_assets_come_with_components_and_sensors_and_stay_as_they_are(tmp_path: Path, db: Any) -> None:
    file = tmp_path / "machines.csv"
    file.write_text("id,model,age\n1,model3,18\n2,model4,7\n,model4,7\n")
    options = {"map": ["name=Machine {id}", "class=model", "description={age} years old"], "components": "motor,pump"}
    options |= {"sensor": ["machine{id}.volt=voltage:V"]}
    found = run("import_assets", file, "Works", **options)
    assert (found["created"], found["components"], found["sensors"]) == (2, 4, 2)
    assert found["first_refused"][0]["line"] == 4
    pump = Asset.objects.get(name="Machine 2 pump")
    assert (pump.parent.name, pump.level, str(pump.asset_class)) == ("Machine 2", "component", "pump")
    assert str(Asset.objects.get(name="Machine 1").asset_class) == "model3"
    assert Sensor.objects.get(sensor_id="machine1.volt").asset.name == "Machine 1"
    again = run("import_assets", file, "Works", **options)
    assert (again["created"], again["known"], again["components"], again["sensors"]) == (0, 2, 0, 0)


def rows_of(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def azure(db: Any) -> Site:
    """The Azure set, brought in as README says."""
    components, site = "comp1,comp2,comp3,comp4", "Azure"
    fields = ["name=Machine {machineID}", "class=model", "description={model}, {age} years old"]
    run("import_assets", AZURE / "PdM_machines.csv.gz", site, map=fields, components=components)
    when = ["completion_date=datetime", "external_id={datetime}"]
    of_part = ["asset=Machine {machineID} {failure}", "notes=Failed, replaced {failure}", *when]
    run("import_log", AZURE / "PdM_failures.csv.gz", site, map=of_part, kind="corrective", fault=True, source="azure")
    of_part = ["asset=Machine {machineID} {comp}", "notes=Replaced {comp}", *when]
    run("import_log", AZURE / "PdM_maint.csv.gz", site, map=of_part, kind="preventive", source="azure")
    errors = ["asset=Machine {machineID}", "completion_date=datetime", "notes={errorID}"]
    run("import_log", AZURE / "PdM_errors.csv.gz", site, map=errors, source="azure errors")
    return Site.objects.get(name=site)


@pytest.mark.skipif(not AZURE.exists(), reason="the data folder is not there; set DATA_DIR")
def test_mtbf_of_azures_components_is_that_of_the_files(azure: Site, client: Client) -> None:
    failures = rows_of(AZURE / "PdM_failures.csv.gz")
    machines = len(rows_of(AZURE / "PdM_machines.csv.gz"))
    replaced = {(row["datetime"], row["machineID"], row["comp"]) for row in rows_of(AZURE / "PdM_maint.csv.gz")}
    failed = {(row["datetime"], row["machineID"], row["failure"]) for row in failures}
    assert MaintenanceLog.objects.filter(kind="preventive").count() == len(replaced - failed)
    assert MaintenanceLog.objects.filter(source="azure errors").count() == 3919

    client.force_login(make_user("viewer", azure))
    period = {"from": "2015-01-01T00:00:00Z", "to": "2016-01-01T00:00:00Z"}
    found = client.get(reverse("api:figures"), period | {"site": azure.pk}).json()
    hours = 365 * 24
    counts = Counter(row["failure"] for row in failures if row["datetime"] < "2016")
    expected = {part: machines * hours / count for part, count in counts.items()}
    assert {row["name"]: row["mtbf_hours"] for row in found["by_class"]} == pytest.approx(expected)

    single = Counter(f"Machine {row['machineID']} {row['failure']}" for row in failures if row["datetime"] < "2016")
    assert {row["name"]: row["mtbf_hours"] for row in found["by_asset"]} == pytest.approx(
        {name: hours / count for name, count in single.items()}
    )
    page = client.get(reverse("maintenance:figures"), {"first": "2015-01-01", "last": "2015-12-31"}).content.decode()
    for mtbf in expected.values():
        assert f'data-label="MTBF, h" class="right number">{mtbf:,.1f}<' in page


@pytest.mark.skipif(not AZURE.exists(), reason="the data folder is not there; set DATA_DIR")
def test_azures_telemetry_comes_in_on_the_machines_as_documented(tmp_path: Path, db: Any) -> None:
    sensors = [f"machine{{machineID}}.{name}=generic:1" for name in ("volt", "rotate", "pressure", "vibration")]
    fields = ["name=Machine {machineID}"]
    run("import_assets", AZURE / "PdM_machines.csv.gz", "Azure", map=fields, sensor=sensors)
    (telemetry,) = AZURE.glob("PdM_telemetry*.csv.gz")
    documented = (settings.BASE_DIR / "docs/history.md").read_text()
    script = documented.split("awk -F, '")[1].split("'")[0]
    with gzip.open(telemetry, "rt") as file:
        begin = "".join(next(file) for _ in range(25))
    long = subprocess.run(["awk", "-F,", script], input=begin, capture_output=True, text=True, check=True).stdout
    (tmp_path / "telemetry.csv").write_text(long)
    out = io.StringIO()
    call_command("import_readings", str(tmp_path / "telemetry.csv"), site="Azure", json=True, stdout=out)
    assert json.loads(out.getvalue())["stored"] == 24 * 4
    assert set(Reading.objects.values_list("sensor__asset__name", flat=True)) == {"Machine 1"}


@pytest.mark.skipif(not EXCAVATORS.exists(), reason="the data folder is not there; set DATA_DIR")
def test_the_excavators_come_in_but_for_the_broken_row(db: Any) -> None:
    site = Site.objects.create(name="Mine", timezone="Australia/Perth", currency="AUD")
    fields = ["asset=Excavator {Asset}", "completion_date=BscStartDate", "notes=OriginalShorttext"]
    fields += ["kind=PMType", "cost=Cost"]
    options = {"map": fields, "kinds": "PM01=corrective,PM02=preventive,*=", "create_assets": True, "fault": True}
    file = EXCAVATORS / "excavators.csv.gz"
    found = run("import_log", file, "Mine", **options)
    assert (found["rows"], found["stored"], found["new_assets"]) == (5485, 5484, 5)
    assert [(one["line"], one["code"]) for one in found["first_refused"]] == [(3454, "invalid_number")]
    assert run("import_log", file, "Mine", **options)["duplicates"] == 5484

    rows = [row for row in rows_of(file) if row["PMType"] != "t swing"]
    period = Period(datetime(2001, 1, 1, tzinfo=UTC), datetime(2013, 1, 1, tzinfo=UTC))
    of = figures(Scope(site), period, datetime.now(UTC))
    assert of.total.cost == pytest.approx(sum(float(row["Cost"]) for row in rows))
    counts = Counter(f"Excavator {row['Asset']}" for row in rows if row["PMType"] == "PM01")
    assert {one.name: one.failures for one in of.by_asset} == counts


def test_importing_takes_a_site_that_there_is(tmp_path: Path, people: dict[str, User]) -> None:
    with pytest.raises(CommandError, match="There is no site"):
        run("import_log", tmp_path / "none.csv", "Atlantis")

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from maintenance import log_book
from maintenance.models import FailureMode, MaintenanceLog, Verdict
from sensors.models import Asset, AssetClass
from tests.conftest import Plant, make_user

MARCH = datetime(2026, 3, 1, 12, tzinfo=UTC)


def logged(asset: Asset, notes: str, at: datetime = MARCH, **about: Any) -> MaintenanceLog:
    return MaintenanceLog.objects.create(asset=asset, notes=notes, completion_date=at, **about)


@pytest.fixture
def technician(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["technician"])
    return client


def shown(client: Client, **asked: object) -> str:
    answer = client.get(reverse("maintenance:log-book"), asked)
    assert answer.status_code == 200
    return answer.content.decode()


def found(client: Client, **asked: object) -> list[str]:
    answer = client.get(reverse("api:log-list"), asked)
    assert answer.status_code == 200, answer.content
    return [row["notes"] for row in answer.json()["results"]]


@pytest.fixture
def history(north: Plant) -> Plant:
    motor = Asset.objects.create(site=north.site, parent=north.pump, name="Motor", level="component")
    other = Asset.objects.create(site=north.site, name="Fan F-1")
    logged(north.pump, "Replaced the seal", kind="corrective", parts="Seal 12-mm")
    logged(motor, "Greased bearings", MARCH + timedelta(days=1), kind="preventive", done_by_name="Ödön")
    logged(other, "Balanced", MARCH + timedelta(days=2))
    return north


@pytest.mark.parametrize(
    ("words", "notes"),
    [
        ("seal", ["Replaced the seal"]),
        ("SEAL repl", ["Replaced the seal"]),
        ("seal bearings", []),
        ("12-mm", ["Replaced the seal"]),
        ("ödön", ["Greased bearings"]),
        ("'; -- & | ! (", ["Balanced", "Greased bearings", "Replaced the seal"]),
    ],
)
def test_search_finds_entries_that_hold_every_word(
    technician: Client, history: Plant, words: str, notes: list[str]
) -> None:
    assert found(technician, search=words) == notes
    page = shown(technician, words=words)
    assert [note for note in ("Balanced", "Greased bearings", "Replaced the seal") if note in page] == notes


@pytest.mark.parametrize(
    ("asked", "notes"),
    [
        ({"asset": "pump p-101"}, ["Greased bearings", "Replaced the seal"]),
        ({"asset": "Motor"}, ["Greased bearings"]),
        ({"kind": "preventive"}, ["Greased bearings"]),
        ({"first": "2026-03-02", "last": "2026-03-02"}, ["Greased bearings"]),
        ({"asset": "Nothing"}, []),
    ],
)
def test_the_page_filters(technician: Client, history: Plant, asked: dict[str, str], notes: list[str]) -> None:
    page = shown(technician, **asked)
    assert [note for note in ("Balanced", "Greased bearings", "Replaced the seal") if note in page] == notes


def test_the_api_filters_by_part_of_the_plant(technician: Client, history: Plant) -> None:
    assert found(technician, below=history.pump.pk) == ["Greased bearings", "Replaced the seal"]
    assert found(technician, asset=history.pump.pk) == ["Replaced the seal"]


def test_a_filter_that_makes_no_sense_is_refused(technician: Client) -> None:
    answer = technician.get(reverse("maintenance:log-book"), {"first": "0001-01-01"})
    assert answer.status_code == 422


def test_what_others_did_elsewhere_does_not_exist(technician: Client, south: Plant) -> None:
    log = logged(south.pump, "Secret")
    assert "Secret" not in shown(technician, words="secret")
    assert found(technician) == []
    for url in ("maintenance:log-entry", "api:log-detail"):
        assert technician.get(reverse(url, args=[log.pk])).status_code == 404
    for name in ("write-log", "work-marks"):
        assert technician.get(reverse(f"maintenance:{name}", args=[south.pump.pk])).status_code == 404
    answer = technician.post(reverse("api:log-list"), {"asset": south.pump.pk, "notes": "Mine"}, "application/json")
    assert answer.status_code == 400


def test_the_number_of_queries_does_not_grow(technician: Client, north: Plant) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            shown(technician, words="greased")
        return len(seen)

    logged(north.pump, "Greased")
    before = queries()
    for number in range(30):
        logged(Asset.objects.create(site=north.site, name=f"P-{number}"), "Greased", work_order=None)
    assert queries() == before


def test_work_without_an_order_is_logged_with_what_is_known(technician: Client, north: Plant) -> None:
    sent = {"notes": "New seal", "completion_date": "2026-03-01T13:00", "downtime_minutes": "90", "fault_found": "on"}
    answer = technician.post(reverse("maintenance:write-log", args=[north.pump.pk]), sent | {"cost": "12.50"})
    assert answer.status_code == 302
    log = MaintenanceLog.objects.get()
    # The site is in Berlin.
    assert (log.completion_date, str(log.cost), log.work_order) == (MARCH, "12.50", None)
    verdict = Verdict.objects.get()
    assert (verdict.log, verdict.outcome, verdict.window_start.hour) == (log, "fault_found", 10)
    page = technician.get(reverse("maintenance:log-entry", args=[log.pk])).content.decode()
    assert "12.50 EUR" in page
    assert "Fault found" in page


def test_a_double_tap_is_one_entry(technician: Client, north: Plant) -> None:
    for _ in range(2):
        technician.post(
            reverse("maintenance:write-log", args=[north.pump.pk]), {"notes": "Greased", "fault_found": "on"}
        )
    assert MaintenanceLog.objects.count() == Verdict.objects.count() == 1


def test_a_form_that_is_refused_is_shown_again(technician: Client, north: Plant) -> None:
    url = reverse("maintenance:write-log", args=[north.pump.pk])
    tomorrow = (timezone.now() + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    for sent in ({"notes": ""}, {"notes": "x", "completion_date": tomorrow}, {"notes": "x", "cost": "-1"}):
        assert technician.post(url, sent).status_code == 422
    assert not MaintenanceLog.objects.exists()


def test_the_api_logs_work_and_says_why_not(technician: Client, north: Plant) -> None:
    url, fan = reverse("api:log-list"), AssetClass.objects.get(name="Fan")
    mode = FailureMode.objects.create(asset_class=fan, code="BLADE", name="Blade broken")
    sent = {"asset": north.pump.pk, "notes": "Greased", "fault_found": True, "duration_minutes": 5}
    answer = technician.post(url, sent, "application/json")
    assert (answer.status_code, answer.json()["duration_minutes"]) == (201, 5)
    assert Verdict.objects.count() == 1
    answer = technician.post(url, sent | {"notes": "x", "failure_mode": mode.pk}, "application/json")
    assert (answer.status_code, answer.json()["code"]) == (422, "other_class")
    answer = technician.post(url, sent | {"completion_date": "2026-01-01T00:00:00"}, "application/json")
    assert answer.status_code == 400


def test_a_viewer_reads_and_does_not_write(client: Client, people: dict[str, User], history: Plant) -> None:
    client.force_login(people["viewer"])
    assert "Greased bearings" in shown(client)
    assert client.get(reverse("maintenance:write-log", args=[history.pump.pk])).status_code == 403


def test_charts_show_what_was_done_on_the_asset_and_its_parts(technician: Client, history: Plant) -> None:
    url = reverse("maintenance:work-marks", args=[history.pump.pk])
    marks = technician.get(url).json()["work"]
    assert [mark["text"] for mark in marks] == ["Motor: Greased bearings", "Replaced the seal"]
    narrow = technician.get(url, {"from": "2026-03-02T00:00:00Z"}).json()["work"]
    assert len(narrow) == 1
    assert technician.get(url, {"from": "yesterday"}).status_code == 400
    page = technician.get(history.pump.get_absolute_url()).content.decode()
    assert f'data-work="{url}"' in page


def test_writing_twice_at_the_same_time_is_told_apart_by_who_wrote(north: Plant) -> None:
    ann, ben = make_user("technician", north.site), make_user("technician", north.site)
    logs = {log_book.write(north.pump, who, notes="Greased").pk for who in (ann, ben, ann)}
    assert len(logs) == 2

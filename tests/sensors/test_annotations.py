from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from sensors import annotations
from sensors.errors import Refused
from sensors.models import Annotation, AuditEntry
from tests.conftest import Plant

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def technician(people: dict[str, User]) -> User:
    return people["technician"]


@pytest.fixture
def browser(client: Client, technician: User) -> Client:
    client.force_login(technician)
    return client


def note(plant: Plant, by: User, **about: Any) -> Annotation:
    about = {"start": NOON, "end": NOON + timedelta(hours=1), "text": "Filter changed"} | about
    return annotations.add(plant.pump, by, **about)


def annotate(client: Client, plant: Plant, **about: Any) -> HttpResponse:
    form = {"kind": "note", "start": "2026-07-01T14:00:00", "end": "2026-07-01T15:00:00", "text": "Filter changed"}
    answer: HttpResponse = client.post(reverse("sensors:annotate", args=[plant.pump.pk]), form | about)
    return answer


def test_a_stretch_on_the_sites_clock_is_noted(browser: Client, technician: User, north: Plant) -> None:
    assert annotate(browser, north, kind="excluded", sensor=north.vibration.pk).status_code == 302
    noted = Annotation.objects.get()
    assert (noted.start, noted.end) == (NOON, NOON + timedelta(hours=1))
    assert (noted.kind, noted.asset, noted.sensor, noted.created_by) == (
        "excluded",
        north.pump,
        north.vibration,
        technician,
    )
    page = browser.get(north.pump.get_absolute_url()).content.decode()
    assert "Filter changed" in page
    assert "Excluded from training" in page


def test_an_hour_that_was_twice_is_taken_whole(browser: Client, north: Plant) -> None:
    annotate(browser, north, start="2025-10-26T02:10:00", end="2025-10-26T02:50:00")
    noted = Annotation.objects.get()
    assert noted.end - noted.start == timedelta(hours=1, minutes=40)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"end": "2026-07-01T14:00:00"}, "end"),
        ({"start": ""}, "start"),
        ({"start": "2026-03-29T02:30:00"}, "start"),
        ({"kind": "joke"}, "kind"),
        ({"text": ""}, "text"),
        ({"text": "x" * 501}, "text"),
        ({"sensor": "other"}, "sensor"),
    ],
)
def test_what_makes_no_sense_is_explained(
    browser: Client, north: Plant, south: Plant, change: dict[str, Any], field: str
) -> None:
    change = {name: south.vibration.pk if value == "other" else value for name, value in change.items()}
    answer = annotate(browser, north, **change)
    assert (answer.status_code, list(answer.context["form"].errors)) == (422, [field])
    assert not Annotation.objects.exists()


def test_a_selected_stretch_comes_into_the_form(browser: Client, north: Plant) -> None:
    query = {"start": "2026-07-01T14:00:00", "end": "2026-07-01T15:00:05", "sensor": north.vibration.pk}
    page = browser.get(reverse("sensors:annotate", args=[north.pump.pk]), query).content.decode()
    assert 'value="2026-07-01T15:00:05"' in page
    assert f'<option value="{north.vibration.pk}" selected>' in page


def test_charts_get_what_stands_in_their_stretch(browser: Client, technician: User, north: Plant) -> None:
    note(north, technician)
    note(
        north,
        technician,
        sensor=north.vibration,
        text="Next day",
        start=NOON + timedelta(days=1),
        end=NOON + timedelta(days=2),
    )
    url = reverse("sensors:annotations", args=[north.pump.pk])
    found = browser.get(url, {"from": "2026-07-01T12:30:00Z", "to": "2026-07-01T12:40:00Z"}).json()["annotations"]
    assert [(row["text"], row["sensor"], row["start"]) for row in found] == [
        ("Filter changed", None, "2026-07-01T12:00:00Z")
    ]
    assert browser.get(url, {"from": "noon"}).status_code == 400


def test_a_note_leads_to_the_charts_of_its_time(browser: Client, technician: User, north: Plant) -> None:
    note(north, technician)
    window = "from=2026-07-01T11%3A00%3A00Z&amp;to=2026-07-01T14%3A00%3A00Z"
    assert f'href="?{window}"' in browser.get(north.pump.get_absolute_url()).content.decode()
    page = browser.get(f"{north.pump.get_absolute_url()}?{window.replace('&amp;', '&')}").content.decode()
    assert f'data-query="{window}"' in page
    assert browser.get(f"{north.pump.get_absolute_url()}?from=yesterday").status_code == 400


def test_taking_back_keeps_it_and_is_written_down(browser: Client, technician: User, north: Plant) -> None:
    noted = note(north, technician)
    browser.post(reverse("sensors:remove-annotation", args=[noted.pk]))
    noted.refresh_from_db()
    assert noted.removed_by == technician
    assert AuditEntry.objects.get().subject == f"annotation {noted.pk}"
    assert "Filter changed" not in browser.get(north.pump.get_absolute_url()).content.decode()
    assert browser.get(reverse("sensors:annotations", args=[north.pump.pk])).json() == {"annotations": []}
    with pytest.raises(Refused, match="already"):
        annotations.take_back(noted, technician)


def test_an_operator_sees_notes_and_has_no_button(client: Client, people: dict[str, User], north: Plant) -> None:
    note(north, people["technician"])
    client.force_login(people["operator"])
    page = client.get(north.pump.get_absolute_url()).content.decode()
    assert "Filter changed" in page
    assert "Take back" not in page
    assert "Add a note" not in page


# ---- the API


def send(client: Client, **about: Any) -> HttpResponse:
    answer: HttpResponse = client.post("/api/v1/annotations/", about, content_type="application/json")
    return answer


def test_a_program_notes_lists_and_takes_back(browser: Client, north: Plant) -> None:
    stretch = {"start": "2026-07-01T12:00:00Z", "end": "2026-07-01T13:00:00Z"}
    made = send(browser, asset=north.pump.pk, kind="failure", text="Bearing broke", **stretch)
    assert made.status_code == 201
    pk = made.json()["id"]
    listed = browser.get("/api/v1/annotations/?kind=failure&removed=false").json()["results"]
    assert [(row["id"], row["text"]) for row in listed] == [(pk, "Bearing broke")]
    removed = browser.post(f"/api/v1/annotations/{pk}/remove/").json()
    assert removed["removed_by"] == made.json()["created_by"]
    assert browser.post(f"/api/v1/annotations/{pk}/remove/").json()["code"] == "already_removed"
    assert browser.get("/api/v1/annotations/?removed=false").json()["results"] == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"end": "2026-07-01T11:00:00Z"}, ("end", "invalid")),
        ({"sensor": "other"}, ("sensor", "does_not_exist")),
        ({"asset": "other"}, ("asset", "does_not_exist")),
        ({"kind": "joke"}, ("kind", "invalid_choice")),
        ({"start": "2026-07-01T11:00:00"}, ("start", "naive_timestamp")),
        ({"start": "1979-12-31T23:59:59Z"}, ("start", "out_of_time")),
        ({"end": "9999-12-31T23:30:00Z"}, ("end", "out_of_time")),
    ],
)
def test_what_makes_no_sense_is_refused(
    browser: Client, north: Plant, south: Plant, change: dict[str, Any], complaint: tuple[str, str]
) -> None:
    others = {"sensor": south.vibration.pk, "asset": south.pump.pk}
    about = {"asset": north.pump.pk, "start": "2026-07-01T12:00:00Z", "end": "2026-07-01T13:00:00Z"} | {
        name: others[name] if value == "other" else value for name, value in change.items()
    }
    answer = send(browser, **about)
    assert answer.status_code == 400
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [complaint]


def test_a_note_until_the_end_of_the_calendar_is_refused_in_the_form(browser: Client, north: Plant) -> None:
    answer = annotate(browser, north, end="9999-12-31T23:30:00")
    assert (answer.status_code, "years 1980 to 2199" in answer.content.decode()) == (422, True)
    assert not Annotation.objects.exists()


def test_a_note_stored_before_with_an_end_past_the_calendar_is_shown(
    browser: Client, technician: User, north: Plant
) -> None:
    kept = note(north, technician)
    Annotation.objects.filter(pk=kept.pk).update(end=datetime(9999, 12, 31, 23, 30, tzinfo=UTC))
    page = browser.get(north.pump.get_absolute_url())
    assert (page.status_code, "Filter changed" in page.content.decode()) == (200, True)


@pytest.mark.parametrize("period", ["start=0001-01-01", "end=9999-12-31", "start=0001-01-01&end=9999-12-31"])
def test_readings_of_a_period_past_the_calendar_are_refused_in_words(
    browser: Client, north: Plant, period: str
) -> None:
    page = browser.get(f"{reverse('sensors:readings', args=[north.temperature.pk])}?{period}")
    assert (page.status_code, "years 1980 to 2199" in page.content.decode()) == (200, True)

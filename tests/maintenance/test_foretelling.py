"""What a rule that is tried on the past would have been good for."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from maintenance.foretelling import foretold
from maintenance.models import Verdict
from tests.alerts.told import raised
from tests.conftest import Plant, make_user

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONTH = NOON - 20 * DAY, NOON + 10 * DAY


def found(plant: Plant, at: datetime, outcome: str = "fault_found") -> Verdict:
    """A verdict on an alert that lasted two hours from `at` on."""
    alert = raised(plant.pump, at, cause=str(at))
    return Verdict.objects.create(
        asset=plant.pump,
        alert=alert,
        outcome=outcome,
        window_start=at,
        window_end=at + 2 * HOUR,
        given_by=make_user("technician"),
    )


def test_a_firing_before_the_alert_of_a_fault_leads_it(north: Plant) -> None:
    found(north, NOON)
    said = foretold(north.pump, [(NOON - 5 * HOUR, NOON)], *MONTH)
    assert (said.faults, said.hit, said.idle, said.median_lead) == (1, 1, 0, 5 * HOUR)


def test_a_firing_while_a_fault_lasts_hits_it_but_leads_nothing(north: Plant) -> None:
    found(north, NOON)
    said = foretold(north.pump, [(NOON + HOUR, NOON + 2 * HOUR)], *MONTH)
    assert (said.hit, said.median_lead, said.idle) == (1, None, 0)


def test_firings_of_nothing_that_was_found_are_idle(north: Plant) -> None:
    found(north, NOON)
    found(north, NOON - 15 * DAY, "nothing_found")
    firings = [(at, at + HOUR) for at in (NOON - 15 * DAY, NOON - 8 * DAY, NOON + 3 * HOUR)]
    said = foretold(north.pump, firings, *MONTH)
    assert (said.faults, said.hit, said.firings, said.idle) == (1, 0, 3, 3)


def test_faults_of_other_assets_and_times_do_not_count(north: Plant, south: Plant) -> None:
    found(south, NOON)
    found(north, NOON - 40 * DAY)
    assert foretold(north.pump, [(NOON, NOON + HOUR)], *MONTH).faults == 0


def test_the_page_says_it_in_a_sentence(north: Plant, client: Client) -> None:
    found(north, NOON)
    client.force_login(make_user("engineer", north.site))
    spans = [[at.isoformat(), (at + HOUR).isoformat()] for at in (NOON - 3 * HOUR, NOON - 9 * DAY)]
    sent = {"start": MONTH[0].isoformat(), "end": MONTH[1].isoformat(), "spans": spans}
    url = reverse("maintenance:foretold", args=[north.pump.pk])
    answer = client.post(url, {"firings": json.dumps(sent)})
    shown = " ".join(answer.content.decode().split())
    assert "1 of 1 fault</strong> that technicians found on Pump P-101" in shown
    assert "earlier than the alert of the time, by 3 h" in shown
    assert "1 of 2 firings had nothing to do" in shown


@pytest.mark.parametrize("sent", ["", "[]", '{"start": "2026-03-01", "end": "2026-03-02", "spans": []}', "{" * 9999])
def test_what_is_no_list_of_times_is_refused(north: Plant, client: Client, people: dict[str, User], sent: str) -> None:
    client.force_login(make_user("engineer", north.site))
    answer = client.post(reverse("maintenance:foretold", args=[north.pump.pk]), {"firings": sent})
    assert answer.status_code == 422

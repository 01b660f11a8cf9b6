from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from maintenance.models import Verdict
from mlops.hindsight import hindsight
from mlops.models import Anomaly
from tests.alerts.test_views import alert_on, text
from tests.conftest import Plant
from tests.mlops.test_views import anomaly_on

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
NOON = timezone.now().replace(microsecond=0) - timedelta(days=3)
DOUBTED = Anomaly.Decision.FALSE_POSITIVE


def event(plant: Plant, outcome: str | None, passed: bool, **extra: Any) -> Anomaly:
    """An event with an alert and what people found behind it, or without either."""
    evidence = {"layers": [{"name": "persistence", "passed": passed, "detail": "x"}]}
    start = extra.pop("start", NOON)
    if outcome is None:
        return anomaly_on(plant, start, evidence=evidence, **extra)
    alert = alert_on(plant, title=f"{outcome} {Anomaly.objects.count()}")
    by = User.objects.create(username=f"t{User.objects.count()}")
    window = {"window_start": start, "window_end": start + timedelta(minutes=10)}
    Verdict.objects.create(asset=alert.asset, alert=alert, outcome=outcome, given_by=by, **window)
    return anomaly_on(plant, start, evidence=evidence, alert=alert, **extra)


def test_layers_and_decisions_are_held_against_verdicts(north: Plant, south: Plant, people: dict[str, User]) -> None:
    event(north, "fault_found", True)
    event(north, "nothing_found", True)
    event(north, "planned_work", False, decision=Anomaly.Decision.FURTHER)
    event(south, "fault_found", True)
    found = hindsight(people["viewer"], LONG_AGO)
    assert found.judged == 3
    tally = found.layers["persistence"]
    assert (tally.passed_fault, tally.passed_nothing, tally.failed_fault, tally.failed_nothing) == (1, 1, 0, 1)
    assert (tally.precision, tally.recall) == (0.5, 1.0)
    assert (found.decision.precision, found.decision.recall) == (0.5, 1.0)


def test_a_fault_that_raised_no_alert_was_missed(north: Plant, people: dict[str, User]) -> None:
    event(north, "fault_found", True)
    event(north, None, False, decision=DOUBTED, start=NOON + timedelta(minutes=5))
    event(north, None, False, decision=DOUBTED, start=NOON - timedelta(hours=5))
    found = hindsight(people["viewer"], LONG_AGO)
    assert found.judged == 2
    assert found.decision.recall == 0.5


@pytest.mark.parametrize("circumstances", ["work", "withdrawn"])
def test_the_work_on_a_fault_and_wrong_values_were_no_missed_faults(
    north: Plant, people: dict[str, User], circumstances: str
) -> None:
    event(north, "fault_found", True)
    event(north, None, False, decision=DOUBTED, start=NOON + timedelta(minutes=5), circumstances=circumstances)
    found = hindsight(people["viewer"], LONG_AGO)
    assert (found.judged, found.decision.recall) == (1, 1.0)


@pytest.mark.parametrize("extra", [{"historical": True}, {"start": LONG_AGO - timedelta(days=1)}])
def test_the_past_counts_for_nothing(north: Plant, people: dict[str, User], extra: dict[str, Any]) -> None:
    event(north, "fault_found", True, **extra)
    found = hindsight(people["viewer"], LONG_AGO)
    assert (found.judged, found.decision.precision, found.decision.recall) == (0, None, None)


def test_the_page_shows_a_line_per_layer(client: Client, north: Plant, people: dict[str, User]) -> None:
    client.force_login(people["viewer"])
    assert "No verdicts yet" in text(client, reverse("mlops:validation"))
    event(north, "fault_found", True)
    page = text(client, reverse("mlops:validation"))
    assert "1 judged event" in page
    assert "Persistence" in page
    assert "100 %" in page

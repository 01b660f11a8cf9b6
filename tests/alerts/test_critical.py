"""What open pages learn of new critical alerts."""

import re
from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from alerts import lifecycle
from alerts.models import Severity, Transition
from tests.alerts.test_views import alert_on
from tests.conftest import Plant

URL = reverse("alerts:critical")


@pytest.fixture
def viewer(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["viewer"])
    return client


@pytest.fixture
def before() -> datetime:
    return timezone.now()


def toasts(client: Client, since: datetime) -> list[str]:
    page = client.get(URL, {"since": since.isoformat()})
    assert page.status_code == 200
    return re.findall(r"Critical alert: </span>([^<]+)", page.content.decode())


def waiting(client: Client) -> str:
    return re.search(r'data-waiting="([^"]+)"', client.get(URL).content.decode())[1]  # type: ignore[index]


def test_a_page_that_has_just_opened_is_told_the_time_and_no_news(viewer: Client, north: Plant) -> None:
    alert_on(north, severity=Severity.CRITICAL)
    page = viewer.get(URL).content.decode()
    assert "Too hot" not in page
    assert re.search(r'data-now="\d{4}-\d\d-\d\dT[^"]+"', page)


def test_critical_alerts_are_news_and_others_are_not(viewer: Client, north: Plant, before: datetime) -> None:
    alert_on(north, "Critical one", Severity.CRITICAL)
    alert_on(north, "High one", Severity.HIGH)
    assert toasts(viewer, before) == ["Critical one"]
    assert toasts(viewer, timezone.now()) == []


def test_what_becomes_critical_later_is_news_then(viewer: Client, north: Plant) -> None:
    alert_on(north, severity=Severity.LOW)
    later = timezone.now()
    alert_on(north, severity=Severity.CRITICAL)
    assert toasts(viewer, later) == ["Too hot"]


def test_it_is_no_news_once_somebody_has_taken_it_on(viewer: Client, north: Plant, before: datetime) -> None:
    lifecycle.acknowledge(alert_on(north, severity=Severity.CRITICAL))
    assert toasts(viewer, before) == []


def test_nobody_hears_of_another_site(viewer: Client, south: Plant, before: datetime) -> None:
    alert_on(south, severity=Severity.CRITICAL)
    assert toasts(viewer, before) == []
    assert waiting(viewer) == "0"


def test_few_are_shown_and_the_rest_is_said_to_be_there(viewer: Client, north: Plant, before: datetime) -> None:
    for number in range(5):
        alert_on(north, f"Number {number}", Severity.CRITICAL)
    assert toasts(viewer, before) == ["Number 4", "Number 3", "Number 2"]
    assert "data-more" in viewer.get(URL, {"since": before.isoformat()}).content.decode()


def test_a_tab_that_was_opened_days_ago_hears_of_the_last_shift(viewer: Client, north: Plant) -> None:
    alert = alert_on(north, severity=Severity.CRITICAL)
    days_ago = timezone.now() - timedelta(days=3)
    assert toasts(viewer, days_ago) == ["Too hot"]
    Transition.objects.filter(alert=alert).update(at=timezone.now() - timedelta(days=1))
    assert toasts(viewer, days_ago) == []


def test_the_title_counts_what_nobody_has_acknowledged(viewer: Client, north: Plant) -> None:
    first = alert_on(north, "First")
    alert_on(north, "Second")
    assert waiting(viewer) == "2"
    lifecycle.acknowledge(first)
    assert waiting(viewer) == "1"


@pytest.mark.parametrize("since", ["yesterday", "2026-01-01T00:00:00"])
def test_a_time_without_a_zone_or_sense_is_refused(viewer: Client, since: str) -> None:
    assert viewer.get(URL, {"since": since}).status_code == 400


def test_it_costs_the_same_queries_with_one_and_with_ten(viewer: Client, north: Plant, before: datetime) -> None:
    counts = []
    for number in range(10):
        alert_on(north, f"Number {number}", Severity.CRITICAL)
        with CaptureQueriesContext(connection) as seen:
            toasts(viewer, before)
        counts.append(len(seen))
    assert len(set(counts)) == 1

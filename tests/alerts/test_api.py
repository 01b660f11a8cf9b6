from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from alerts.models import Alert, Severity
from tests.conftest import Plant


@pytest.fixture
def alert(north: Plant) -> Alert:
    return Alert.objects.create(
        site=north.site,
        asset=north.pump,
        sensor=north.temperature,
        severity=Severity.HIGH,
        dedup_key="hot",
        title="Too hot",
        evidence={"peak_value": 99},
    )


@pytest.fixture
def operator(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["operator"])
    return client


def post(client: Client, alert: Alert, verb: str, **body: Any) -> HttpResponse:
    answer: HttpResponse = client.post(f"/api/v1/alerts/{alert.pk}/{verb}/", body, content_type="application/json")
    return answer


def test_an_alert_is_acknowledged_and_resolved_with_a_reason(operator: Client, alert: Alert) -> None:
    assert post(operator, alert, "acknowledge", reason="On my way").json()["state"] == "acknowledged"
    answer = post(operator, alert, "resolve").json()
    assert answer["state"] == "resolved"
    assert answer["evidence"] == {"peak_value": 99}
    steps = [(step["to_state"], step["by"][:8], step["reason"]) for step in answer["transitions"]]
    assert steps == [("acknowledged", "operator", "On my way"), ("resolved", "operator", "")]


def test_a_resolved_alert_cannot_be_acknowledged(operator: Client, alert: Alert) -> None:
    post(operator, alert, "resolve")
    answer = post(operator, alert, "acknowledge")
    assert (answer.status_code, answer.json()["code"]) == (409, "alert_resolved")


def test_a_reason_that_does_not_fit_is_refused_and_changes_nothing(operator: Client, alert: Alert) -> None:
    answer = post(operator, alert, "acknowledge", reason="x" * 501)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "reason")
    alert.refresh_from_db()
    assert alert.state == "open"


def test_a_viewer_cannot_acknowledge(client: Client, people: dict[str, User], alert: Alert) -> None:
    client.force_login(people["viewer"])
    answer = post(client, alert, "acknowledge")
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 2),
        ("state=open", 1),
        ("severity=3", 1),
        ("historical=true", 1),
        ("kind=system", 0),
        ("sensor={sensor}&asset={asset}&site={site}", 2),
        ("sensor=0", 0),
        ("from=2026-01-01T00:00:00Z", 1),
        ("to=2026-01-01T00:00:00Z", 1),
    ],
)
def test_alerts_can_be_filtered(operator: Client, north: Plant, alert: Alert, query: str, count: int) -> None:
    Alert.objects.create(
        site=north.site,
        asset=north.pump,
        sensor=north.temperature,
        severity=Severity.LOW,
        state="resolved",
        historical=True,
        dedup_key="old",
        title="Was hot",
        opened_at="2025-01-01T00:00Z",
    )
    query = query.format(sensor=north.temperature.pk, asset=north.pump.pk, site=north.site.pk)
    assert len(operator.get(f"/api/v1/alerts/?{query}").json()["results"]) == count


def test_an_alert_is_snoozed_assigned_and_commented_through_the_api(
    operator: Client, people: dict[str, User], alert: Alert
) -> None:
    url = f"/api/v1/alerts/{alert.pk}/"
    until = (timezone.now() + timedelta(hours=2)).isoformat()
    for step, sent in (
        ("snooze", {"until": until, "reason": "Parts"}),
        ("assign", {"to": people["technician"].username}),
        ("comment", {"text": "Look at the seal."}),
    ):
        assert operator.post(f"{url}{step}/", sent, "application/json").status_code == 200
    answer = operator.get(url).json()
    assert (answer["state"], answer["assignee"]) == ("snoozed", people["technician"].username)
    assert [(step["step"], step["surface"]) for step in answer["transitions"]] == [
        ("snoozed", "api"),
        ("assigned", "api"),
        ("commented", "api"),
    ]


@pytest.mark.parametrize(
    ("step", "sent", "code"),
    [
        ("snooze", {"until": "2050-01-01T00:00:00Z"}, "snooze_too_long"),
        ("snooze", {"until": "soon"}, "invalid"),
        ("assign", {"to": "nobody"}, "cannot_take_it"),
        ("comment", {"text": ""}, "invalid"),
    ],
)
def test_the_api_says_what_is_wrong_with_a_step(
    operator: Client, alert: Alert, step: str, sent: dict[str, str], code: str
) -> None:
    answer = operator.post(f"/api/v1/alerts/{alert.pk}/{step}/", sent, "application/json")
    assert answer.status_code in (400, 422)
    assert code in answer.content.decode()

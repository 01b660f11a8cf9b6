import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from alerts.models import Alert, Severity, State
from tests.conftest import Plant


def make_alert(plant: Plant, state: State = State.OPEN) -> Alert:
    key = f"{plant.site}-{state}"
    return Alert.objects.create(
        site=plant.site, asset=plant.pump, severity=Severity.HIGH, state=state, dedup_key=key, title=f"Hot {key}"
    )


@pytest.fixture
def technician(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["technician"])
    return client


def act(client: Client, action: str, *alerts: Alert) -> str:
    form = {"action": action, "_selected_action": [alert.pk for alert in alerts]}
    return client.post(reverse("admin:alerts_alert_changelist"), form, follow=True).content.decode()


@pytest.mark.parametrize(("action", "state"), [("acknowledge", State.ACKNOWLEDGED), ("resolve", State.RESOLVED)])
def test_actions_go_through_the_life_of_an_alert(
    technician: Client, north: Plant, south: Plant, people: dict[str, User], action: str, state: State
) -> None:
    alert, elsewhere = make_alert(north), make_alert(south)
    act(technician, action, alert, elsewhere)
    alert.refresh_from_db()
    elsewhere.refresh_from_db()
    assert (alert.state, elsewhere.state) == (state, State.OPEN)
    assert [(step.to_state, step.by) for step in alert.transitions.all()] == [(state, people["technician"])]


def test_a_refusal_is_told_and_the_others_go_on(technician: Client, north: Plant) -> None:
    resolved, alert = make_alert(north, State.RESOLVED), make_alert(north)
    page = act(technician, "acknowledge", resolved, alert)
    assert "This alert is resolved; it can no longer be changed." in page
    alert.refresh_from_db()
    assert alert.state == State.ACKNOWLEDGED


def test_the_page_shows_the_steps_and_changes_nothing(technician: Client, north: Plant) -> None:
    alert = make_alert(north)
    act(technician, "acknowledge", alert)
    path = reverse("admin:alerts_alert_change", args=[alert.pk])
    page = technician.get(path).content.decode()
    assert "open → acknowledged" in page
    assert technician.post(path, {"title": "Cold"}).status_code == 403


def test_secrets_cannot_be_guessed_letter_by_letter(technician: Client) -> None:
    assert technician.get(reverse("admin:alerts_channel_changelist"), {"secret__startswith": "g"}).status_code == 400

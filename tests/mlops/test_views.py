from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from mlops.models import Anomaly
from tests.alerts.test_views import alert_on, text
from tests.conftest import Plant

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def anomaly_on(plant: Plant, start: datetime = NOON, **extra: Any) -> Anomaly:
    details = {"sensor": plant.temperature, "decision": Anomaly.Decision.CREDIBLE} | extra
    end = start + timedelta(minutes=10)
    return Anomaly.objects.create(
        start=start, end=end, peak_at=start, peak_value=84.2, peak_score=17.3, confidence=0.87, **details
    )


@pytest.fixture
def viewer(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["viewer"])
    return client


def panel(plant: Plant) -> str:
    return reverse("mlops:for-asset", args=[plant.pump.pk])


def marks(plant: Plant) -> str:
    return reverse("mlops:marks", args=[plant.pump.pk])


def test_a_viewer_sees_the_anomalies_of_an_asset_and_what_validation_said(viewer: Client, north: Plant) -> None:
    alert = alert_on(north)
    anomaly_on(north, alert=alert)
    page = text(viewer, panel(north))
    assert "84.20 °C" in page
    assert "1 Jul" in page
    assert "14:00" in page
    assert "Credible anomaly, 87 %" in page
    assert alert.get_absolute_url() in page


def test_an_asset_without_anomalies_says_so(viewer: Client, north: Plant) -> None:
    assert "No anomalies found" in text(viewer, panel(north))


def test_anomalies_of_another_site_do_not_exist(viewer: Client, south: Plant) -> None:
    anomaly_on(south)
    assert viewer.get(panel(south)).status_code == 404
    assert viewer.get(marks(south)).status_code == 404


def test_somebody_without_the_permission_sees_none(client: Client, north: Plant) -> None:
    user = User.objects.create_user("nobody")
    north.site.members.add(user)
    client.force_login(user)
    assert client.get(panel(north)).status_code == 403
    assert client.get(marks(north)).status_code == 403


def test_marks_come_by_sensor_in_utc_with_the_alert_they_raised(viewer: Client, north: Plant) -> None:
    alert = alert_on(north)
    anomaly_on(north, alert=alert)
    anomaly_on(north, sensor=north.vibration, decision=Anomaly.Decision.FALSE_POSITIVE)
    found = viewer.get(marks(north)).json()["sensors"]
    assert found.keys() == {str(north.temperature.pk), str(north.vibration.pk)}
    (mark,) = found[str(north.temperature.pk)]
    assert (mark["start"], mark["end"]) == ("2026-07-01T12:00:00Z", "2026-07-01T12:10:00Z")
    assert (mark["decision"], mark["alert"]) == ("credible_anomaly", alert.get_absolute_url())
    assert found[str(north.vibration.pk)][0]["alert"] is None


def test_marks_are_those_that_overlap_the_asked_time(viewer: Client, north: Plant) -> None:
    for hours in (-5, 0, 5):
        anomaly_on(north, NOON + timedelta(hours=hours))
    answer = viewer.get(marks(north), {"from": "2026-07-01T12:05:00Z", "to": "2026-07-01T13:00:00Z"})
    assert [mark["start"] for mark in answer.json()["sensors"][str(north.temperature.pk)]] == ["2026-07-01T12:00:00Z"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"from": "yesterday"}, "`from` must be an ISO 8601 time with a zone"),
        ({"from": "2026-07-01T12:00:00"}, "`from` must be an ISO 8601 time with a zone"),
        ({"to": "2026-02-31T12:00:00Z"}, "`to` must be an ISO 8601 time with a zone"),
        ({"from": "0001-01-01T00:00:00+14:00"}, "`from` must be a time of the years 1900 to 2199"),
        ({"to": "9999-12-31T23:59:59-14:00"}, "`to` must be a time of the years 1900 to 2199"),
        ({"from": "2026-07-02T12:00:00Z", "to": "2026-07-01T12:00:00Z"}, "`from` must not lie after `to`"),
    ],
)
@pytest.mark.parametrize("page", ["mlops:marks", "sensors:annotations", "sensors:asset"])
def test_a_stretch_that_makes_no_sense_is_explained(
    viewer: Client, north: Plant, page: str, query: dict[str, str], said: str
) -> None:
    whole = {"from": "2026-07-01T12:00:00Z", "to": "2026-07-01T13:00:00Z"} if page == "sensors:asset" else {}
    answer = viewer.get(reverse(page, args=[north.pump.pk]), whole | query)
    assert answer.status_code == 400
    assert said in answer.content.decode()


def test_panel_and_marks_cost_the_same_with_one_and_with_ten_anomalies(viewer: Client, north: Plant) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            viewer.get(panel(north))
            viewer.get(marks(north))
        return len(seen)

    anomaly_on(north, alert=alert_on(north))
    few = queries()
    for hours in range(1, 10):
        alert = alert_on(north, title=f"Alert {hours}")
        anomaly_on(north, NOON + timedelta(hours=hours), alert=alert, sensor=north.vibration)
    assert queries() == few <= 14

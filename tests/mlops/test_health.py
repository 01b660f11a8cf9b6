from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from alerts import lifecycle
from alerts.models import Severity
from maintenance.models import Verdict, WorkOrder
from mlops import health_facts
from mlops.health import AlertFacts, Facts, Health, SensorFacts, assess
from mlops.models import Baseline
from sensors.models import Asset, Limits, Reading, Sensor, SensorFault, SensorProfile
from tests.alerts.test_views import alert_on, text
from tests.conftest import Plant
from tests.mlops.test_views import anomaly_on

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
LIMITS = Limits(warn_high=60, alarm_high=80)


def sensor(**known: Any) -> SensorFacts:
    return SensorFacts(**{"name": "Bearing", "unit": "°C", "latest_at": NOW, "latest": 40.0, "judged": True} | known)


def alert(severity: Severity, ago: timedelta = timedelta(hours=1)) -> AlertFacts:
    return AlertFacts("Too hot", severity, NOW - ago)


def of(**known: Any) -> Health:
    return assess(Facts(**{"sensors": [sensor()]} | known), NOW)


def test_an_asset_that_is_watched_and_has_nothing_against_it_has_100() -> None:
    health = of()
    assert (health.score, health.state, health.coverage, health.contributors) == (100, "good", 1.0, ())


@pytest.mark.parametrize(
    ("severities", "state"),
    [
        ([Severity.LOW], "good"),
        ([Severity.MEDIUM], "good"),
        ([Severity.HIGH], "fair"),
        ([Severity.CRITICAL], "fair"),
        ([Severity.CRITICAL, Severity.HIGH], "poor"),
    ],
)
def test_alerts_count_by_their_severity(severities: list[Severity], state: str) -> None:
    assert of(alerts=[alert(severity) for severity in severities]).state == state


def test_an_alert_of_more_than_a_day_counts_for_more_and_says_so() -> None:
    (lasting,) = of(alerts=[alert(Severity.HIGH, timedelta(days=2))]).contributors
    (fresh,) = of(alerts=[alert(Severity.HIGH)]).contributors
    assert lasting.deduction > fresh.deduction
    assert lasting.sentence == "High alert, for more than a day: Too hot"


def test_the_score_is_100_less_the_deductions_and_never_below_0() -> None:
    health = of(alerts=[alert(Severity.MEDIUM)], anomalies=2, overdue=[NOW - timedelta(days=1)], failures=1)
    assert health.score == round(100 - sum(one.deduction for one in health.contributors))
    assert of(alerts=[alert(Severity.CRITICAL)] * 5).score == 0


@pytest.mark.parametrize(
    "many",
    [
        {"anomalies": 500},
        {"overdue": [NOW - timedelta(days=90)] * 50},
        {"failures": 90},
        {"sensors": [sensor(latest=99.0, limits=LIMITS)] * 30},
        {"sensors": [sensor(incomplete=True)] * 30},
    ],
    ids=["anomalies", "overdue", "failures", "values", "sensors"],
)
def test_nothing_but_alerts_makes_an_asset_poor_alone(many: dict[str, Any]) -> None:
    assert of(**many).state in ("good", "fair")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (90.0, "Bearing at 90.00 °C: beyond the limit to alarm at."),
        (70.0, "Bearing at 70.00 °C: beyond the limit to warn at."),
        (59.0, "Bearing at 59.00 °C: close to a limit."),
        (40.0, None),
    ],
)
def test_the_newest_value_is_held_against_the_limits(value: float, said: str | None) -> None:
    found = of(sensors=[sensor(latest=value, limits=LIMITS)]).contributors
    assert [one.sentence for one in found] == ([said] if said else [])


def test_vibration_without_limits_of_its_own_is_held_against_the_zones_of_its_machine_class() -> None:
    shaking = sensor(name="Vibration", unit="mm/s", machine_class="group 2 rigid", latest=5.0)
    assert [one.sentence for one in of(sensors=[shaking]).contributors] == [
        "Vibration at 5.00 mm/s: zone D of ISO 20816."
    ]


def test_a_value_of_which_an_alert_tells_already_does_not_count_twice() -> None:
    assert of(sensors=[sensor(latest=90.0, limits=LIMITS, has_limit_alert=True)]).contributors == ()


@pytest.mark.parametrize(
    ("sensors", "why"),
    [
        ([], "It has no sensors of its own."),
        ([sensor(latest_at=NOW - timedelta(hours=2))], "None of its sensors has sent anything lately."),
        ([sensor(latest_at=None, latest=None)], "None of its sensors has sent anything lately."),
        ([sensor(), *[sensor(judged=False)] * 2], "Only 33 % of its sensors are watched now; 50 % are needed."),
        ([sensor(), *[sensor(faulty=True)] * 2], "Only 33 % of its sensors are watched now; 50 % are needed."),
    ],
    ids=["none", "stale", "silent", "unjudged", "faulty"],
)
def test_health_is_unknown_when_too_little_is_watched_and_says_why(sensors: list[SensorFacts], why: str) -> None:
    health = of(sensors=sensors, alerts=[alert(Severity.CRITICAL)])
    assert (health.score, health.state, health.why) == (None, "unknown", why)
    assert "Critical alert: Too hot" in [one.sentence for one in health.contributors]


def test_a_sensor_that_is_read_once_a_day_is_fresh_for_days() -> None:
    assert of(sensors=[sensor(latest_at=NOW - timedelta(days=3), interval_seconds=86_400)]).score == 100


def watched(sensor: Sensor, value: float = 20.0) -> None:
    """Read just now, with a baseline."""
    now = timezone.now()
    Reading.objects.create(sensor=sensor, timestamp=now, value=value)
    SensorProfile.objects.create(sensor=sensor, last_at=now, last_received_at=now, cadence_seconds=10)
    Baseline.objects.create(sensor=sensor, valid_from=now, readings=99, span_seconds=9e4, median=20, spread=1)


def health_of(asset: Asset) -> Health:
    return health_facts.of_assets([asset.pk], timezone.now())[asset.pk]


@pytest.fixture
def pump(north: Plant) -> Plant:
    watched(north.temperature)
    watched(north.vibration)
    return north


def sentences(asset: Asset) -> list[str]:
    return [one.sentence for one in health_of(asset).contributors]


def test_a_watched_pump_is_well(pump: Plant) -> None:
    assert health_of(pump.pump) == Health(100, 1.0, 2, 2, ())


def test_open_alerts_count_until_they_are_resolved(pump: Plant) -> None:
    open_one = alert_on(pump)
    assert sentences(pump.pump) == ["High alert: Too hot"]
    lifecycle.resolve(open_one)
    assert sentences(pump.pump) == []


def test_a_faulty_sensor_counts_once_and_is_not_watched(pump: Plant) -> None:
    alert_on(pump, "Stuck", kind="sensor_fault")
    SensorFault.objects.create(site=pump.site, sensor=pump.vibration, kind="stuck", began_at=timezone.now())
    health = health_of(pump.pump)
    assert [one.group for one in health.contributors] == ["sensors"]
    assert health.coverage == 0.5


def test_what_is_believed_counts_until_somebody_has_said_what_it_was(pump: Plant) -> None:
    alert = alert_on(pump)
    lifecycle.resolve(alert)
    anomaly_on(pump, timezone.now() - timedelta(hours=3), alert=alert)
    assert sentences(pump.pump) == ["1 credible anomaly in the last 7 days."]
    at = timezone.now()
    Verdict.objects.create(asset=pump.pump, alert=alert, outcome="nothing_found", window_start=at, window_end=at)
    assert sentences(pump.pump) == []


def test_overdue_work_and_faults_found_lately_count(pump: Plant) -> None:
    now = timezone.now()
    late = {"state": "approved", "due_at": now - timedelta(days=3)}
    order = WorkOrder.objects.create(site=pump.site, asset=pump.pump, title="Grease it", **late)
    for alert in (alert_on(pump, "One"), alert_on(pump, "Two")):
        lifecycle.resolve(alert)
        found = {"asset": pump.pump, "alert": alert, "work_order": order, "outcome": "fault_found"}
        Verdict.objects.create(**found, window_start=now, window_end=now)
    assert sentences(pump.pump) == [
        "1 fault found in the last 30 days.",
        "A work order has been overdue for 3 days.",
    ]


def test_the_asset_page_shows_the_number_and_what_speaks_against_it(
    client: Client, people: dict[str, User], pump: Plant
) -> None:
    client.force_login(people["viewer"])
    alert_on(pump)
    panel = text(client, reverse("mlops:health", args=[pump.pump.pk]))
    assert "Health 79" in panel
    assert "High alert: Too hot" in panel
    assert "2 of 2 sensors watched now (100 %)" in panel
    assert reverse("mlops:health", args=[pump.pump.pk]) in text(client, pump.pump.get_absolute_url())


def test_the_list_of_assets_has_a_place_for_each_badge(client: Client, people: dict[str, User], pump: Plant) -> None:
    client.force_login(people["viewer"])
    assert f'id="health-{pump.pump.pk}"' in text(client, reverse("sensors:assets"))
    badges = text(client, reverse("mlops:fleet-health"))
    assert f'id="health-{pump.pump.pk}" hx-swap-oob="true"' in badges
    assert "Health 100" in badges


def test_the_api_tells_the_same(client: Client, people: dict[str, User], pump: Plant, south: Plant) -> None:
    client.force_login(people["viewer"])
    alert_on(pump)
    (row,) = client.get("/api/v1/asset-health/").json()["results"]
    assert (row["asset"], row["state"], row["score"], row["coverage"]) == (pump.pump.pk, "fair", 79, 1.0)
    assert row["contributors"] == [{"group": "alerts", "deduction": 21.0, "sentence": "High alert: Too hot"}]
    assert client.get(f"/api/v1/asset-health/{pump.pump.pk}/").json()["score"] == 79
    assert client.get(f"/api/v1/asset-health/{south.pump.pk}/").status_code == 404


def test_a_fleet_costs_as_many_queries_as_one_asset(north: Plant) -> None:
    def queries(count: int) -> int:
        made = [Asset.objects.create(site=north.site, name=f"Fan {count}-{number}") for number in range(count)]
        for asset in made:
            watched(Sensor.objects.create(asset=asset, sensor_id=f"fan.{asset.pk}", kind="generic", unit="1"))
        with CaptureQueriesContext(connection) as seen:
            found = health_facts.of_assets([asset.pk for asset in made], timezone.now())
        assert {health.score for health in found.values()} == {100}
        return len(seen)

    assert queries(1) == queries(12) <= 6

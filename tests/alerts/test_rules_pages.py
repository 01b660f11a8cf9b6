"""What people do with rules and limits: try them on the past, save, switch and delete them, on pages and by the API."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from alerts.models import Alert, Condition, Firing, Rule, State
from alerts.rules import backtest as backtests
from alerts.rules import definition as definitions
from alerts.rules.backtest import backtest
from sensors import outbox
from sensors.errors import Refused
from sensors.models import AuditEntry, Sensor
from tests.conftest import Plant
from tests.readings import HOUR, LIVE, MINUTE, SECOND, store

NOW = timezone.now().replace(microsecond=0)


@pytest.fixture
def engineer(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["engineer"])
    return client


@pytest.fixture
def api(people: dict[str, User]) -> APIClient:
    api = APIClient()
    api.force_authenticate(people["engineer"])
    return api


@pytest.fixture
def hot_twice(north: Plant) -> Sensor:
    """Above 80 °C for two minutes, three hours and one hour ago; the second time above 90."""
    values = [70.0] * 720
    values[180:187], values[540:547] = [85] * 7, [95] * 7
    store(north.temperature, NOW, 720, 20 * SECOND, values=values)
    return north.temperature


def asked(*rows: tuple[Sensor, dict[str, Any]], **fields: Any) -> dict[str, Any]:
    form = {"name": "Hot", "combination": "all", "severity": 2, "duration_seconds": 60, "hysteresis_percent": 2}
    form |= {"conditions-TOTAL_FORMS": len(rows), "conditions-INITIAL_FORMS": 0, "enabled": "on"}
    for number, (sensor, limits) in enumerate(rows):
        form[f"conditions-{number}-sensor"] = sensor.pk
        form |= {f"conditions-{number}-{name}": limit for name, limit in limits.items()}
    return form | fields


def text(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def test_a_rule_is_tried_on_the_past_before_it_exists(engineer: Client, hot_twice: Sensor) -> None:
    form = asked((hot_twice, {"warn_high": "80", "alarm_high": "90,5"}))
    answer = engineer.post(f"/alerts/rules/new/?asset={hot_twice.asset_id}", form | {"try": "1"})
    assert answer.status_code == 200
    assert "It would have fired 2 times" in text(answer)
    assert "1 of them an alarm" in text(answer)
    assert not Rule.objects.exists()
    engineer.post(f"/alerts/rules/new/?asset={hot_twice.asset_id}", form)
    rule = Rule.objects.get()
    [condition] = rule.conditions.all()
    assert (rule.name, rule.enabled, condition.alarm_high) == ("Hot", True, 90.5)
    assert AuditEntry.objects.get().action == "rule created"
    assert "above 80.00 °C" in text(engineer.get(rule.get_absolute_url()))


def test_the_past_is_tried_with_what_the_form_says_not_with_what_is_stored(engineer: Client, hot_twice: Sensor) -> None:
    rule = Rule.objects.create(asset=hot_twice.asset, name="Hot")
    Condition.objects.create(rule=rule, sensor=hot_twice, warn_high=60)
    row = rule.conditions.get()
    form = asked((hot_twice, {"warn_high": "90", "id": row.pk})) | {"conditions-INITIAL_FORMS": 1, "try": "1"}
    assert "It would have fired once" in text(engineer.post(f"/alerts/rules/{rule.pk}/edit/", form))
    assert rule.conditions.get().warn_high == 60
    del form["try"]
    engineer.post(f"/alerts/rules/{rule.pk}/edit/", form)
    assert rule.conditions.get().warn_high == 90


@pytest.mark.parametrize(
    ("limits", "fields", "said"),
    [
        ({}, {}, "at least one limit"),
        ({"warn_high": "90", "alarm_high": "80"}, {}, "From the lowest to the highest"),
        ({"warn_high": "80"}, {"from_time": "08:00"}, "Give both times"),
        ({"warn_high": "80"}, {"duration_seconds": "100000"}, "less than or equal to 86400"),
    ],
    ids=["no limit", "order", "one time", "duration"],
)
def test_a_rule_that_makes_no_sense_is_not_saved(
    engineer: Client, north: Plant, limits: dict[str, Any], fields: dict[str, Any], said: str
) -> None:
    form = asked((north.temperature, limits), **fields)
    answer = engineer.post(f"/alerts/rules/new/?asset={north.pump.pk}", form)
    assert answer.status_code == 422
    assert said in text(answer)
    assert not Rule.objects.exists()


def test_sensors_of_other_assets_cannot_be_chosen(engineer: Client, north: Plant, south: Plant) -> None:
    form = asked((south.temperature, {"warn_high": "80"}))
    assert engineer.post(f"/alerts/rules/new/?asset={north.pump.pk}", form).status_code == 422


def open_alert(rule: Rule, sensor: Sensor) -> Alert:
    store(sensor, NOW, 10, 20 * SECOND, LIVE, values=[85] * 10)
    outbox.drain("limits")
    return Alert.objects.get(dedup_key=f"limit:rule:{rule.pk}")


@pytest.fixture
def rule(north: Plant) -> Rule:
    rule = Rule.objects.create(asset=north.pump, name="Hot")
    Condition.objects.create(rule=rule, sensor=north.temperature, warn_high=80)
    return rule


def test_switching_a_rule_off_resolves_its_alert_and_deleting_it_hides_it(
    engineer: Client, north: Plant, rule: Rule
) -> None:
    alert = open_alert(rule, north.temperature)
    engineer.post(f"/alerts/rules/{rule.pk}/switch/", {"on": "0"})
    alert.refresh_from_db()
    rule.refresh_from_db()
    assert (alert.state, rule.enabled) == (State.RESOLVED, False)
    engineer.post(f"/alerts/rules/{rule.pk}/delete/")
    assert engineer.get(f"/alerts/rules/{rule.pk}/").status_code == 404
    assert Firing.objects.get().rule == rule
    assert [entry.action for entry in AuditEntry.objects.order_by("pk")] == ["rule switched off", "rule deleted"]


def test_a_machine_class_gives_a_vibration_sensor_its_limits(engineer: Client, north: Plant) -> None:
    page = text(engineer.get(f"/alerts/sensors/{north.vibration.pk}/limits/"))
    assert "ISO 20816-3:2022" in page
    assert "The standard itself is the authority" in page
    engineer.post(f"/alerts/sensors/{north.vibration.pk}/limits/", {"machine_class": "group 2 rigid"})
    north.vibration.refresh_from_db()
    assert (north.vibration.warn_high, north.vibration.alarm_high) == (2.8, 4.5)
    own = {"machine_class": "group 2 rigid", "warn_high": "3", "alarm_high": "4.5"}
    engineer.post(f"/alerts/sensors/{north.vibration.pk}/limits/", own)
    north.vibration.refresh_from_db()
    assert north.vibration.warn_high == 3
    assert "ISO 20816" not in text(engineer.get(f"/alerts/sensors/{north.temperature.pk}/limits/"))
    assert AuditEntry.objects.count() == 2


def test_limits_are_tried_on_the_past(engineer: Client, hot_twice: Sensor) -> None:
    answer = engineer.post(f"/alerts/sensors/{hot_twice.pk}/limits/", {"warn_high": "90", "try": "1"})
    assert "It would have fired once" in text(answer)
    hot_twice.refresh_from_db()
    assert hot_twice.warn_high is None


def test_viewers_read_rules_and_limits_without_forms_to_change_them(
    client: Client, people: dict[str, User], rule: Rule, north: Plant
) -> None:
    client.force_login(people["viewer"])
    assert "Switch off" not in text(client.get(f"/alerts/rules/{rule.pk}/"))
    assert "Save" not in text(client.get(f"/alerts/sensors/{north.temperature.pk}/limits/"))
    assert "Hot" in text(client.get("/alerts/rules/"))


def test_the_list_asks_the_database_as_much_for_many_rules_as_for_one(
    engineer: Client, north: Plant, rule: Rule, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        other = Rule.objects.create(asset=north.pump, name=f"Rule {number}")
        Condition.objects.create(rule=other, sensor=north.temperature, warn_high=80)
    Sensor.objects.update(warn_high=80)
    with django_assert_max_num_queries(12):
        engineer.get("/alerts/rules/")


def test_a_backtest_looks_at_the_newest_readings_only(
    hot_twice: Sensor, people: dict[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backtests, "MOST_READINGS", 300)
    hot_twice.warn_high = 80
    found = backtest(definitions.of_sensor(hot_twice), NOW - 30 * HOUR, NOW, people["engineer"].pk)
    assert (found.count, found.readings, found.is_cut) == (1, 300, True)
    assert found.start == NOW - 299 * 20 * SECOND
    with pytest.raises(Refused):
        backtest(definitions.of_sensor(hot_twice), NOW, NOW - MINUTE, people["engineer"].pk)


def test_what_a_backtest_finds_is_what_is_written_down_when_the_readings_come_in(
    hot_twice: Sensor, people: dict[str, User]
) -> None:
    Sensor.objects.filter(pk=hot_twice.pk).update(warn_high=80, alarm_high=90)
    hot_twice.refresh_from_db()
    outbox.drain("limits")
    found = backtest(definitions.of_sensor(hot_twice), NOW - 5 * HOUR, NOW, people["engineer"].pk)
    written = sorted((row.start, row.end, row.peak_value) for row in Firing.objects.all())
    epoch = timezone.datetime(1970, 1, 1, tzinfo=NOW.tzinfo)
    assert written == [
        (epoch + timedelta(microseconds=each.start), epoch + timedelta(microseconds=each.end), each.peak.value)
        for each in found.found
    ]


def test_the_api_creates_changes_and_tries_rules(api: APIClient, hot_twice: Sensor) -> None:
    sent = {"asset": hot_twice.asset_id, "name": "Hot", "conditions": [{"sensor": hot_twice.pk, "warn_high": 80}]}
    tried = api.post("/api/v1/rules/backtest/", {"rule": sent}, format="json").json()
    assert (tried["count"], len(tried["firings"]), tried["is_cut"]) == (2, 2, False)
    assert not Rule.objects.exists()
    made = api.post("/api/v1/rules/", sent, format="json").json()
    assert made["conditions"] == [
        {"sensor": hot_twice.pk, "alarm_low": None, "warn_low": None, "warn_high": 80, "alarm_high": None}
    ]
    changed = api.patch(f"/api/v1/rules/{made['id']}/", {"duration_seconds": 600}, format="json").json()
    assert (changed["duration_seconds"], changed["conditions"]) == (600, made["conditions"])
    assert api.post(f"/api/v1/rules/{made['id']}/backtest/", {}, format="json").json()["count"] == 0


def test_the_api_refuses_sensors_of_other_assets(api: APIClient, north: Plant, south: Plant) -> None:
    other = Sensor.objects.create(
        asset=north.pump.__class__.objects.create(site=north.site, name="Fan"), sensor_id="f", kind="generic", unit="1"
    )
    for sensor in (other, south.temperature):
        sent = {"asset": north.pump.pk, "name": "Hot", "conditions": [{"sensor": sensor.pk, "warn_high": 80}]}
        assert api.post("/api/v1/rules/", sent, format="json").status_code == 400


@pytest.mark.parametrize("end", ["from", "to"])
def test_a_backtest_at_the_end_of_the_calendar_is_refused(api: APIClient, north: Plant, end: str) -> None:
    rule = {"asset": north.pump.pk, "name": "Hot", "conditions": [{"sensor": north.temperature.pk, "warn_high": 80}]}
    answer = api.post("/api/v1/rules/backtest/", {"rule": rule, end: "0001-01-01T00:00:00Z"}, format="json")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "out_of_time")

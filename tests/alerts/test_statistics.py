"""The figures of ISA-18.2, from alerts made for the purpose."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from alerts import statistics
from alerts.models import Alert, Severity, State, Transition
from alerts.statistics import Load, Period
from tests.conftest import Plant

START = datetime(2026, 3, 2, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
WEEK = Period(START, START + 7 * DAY)


def alarm(plant: Plant, after: timedelta, cause: str = "hot", severity: Severity = Severity.MEDIUM) -> Alert:
    """One that was raised `after` the start of the period and resolved an hour later by itself."""
    at = START + after
    alert = Alert.objects.create(
        site=plant.site, asset=plant.pump, sensor=plant.temperature, dedup_key=cause, title=f"Too {cause}",
        severity=severity, state=State.RESOLVED, began_at=at, last_seen_at=at, opened_at=at, resolved_at=at + HOUR,
    )  # fmt: skip
    Transition.objects.create(alert=alert, step="raised", to_state="open", at=at)
    return alert


def load(plant: Plant, period: Period = WEEK) -> Load:
    [found] = statistics.loads([plant.site], period)
    return found


def test_a_site_without_alerts_has_figures_too(north: Plant) -> None:
    found = load(north)
    assert (found.alarms, found.per_hour, found.flood_share, found.stale, found.top_share) == (0, 0, 0, 0, None)
    assert found.acknowledged_median is None


def test_alarms_are_counted_per_hour_of_the_period(north: Plant, south: Plant) -> None:
    for hour in range(84):
        alarm(north, hour * HOUR, cause=str(hour))
    alarm(north, -HOUR)
    alarm(north, 7 * DAY)
    alarm(south, HOUR)
    found = load(north)
    assert (found.alarms, found.per_hour, found.per_ten_minutes) == (84, 0.5, 0.5 / 6)


def test_a_reopened_alert_is_an_alarm_and_a_more_severe_one_is_not(north: Plant) -> None:
    alert = alarm(north, HOUR)
    for step in ("reopened", "more_severe"):
        Transition.objects.create(alert=alert, step=step, to_state="open", at=START + 2 * HOUR)
    assert load(north).alarms == 2


def test_imported_history_counts_when_it_is_asked_for(north: Plant) -> None:
    Alert.objects.filter(pk=alarm(north, HOUR).pk).update(historical=True)
    assert load(north).alarms == 0
    assert load(north, Period(WEEK.start, WEEK.end, historical=True)).alarms == 1


@pytest.mark.parametrize(
    ("alarms", "floods", "hours"),
    [
        ([10], 0, 0),
        ([11], 1, 1 / 6),
        ([11, 5, 5, 4], 1, 0.5),
        ([9, 11, 0, 12], 2, 2 / 6),
    ],
)
def test_a_flood_begins_above_ten_and_ends_below_five(
    north: Plant, alarms: list[int], floods: int, hours: float
) -> None:
    for place, number in enumerate(alarms):
        for one in range(number):
            alarm(north, place * 10 * MINUTE, cause=f"{place}-{one}")
    found = load(north)
    assert (found.floods, found.flood_hours, found.most_in_ten_minutes) == (floods, pytest.approx(hours), max(alarms))


def test_an_hour_with_more_than_thirty_alarms_is_crowded(north: Plant) -> None:
    for number in range(61):
        alarm(north, (number // 31) * HOUR + number % 31 * MINUTE, cause=str(number))
    assert load(north).crowded_hours == 1


@pytest.mark.parametrize(("seconds", "chattering"), [([0, 30, 60], 1), ([0, 30, 61], 0), ([0, 30], 0)])
def test_a_cause_chatters_when_it_comes_three_times_in_a_minute(
    north: Plant, seconds: list[int], chattering: int
) -> None:
    for second in seconds:
        alarm(north, timedelta(seconds=second))
        alarm(north, timedelta(seconds=second), cause=f"other {second}")
    assert load(north).chattering == chattering


def test_an_alert_is_stale_after_a_day_without_a_step_by_a_person(north: Plant, people: dict[str, User]) -> None:
    left, seen = alarm(north, HOUR, "left"), alarm(north, HOUR, "seen")
    Alert.objects.update(state=State.OPEN, resolved_at=None)
    by = people["operator"]
    Transition.objects.create(alert=seen, step="commented", to_state="open", at=START + 2 * HOUR, by=by)
    assert load(north).stale == 1
    Transition.objects.create(alert=left, step="acknowledged", to_state="open", at=START + 20 * HOUR, by=by)
    assert load(north).stale == 0


def test_one_that_was_left_for_days_was_stale_then_though_it_is_settled_now(north: Plant) -> None:
    for number in range(3):
        Alert.objects.filter(pk=alarm(north, HOUR, str(number)).pk).update(resolved_at=START + 3 * DAY)
    assert load(north).stale == 3


def test_time_to_acknowledge_is_that_of_the_first_person(north: Plant, people: dict[str, User]) -> None:
    for number in range(1, 6):
        alert = alarm(north, HOUR, str(number))
        for wait in (number, 10 * number):
            at = alert.opened_at + wait * MINUTE
            Transition.objects.create(
                alert=alert, step="acknowledged", to_state="acknowledged", at=at, by=people["operator"]
            )
    alarm(north, HOUR, "nobody")
    found = load(north)
    assert (found.acknowledged, found.acknowledged_median) == (5, 180)
    assert found.acknowledged_p95 == pytest.approx(288)


def test_the_ten_most_frequent_causes_and_their_share(north: Plant, south: Plant) -> None:
    for cause in range(20):
        for time in range(3 if cause == 7 else 1):
            alarm(north, cause * HOUR + time * 5 * MINUTE, cause=f"cause {cause}")
    alarm(south, HOUR, cause="cause 1")
    assert load(north).top_share == 12 / 22
    first, *_, last = statistics.top_causes([north.site], WEEK)
    assert (first.title, first.alarms, first.share, first.chatters) == ("Too cause 7", 3, 3 / 22, False)
    assert last.alarms == 1


def test_severities_are_counted(north: Plant) -> None:
    for number, severity in enumerate([Severity.LOW, Severity.LOW, Severity.LOW, Severity.CRITICAL]):
        alarm(north, HOUR, str(number), severity)
    assert load(north).critical_share == 0.25


def test_the_page_says_the_same_with_limits_beside_it(client: Client, people: dict[str, User], north: Plant) -> None:
    client.force_login(people["viewer"])
    Alert.objects.create(site=north.site, dedup_key="x", title="Too loud", severity=2)
    page = client.get(reverse("alerts:statistics")).content.decode()
    assert "Alarms an hour, on average" in page
    assert "ISA-18.2" in page


def test_a_site_of_others_is_neither_shown_nor_offered(
    client: Client, people: dict[str, User], north: Plant, south: Plant
) -> None:
    client.force_login(people["viewer"])
    page = client.get(reverse("alerts:statistics"), {"site": south.site.pk}).content.decode()
    assert "South" not in page
    answer = client.get(reverse("api:alert-statistics"), {"site": south.site.pk})
    assert answer.json()["sites"] == []


def test_the_api_has_the_same_figures(client: Client, people: dict[str, User], north: Plant) -> None:
    for hour in range(12):
        alarm(north, hour * HOUR, cause=str(hour))
    client.force_login(people["viewer"])
    asked = {"from": WEEK.start.isoformat(), "to": WEEK.end.isoformat()}
    found = client.get(reverse("api:alert-statistics"), asked).json()
    assert found["sites"][0] | {"alarms": 12, "per_hour": 12 / 168, "stale": 0} == found["sites"][0]
    assert found["causes"][0]["alarms"] == 1


@pytest.mark.parametrize(
    "asked", [{"from": "yesterday"}, {"from": "2026-03-02T00:00:00Z", "to": "2020-01-01T00:00:00Z"}, {"site": "x"}]
)
def test_a_period_that_is_none_is_refused(client: Client, people: dict[str, User], asked: dict[str, str]) -> None:
    client.force_login(people["viewer"])
    assert client.get(reverse("api:alert-statistics"), asked).status_code == 400


def test_figures_cost_three_statements_however_many_sites(north: Plant, south: Plant) -> None:
    for plant in (north, south):
        alarm(plant, HOUR)
    for sites in ([north.site], [north.site, south.site]):
        with CaptureQueriesContext(connection) as queries:
            assert len(statistics.loads(sites, WEEK)) == len(sites)
            statistics.top_causes(sites, WEEK)
        assert len(queries) == 3

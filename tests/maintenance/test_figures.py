from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from alerts.models import Alert
from maintenance.figures import Figures, Period, Scope, figures
from maintenance.models import FailureMode, MaintenanceLog, Outcome, Verdict, WorkOrder
from sensors.models import Asset, AssetClass
from tests.conftest import Plant, make_plant

JANUARY = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC))
NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def day(number: int) -> datetime:
    return datetime(2026, 1, number, 12, tzinfo=UTC)


def closed(
    asset: Asset, at: datetime, outcome: str = "fault_found", alert: Alert | None = None, **about: Any
) -> WorkOrder:
    about = {"created_at": at - 4 * HOUR, "started_at": at - 2 * HOUR, "done_at": at, "closed_at": at} | about
    order = WorkOrder.objects.create(site=asset.site, asset=asset, title="Seal", state="closed", alert=alert, **about)
    window = {"window_start": at - 5 * HOUR, "window_end": at}
    Verdict.objects.create(asset=asset, alert=alert, work_order=order, outcome=outcome, **window)
    return order


def logged(asset: Asset, at: datetime, *, failed: bool = False, **about: Any) -> MaintenanceLog:
    log = MaintenanceLog.objects.create(asset=asset, completion_date=at, notes="Done.", **about)
    if failed:
        window = {"window_start": at, "window_end": at}
        Verdict.objects.create(asset=asset, log=log, outcome=Outcome.FAULT_FOUND, **window)
    return log


def alert_of(asset: Asset, at: datetime, **about: Any) -> Alert:
    key = f"{asset.pk} {at}"
    return Alert.objects.create(
        site=asset.site, asset=asset, severity=2, dedup_key=key, title="Hot", began_at=at, **about
    )


def of(asset: Asset, period: Period = JANUARY, *, whole_site: bool = False) -> Figures:
    return figures(Scope(asset.site, None if whole_site else asset), period, NOW)


def test_mtbf_is_operating_time_by_failures(north: Plant) -> None:
    for number in (3, 10, 20):
        closed(north.pump, day(number))
    found = of(north.pump)
    assert found.whole.failures == 3
    assert found.whole.mtbf_hours == 30 * 24 / 3


def test_without_a_failure_there_is_no_mtbf(north: Plant) -> None:
    closed(north.pump, day(3), outcome="nothing_found")
    assert of(north.pump).whole.mtbf_hours is None


def test_an_order_with_two_verdicts_is_one_failure(north: Plant) -> None:
    order = closed(north.pump, day(3), alert=alert_of(north.pump, day(2)))
    window = {"window_start": day(3), "window_end": day(3)}
    other = alert_of(north.pump, day(3))
    Verdict.objects.create(asset=north.pump, alert=other, work_order=order, outcome="fault_found", **window)
    assert of(north.pump).whole.failures == 1


def test_failures_outside_the_period_or_of_another_site_do_not_count(north: Plant, south: Plant) -> None:
    closed(north.pump, JANUARY.end)
    closed(south.pump, day(3))
    assert of(north.pump, whole_site=True).whole.failures == 0


def test_a_class_is_measured_over_all_its_assets_less_their_unplanned_downtime(north: Plant) -> None:
    north.pump.asset_class = AssetClass.objects.get(name="Pump")
    north.pump.save()
    Asset.objects.create(site=north.site, name="P-102", asset_class=north.pump.asset_class)
    closed(north.pump, day(3), downtime_minutes=120)
    closed(north.pump, day(5), outcome="planned_work", kind="preventive", downtime_minutes=600)
    (pumps,) = of(north.pump, whole_site=True).by_class
    assert (pumps.name, pumps.assets, pumps.failures, pumps.mtbf_hours) == ("Pump", 2, 1, 2 * 30 * 24 - 2)


def test_an_asset_has_the_failures_of_what_is_below_it(north: Plant) -> None:
    motor = Asset.objects.create(site=north.site, name="Motor", parent=north.pump, level="component")
    closed(motor, day(3))
    assert of(north.pump).whole.failures == 1
    assert [(row.name, row.failures) for row in of(north.pump).by_asset] == [("Motor", 1)]
    assert of(motor).whole.failures == 1


def test_mttr_is_the_mean_of_orders_and_of_entries_without_one(north: Plant) -> None:
    closed(north.pump, day(3))
    closed(north.pump, day(4), started_at=None)
    logged(north.pump, day(5), failed=True, duration_minutes=60, kind="corrective")
    found = of(north.pump).whole
    assert (found.repaired, found.mttr_hours) == (2, 1.5)


def test_planned_work_is_preventive_or_because_of_a_condition(north: Plant) -> None:
    for number, kind in enumerate(["corrective", "preventive", "condition_based", ""], 3):
        logged(north.pump, day(number), kind=kind)
    found = of(north.pump)
    assert found.total.jobs == 4
    assert found.planned_share == pytest.approx(2 / 3)


def test_what_an_order_says_of_hours_and_downtime_holds_over_its_log(north: Plant) -> None:
    said = closed(north.pump, day(3), actual_hours=2, downtime_minutes=60, downtime_reason="Seal", other_cost=10)
    logged(north.pump, day(3), work_order=said, duration_minutes=600, downtime_minutes=600, cost=5)
    unsaid = closed(north.pump, day(4), downtime_reason="Seal")
    logged(north.pump, day(4), work_order=unsaid, duration_minutes=90, downtime_minutes=30)
    total = of(north.pump).total
    assert (total.jobs, total.hours, total.downtime_hours, total.cost) == (2, 3.5, 1.5, 15)
    assert [(cause.name, cause.jobs, cause.hours) for cause in of(north.pump).downtime] == [("Seal", 2, 1.5)]


def test_months_are_those_of_the_sites_calendar(north: Plant) -> None:
    logged(north.pump, datetime(2025, 12, 31, 23, 30, tzinfo=UTC), kind="corrective")
    period = Period(datetime(2025, 12, 1, tzinfo=UTC), JANUARY.end)
    (month,) = of(north.pump, period).months
    assert (month.start.month, month.unplanned.jobs) == (1, 1)


def test_backlog_is_what_runs_now(north: Plant) -> None:
    make = WorkOrder.objects.create
    make(site=north.site, asset=north.pump, title="a", estimated_hours=3, due_at=day(1))
    make(site=north.site, asset=north.pump, title="b")
    closed(north.pump, day(3))
    backlog = of(north.pump).backlog
    assert (backlog.orders, backlog.hours, backlog.unestimated, backlog.overdue) == (2, 3, 1, 1)


def test_reaction_runs_from_when_the_cause_began(north: Plant) -> None:
    closed(north.pump, day(3), alert=alert_of(north.pump, day(3) - 5 * HOUR))
    reaction = of(north.pump).reaction
    assert (reaction.to_order, reaction.to_repair) == (3600, 5 * 3600)


def test_hours_are_compared_where_both_are_known(north: Plant) -> None:
    closed(north.pump, day(3), estimated_hours=2, actual_hours=3)
    closed(north.pump, day(4), estimated_hours=5)
    hours = of(north.pump).hours
    assert (hours.orders, hours.estimated, hours.actual) == (1, 2, 3)


@pytest.fixture
def pump_with_a_past(north: Plant) -> Asset:
    """Three failures that nobody foretold, of 2, 4 and 6 hours of downtime."""
    north.pump.asset_class = AssetClass.objects.get(name="Pump")
    north.pump.save()
    for number, hours in enumerate([2, 4, 6], 1):
        closed(north.pump, datetime(2025, 6, number, tzinfo=UTC), downtime_minutes=60 * hours)
    return north.pump


def test_downtime_avoided_is_the_typical_one_less_that_of_the_fault(pump_with_a_past: Asset) -> None:
    pump = pump_with_a_past
    closed(pump, day(3), alert=alert_of(pump, day(2)), downtime_minutes=60)
    closed(pump, day(4), alert=alert_of(pump, day(3)), downtime_minutes=600)
    closed(pump, day(5), alert=alert_of(pump, day(4)))
    avoided = of(pump).avoided
    assert (avoided.hours, avoided.faults, avoided.unstated, avoided.without_past) == (3, 2, 1, 0)


def test_the_failure_mode_tells_more_than_the_class(pump_with_a_past: Asset) -> None:
    pump = pump_with_a_past
    seal = FailureMode.objects.create(code="SEAL", name="Seal leaks")
    for number in (1, 2, 3):
        closed(pump, datetime(2025, 7, number, tzinfo=UTC), downtime_minutes=1200, failure_mode=seal)
    closed(pump, day(3), alert=alert_of(pump, day(2)), downtime_minutes=0, failure_mode=seal)
    assert of(pump).avoided.hours == 20


def test_without_three_failures_in_the_past_nothing_is_estimated(north: Plant) -> None:
    closed(north.pump, day(3), alert=alert_of(north.pump, day(2)), downtime_minutes=0)
    assert (of(north.pump).avoided.hours, of(north.pump).avoided.without_past) == (0, 1)


def test_the_number_of_statements_does_not_grow(north: Plant) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as seen:
            of(north.pump, whole_site=True)
        return len(seen)

    before = statements()
    for number in range(3, 9):
        closed(Asset.objects.create(site=north.site, name=f"P-{number}"), day(number))
    assert statements() == before == 6


def api(client: Client, **asked: object) -> dict[str, Any]:
    period = {"from": JANUARY.start.isoformat(), "to": JANUARY.end.isoformat()}
    answer = client.get(reverse("api:figures"), period | asked)
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_page_api_and_file_say_the_same(client: Client, people: dict[str, User], north: Plant) -> None:
    closed(north.pump, day(3), other_cost="1234.50")
    client.force_login(people["viewer"])
    found = api(client)
    assert found["whole"]["mtbf_hours"] == 720
    page = client.get(reverse("maintenance:figures"), {"first": "2026-01-01", "last": "2026-01-30"}).content.decode()
    assert "720.0 h" in page
    assert "1,234.50 EUR" in page
    period = {"from": JANUARY.start.isoformat(), "to": JANUARY.end.isoformat(), "format": "csv"}
    rows = b"".join(client.get(reverse("api:figures-export"), period)).decode()  # type: ignore[arg-type]
    assert '"Failures","Mean time between failures (MTBF)",720,"h",1' in rows


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "bad_period"),
        ({"from": "yesterday"}, "bad_period"),
        ({"from": "1900-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "bad_period"),
    ],
)
def test_a_period_that_is_none_is_refused(
    client: Client, people: dict[str, User], asked: dict[str, str], code: str
) -> None:
    client.force_login(people["viewer"])
    answer = client.get(reverse("api:figures"), asked)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_who_sees_several_sites_names_one(client: Client, people: dict[str, User]) -> None:
    other = make_plant("South")
    other.site.members.add(people["viewer"])
    client.force_login(people["viewer"])
    assert client.get(reverse("api:figures")).json()["code"] == "site_required"
    assert api(client, site=other.site.pk)["site"] == other.site.pk
    assert api(client, asset=other.pump.pk)["asset"] == other.pump.pk


def test_figures_of_another_site_do_not_exist(client: Client, people: dict[str, User], south: Plant) -> None:
    client.force_login(people["admin"])
    assert client.get(reverse("api:figures"), {"site": south.site.pk}).status_code == 200
    client.force_login(people["viewer"])
    assert client.get(reverse("api:figures"), {"site": south.site.pk}).status_code == 404
    assert client.get(reverse("api:figures"), {"asset": south.pump.pk}).status_code == 404
    page = client.get(reverse("maintenance:figures"), {"site": south.site.pk}).content.decode()
    assert "South" not in page


@pytest.mark.parametrize("days", [{"first": "2026-02-01", "last": "2026-01-01"}, {"first": "0001-01-01"}])
def test_the_page_refuses_days_that_make_no_period(
    client: Client, people: dict[str, User], days: dict[str, str]
) -> None:
    client.force_login(people["viewer"])
    assert client.get(reverse("maintenance:figures"), days).status_code == 422


def test_the_page_shows_the_last_90_days_unless_asked(client: Client, people: dict[str, User], north: Plant) -> None:
    closed(north.pump, timezone.now() - timedelta(days=20))
    client.force_login(people["viewer"])
    page = client.get(reverse("maintenance:figures")).content.decode()
    assert "Pump P-101" in page
    assert "No failure in this period" in page  # No class is known.

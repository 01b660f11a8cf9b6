"""Plans make each order that is due exactly once."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise, takewhile
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.models import Alert, Severity
from maintenance import plans, work_orders
from maintenance.models import Plan, PlanOccurrence, WorkOrder
from maintenance.plan_days import coming
from sensors.errors import Refused
from sensors.models import Asset, Site
from tests.conftest import Plant
from tests.readings import HOUR, MINUTE, store

BEGIN = datetime(2026, 1, 5, 5, tzinfo=UTC)
DAY = timedelta(days=1)
COMPLETED = Plan.CountsFrom.COMPLETED


@pytest.fixture
def engineer(people: dict[str, User]) -> User:
    return people["engineer"]


@pytest.fixture
def planned(north: Plant, engineer: User) -> Callable[..., Plan]:
    def make(rule: str = "FREQ=WEEKLY;BYDAY=MO", *, now: datetime = BEGIN, **fields: Any) -> Plan:
        defaults = {"title": "Grease the bearings", "starts_on": date(2026, 1, 5), "lead_days": 7}
        plan = Plan(asset=north.pump, rule=rule, **defaults | fields)
        plan.full_clean(exclude=["created_by"])
        return plans.keep(plan, engineer, now)

    return make


def due_days(plan: Plan) -> list[str]:
    zone = plan.asset.site.timezone
    orders = WorkOrder.objects.filter(plan_occurrences__plan=plan).order_by("due_at")
    return [f"{order.due_at.astimezone(zone):%Y-%m-%d %H:%M}" for order in orders]


def finish(order: WorkOrder, at: datetime) -> None:
    WorkOrder.objects.filter(pk=order.pk).update(state=WorkOrder.State.CLOSED, done_at=at, closed_at=at)


def test_orders_are_made_ahead_as_the_plan_says(planned: Callable[..., Plan], people: dict[str, User]) -> None:
    who = {"assignee": people["technician"], "estimated_hours": 1.5, "priority": 3, "description": "Two shots."}
    plan = planned(lead_days=10, **who)
    assert plans.follow_due(BEGIN) == 2
    assert due_days(plan) == ["2026-01-05 08:00", "2026-01-12 08:00"]
    order = WorkOrder.objects.latest("pk")
    assert (order.asset, order.site, order.title) == (plan.asset, plan.asset.site, "Grease the bearings")
    assert (order.kind, order.state, order.created_by) == ("preventive", "approved", None)
    assert (order.assignee, order.estimated_hours, order.priority) == (people["technician"], 1.5, 3)
    assert [step.to_state for step in order.steps.all()] == ["approved"]
    plan.refresh_from_db()
    assert plan.next_due_at == datetime(2026, 1, 19, 7, tzinfo=UTC)


def test_tasks_that_make_no_sense_or_ask_for_sensors_of_other_sites_are_refused(
    planned: Callable[..., Plan], south: Plant
) -> None:
    with pytest.raises(ValidationError, match="names no sensor"):
        planned(checklist=[{"text": "Read", "kind": "reading"}])
    with pytest.raises(Refused) as refusal:
        planned(checklist=[{"text": "Read", "kind": "reading", "sensor": south.vibration.pk}])
    assert refusal.value.code == "checklist_sensor"


def test_a_plan_that_asks_for_it_only_proposes(planned: Callable[..., Plan]) -> None:
    planned(approved=False)
    plans.follow_due(BEGIN)
    assert {order.state for order in WorkOrder.objects.all()} == {"proposed"}


def test_each_order_has_the_checklist_of_its_plan(planned: Callable[..., Plan]) -> None:
    planned(checklist=[{"text": "Oil level", "kind": "number", "low": 1}, {"text": "Guard is closed"}])
    look(BEGIN)
    for order in WorkOrder.objects.all():
        assert list(order.checklist.values_list("text", "kind", "low")) == [
            ("Oil level", "number", 1),
            ("Guard is closed", "tick", None),
        ]
    assert WorkOrder.objects.exists()


def test_looking_again_makes_nothing_again(planned: Callable[..., Plan]) -> None:
    plan = planned()
    for minutes in (0, 0, 1, 60):
        Plan.objects.update(next_look_at=BEGIN)
        plans.follow_due(BEGIN + minutes * MINUTE)
    assert due_days(plan) == ["2026-01-05 08:00", "2026-01-12 08:00"]


def test_a_plan_that_is_switched_off_makes_none_and_does_not_make_up_for_it(
    planned: Callable[..., Plan], engineer: User
) -> None:
    plan = planned(enabled=False)
    assert plans.follow_due(BEGIN + 30 * DAY) == 0
    plan.enabled = True
    plans.keep(plan, engineer, BEGIN + 60 * DAY)
    plans.follow_due(BEGIN + 60 * DAY)
    assert due_days(plan) == ["2026-03-09 08:00"]


def test_of_what_was_due_while_nobody_looked_the_newest_becomes_an_order(planned: Callable[..., Plan]) -> None:
    plan = planned(lead_days=0)
    assert plans.follow_due(BEGIN + 30 * DAY) == 1
    assert due_days(plan) == ["2026-02-02 08:00"]
    missed = plan.occurrences.filter(order=None).order_by("due_at")
    assert [row.key for row in missed] == ["2026-01-05", "2026-01-12", "2026-01-19", "2026-01-26"]


def test_a_plan_that_began_long_ago_does_not_flood_the_workshop(planned: Callable[..., Plan]) -> None:
    plan = planned("FREQ=DAILY", starts_on=date(2010, 1, 1), lead_days=1)
    plans.follow_due(BEGIN)
    assert due_days(plan) == ["2026-01-05 08:00", "2026-01-06 08:00"]
    assert not plan.occurrences.filter(order=None).exists()


def test_changing_the_time_of_day_does_not_make_a_days_order_twice(
    planned: Callable[..., Plan], engineer: User
) -> None:
    plan = planned()
    plans.follow_due(BEGIN)
    plan.due_time = time(14)
    plans.keep(plan, engineer, BEGIN + HOUR)
    plans.follow_due(BEGIN + 7 * DAY)
    assert due_days(plan) == ["2026-01-05 08:00", "2026-01-12 08:00", "2026-01-19 14:00"]


def test_a_form_opened_before_a_sweep_does_not_undo_what_the_sweep_remembers(
    planned: Callable[..., Plan], engineer: User
) -> None:
    plan = planned()
    stale = Plan.objects.get(pk=plan.pk)
    plans.follow_due(BEGIN)
    stale.title = "Grease all bearings"
    plans.keep(stale, engineer, BEGIN + HOUR)
    plans.follow_due(BEGIN + HOUR)
    assert due_days(plan) == ["2026-01-05 08:00", "2026-01-12 08:00"]


@pytest.mark.parametrize("at", [time(8), time(2, 30)])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"])
def test_the_clock_on_the_wall_shows_the_same_time_all_year(planned: Callable[..., Plan], zone: str, at: time) -> None:
    plan = planned("FREQ=DAILY", due_time=at)
    plan.asset.site.timezone = ZoneInfo(zone)
    moments = [due.at for due in coming(plan, date(2025, 12, 31), date(2035, 12, 31), date(2026, 1, 1))]
    assert len(moments) == 3652
    shown = [moment.astimezone(ZoneInfo(zone)) for moment in moments]
    assert len({each.date() for each in shown}) == 3652
    odd = [each for each in shown if each.time() != at]
    assert len(odd) <= 10  # In spring 02:30 does not exist where clocks are put forward at 02:00.
    assert at == time(2, 30) or not odd
    assert all(timedelta(hours=22) < after - before < timedelta(hours=26) for before, after in pairwise(moments))


def test_a_holiday_moves_it_to_the_next_working_day_or_leaves_it_out(planned: Callable[..., Plan]) -> None:
    """Good Friday is on 2026-04-03, Easter Monday on the 6th."""
    fridays = {"rule": "FREQ=WEEKLY;BYDAY=FR", "now": datetime(2026, 3, 27, tzinfo=UTC), "holidays_of": "DE"}
    moved = planned(**fridays, on_holiday="move", lead_days=14)
    left_out = planned(**fridays, on_holiday="skip", lead_days=14)
    kept = planned(**fridays, lead_days=14)
    plans.follow_due(datetime(2026, 3, 27, tzinfo=UTC))
    assert [day[5:10] for day in due_days(moved)] == ["03-27", "04-07", "04-10"]
    assert [day[5:10] for day in due_days(left_out)] == ["03-27", "04-10"]
    assert [day[5:10] for day in due_days(kept)] == ["03-27", "04-03", "04-10"]


def test_a_day_that_holidays_move_onto_has_one_order(planned: Callable[..., Plan]) -> None:
    plan = planned("FREQ=DAILY", now=datetime(2026, 4, 2, tzinfo=UTC), holidays_of="DE", on_holiday="move", lead_days=7)
    plans.follow_due(datetime(2026, 4, 2, tzinfo=UTC))
    assert [day[5:10] for day in due_days(plan)] == ["04-02", "04-04", "04-05", "04-07", "04-08", "04-09"]


RULES = [
    "FREQ=DAILY;INTERVAL=3",
    "FREQ=WEEKLY;BYDAY=MO,TH",
    "FREQ=WEEKLY;INTERVAL=2",
    "FREQ=MONTHLY;BYMONTHDAY=-1",
    "FREQ=MONTHLY;BYDAY=1MO",
    "FREQ=YEARLY;BYMONTH=4,10;BYMONTHDAY=1",
]
TEN_YEARS = 3653 * DAY


def moved_to(zone: str) -> None:
    """The site of the plans, as if nothing had been planned there yet."""
    PlanOccurrence.objects.all().delete()
    Plan.objects.all().delete()
    Site.objects.update(timezone=ZoneInfo(zone))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rule=st.sampled_from(RULES),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Sydney", "Pacific/Apia"]),
    holidays=st.sampled_from([("", "keep"), ("DE-BY", "move"), ("US", "skip")]),
    lead_days=st.sampled_from([0, 3, 14]),
    sweeps=st.lists(st.integers(0, TEN_YEARS // MINUTE), min_size=1, max_size=40),
)
def test_over_ten_years_skipped_and_doubled_sweeps_see_to_each_due_day_exactly_once(
    planned: Callable[..., Plan],
    north: Plant,
    rule: str,
    zone: str,
    holidays: tuple[str, str],
    lead_days: int,
    sweeps: list[int],
) -> None:
    moved_to(zone)
    north.pump.site.refresh_from_db()
    plan = planned(rule, holidays_of=holidays[0], on_holiday=holidays[1], lead_days=lead_days)
    begun_on = BEGIN.astimezone(ZoneInfo(zone)).date()
    moments = [BEGIN + minute * MINUTE for minute in sorted(sweeps)] + [BEGIN + TEN_YEARS]
    with_order: set[str] = set()
    earlier = begun_on - DAY
    for now in moments:
        for _ in range(2):
            look(now)
        # What this sweep is the first to see: all that lies ahead, and the newest that is late.
        ahead = now.astimezone(ZoneInfo(zone)).date() + lead_days * DAY
        seen = list(takewhile(lambda due: due.day <= ahead, coming(plan, earlier, ahead)))  # noqa: B023
        late = sorted((due.at, due.named.isoformat()) for due in seen if due.at <= now)
        with_order |= {due.named.isoformat() for due in seen if due.at > now} | {key for _, key in late[-1:]}
        earlier = max([earlier, *(due.named for due in seen)])
    rows = list(plan.occurrences.select_related("order"))
    assert {row.key for row in rows} == {due.named.isoformat() for due in coming(plan, begun_on - DAY, earlier)}
    assert {row.key for row in rows if row.order} == with_order
    assert len(rows) == len({row.key for row in rows})
    assert len({row.order_id for row in rows if row.order}) == len(with_order)
    assert all(row.order.due_at == row.due_at for row in rows if row.order)


@pytest.mark.parametrize("rule", ["FREQ=WEEKLY;INTERVAL=2", "FREQ=MONTHLY;BYMONTHDAY=-1"])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Pacific/Apia"])
def test_looked_at_when_it_asks_to_be_a_plan_misses_nothing_in_ten_years(
    planned: Callable[..., Plan], north: Plant, rule: str, zone: str
) -> None:
    moved_to(zone)
    north.pump.site.refresh_from_db()
    plan = planned(rule, lead_days=2)
    now: datetime | None = BEGIN
    while now and now < BEGIN + TEN_YEARS:
        plans.follow_due(now)
        now = Plan.objects.get().next_look_at
    rows = plan.occurrences.order_by("due_at")
    assert rows.filter(order=None).count() == 0
    first, last = date(2026, 1, 3), date.fromisoformat(rows[len(rows) - 1].key)
    assert [row.due_at for row in rows] == [due.at for due in coming(plan, first, last)]
    assert last > date(2035, 12, 1)


def test_from_completion_the_next_one_counts_from_when_the_last_was_done(planned: Callable[..., Plan]) -> None:
    plan = planned("FREQ=DAILY;INTERVAL=30", counts_from=COMPLETED, lead_days=5)
    plans.follow_due(BEGIN)
    assert due_days(plan) == ["2026-01-05 08:00"]
    plans.follow_due(BEGIN + 20 * DAY)
    assert len(due_days(plan)) == 1  # The first one is still to be done.
    finish(WorkOrder.objects.get(), BEGIN + 20 * DAY)
    plans.follow_due(BEGIN + 44 * DAY)
    assert len(due_days(plan)) == 1
    plans.follow_due(BEGIN + 45 * DAY)
    assert due_days(plan) == ["2026-01-05 08:00", "2026-02-24 08:00"]


def test_work_done_early_does_not_bring_its_own_day_again(planned: Callable[..., Plan]) -> None:
    plan = planned("FREQ=WEEKLY;BYDAY=FR", counts_from=COMPLETED, lead_days=6)
    plans.follow_due(BEGIN)
    finish(WorkOrder.objects.get(), BEGIN + HOUR)
    plans.follow_due(BEGIN + DAY)
    plans.follow_due(BEGIN + 7 * DAY)
    assert due_days(plan) == ["2026-01-09 08:00", "2026-01-16 08:00"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"rule": "FREQ=HOURLY"}, "rule"),
        ({"starts_on": None}, "starts_on"),
        ({"on_holiday": "move"}, "holidays_of"),
        ({"holidays_of": "XX"}, "holidays_of"),
        ({"holidays_of": "DE-XX"}, "holidays_of"),
        ({"rule": "FREQ=DAILY;COUNT=3", "counts_from": COMPLETED}, "rule"),
        ({"trigger": "meter"}, "sensor"),
        ({"trigger": "condition"}, "alert_kinds"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(
    planned: Callable[..., Plan], fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValidationError) as refusal:
        planned(**fields)
    assert field in refusal.value.message_dict


def test_a_rule_without_days_is_refused(planned: Callable[..., Plan]) -> None:
    with pytest.raises(Refused) as refusal:
        planned("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30")
    assert refusal.value.code == "rule_without_days"


def test_a_plan_that_has_ended_is_not_looked_at_again(planned: Callable[..., Plan]) -> None:
    plan = planned("FREQ=WEEKLY;COUNT=2")
    plans.follow_due(BEGIN)
    plan.refresh_from_db()
    assert (due_days(plan)[-1], plan.next_look_at, plan.next_due_at) == ("2026-01-12 08:00", None, None)


def test_a_plan_that_fails_says_so_and_holds_up_no_other(planned: Callable[..., Plan]) -> None:
    broken, sound = planned(), planned()
    Plan.objects.filter(pk=broken.pk).update(rule="FREQ=NEVER", next_look_at=BEGIN - HOUR)
    plans.follow_due(BEGIN)
    broken.refresh_from_db()
    assert "FREQ=NEVER" in broken.problem
    assert len(due_days(sound)) == 2


def test_a_counter_makes_an_order_every_so_many_units_whatever_resets_lie_between(
    planned: Callable[..., Plan], north: Plant
) -> None:
    plan = planned("", trigger="meter", sensor=north.vibration, meter="counter", every=100.0)
    assert plans.follow_due(BEGIN) == 0
    store(north.vibration, BEGIN + 3 * HOUR, 7, 30 * MINUTE, values=[1000, 1020, 1040, 1060, 5, 20, 30])
    Plan.objects.update(next_look_at=BEGIN)
    assert plans.follow_due(BEGIN + 3 * HOUR + MINUTE) == 0
    plan.refresh_from_db()
    assert plan.used == 90
    store(north.vibration, BEGIN + 4 * HOUR, 1, MINUTE, values=[45])
    assert plans.follow_due(BEGIN + 4 * HOUR + MINUTE) == 1
    assert plans.follow_due(BEGIN + 5 * HOUR + MINUTE) == 0
    plan.refresh_from_db()
    assert (plan.used, plan.rounds) == (5, 1)


def test_running_hours_are_the_time_above_the_threshold(planned: Callable[..., Plan], north: Plant) -> None:
    plan = planned("", trigger="meter", sensor=north.vibration, meter="running_hours", every=10.0, threshold=1.0)
    on_and_off = [5.0] * 5 + [0.0] * 5
    store(north.vibration, BEGIN + 24 * HOUR - 6 * MINUTE, 240, 6 * MINUTE, values=on_and_off * 24)
    Plan.objects.update(next_look_at=BEGIN)
    assert plans.follow_due(BEGIN + 24 * HOUR) == 1
    plan.refresh_from_db()
    assert plan.used == pytest.approx(2.0)


def test_what_a_meter_showed_weeks_ago_is_added_up_once(planned: Callable[..., Plan], north: Plant) -> None:
    plan = planned("", trigger="meter", sensor=north.vibration, meter="counter", every=1000.0)
    store(north.vibration, BEGIN + 480 * HOUR, 480, HOUR, values=list(range(480)))
    for hours in (100, 200, 300, 481):
        Plan.objects.update(next_look_at=BEGIN)
        plans.follow_due(BEGIN + hours * HOUR)
    plan.refresh_from_db()
    assert plan.used == 479
    assert plan.metered_from == BEGIN + (481 - 7 * 24) * HOUR


def test_a_meter_from_completion_starts_when_the_work_was_done(planned: Callable[..., Plan], north: Plant) -> None:
    meter = {"trigger": "meter", "sensor": north.vibration, "meter": "counter", "every": 100.0}
    plan = planned("", counts_from=COMPLETED, **meter)
    store(north.vibration, BEGIN + 100 * HOUR, 100, HOUR, values=[5.0 * n for n in range(100)])
    assert plans.follow_due(BEGIN + 30 * HOUR) == 1
    Plan.objects.update(next_look_at=BEGIN)
    assert plans.follow_due(BEGIN + 60 * HOUR) == 0
    finish(WorkOrder.objects.get(), BEGIN + 61 * HOUR)
    Plan.objects.update(next_look_at=BEGIN)
    assert plans.follow_due(BEGIN + 71 * HOUR) == 0
    plan.refresh_from_db()
    assert 40 <= plan.used <= 55
    assert plans.follow_due(BEGIN + 90 * HOUR) == 1


def alert_of(asset: Asset, at: datetime, **fields: Any) -> Alert:
    defaults = {"kind": Alert.Kind.LIMIT, "severity": Severity.HIGH, "opened_at": at, "title": "Too hot"}
    key = f"cause {Alert.objects.count()}"
    return Alert.objects.create(site=asset.site, asset=asset, dedup_key=key, **defaults | fields)


@pytest.fixture
def watching(planned: Callable[..., Plan]) -> Plan:
    fields = {"trigger": "condition", "alert_kinds": ["limit", "forecast"], "least_severity": 3, "approved": False}
    return planned("", lead_days=2, **fields)


def look(at: datetime) -> int:
    Plan.objects.update(next_look_at=at)
    return plans.follow_due(at)


def test_an_alert_of_the_asset_or_a_part_of_it_proposes_an_order(watching: Plan, north: Plant) -> None:
    bearing = Asset.objects.create(site=north.site, parent=north.pump, name="Bearing")
    alert = alert_of(bearing, BEGIN + HOUR)
    assert look(BEGIN + HOUR) == 1
    order = WorkOrder.objects.get()
    assert (order.asset, order.alert, order.kind, order.state) == (north.pump, alert, "condition_based", "proposed")
    assert order.due_at == BEGIN + HOUR + 2 * DAY
    assert look(BEGIN + 2 * HOUR) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": Alert.Kind.SILENT},
        {"severity": Severity.MEDIUM},
        {"historical": True},
        {"state": "resolved"},
        {"opened_at": BEGIN - HOUR},
    ],
)
def test_other_alerts_propose_nothing(watching: Plan, north: Plant, fields: dict[str, Any]) -> None:
    alert_of(north.pump, BEGIN + HOUR, **fields)
    assert look(BEGIN + HOUR) == 0


def test_alerts_of_other_assets_propose_nothing(watching: Plan, north: Plant, south: Plant) -> None:
    alert_of(south.pump, BEGIN + HOUR)
    alert_of(Asset.objects.create(site=north.site, name="Fan"), BEGIN + HOUR)
    assert look(BEGIN + HOUR) == 0


def test_while_an_order_of_the_plan_runs_more_alerts_belong_to_it(watching: Plan, north: Plant) -> None:
    for _ in range(3):
        alert_of(north.pump, BEGIN + HOUR)
    assert look(BEGIN + HOUR) == 1
    alert_of(north.pump, BEGIN + 2 * HOUR)
    assert look(BEGIN + 2 * HOUR) == 0
    order = WorkOrder.objects.get()
    assert order.plan_occurrences.count() == 4
    finish(order, BEGIN + 3 * HOUR)
    assert look(BEGIN + 3 * HOUR) == 0
    alert_of(north.pump, BEGIN + 4 * HOUR)
    assert look(BEGIN + 4 * HOUR) == 1


def test_an_alert_that_somebody_works_on_already_needs_no_other_order(
    watching: Plan, north: Plant, people: dict[str, User]
) -> None:
    alert = alert_of(north.pump, BEGIN + HOUR)
    order = work_orders.propose_for_alert(alert, people["technician"])
    assert look(BEGIN + HOUR) == 0
    assert watching.occurrences.get().order == order

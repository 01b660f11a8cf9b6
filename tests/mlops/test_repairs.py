from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from maintenance.models import Verdict, WorkOrder
from mlops import repairs
from mlops.before_after import STEP_US, Answer, Samples, Signal, compare, overall
from mlops.models import RepairCheck
from sensors.models import Reading, Sensor
from tests.alerts.test_views import text
from tests.conftest import Plant

START = 1_700_000_000_000_000 // STEP_US * STEP_US
DAY = 288
LOAD_KEY = 9


def series(begin: int, count: int, level: float, seed: int, load: Any = 0.0) -> Samples:
    """Readings every five minutes around a level, with noise of 1, and 2 more for each unit of load."""
    noise = np.random.default_rng(seed).normal(0, 1, count)
    return Samples(START + STEP_US * np.arange(begin, begin + count), level + noise + 2 * np.asarray(load))


def shaking(before: float, after: float, kind: str = "vibration", loads: Any = (0.0, 0.0, 0.0), key: int = 1) -> Signal:
    """Usually at 50; ten days of normal, 12 h of fault, a day afterwards."""
    parts = (0, 10 * DAY, 50.0), (10 * DAY, 144, before), (11 * DAY, DAY, after)
    normal, fault, later = (
        series(begin, count, level, seed, load)
        for seed, ((begin, count, level), load) in enumerate(zip(parts, loads, strict=True), key)
    )
    return Signal(key, "Vibration", kind, normal, fault, later)


def daily(count: int) -> Any:
    """A load that goes from 0 to 10 and back every day."""
    return 5 - 5 * np.cos(2 * np.pi * np.arange(count) / DAY)


def power(*loads: Any) -> Signal:
    normal, fault, later = (
        Samples(START + STEP_US * np.arange(begin, begin + count), np.broadcast_to(np.asarray(load, float), count))
        for (begin, count), load in zip(((0, 10 * DAY), (10 * DAY, 144), (11 * DAY, DAY)), loads, strict=True)
    )
    return Signal(LOAD_KEY, "Power", "power", normal, fault, later)


def answer(*signals: Signal, fault: bool = True, alerting: tuple[int, ...] = (1,)) -> str:
    return overall(compare(signals, fault, alerting), fault)[0]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (60, 50, Answer.FIXED),
        (60, 60, Answer.UNCHANGED),
        (60, 75, Answer.WORSE),
        (50, 50, Answer.CANNOT_TELL),
        (50, 60, Answer.WORSE),
        (60, 40, Answer.FIXED),
        (60, 52, Answer.CANNOT_TELL),
    ],
    ids=[
        "back to normal",
        "as before",
        "further away",
        "showed nothing",
        "new trouble",
        "quieter than ever",
        "between",
    ],
)
def test_a_repair_is_judged_by_where_the_signal_went(before: float, after: float, said: Answer) -> None:
    assert answer(shaking(before, after)) == said


def test_a_machine_that_runs_at_a_load_it_never_knew_is_not_judged() -> None:
    loads = (daily(10 * DAY), daily(144), np.full(DAY, 30.0))
    assert answer(shaking(60, 50, loads=loads), power(*loads)) == Answer.CANNOT_TELL


def test_a_higher_load_after_a_good_repair_is_not_taken_for_a_fault() -> None:
    loads = (daily(10 * DAY), daily(144), np.full(DAY, 9.5))
    assert answer(shaking(65, 50, loads=loads), power(*loads)) == Answer.FIXED
    # Without knowing the load, the same readings look unlike the past.
    assert answer(shaking(65, 50, loads=loads)) != Answer.FIXED


def test_a_low_load_after_a_bad_repair_is_not_taken_for_a_cure() -> None:
    loads = (daily(10 * DAY), np.full(144, 9.0), np.full(DAY, 1.0))
    assert answer(shaking(65, 50, loads=loads), power(*loads)) == Answer.CANNOT_TELL


def test_a_machine_that_stands_still_since_the_repair_is_not_judged() -> None:
    runs = np.where(np.arange(10 * DAY) % DAY < 200, 0.0, -25.0)
    loads = (runs, 0.0, -25.0)
    assert answer(shaking(65, 50, loads=loads)) == Answer.CANNOT_TELL


def test_a_sensor_that_sends_nothing_any_more_is_not_judged() -> None:
    silent = Samples(np.empty(0, np.int64), np.empty(0))
    signal = shaking(60, 50)
    gone = Signal(1, signal.name, signal.kind, signal.normal, signal.before, silent)
    assert answer(gone) == Answer.CANNOT_TELL


def test_one_sensor_that_is_worse_decides() -> None:
    assert answer(shaking(60, 50), shaking(60, 80, key=5), alerting=(1, 5)) == Answer.WORSE


def test_a_flow_that_falls_as_well_as_one_that_rises_is_a_fault() -> None:
    assert answer(shaking(40, 50, kind="pressure")) == Answer.FIXED
    assert answer(shaking(40, 40, kind="pressure")) == Answer.UNCHANGED


@pytest.mark.parametrize(("after", "said"), [(50, Answer.UNCHANGED), (60, Answer.WORSE)])
def test_planned_work_should_leave_everything_as_it_was(after: float, said: Answer) -> None:
    assert answer(shaking(50, after), fault=False) == said


NOW = datetime(2026, 7, 10, 12, tzinfo=UTC)


def closed(plant: Plant, at: datetime, outcome: str = "fault_found") -> WorkOrder:
    order = WorkOrder.objects.create(
        site=plant.site,
        asset=plant.pump,
        title="Replace the bearing",
        state="closed",
        outcome=outcome,
        created_at=at - timedelta(hours=12),
        started_at=at - timedelta(hours=2),
        closed_at=at,
    )
    window = {"window_start": at - timedelta(hours=12), "window_end": at}
    Verdict.objects.create(asset=plant.pump, work_order=order, outcome=outcome, **window)
    return order


def record(sensor: Sensor, start: datetime, end: datetime, level: float) -> None:
    random = np.random.default_rng(1)
    count = (end - start) // timedelta(minutes=5)
    values = level + random.normal(0, 1, count)
    Reading.objects.bulk_create(
        Reading(sensor=sensor, timestamp=start + n * timedelta(minutes=5), value=value)
        for n, value in enumerate(values)
    )


@pytest.fixture
def repaired(north: Plant) -> WorkOrder:
    """Closed two days before NOW; three normal days, twelve hours of fault, and normal again."""
    at = NOW - timedelta(days=2)
    record(north.vibration, at - timedelta(days=4), at - timedelta(hours=12), 50)
    record(north.vibration, at - timedelta(hours=12), at - timedelta(hours=2), 65)
    record(north.vibration, at, NOW, 50)
    return closed(north, at)


def test_a_closed_order_is_answered_a_day_later_once(repaired: WorkOrder) -> None:
    assert repaired.closed_at is not None
    assert repairs.check_due(repaired.closed_at + timedelta(hours=1)) == 0
    assert RepairCheck.objects.get().due_at == repaired.closed_at + timedelta(days=1)
    assert repairs.check_due(NOW) == 1
    check = RepairCheck.objects.get()
    assert (check.answer, check.due_at) == ("fixed", None)
    assert "is normal again, it was" in check.reason
    assert repairs.check_due(NOW) == 0


def test_an_order_that_says_too_little_is_looked_at_again_until_a_week_has_passed(north: Plant) -> None:
    closed(north, NOW - timedelta(days=2))
    repairs.check_due(NOW)
    check = RepairCheck.objects.get()
    assert (check.answer, check.due_at) == ("", NOW + timedelta(hours=12))
    repairs.check_due(NOW + timedelta(days=6))
    check.refresh_from_db()
    assert (check.answer, check.due_at) == ("cannot_tell", None)


@pytest.mark.parametrize("outcome", ["nothing_found", "sensor_problem"])
def test_where_nothing_was_repaired_nothing_is_asked(north: Plant, outcome: str) -> None:
    closed(north, NOW - timedelta(days=2), outcome)
    assert repairs.check_due(NOW) == 0
    assert not RepairCheck.objects.exists()


def test_the_page_of_the_order_shows_the_answer_and_the_chart(
    client: Client, people: dict[str, User], repaired: WorkOrder
) -> None:
    client.force_login(people["viewer"])
    url = reverse("mlops:repair", args=[repaired.pk])
    assert url in text(client, repaired.get_absolute_url())
    assert "are compared when a fault was found" in text(client, url)
    repairs.check_due(NOW)
    panel = text(client, url)
    assert "Fixed" in panel
    assert '<svg class="plot"' in panel
    (row,) = client.get("/api/v1/repair-checks/").json()["results"]
    assert (row["order"], row["answer"]) == (repaired.pk, "fixed")

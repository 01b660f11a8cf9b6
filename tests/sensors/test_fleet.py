import io
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db.models import Count, Max, Min
from django.utils import timezone

from sensors import fleet, summary
from sensors.models import Asset, DirtyHour, HourlySummary, Reading, Sensor


def seed(**options: int) -> str:
    out = io.StringIO()
    call_command("seed_demo", stdout=out, **options)
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_a_fleet_is_filled_up_to_now_and_its_hours_are_summarised() -> None:
    seed(sensors=6, days=2, step=600)
    assert (Asset.objects.count(), Sensor.objects.count()) == (2, 6)
    counts = Reading.objects.values_list("sensor").annotate(n=Count("*"))
    assert {n for _, n in counts} == {288}
    newest = Reading.objects.aggregate(newest=Max("timestamp"))["newest"]
    assert timezone.now() - newest < timedelta(minutes=11)
    assert not DirtyHour.objects.exists()
    kept = HourlySummary.objects.filter(sensor__in=Sensor.objects.all())
    assert sum(kept.values_list("count", flat=True)) == 6 * 288
    found = summary.hours(list(Sensor.objects.values_list("pk", flat=True)), newest - timedelta(days=3), newest)
    assert found.count.sum() == 6 * 287


@pytest.mark.django_db(transaction=True)
def test_filling_it_again_adds_only_what_is_new() -> None:
    seed(sensors=3, days=1, step=600)
    stored = Reading.objects.count()
    seed(sensors=3, days=1, step=600)
    assert Reading.objects.count() - stored in (0, 3)
    seed(sensors=4, days=2, step=600)
    assert Sensor.objects.count() == 4
    assert Reading.objects.values("sensor").annotate(n=Count("*")).aggregate(Min("n"))["n__min"] >= 288


@pytest.mark.parametrize("number", range(5))
def test_every_kind_stays_in_its_range_and_uses_much_of_it(number: int) -> None:
    quantity = fleet.quantity_of(number)
    monday = datetime(2026, 3, 2, tzinfo=UTC).timestamp() // 86_400
    values = np.concatenate([fleet.values(number, int(monday) + day, 60) for day in range(7)])
    assert quantity.low <= values.min()
    assert values.max() <= quantity.high
    assert np.ptp(values) > 0.4 * (quantity.high - quantity.low)


def test_the_same_day_is_the_same_whenever_it_is_made_and_days_differ() -> None:
    day = fleet.values(3, 20_000, 60)
    assert (day == fleet.values(3, 20_000, 60)).all()
    assert (day != fleet.values(3, 20_001, 60)).any()


def test_one_sensor_in_seven_drifts() -> None:
    days = fleet.DRIFT_SECONDS // fleet.DAY_SECONDS
    middays = np.array([[fleet.values(n, 20_000 + day, 3600)[12] for day in range(days)] for n in (6, 13, 7, 8)])
    spans = np.ptp([middays[:, first : first + 7].mean(axis=1) for first in range(0, days - 6, 7)], axis=0)
    ranges = np.array([fleet.quantity_of(n).high - fleet.quantity_of(n).low for n in (6, 13, 7, 8)])
    assert (spans / ranges > 0.1).tolist() == [True, True, False, False]


@pytest.mark.django_db
@pytest.mark.parametrize("options", [{"sensors": -1}, {"days": 1, "step": 0}, {"sensors": 10_000, "days": 400}])
def test_what_cannot_be_filled_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(CommandError):
        seed(**options)
    assert not Sensor.objects.exists()

"""Readings entered and corrected by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from sensors.forms import Round
from sensors.models import Correction, Quarantined, Reading, ReadingBatch, Sensor
from sensors.quality import Flag
from tests.conftest import Plant

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def operator(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["operator"])
    return client


def enter(client: Client, plant: Plant, at: str = "2026-07-01T14:00:00", **more: Any) -> HttpResponse:
    t, v = plant.temperature.pk, plant.vibration.pk
    names = {"temperature": f"value_{t}", "vibration": f"value_{v}", "unit": f"unit_{t}"}
    form = {"at": at, f"unit_{t}": "°C", f"unit_{v}": "mm/s"}
    form |= {names.get(name, name): value for name, value in more.items()}
    answer: HttpResponse = client.post(reverse("sensors:enter", args=[plant.pump.pk]), form)
    return answer


def test_an_inspection_round_is_stored_at_one_time(operator: Client, north: Plant) -> None:
    assert enter(operator, north, temperature="61.5", vibration="3").status_code == 302
    assert set(Reading.objects.values_list("sensor", "value", "timestamp")) == {
        (north.temperature.pk, 61.5, NOON),
        (north.vibration.pk, 3.0, NOON),
    }
    assert ReadingBatch.objects.get().source == "manual"


def test_what_is_left_empty_was_not_read(operator: Client, north: Plant) -> None:
    enter(operator, north, temperature="61.5", vibration="")
    assert Reading.objects.get().sensor_id == north.temperature.pk


def test_a_decimal_comma_is_read_as_one(operator: Client, north: Plant) -> None:
    page = operator.get(reverse("sensors:enter", args=[north.pump.pk])).content.decode()
    assert 'type="number"' not in page
    enter(operator, north, temperature="61,5")
    assert Reading.objects.get().value == 61.5


def test_what_is_stored_but_cannot_be_is_asked_about(operator: Client, north: Plant) -> None:
    Sensor.objects.update(range_high=150)
    enter(operator, north, temperature="615", vibration="3")
    page = operator.get(north.pump.get_absolute_url()).content.decode()
    assert "stored, but doubted: outside the physical range. Is 615.0 °C meant?" in page
    assert page.count("but doubted") == 1


def test_a_value_in_another_unit_of_the_sensors_dimension_is_converted(operator: Client, north: Plant) -> None:
    enter(operator, north, temperature="212", unit="°F")
    assert Reading.objects.get().value == pytest.approx(100)
    assert enter(operator, north, temperature="212", unit="bar").status_code == 422


def test_what_is_refused_is_said_at_its_field_and_nothing_typed_is_lost(operator: Client, north: Plant) -> None:
    answer = enter(operator, north, temperature="61.5", vibration="1e300")
    page = answer.content.decode()
    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == [f"value_{north.vibration.pk}", "__all__"]
    assert 'value="61.5"' in page
    assert 'value="1e+300"' in page or 'value="1e300"' in page
    assert "1 stored" in page
    # Who corrects and stores again stores nothing twice, and what a person saw refused is not quarantined.
    assert enter(operator, north, temperature="61.5", vibration="3").status_code == 302
    assert Reading.objects.count() == 2
    assert not Quarantined.objects.exists()


def test_a_time_ahead_of_the_clock_is_refused_at_the_time(operator: Client, north: Plant) -> None:
    answer = enter(operator, north, at="2096-07-01T14:00:00", temperature="61.5")
    assert list(answer.context["form"].errors) == ["at"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"temperature": "hot"}, "value"),
        ({"temperature": "nan"}, "value"),
        ({"temperature": "1.234,5"}, "value"),
        ({"temperature": "1,234,567"}, "value"),
        ({"temperature": "1", "at": ""}, "at"),
        ({"temperature": "1", "at": "yesterday"}, "at"),
        ({"temperature": "1", "at": "2026-07-01T14:00:00+02:00"}, "at"),
        ({"temperature": "1", "at": "2026-03-29T02:30:00"}, "at"),
        ({"temperature": "1", "at": "0001-01-01T00:00:00"}, "at"),
        ({}, "__all__"),
    ],
)
def test_what_makes_no_sense_is_explained(operator: Client, north: Plant, change: dict[str, Any], field: str) -> None:
    answer = enter(operator, north, **change)
    assert answer.status_code == 422
    assert [name.partition("_")[0] if name != "__all__" else name for name in answer.context["form"].errors] == [field]
    assert not Reading.objects.exists()


@pytest.mark.parametrize(("chosen", "hour"), [("0", 0), ("1", 1)])
def test_a_time_that_clocks_showed_twice_is_asked_for(operator: Client, north: Plant, chosen: str, hour: int) -> None:
    answer = enter(operator, north, at="2025-10-26T02:30:00", temperature="1")
    assert list(answer.context["form"].errors) == ["second_pass"]
    assert '<select name="second_pass"' in answer.content.decode()
    enter(operator, north, at="2025-10-26T02:30:00", temperature="1", second_pass=chosen)
    assert Reading.objects.get().timestamp == datetime(2025, 10, 26, hour, 30, tzinfo=UTC)


@pytest.mark.parametrize(("hour", "answered"), [(0, "0"), (1, "1"), (2, "")])
def test_the_form_opens_with_the_present_time_even_when_clocks_are_put_back(
    north: Plant, hour: int, answered: str
) -> None:
    now = datetime(2026, 10, 25, hour, 30, tzinfo=UTC)
    form = Round(sensors=[north.temperature], zone=north.site.timezone, now=now)
    local = now.astimezone(north.site.timezone)
    assert form.initial == {"at": local.replace(tzinfo=None, fold=0), "second_pass": answered}
    assert form["second_pass"].is_hidden is (answered == "")


def test_a_reading_that_is_there_already_stays_and_that_is_said(operator: Client, north: Plant) -> None:
    enter(operator, north, temperature="61.5")
    enter(operator, north, temperature="99")
    page = operator.get(north.pump.get_absolute_url()).content.decode()
    assert "a reading of this time was there already" in page
    assert Reading.objects.get().value == 61.5


def test_only_sensors_of_the_asset_that_are_in_use_are_offered(operator: Client, north: Plant, south: Plant) -> None:
    Sensor.objects.filter(pk=north.vibration.pk).update(status=Sensor.Status.RETIRED)
    page = operator.get(reverse("sensors:enter", args=[north.pump.pk]))
    assert page.context["form"].sensors == [north.temperature]
    assert operator.get(reverse("sensors:enter", args=[south.pump.pk])).status_code == 404


# ---- corrections


@pytest.fixture
def engineer(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["engineer"])
    return client


def correct_url(sensor: Sensor, at: datetime) -> str:
    return f"{reverse('sensors:correct', args=[sensor.pk])}?at={at.isoformat().replace('+', '%2B')}"


def test_a_reading_is_corrected_and_the_old_value_kept(engineer: Client, people: dict[str, User], north: Plant) -> None:
    at = NOON + timedelta(microseconds=123456)
    Reading.objects.create(sensor=north.temperature, timestamp=at, value=615.0)
    assert 'value="615.0"' in engineer.get(correct_url(north.temperature, at)).content.decode()
    answer = engineer.post(correct_url(north.temperature, at), {"value": "61.5"})
    assert answer.headers["Location"] == north.temperature.get_absolute_url()
    assert Reading.objects.get().value == 61.5
    correction = Correction.objects.get()
    assert (correction.old_value, correction.new_value, correction.by) == (615.0, 61.5, people["engineer"])
    page = engineer.get(north.temperature.get_absolute_url()).content.decode()
    assert f"corrected by {people['engineer']}, was 615.0 °C" in page
    assert ReadingBatch.objects.get().corrected == 1


def test_the_last_of_several_corrections_is_shown_and_all_of_them_on_its_page(engineer: Client, north: Plant) -> None:
    Reading.objects.create(sensor=north.temperature, timestamp=NOON, value=1.0)
    for value in ("2", "3"):
        engineer.post(correct_url(north.temperature, NOON), {"value": value})
    assert ", was 2.00 °C" in engineer.get(north.temperature.get_absolute_url()).content.decode()
    assert len(engineer.get(correct_url(north.temperature, NOON)).context["corrections"]) == 2


@pytest.mark.parametrize("value", ["", "hot", "inf", "1e300"])
def test_an_impossible_value_is_refused_and_changes_nothing(engineer: Client, north: Plant, value: str) -> None:
    Reading.objects.create(sensor=north.temperature, timestamp=NOON, value=1.0)
    answer = engineer.post(correct_url(north.temperature, NOON), {"value": value})
    assert (answer.status_code, list(answer.context["form"].errors)) == (422, ["value"])
    assert Reading.objects.get().value == 1.0


def test_what_is_no_reading_cannot_be_corrected(engineer: Client, north: Plant, south: Plant) -> None:
    Reading.objects.create(sensor=south.temperature, timestamp=NOON, value=1.0)
    assert engineer.get(correct_url(north.temperature, NOON)).status_code == 404
    assert engineer.get(correct_url(south.temperature, NOON)).status_code == 404
    assert engineer.get(reverse("sensors:correct", args=[north.temperature.pk])).status_code == 400


def test_the_readings_page_says_what_is_doubted_in_words(engineer: Client, north: Plant) -> None:
    at = timezone.now()
    Reading.objects.create(sensor=north.temperature, timestamp=at, value=1.0, quality=0.3, flags=Flag.STUCK | Flag.LATE)
    assert "stuck at one value, came late" in engineer.get(north.temperature.get_absolute_url()).content.decode()

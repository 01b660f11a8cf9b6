import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from sensors.models import Asset, Pending, Reading, ReadingBatch, Sensor
from tests.conftest import Plant, make_user

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def viewer(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["viewer"])
    return client


def record(sensor: Sensor, *values: float, at: datetime = NOON, step: timedelta = timedelta(minutes=1)) -> None:
    """Readings `step` apart, the last of them at `at`."""
    first = at - step * (len(values) - 1)
    Reading.objects.bulk_create(
        Reading(sensor=sensor, timestamp=first + step * i, value=value) for i, value in enumerate(values)
    )


def queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as seen:
        assert client.get(url).status_code == 200
    return len(seen)


def pages_of(plant: Plant) -> list[str]:
    return [
        reverse("sensors:asset", args=[plant.pump.pk]),
        reverse("sensors:readings", args=[plant.temperature.pk]),
        reverse("sensors:series", args=[plant.temperature.pk]),
    ]


def test_a_viewer_sees_every_page(viewer: Client, north: Plant) -> None:
    record(north.temperature, 60.0, 61.0)
    for url in (reverse("sensors:overview"), reverse("sensors:assets"), *pages_of(north)):
        assert viewer.get(url).status_code == 200, url


def test_what_belongs_to_another_site_does_not_exist(viewer: Client, south: Plant) -> None:
    for url in pages_of(south):
        assert viewer.get(url).status_code == 404, url
    assert "South" not in viewer.get(reverse("sensors:assets")).content.decode()


def test_a_stranger_is_asked_to_log_in(client: Client, north: Plant) -> None:
    for url in (reverse("sensors:overview"), *pages_of(north)):
        answer = client.get(url)
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith(reverse("account_login"))


def test_pages_are_read_only(viewer: Client, north: Plant) -> None:
    assert {viewer.post(url).status_code for url in pages_of(north)} == {405}


def test_somebody_without_a_role_is_not_let_in(client: Client, north: Plant) -> None:
    user = User.objects.create_user("nobody")
    north.site.members.add(user)
    client.force_login(user)
    assert client.get(reverse("sensors:overview")).status_code == 403


def test_an_empty_overview_says_the_next_step_to_those_who_can_take_it(client: Client, db: None) -> None:
    client.force_login(make_user("engineer"))
    assert reverse("admin:sensors_asset_add") in client.get(reverse("sensors:overview")).content.decode()
    client.force_login(make_user("viewer"))
    page = client.get(reverse("sensors:overview")).content.decode()
    assert reverse("admin:sensors_asset_add") not in page
    assert "No assets yet" in page


def test_an_asset_without_sensors_says_how_to_add_one(client: Client, people: dict[str, User], north: Plant) -> None:
    bare = Asset.objects.create(site=north.site, name="Bare")
    client.force_login(people["engineer"])
    assert (
        f"{reverse('admin:sensors_sensor_add')}?asset={bare.pk}" in client.get(bare.get_absolute_url()).content.decode()
    )


def dead_letter(plant: Plant) -> None:
    sensor = plant.temperature.pk
    batch = ReadingBatch.objects.create(source="test", accepted=1, sensors=[sensor], firsts=[NOON], lasts=[NOON])
    Pending.objects.create(batch=batch, consumer="score", dead_at=timezone.now())


def test_dead_letters_are_announced_to_those_who_may_see_them(
    client: Client, people: dict[str, User], north: Plant
) -> None:
    dead_letter(north)
    overview = reverse("sensors:overview")
    client.force_login(people["engineer"])
    assert reverse("admin:sensors_pending_changelist") in client.get(overview).content.decode()
    client.force_login(people["viewer"])
    assert "could not be worked on" not in client.get(overview).content.decode()


def test_dead_letters_of_another_site_are_not_announced(client: Client, people: dict[str, User], south: Plant) -> None:
    dead_letter(south)
    client.force_login(people["engineer"])
    assert "could not be worked on" not in client.get(reverse("sensors:overview")).content.decode()


def test_parts_stand_below_the_asset_they_belong_to(viewer: Client, north: Plant) -> None:
    hall = Asset.objects.create(site=north.site, name="Z hall", level=Asset.Level.AREA)
    north.pump.parent = hall
    north.pump.save()
    Asset.objects.create(site=north.site, name="A bearing", parent=north.pump, level=Asset.Level.COMPONENT)
    page = viewer.get(reverse("sensors:assets")).content.decode()
    found = re.findall(r'class="depth-(\d)">\s*<a[^>]*>([^<]+)<', page)
    assert found == [("0", "Z hall"), ("1", "Pump P-101"), ("2", "A bearing")]


def test_an_asset_in_a_loop_of_parents_is_still_listed(viewer: Client, north: Plant) -> None:
    north.pump.parent = north.pump
    north.pump.save()
    assert "Pump P-101" in viewer.get(reverse("sensors:assets")).content.decode()


def test_times_and_units_are_those_of_the_site_and_sensor(viewer: Client, north: Plant) -> None:
    record(north.temperature, 61.5)
    page = viewer.get(north.temperature.get_absolute_url()).content.decode()
    assert "2026-07-01 14:00:00.000 CEST" in page
    assert "61.50 °C" in page


def test_the_live_part_of_an_asset_page_comes_alone_to_htmx(viewer: Client, north: Plant) -> None:
    record(north.temperature, 61.5, at=timezone.now())
    answer = viewer.get(north.pump.get_absolute_url(), headers={"HX-Request": "true"})
    assert "61.50 °C" in answer.content.decode()
    assert "<html" not in answer.content.decode()
    assert "HX-Request" in answer.headers["Vary"]


def test_a_retired_sensor_is_not_on_the_asset_page(viewer: Client, north: Plant) -> None:
    Sensor.objects.filter(pk=north.vibration.pk).update(status=Sensor.Status.RETIRED)
    page = viewer.get(north.pump.get_absolute_url()).content.decode()
    assert f'id="sensor-{north.temperature.pk}"' in page
    assert f'id="sensor-{north.vibration.pk}"' not in page


def test_charts_open_on_the_shortest_range_that_shows_the_newest_reading(viewer: Client, north: Plant) -> None:
    for age, chosen in ((timedelta(hours=2), "24h"), (timedelta(days=3), "7d"), (timedelta(days=900), "all")):
        Reading.objects.all().delete()
        record(north.temperature, 1.0, at=timezone.now() - age)
        assert f'data-query="range={chosen}"' in viewer.get(north.pump.get_absolute_url()).content.decode()


def test_readings_are_paged_newest_first_without_gap_or_overlap(viewer: Client, north: Plant) -> None:
    record(north.temperature, *(float(i) for i in range(250)))
    url, seen = north.temperature.get_absolute_url(), []
    while url:
        page = viewer.get(url)
        seen += [reading.value for reading in page.context["rows"]]
        older = re.search(r'href="(\?[^"]*before=[^"]+)"', page.content.decode())
        url = north.temperature.get_absolute_url() + older[1].replace("&amp;", "&") if older else ""
    assert seen == [float(i) for i in reversed(range(250))]


def test_a_period_is_read_on_the_wall_clock_of_the_site(viewer: Client, north: Plant) -> None:
    record(north.temperature, 1.0, 2.0, 3.0, step=timedelta(hours=1))  # 12:00, 13:00, 14:00 in Berlin
    page = viewer.get(north.temperature.get_absolute_url(), {"start": "2026-07-01T12:30", "end": "2026-07-01T13:30"})
    assert [reading.value for reading in page.context["rows"]] == [2.0]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"before": "yesterday"}, "ISO 8601"),
        ({"before": "2026-07-01T12:00"}, "ISO 8601"),
        ({"before": "2026-99-01T12:00Z"}, "ISO 8601"),
        ({"before": "0001-01-01T00:00:00Z"}, "1900 to 2199"),
        ({"before": "9999-12-31T23:59:59-14:00"}, "1900 to 2199"),
        ({"before": "2026-07-01T12:00:00Z", "start": "2026-07-02T12:00"}, "after the beginning of the period"),
    ],
)
def test_a_cursor_that_makes_no_sense_is_explained(
    viewer: Client, north: Plant, query: dict[str, str], said: str
) -> None:
    answer = viewer.get(north.temperature.get_absolute_url(), query)
    assert answer.status_code == 400
    assert said in answer.content.decode()


def test_a_period_that_ends_before_it_begins_is_explained(viewer: Client, north: Plant) -> None:
    page = viewer.get(north.temperature.get_absolute_url(), {"start": "2026-07-02T12:00", "end": "2026-07-01T12:00"})
    assert "“From” lies after “To”." in page.content.decode()


def test_a_sensor_without_readings_says_how_to_send_one(viewer: Client, north: Plant) -> None:
    page = viewer.get(north.temperature.get_absolute_url()).content.decode()
    assert "/api/v1/readings/" in page
    assert north.temperature.sensor_id in page


def test_the_asset_page_costs_the_same_with_one_and_with_ten_sensors(viewer: Client, north: Plant) -> None:
    Sensor.objects.filter(pk=north.vibration.pk).update(status=Sensor.Status.RETIRED)
    record(north.temperature, 1.0)
    url = north.pump.get_absolute_url()
    few = queries(viewer, url)
    for i in range(9):
        sensor = Sensor.objects.create(asset=north.pump, sensor_id=f"extra.{i}", kind="power", unit="kW")
        record(sensor, 1.0)
        Asset.objects.create(site=north.site, name=f"Part {i}", parent=north.pump)
    assert queries(viewer, url) == few <= 10


def test_the_asset_list_costs_the_same_with_one_and_with_ten_assets(viewer: Client, north: Plant) -> None:
    few = queries(viewer, reverse("sensors:assets"))
    for i in range(9):
        Asset.objects.create(site=north.site, name=f"Machine {i}")
    assert queries(viewer, reverse("sensors:assets")) == few <= 8


def test_the_readings_page_costs_the_same_with_one_and_with_ten_readings(viewer: Client, north: Plant) -> None:
    record(north.temperature, 1.0)
    few = queries(viewer, north.temperature.get_absolute_url())
    record(north.temperature, *range(9), at=NOON - timedelta(hours=1))
    assert queries(viewer, north.temperature.get_absolute_url()) == few <= 7


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_the_period_on_the_page_is_what_its_export_holds(viewer: Client, north: Plant) -> None:
    record(north.temperature, 1.0, 2.0, 3.0, step=timedelta(hours=1))
    page = viewer.get(north.temperature.get_absolute_url(), {"start": "2026-07-01T12:30"}).content.decode()
    link = unescape(re.findall(r'href="([^"]*format=csv[^"]*)"', page)[0])
    lines = b"".join(viewer.get(link)).decode().splitlines()  # type: ignore[arg-type]
    assert [line.split(",")[3] for line in lines] == ['"value"', "2", "3"]

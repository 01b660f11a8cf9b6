"""What is known of the instruments, on pages and in the API."""

from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from sensors.models import Sensor, SensorFault, SensorProfile
from tests.conftest import Plant

pytestmark = pytest.mark.django_db
HEALTH = "/sensors/health/"


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def operator(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["operator"])
    return client


def fault(sensor: Sensor, kind: str = "stuck", ended_at: datetime | None = None) -> SensorFault:
    began_at = timezone.now() - timedelta(minutes=5)
    return SensorFault.objects.create(
        site=sensor.site, sensor=sensor, kind=kind, began_at=began_at, ended_at=ended_at, detail="It stands still."
    )


def text(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_tiles_of_an_asset_say_what_is_wrong_with_its_sensors(operator: Client, north: Plant) -> None:
    fault(north.temperature, "silent")
    SensorProfile.objects.create(sensor=north.vibration, completeness=0.82)
    page = text(operator, north.pump.get_absolute_url())
    assert '>Silent</span> <span class="muted small">since' in page
    assert "82 % complete" in page


def test_tiles_of_sensors_in_order_say_nothing_more(operator: Client, north: Plant, now: datetime) -> None:
    fault(north.temperature, ended_at=now)
    SensorProfile.objects.create(sensor=north.vibration, completeness=0.99)
    page = text(operator, north.pump.get_absolute_url())
    assert "badge bad" not in page
    assert "complete</span>" not in page


def test_the_list_of_assets_counts_faulty_sensors_once_each(operator: Client, north: Plant, now: datetime) -> None:
    fault(north.temperature, "silent")
    fault(north.temperature, "clock")
    fault(north.vibration, ended_at=now)
    page = text(operator, reverse("sensors:assets"))
    assert "1 faulty sensor<" in page
    assert "2 sensors" in page


def test_the_health_page_lists_sensors_with_faults_first(operator: Client, north: Plant, now: datetime) -> None:
    SensorProfile.objects.create(
        sensor=north.temperature, last_received_at=now, cadence_seconds=2, completeness=0.984, quality=1
    )
    fault(north.vibration)
    page = text(operator, HEALTH)
    assert page.index(north.vibration.sensor_id) < page.index(north.temperature.sensor_id)
    for words in (">Stuck</span>", "It stands still.", "98 %", "2 s", "In order"):
        assert words in page


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("faulty", {"vibration"}),
        ("stuck", {"vibration"}),
        ("silent", set()),
        ("unheard", {"vibration"}),
        ("", {"vibration", "temperature"}),
    ],
)
def test_it_can_be_narrowed_by_state(
    operator: Client, north: Plant, now: datetime, state: str, shown: set[str]
) -> None:
    SensorProfile.objects.create(sensor=north.temperature, last_received_at=now)
    fault(north.vibration)
    page = text(operator, f"{HEALTH}?state={state}")
    assert {name for name in ("vibration", "temperature") if f"north.p101.{name}" in page} == shown


def test_it_can_be_narrowed_by_site_and_shows_none_that_one_does_not_see(
    operator: Client, north: Plant, south: Plant, people: dict[str, User]
) -> None:
    fault(south.temperature)
    assert "south" not in text(operator, HEALTH)
    assert "south" not in text(operator, f"{HEALTH}?site={south.site.pk}")
    south.site.members.add(people["operator"])
    assert "south.p101.temperature" in text(operator, HEALTH)
    assert "south.p101.temperature" not in text(operator, f"{HEALTH}?site={north.site.pk}")


def test_it_costs_the_same_queries_whatever_is_listed(operator: Client, north: Plant) -> None:
    counts = []
    for names in (["a"], ["b", "c", "d"]):
        for name in names:
            sensor = Sensor.objects.create(asset=north.pump, sensor_id=name, kind="temperature", unit="°C")
            SensorProfile.objects.create(sensor=sensor)
            fault(sensor)
        for url in (HEALTH, north.pump.get_absolute_url(), reverse("sensors:assets")):
            with CaptureQueriesContext(connection) as queries:
                text(operator, url)
            counts.append(len(queries))
    assert counts[:3] == counts[3:]


def test_the_api_tells_faults_and_narrows_them(operator: Client, north: Plant, now: datetime) -> None:
    open_fault = fault(north.temperature)
    ended = fault(north.vibration, "silent", ended_at=now)
    url = "/api/v1/sensor-faults/"

    def found(query: str) -> set[int]:
        return {row["id"] for row in operator.get(f"{url}?{query}").json()["results"]}

    assert found("") == {open_fault.pk, ended.pk}
    assert found("open=true") == {open_fault.pk}
    assert found("open=false") == {ended.pk}
    assert found("kind=silent") == {ended.pk}
    assert found(f"asset={north.pump.pk}") == {open_fault.pk, ended.pk}
    assert found(f"sensor={north.vibration.pk}") == {ended.pk}
    one = operator.get(f"{url}{open_fault.pk}/").json()
    assert (one["kind"], one["detail"], one["ended_at"]) == ("stuck", "It stands still.", None)


def test_the_api_tells_the_profile_of_a_sensor(operator: Client, north: Plant) -> None:
    url = f"/api/v1/sensors/{north.temperature.pk}/"
    assert operator.get(url).json()["profile"] is None
    SensorProfile.objects.create(sensor=north.temperature, cadence_seconds=2, readings=500)
    profile = operator.get(url).json()["profile"]
    assert (profile["cadence_seconds"], profile["readings"], profile["low"]) == (2, 500, None)


def test_an_engineer_sets_the_limits_of_a_site(client: Client, north: Plant, people: dict[str, User]) -> None:
    client.force_login(people["engineer"])
    values = {
        "site": north.site.pk,
        "check_range": "on",
        "stuck_repeats": 30,
        "silent_factor": "",
        "silent_grace_seconds": 120,
    }
    assert client.post("/admin/sensors/qualitypolicy/add/", values).status_code == 302
    policy = north.site.quality_policy
    assert (policy.check_rate, policy.stuck_repeats, policy.silent_factor) == (False, 30, None)

"""Silenced alerts stay in the inbox and are told when the silence is over."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from alerts import silences
from alerts.models import Alert, Escalation, Route, Severity, Silence
from alerts.routing import escalation, notify
from maintenance import work_orders
from maintenance.models import Outcome
from sensors.errors import Refused
from sensors.models import Asset
from tests.alerts.test_escalation import policy
from tests.alerts.told import of, person, raised, route, told
from tests.conftest import Plant
from tests.locks import wait_until_waiting

NOW = datetime(2026, 3, 4, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def anna(north: Plant) -> User:
    anna = person("anna", north.site)
    route("All", anna)
    return anna


def silence(plant: Plant, hours: float = 1, **about: object) -> Silence:
    made: Silence = Silence.objects.create(
        **{"site": plant.site, "starts_at": NOW, "ends_at": NOW + hours * HOUR, "reason": "Trial run"} | about
    )
    return made


def test_a_silenced_alert_is_told_when_the_silence_is_over(north: Plant, anna: User) -> None:
    silence(north, 1)
    silence(north, 2, asset=north.pump)
    alert = raised(north.pump, NOW, Severity.CRITICAL)
    notify.tell(NOW)
    alert.refresh_from_db()
    assert (told(anna), alert.notify_at) == ([], NOW + 2 * HOUR)
    notify.tell(NOW + 2 * HOUR)
    assert [row.due_at for row in told(anna)] == [NOW + 2 * HOUR]


@pytest.mark.parametrize(
    ("about", "quiet"),
    [
        ({}, True),
        ({"asset": "pump"}, True),
        ({"asset": "fan"}, False),
        ({"sensor": "temperature"}, True),
        ({"sensor": "vibration"}, False),
        ({"kinds": ["anomaly"]}, True),
        ({"kinds": ["limit"]}, False),
        ({"starts_at": NOW + HOUR / 2}, False),
        ({"starts_at": NOW - HOUR, "ends_at": NOW}, False),
    ],
    ids=str,
)
def test_a_silence_keeps_quiet_what_it_says(north: Plant, anna: User, about: dict[str, object], quiet: bool) -> None:
    fan = Asset.objects.create(site=north.site, name="Fan")
    named = {"pump": north.pump, "fan": fan, "temperature": north.temperature, "vibration": north.vibration}
    silence(
        north, **{key: named.get(value, value) if isinstance(value, str) else value for key, value in about.items()}
    )
    bearing = Asset.objects.create(site=north.site, name="Bearing", parent=north.pump)
    raised(bearing, NOW, sensor=north.temperature)
    notify.tell(NOW)
    assert (told(anna) == []) == quiet


def test_ending_a_silence_early_tells_what_waited_for_it_unless_another_one_runs(north: Plant, anna: User) -> None:
    fan = Asset.objects.create(site=north.site, name="Fan")
    everything = silence(north, 5)
    silence(north, 3, asset=fan)
    for asset in (north.pump, fan):
        raised(asset, NOW)
    notify.tell(NOW)
    with time_machine.travel(NOW + HOUR, tick=False):
        silences.end(everything, anna)
        silences.end(everything, anna)
        notify.tell()
    assert [of(row) for row in told(anna)] == [["Pump P-101 is hot"]]
    assert Alert.objects.get(asset=fan).notify_at == NOW + 3 * HOUR
    everything.refresh_from_db()
    assert (everything.ends_at, everything.ended_by) == (NOW + HOUR, anna)


def test_ending_a_silence_early_goes_on_with_the_escalation_that_waited_for_it(north: Plant, anna: User) -> None:
    Route.objects.update(policy=policy((5, anna)))
    raised(north.pump, NOW)
    notify.tell(NOW)
    quiet = silence(north, 5)
    escalation.climb(NOW + HOUR)
    assert told(anna, "escalation") == []
    with time_machine.travel(NOW + 2 * HOUR, tick=False):
        silences.end(quiet, anna)
        escalation.climb()
    assert [row.due_at for row in told(anna, "escalation")] == [NOW + 2 * HOUR]


@pytest.mark.django_db(transaction=True)
def test_ending_a_silence_waits_for_whoever_still_believes_in_it(north: Plant, anna: User) -> None:
    quiet, alert = silence(north, 5), raised(north.pump, NOW)
    climbs = Escalation.objects.create(alert=alert, policy=policy((5, anna)), began_at=NOW, next_at=NOW + HOUR / 2)

    def end() -> None:
        try:
            silences.end(quiet, anna)
        finally:
            connection.close()

    with time_machine.travel(NOW + HOUR, tick=False), ThreadPoolExecutor() as threads:
        with transaction.atomic():
            # As tell() and climb() do, which have read before that the silence runs.
            Alert.objects.select_for_update().get()
            Escalation.objects.select_for_update().get()
            ends = threads.submit(end)
            wait_until_waiting(1, ends)
            Alert.objects.update(notify_at=quiet.ends_at)
            Escalation.objects.update(next_at=quiet.ends_at)
        ends.result(10)
    alert.refresh_from_db()
    climbs.refresh_from_db()
    assert (alert.notify_at, climbs.next_at) == (NOW + HOUR, NOW + HOUR)


def test_what_is_silenced_does_not_speak_for_what_is_below_it(north: Plant, anna: User) -> None:
    bearing = Asset.objects.create(site=north.site, name="Bearing", parent=north.pump)
    silence(north, kinds=["limit"])
    raised(north.pump, NOW, kind=Alert.Kind.LIMIT)
    raised(bearing, NOW)
    notify.tell(NOW)
    assert [of(row) for row in told(anna)] == [["Bearing is hot"]]


def test_a_silence_ends_within_ninety_days_and_not_before_it_is_made(north: Plant, anna: User) -> None:
    for start, end in ((NOW, NOW), (NOW, NOW + timedelta(days=91))):
        with pytest.raises(ValidationError):
            Silence(site=north.site, starts_at=start, ends_at=end, reason="Trial").clean()
    with pytest.raises(Refused, match="over already"), time_machine.travel(NOW + 2 * HOUR):
        silences.create(Silence(site=north.site, starts_at=NOW, ends_at=NOW + HOUR, reason="Trial"), anna)


def test_work_in_progress_keeps_its_asset_quiet(north: Plant, anna: User) -> None:
    technician = person("tina", north.site, role="technician")
    order = work_orders.propose(north.pump, technician, approved=True, title="Grease it")
    with time_machine.travel(NOW, tick=False):
        work_orders.start(order, technician)
        raised(north.pump, NOW)
        notify.tell()
        assert told(anna) == []
    with time_machine.travel(NOW + HOUR, tick=False):
        work_orders.close(order, technician, Outcome.NOTHING_FOUND)
        notify.tell()
    assert [row.created_at for row in told(anna)] == [NOW + HOUR]


def test_the_inbox_says_what_is_silenced(north: Plant, anna: User, client: Client) -> None:
    alert = raised(north.pump, NOW)
    Silence.objects.create(site=north.site, reason="Trial run", ends_at=datetime.now(UTC) + HOUR)
    client.force_login(anna)
    for page in ("/alerts/", f"/alerts/{alert.pk}/"):
        assert "Trial run" in client.get(page).content.decode()


spans = st.lists(st.tuples(st.integers(0, 100), st.integers(1, 50)), max_size=6)


@given(spans, st.integers(0, 160))
def test_an_alert_is_quiet_exactly_while_some_silence_runs(found: list[tuple[int, int]], hour: int) -> None:
    rows = [Silence(site_id=1, starts_at=NOW + a * HOUR, ends_at=NOW + (a + b) * HOUR) for a, b in found]
    quiet = silences.covering(rows, Alert(site_id=1), [], NOW + hour * HOUR)
    assert bool(quiet) == any(a <= hour < a + b for a, b in found)

"""Who hears of an alert, when, and in which message."""

from datetime import UTC, datetime, time, timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alerts import lifecycle
from alerts.defaults import create_defaults
from alerts.lifecycle import Actor
from alerts.models import Alert, Channel, Contact, Delivery, Route, Severity, State
from alerts.routing import notify
from sensors.models import ApiKey, Asset, SensorProfile, Site
from tests.alerts.told import by_email, of, person, raised, route, told
from tests.conftest import Plant

NOW = datetime(2026, 3, 4, 10, tzinfo=UTC)  # A Wednesday; 11 o'clock at the site.
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
WAIT = 10 * SECOND


@pytest.fixture
def anna(north: Plant) -> User:
    return person("anna", north.site)


def component(plant: Plant, name: str, parent: Asset | None = None) -> Asset:
    made: Asset = Asset.objects.create(
        site=plant.site, name=name, parent=parent or plant.pump, level=Asset.Level.COMPONENT
    )
    return made


def test_a_fresh_installation_tells_those_who_may_act_and_the_log(north: Plant, people: dict[str, User]) -> None:
    raised(north.pump, NOW)
    assert notify.tell(NOW) == 1
    hear = {"operator", "technician", "engineer", "admin"}
    for role, user in people.items():
        assert [row.channel.kind for row in told(user)] == (["email"] if role in hear else [])
    assert [row.channel.kind for row in told()] == ["console"]
    assert notify.tell(NOW) == 0


def test_low_and_medium_alerts_go_nowhere_by_default(north: Plant, anna: User) -> None:
    for severity in (Severity.LOW, Severity.MEDIUM):
        raised(north.pump, NOW, severity, cause=severity.label)
    assert notify.tell(NOW) == 2
    assert not Delivery.objects.exists()


def test_the_default_route_is_made_once_and_stays_as_people_left_it(db: None) -> None:
    Route.objects.update(enabled=False, name="Ours")
    create_defaults()
    assert [(row.name, row.enabled) for row in Route.objects.all()] == [("Ours", False)]
    assert Channel.objects.count() == 2


def test_nobody_hears_of_a_site_they_do_not_see(north: Plant, south: Plant) -> None:
    stranger, inactive = person("stranger", south.site), person("inactive", north.site)
    User.objects.filter(pk=inactive.pk).update(is_active=False)
    made = route("All", stranger, inactive)
    made.roles.set(Group.objects.all())
    raised(north.pump, NOW)
    notify.tell(NOW)
    assert told(stranger) == told(inactive) == []


def test_a_critical_alert_waits_for_nothing_and_others_ten_seconds_for_company(north: Plant, anna: User) -> None:
    raised(north.pump, NOW, Severity.HIGH, "hot")
    raised(north.pump, NOW, Severity.HIGH, "loud")
    notify.tell(NOW)
    message = told(anna)[0]
    assert (message.due_at, message.severity, len(told(anna))) == (NOW + WAIT, Severity.HIGH, 1)
    assert of(message) == ["Pump P-101 is hot", "Pump P-101 is loud"]
    raised(north.pump, NOW + SECOND, Severity.CRITICAL, "on fire")
    notify.tell(NOW + SECOND)
    message.refresh_from_db()
    assert (message.due_at, message.severity, message.items.count()) == (NOW + SECOND, Severity.CRITICAL, 3)


def test_alerts_of_one_machine_are_one_message_and_those_of_another_one_another(north: Plant, anna: User) -> None:
    bearing, seal = component(north, "Bearing"), component(north, "Seal")
    fan = Asset.objects.create(site=north.site, name="Fan")
    for asset in (bearing, seal, fan):
        raised(asset, NOW)
    notify.tell(NOW)
    assert sorted(map(of, told(anna))) == [["Bearing is hot", "Seal is hot"], ["Fan is hot"]]


def test_a_message_that_was_tried_is_not_joined(north: Plant, anna: User) -> None:
    raised(north.pump, NOW)
    notify.tell(NOW)
    Delivery.objects.update(state=Delivery.State.SENT, sent_at=NOW, attempts=1)
    raised(north.pump, NOW + MINUTE, cause="loud")
    notify.tell(NOW + MINUTE)
    assert list(map(of, told(anna))) == [["Pump P-101 is hot"], ["Pump P-101 is loud"]]


def test_repeats_tell_nobody_and_what_gets_worse_tells_again(north: Plant, anna: User) -> None:
    raised(north.pump, NOW)
    notify.tell(NOW)
    Delivery.objects.update(state=Delivery.State.SENT, sent_at=NOW, attempts=1)
    raised(north.pump, NOW + MINUTE)
    notify.tell(NOW + MINUTE)
    assert len(told(anna)) == 1
    raised(north.pump, NOW + 2 * MINUTE, Severity.CRITICAL)
    notify.tell(NOW + 2 * MINUTE)
    assert [row.severity for row in told(anna)] == [Severity.HIGH, Severity.CRITICAL]


def test_what_is_resolved_before_anybody_was_told_is_taken_back(north: Plant, anna: User) -> None:
    alert = raised(north.pump, NOW)
    notify.tell(NOW)
    lifecycle.resolve(alert)
    Alert.objects.update(notify_at=NOW + SECOND)
    notify.tell(NOW + SECOND)
    assert told(anna) == [] == told()
    assert set(Delivery.objects.values_list("state", flat=True)) == {"cancelled"}


@pytest.mark.parametrize(("wanted", "kinds"), [(True, ["alert", "settled"]), (False, ["alert"])])
def test_who_was_told_hears_when_it_is_settled_if_the_route_says_so(
    north: Plant, anna: User, wanted: bool, kinds: list[str]
) -> None:
    route("All", anna, tells_when_settled=wanted)
    bert = person("bert", north.site)
    alert = raised(north.pump, NOW)
    notify.tell(NOW)
    Delivery.objects.update(state=Delivery.State.SENT, sent_at=NOW, attempts=1)
    lifecycle.resolve(alert)
    Alert.objects.update(notify_at=NOW + MINUTE)
    notify.tell(NOW + MINUTE)
    assert [row.kind for row in told(anna)] == kinds
    assert told(bert) == []


def test_who_acknowledged_it_need_not_be_told_but_all_hear_when_it_gets_worse(north: Plant, anna: User) -> None:
    alert = raised(north.pump, NOW)
    lifecycle.acknowledge(alert, Actor(anna))
    Alert.objects.update(notify_at=NOW)
    notify.tell(NOW)
    assert told(anna) == []
    raised(north.pump, NOW + MINUTE, Severity.CRITICAL)
    notify.tell(NOW + MINUTE)
    assert len(told(anna)) == 1


def test_a_snoozed_alert_is_told_again_when_it_wakes(north: Plant, anna: User) -> None:
    alert = raised(north.pump, NOW)
    notify.tell(NOW)
    Alert.objects.filter(pk=alert.pk).update(state=State.SNOOZED, snoozed_until=NOW + MINUTE, notify_at=NOW)
    notify.tell(NOW)
    assert told(anna) == []
    lifecycle.wake(NOW + MINUTE)
    Alert.objects.update(notify_at=NOW + MINUTE)
    notify.tell(NOW + MINUTE)
    assert [row.due_at for row in told(anna)] == [NOW + MINUTE + WAIT]


def test_history_is_told_to_nobody(north: Plant, anna: User) -> None:
    alert = raised(north.pump, NOW)
    Alert.objects.filter(pk=alert.pk).update(historical=True)
    notify.tell(NOW)
    assert not Delivery.objects.exists()


# ---- routes ----


def test_a_person_named_by_many_routes_hears_once_with_every_reason(north: Plant, anna: User) -> None:
    Route.objects.all().delete()
    for name in ("One", "Two"):
        Route.objects.create(name=name, least_severity=Severity.LOW).people.add(anna)
    raised(north.pump, NOW)
    notify.tell(NOW)
    item = told(anna)[0].items.get()
    assert item.reason == "Route “One”: by name. Route “Two”: by name."


@pytest.mark.parametrize(
    ("about", "matches"),
    [
        ({"kinds": ["limit"]}, False),
        ({"kinds": ["limit", "anomaly"]}, True),
        ({"least_severity": Severity.CRITICAL}, False),
        ({"weekdays": [2]}, True),
        ({"weekdays": [0, 6]}, False),
        ({"begins": time(11), "ends": time(12)}, True),
        ({"begins": time(10), "ends": time(11)}, False),
        ({"begins": time(22), "ends": time(12)}, True),
        ({"begins": time(22), "ends": time(11)}, False),
        # What began on Tuesday evening is Tuesday's.
        ({"begins": time(22), "ends": time(12), "weekdays": [1]}, True),
        ({"begins": time(22), "ends": time(12), "weekdays": [2]}, False),
        ({"enabled": False}, False),
    ],
    ids=str,
)
def test_a_route_matches_what_it_says(north: Plant, anna: User, about: dict[str, object], matches: bool) -> None:
    route("Some", anna, **about)
    raised(north.pump, NOW)
    notify.tell(NOW)
    assert bool(told(anna)) == matches


def test_a_route_of_an_asset_is_for_all_below_it_and_nothing_beside_it(north: Plant, anna: User) -> None:
    bearing, fan = component(north, "Bearing"), Asset.objects.create(site=north.site, name="Fan")
    route("Pump", anna, site=north.site, asset=north.pump)
    for asset in (bearing, fan):
        raised(asset, NOW)
    notify.tell(NOW)
    assert list(map(of, told(anna))) == [["Bearing is hot"]]


def test_what_no_route_matches_at_night_is_told_in_the_morning(north: Plant, anna: User) -> None:
    route("Day shift", anna, begins=time(14), ends=time(22))
    alert = raised(north.pump, NOW)
    notify.tell(NOW)
    alert.refresh_from_db()
    assert alert.notify_at == NOW + 3 * 60 * MINUTE
    notify.tell(alert.notify_at)
    assert len(told(anna)) == 1


def test_contacts_are_used_instead_of_email_and_only_if_they_serve_the_site(
    north: Plant, south: Plant, anna: User
) -> None:
    route("All", anna)
    sms = {
        site.name: Channel.objects.create(name=f"SMS {site}", kind="apprise", site=site, config={"personal": True})
        for site in (north.site, south.site)
    }
    for channel in sms.values():
        Contact.objects.create(person=anna, channel=channel, address="+491701")
    raised(north.pump, NOW)
    notify.tell(NOW)
    assert [row.channel for row in told(anna)] == [sms["North"]]
    Channel.objects.filter(pk=sms["North"].pk).update(enabled=False)
    raised(north.pump, NOW, cause="loud")
    notify.tell(NOW)
    assert [row.channel for row in told(anna)] == [sms["North"], by_email()]


# ---- quiet hours, budget, digest ----

QUIET = {"timezone": "Europe/Berlin", "quiet_from": time(10), "quiet_to": time(14)}


def test_in_quiet_hours_what_is_not_critical_waits_and_comes_as_one_message(north: Plant) -> None:
    anna = person("anna", north.site, **QUIET)
    fan = Asset.objects.create(site=north.site, name="Fan")
    raised(fan, NOW)
    gone = raised(north.pump, NOW)
    raised(north.pump, NOW, cause="loud")
    raised(north.pump, NOW, Severity.CRITICAL, "on fire")
    notify.tell(NOW)
    assert [(of(row)[0], row.due_at) for row in told(anna)] == [
        ("Pump P-101 is on fire", NOW),
        ("Fan is hot", NOW + 3 * 60 * MINUTE),
    ]
    lifecycle.resolve(gone)
    Alert.objects.filter(pk=gone.pk).update(notify_at=NOW + MINUTE)
    notify.tell(NOW + MINUTE)
    assert of(told(anna)[1]) == ["Fan is hot", "Pump P-101 is loud"]


def machines(site: Site, count: int) -> list[Asset]:
    return [Asset.objects.create(site=site, name=f"Machine {number:02}") for number in range(count)]


def test_beyond_the_budget_alerts_are_held_for_a_digest_that_lists_them(north: Plant) -> None:
    anna = person("anna", north.site, per_hour=3)
    for asset in machines(north.site, 8):
        raised(asset, NOW)
    raised(north.pump, NOW, Severity.CRITICAL)
    notify.tell(NOW)
    *at_once, digest = told(anna)
    assert [row.severity for row in at_once] == [4, 3, 3, 3]
    # The fourth of the hour, an hour after the first.
    assert (digest.kind, digest.due_at, digest.items.count()) == ("digest", NOW + WAIT + 60 * MINUTE, 5)


def test_ten_held_alerts_are_a_digest_at_once_when_there_is_room(north: Plant) -> None:
    anna = person("anna", north.site, digest_below=Severity.CRITICAL)
    for asset in machines(north.site, 9):
        raised(asset, NOW)
    notify.tell(NOW)
    assert [(row.kind, row.due_at, row.items.count()) for row in told(anna)] == [("digest", NOW + 5 * MINUTE, 9)]
    raised(north.pump, NOW + MINUTE)
    notify.tell(NOW + MINUTE)
    assert [(row.due_at, row.items.count()) for row in told(anna)] == [(NOW + MINUTE, 10)]


@pytest.mark.parametrize(
    ("digest", "due"),
    [
        ("soon", datetime(2026, 3, 4, 10, 5, tzinfo=UTC)),
        ("shift", datetime(2026, 3, 4, 13, tzinfo=UTC)),
        ("day", datetime(2026, 3, 5, 5, tzinfo=UTC)),
        ("week", datetime(2026, 3, 9, 5, tzinfo=UTC)),
    ],
)
def test_a_digest_comes_when_the_person_wants_it(north: Plant, digest: str, due: datetime) -> None:
    anna = person("anna", north.site, timezone="Europe/Berlin", digest=digest, digest_below=Severity.CRITICAL)
    raised(north.pump, NOW)
    notify.tell(NOW)
    assert [row.due_at for row in told(anna)] == [due]


def test_a_held_alert_that_is_settled_stays_in_its_digest_and_gives_no_all_clear(north: Plant) -> None:
    anna = person("anna", north.site, digest_below=Severity.CRITICAL)
    alert = raised(north.pump, NOW)
    notify.tell(NOW)
    lifecycle.resolve(alert)
    Alert.objects.update(notify_at=NOW + SECOND)
    notify.tell(NOW + SECOND)
    assert [(row.kind, of(row)) for row in told(anna)] == [("digest", ["Pump P-101 is hot"])]


def test_a_route_as_digest_holds_all_but_what_is_critical_and_at_once_wins(north: Plant, anna: User) -> None:
    route("Digest", anna, as_digest=True)
    raised(north.pump, NOW)
    notify.tell(NOW)
    raised(north.pump, NOW, Severity.CRITICAL, "on fire")
    notify.tell(NOW)
    assert sorted(row.kind for row in told(anna)) == ["alert", "digest"]
    Route.objects.create(name="At once", least_severity=Severity.LOW).people.add(anna)
    raised(north.pump, NOW, cause="loud")
    notify.tell(NOW)
    assert [of(row) for row in told(anna, "alert")] == [["Pump P-101 is loud", "Pump P-101 is on fire"]]


# ---- inhibition ----


def test_a_severe_alert_on_a_machine_speaks_for_its_parts_until_it_is_resolved(north: Plant, anna: User) -> None:
    route("All", anna)
    bearing = component(north, "Bearing")
    ball = component(north, "Ball", bearing)
    parent = raised(north.pump, NOW, Severity.HIGH)
    quieted = raised(ball, NOW, Severity.HIGH)
    raised(bearing, NOW, Severity.CRITICAL)
    notify.tell(NOW)
    assert [of(row) for row in told(anna)] == [["Bearing is hot", "Pump P-101 is hot"]]
    quieted.refresh_from_db()
    assert (quieted.told_severity, quieted.notify_at) == (None, None)
    Delivery.objects.update(state=Delivery.State.SENT, sent_at=NOW, attempts=1)
    for alert in (parent, Alert.objects.get(asset=bearing)):
        lifecycle.resolve(alert)
        Alert.objects.filter(pk=alert.pk).update(notify_at=NOW + MINUTE)
    notify.tell(NOW + MINUTE)
    assert [of(row) for row in told(anna, "alert")][1:] == [["Ball is hot"]]


def test_the_silence_of_many_sensors_of_one_gateway_is_one_message(north: Plant, anna: User) -> None:
    key = ApiKey.issue(anna, "gateway", ["ingest"])[0]
    route("All", anna)
    for sensor, asset in zip((north.temperature, north.vibration), machines(north.site, 2), strict=True):
        SensorProfile.objects.create(sensor=sensor, sent_by=key)
        raised(asset, NOW, kind=Alert.Kind.SILENT, sensor=sensor)
    notify.tell(NOW)
    assert [row.group_key for row in told(anna)] == [f"sender-{key.pk}"]


def test_looking_costs_the_same_queries_whatever_the_number_of_alerts(north: Plant, anna: User) -> None:
    route("All", anna)
    counts = []
    for count in (3, 60):
        site = Site.objects.create(name=f"Site {count}")
        site.members.add(anna)
        for asset in machines(site, count):
            raised(asset, NOW)
        with CaptureQueriesContext(connection) as queries:
            notify.tell(NOW)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 45


def test_what_got_worse_while_its_machine_spoke_for_it_is_told_afterwards(north: Plant, anna: User) -> None:
    route("All", anna)
    bearing = component(north, "Bearing")
    known = raised(bearing, NOW, Severity.HIGH)
    notify.tell(NOW)
    parent = raised(north.pump, NOW, Severity.CRITICAL)
    raised(bearing, NOW, Severity.CRITICAL)
    notify.tell(NOW)
    known.refresh_from_db()
    assert known.told_severity == Severity.HIGH
    lifecycle.resolve(parent)
    Alert.objects.filter(pk=parent.pk).update(notify_at=NOW + MINUTE)
    notify.tell(NOW + MINUTE)
    notify.tell(NOW + MINUTE)
    known.refresh_from_db()
    assert known.told_severity == Severity.CRITICAL

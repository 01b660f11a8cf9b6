"""The pages about who is told."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from alerts.models import Channel, Contact, EscalationPolicy, Preference, Route, Schedule, Silence
from alerts.routing import escalation, notify
from tests.alerts.told import person, raised, route, told
from tests.conftest import Plant

MINUTE = timedelta(minutes=1)


@pytest.fixture
def engineer(north: Plant, client: Client) -> User:
    user = person("erna", north.site, role="engineer")
    client.force_login(user)
    return user


def page(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_route_shows_who_would_be_told_before_it_is_saved(north: Plant, engineer: User, client: Client) -> None:
    anna = person("anna", north.site)
    Route.objects.all().delete()
    alert = raised(north.pump, timezone.now())
    night = EscalationPolicy.objects.create(name="Night")
    night.steps.create(position=0, wait_minutes=15).people.add(engineer)
    said = {"name": "New", "site": north.site.pk, "least_severity": 1, "people": [anna.pk], "policy": night.pk}
    shown = client.post("/alerts/routes/new/", said | {"alert": alert.pk, "preview": "1"}).content.decode()
    assert "<strong>anna</strong> by E-mail" in shown
    assert "Route “New”: by name." in shown
    assert "<strong>erna</strong> by E-mail" in shown
    assert "Step 1 of “Night”, by name." in shown
    assert not Route.objects.exists()
    assert client.post("/alerts/routes/new/", said).status_code == 302
    assert [row.people.get() for row in Route.objects.all()] == [anna]


def test_a_route_is_previewed_in_place_of_what_it_was(north: Plant, engineer: User, client: Client) -> None:
    anna, bert = person("anna", north.site), person("bert", north.site)
    saved = route("All", anna, site=north.site)
    alert = raised(north.pump, timezone.now())
    said = {"name": "All", "site": north.site.pk, "least_severity": 1, "people": [bert.pk]}
    shown = client.post(f"/alerts/routes/{saved.pk}/", said | {"alert": alert.pk, "preview": "1"}).content.decode()
    assert "<strong>bert</strong>" in shown
    assert "<strong>anna</strong>" not in shown


def test_routes_of_every_site_are_changed_by_those_who_see_every_site(
    north: Plant, engineer: User, client: Client
) -> None:
    default = Route.objects.get()
    assert str(default) in page(client, "/alerts/routes/")
    assert client.get(f"/alerts/routes/{default.pk}/").status_code == 404
    answer = client.post("/alerts/routes/new/", {"name": "New", "least_severity": 1})
    assert answer.status_code == 422
    client.force_login(person("ada", role="admin"))
    assert client.get(f"/alerts/routes/{default.pk}/").status_code == 200


def test_people_of_other_sites_cannot_be_named(north: Plant, south: Plant, engineer: User, client: Client) -> None:
    stranger = person("stranger", south.site)
    assert "stranger" not in page(client, "/alerts/routes/new/")
    said = {"name": "New", "site": north.site.pk, "least_severity": 1, "people": [stranger.pk]}
    assert client.post("/alerts/routes/new/", said).status_code == 422


def test_an_operator_silences_what_an_alert_is_about_and_ends_it(north: Plant, client: Client) -> None:
    olga = person("olga", north.site)
    client.force_login(olga)
    alert = raised(north.pump, timezone.now(), sensor=north.temperature)
    assert "north.p101.temperature" in page(client, f"/alerts/silences/?alert={alert.pk}")
    about = {"asset": north.pump.pk, "sensor": north.temperature.pk, "hours": "8", "reason": "Trial run"}
    assert client.post(f"/alerts/silences/?alert={alert.pk}", about).status_code == 302
    silence = Silence.objects.get()
    assert (silence.site, silence.sensor, silence.created_by) == (north.site, north.temperature, olga)
    assert silence.ends_at - silence.starts_at == timedelta(hours=8)
    client.post(f"/alerts/silences/{silence.pk}/end/")
    silence.refresh_from_db()
    assert silence.ended_by == olga
    assert "Nothing is silenced" in page(client, "/alerts/silences/")


def test_a_schedule_is_made_of_rotations_and_stand_ins(north: Plant, engineer: User, client: Client) -> None:
    anna, bert = person("anna", north.site), person("bert", north.site)
    said = {"name": "Night duty", "site": north.site.pk, "timezone": "Europe/Berlin"}
    assert client.post("/alerts/on-call/new/", said).status_code == 302
    path = f"/alerts/on-call/{Schedule.objects.get().pk}/"
    turns = {
        "starts_on": "2026-03-02",
        "hand_over": "08:00",
        "every": "day",
        "hours": 8,
        "turn_1": anna.pk,
        "turn_2": bert.pk,
    }
    client.post(f"{path}rotation/", {f"rotation-{name}": value for name, value in turns.items()})
    assert [member.person for member in Schedule.objects.get().rotations.get().members.all()] == [anna, bert]
    wrong = {"override-person": anna.pk, "override-start": "2026-03-29T02:30:00", "override-end": "2026-03-29T09:00:00"}
    assert "it never was" in client.post(f"{path}override/", wrong).content.decode()
    tomorrow = timezone.now() + timedelta(days=1)
    standing = {
        "override-person": engineer.pk,
        "override-start": f"{tomorrow:%Y-%m-%dT%H:%M:%S}",
        "override-end": f"{tomorrow + timedelta(hours=2):%Y-%m-%dT%H:%M:%S}",
    }
    assert client.post(f"{path}override/", standing).status_code == 302
    assert "Stands in" in page(client, path)
    shown = page(client, "/alerts/on-call/")
    assert "anna" in shown
    assert "bert" in shown


def test_the_steps_of_a_policy_are_kept_in_order_and_empty_ones_left_out(
    north: Plant, engineer: User, client: Client
) -> None:
    anna = person("anna", north.site)
    said = {"name": "Night", "site": north.site.pk, "repeat": 2}
    said |= {f"step{number}-wait_minutes": 5 + number for number in range(6)}
    assert client.post("/alerts/policies/new/", said).status_code == 422
    said |= {"step1-people": [anna.pk], "step3-people": [engineer.pk]}
    assert client.post("/alerts/policies/new/", said).status_code == 302
    policy = EscalationPolicy.objects.get()
    steps = [(step.position, step.wait_minutes, step.people.get()) for step in policy.steps.all()]
    assert steps == [(0, 6, anna), (1, 8, engineer)]
    said |= {"step0-people": [engineer.pk], "step1-people": [anna.pk], "step3-people": []}
    assert client.post(f"/alerts/policies/{policy.pk}/", said).status_code == 302
    assert [step.people.get() for step in policy.steps.all()] == [engineer, anna]


def test_everybody_says_how_they_want_to_be_told(north: Plant, client: Client) -> None:
    olga = person("olga", north.site)
    sms = Channel.objects.create(name="SMS", kind="apprise", config={"personal": True})
    client.force_login(olga)
    assert "Europe/Berlin" in page(client, "/alerts/preferences/")
    said = {"timezone": "Europe/Berlin", "digest": "day", "per_hour": 4, "quiet_from": "22:00"}
    assert client.post("/alerts/preferences/", said).status_code == 422
    said |= {"quiet_to": "06:00", f"use_{sms.pk}": "on", f"address_{sms.pk}": "+49 170"}
    assert client.post("/alerts/preferences/", said).status_code == 422
    said |= {f"address_{sms.pk}": "+49170"}
    assert client.post("/alerts/preferences/", said).status_code == 302
    wish = Preference.objects.get()
    assert (wish.person, wish.quiet, wish.per_hour) == (olga, (time(22), time(6)), 4)
    assert [(row.channel, row.address) for row in Contact.objects.all()] == [(sms, "+49170")]


def test_an_alert_says_who_was_told_and_who_is_next(north: Plant, engineer: User, client: Client) -> None:
    anna = person("anna", north.site)
    schedule = Schedule.objects.create(name="Duty")
    turns = schedule.rotations.create(starts_on=date(2026, 1, 1), hand_over=time(8))
    turns.members.create(person=engineer, position=0)
    night = EscalationPolicy.objects.create(name="Night")
    night.steps.create(position=0, wait_minutes=15, schedule=schedule)
    route("All", anna, policy=night)
    now = timezone.now().replace(microsecond=0)
    alert = raised(north.pump, now)
    notify.tell(now)
    escalation.climb(now)
    shown = page(client, f"/alerts/{alert.pk}/messages/")
    assert "Step 1 of “Night”, on call (Duty)." in shown
    assert "If nobody has acknowledged it by then." in shown
    assert "Waits until" in shown
    assert "Route “All”: by name." in shown
    escalation.climb(now + 15 * MINUTE)
    assert len(told(engineer)) == 1


def test_an_alert_names_whom_nothing_reaches_after_others_were_told(
    north: Plant, engineer: User, client: Client
) -> None:
    anna = person("anna", north.site)
    User.objects.filter(pk=anna.pk).update(email="")
    route("All", anna, engineer)
    alert = raised(north.pump, timezone.now())
    notify.tell(timezone.now())
    assert len(told(engineer)) == 1
    shown = page(client, f"/alerts/{alert.pk}/messages/")
    assert "<strong>anna</strong>" in shown
    assert "Nothing reaches them" in shown


def test_a_silenced_alert_says_when_it_is_looked_at_again(north: Plant, engineer: User, client: Client) -> None:
    Silence.objects.create(site=north.site, reason="Trial run", ends_at=timezone.now() + timedelta(hours=1))
    alert = raised(north.pump, timezone.now())
    assert "Silenced: Trial run" in page(client, f"/alerts/{alert.pk}/messages/")


@pytest.mark.parametrize("path", ["routes", "silences", "on-call", "policies", "preferences"])
def test_pages_cost_the_same_queries_whatever_there_is(north: Plant, client: Client, path: str) -> None:
    client.force_login(person("ada", role="admin"))
    counts = []
    for number in (1, 3):
        for copy in range(number):
            name = f"{number}.{copy}"
            schedule = Schedule.objects.create(name=name)
            turns = schedule.rotations.create(starts_on=date(2026, 1, 1), hand_over=time(8))
            turns.members.create(person=person(name, north.site), position=0)
            policy = EscalationPolicy.objects.create(name=name)
            policy.steps.create(position=0, schedule=schedule).people.add(turns.members.get().person)
            Route.objects.create(name=name, policy=policy).people.add(turns.members.get().person)
            end = datetime.now(UTC) + timedelta(days=1)
            Silence.objects.create(site=north.site, asset=north.pump, reason=name, ends_at=end)
        with CaptureQueriesContext(connection) as queries:
            page(client, f"/alerts/{path}/")
        counts.append(len(queries))
    assert counts[0] == counts[1]

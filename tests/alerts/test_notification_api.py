"""The API of who is told."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.test import APIClient

from alerts.models import Channel, EscalationPolicy, Route, Schedule, Silence
from tests.alerts.told import person, raised, route
from tests.conftest import Plant


@pytest.fixture
def engineer(north: Plant) -> User:
    return person("erna", north.site, role="engineer")


@pytest.fixture
def api(engineer: User) -> APIClient:
    client = APIClient()
    client.force_login(engineer)
    return client


def sent(answer: Any, status: int = 200) -> Any:
    assert answer.status_code == status, answer.content
    return answer.json()


def test_a_route_is_made_and_changed_by_names(north: Plant, engineer: User, api: APIClient) -> None:
    room = Channel.objects.create(name="Room", kind="webhook", site=north.site)
    said = {"name": "Night", "asset": north.pump.pk, "people": ["erna"], "roles": ["operator"], "channels": [room.pk]}
    made = sent(api.post("/api/v1/routes/", said, format="json"), 201)
    assert (made["site"], made["people"], made["roles"]) == (north.site.pk, ["erna"], ["operator"])
    changed = sent(
        api.patch(f"/api/v1/routes/{made['id']}/", {"people": [], "begins": "22:00", "ends": "06:00"}, format="json")
    )
    assert (changed["people"], changed["begins"], changed["roles"]) == ([], "22:00:00", ["operator"])
    half = api.patch(f"/api/v1/routes/{made['id']}/", {"ends": None}, format="json")
    assert half.status_code == 400


def test_what_is_of_every_site_is_not_an_engineers_to_make_or_change(north: Plant, api: APIClient) -> None:
    default = Route.objects.get()
    assert api.get(f"/api/v1/routes/{default.pk}/").status_code == 200
    assert api.patch(f"/api/v1/routes/{default.pk}/", {"enabled": False}, format="json").status_code == 404
    assert api.post("/api/v1/routes/", {"name": "All"}, format="json").status_code == 400
    assert api.patch(f"/api/v1/routes/{default.pk}/", {"site": north.site.pk}, format="json").status_code == 404


def test_a_personal_channel_is_no_place(north: Plant, api: APIClient) -> None:
    email = Channel.objects.get(kind="email")
    said = {"name": "Night", "site": north.site.pk, "channels": [email.pk]}
    assert "personal" in str(sent(api.post("/api/v1/routes/", said, format="json"), 400))


def test_the_preview_says_who_would_be_told(north: Plant, engineer: User, api: APIClient) -> None:
    route("All", engineer)
    alert = raised(north.pump, timezone.now())
    found = sent(api.post("/api/v1/routes/preview/", {"alert": alert.pk}, format="json"))
    assert [(row["who"], row["channel"], row["why"]) for row in found["entries"]] == [
        ("erna", "E-mail", "Route “All”: by name.")
    ]


def test_a_silence_is_begun_and_ended(north: Plant, api: APIClient) -> None:
    end = timezone.now() + timedelta(hours=2)
    said = {"site": north.site.pk, "ends_at": end.isoformat(), "reason": "Trial run"}
    made = sent(api.post("/api/v1/silences/", said, format="json"), 201)
    assert made["created_by"] == "erna"
    sent(api.post(f"/api/v1/silences/{made['id']}/end/"))
    assert Silence.objects.get().ends_at < end
    too_long = said | {"ends_at": (end + timedelta(days=91)).isoformat()}
    assert api.post("/api/v1/silences/", too_long, format="json").status_code == 400
    over = said | {"starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-01-02T00:00:00Z"}
    assert sent(api.post("/api/v1/silences/", over, format="json"), 422)["code"] == "silence_over"


def test_a_schedule_says_who_is_on_call(north: Plant, engineer: User, api: APIClient) -> None:
    person("anna", north.site)
    said = {"name": "Duty", "site": north.site.pk, "timezone": "Europe/Berlin"}
    path = f"/api/v1/schedules/{sent(api.post('/api/v1/schedules/', said, format='json'), 201)['id']}/"
    turns = {"starts_on": "2026-03-02", "hand_over": "08:00", "every": "day", "people": ["erna", "anna", "erna"]}
    kept = sent(api.post(f"{path}rotation/", turns, format="json"))
    assert kept["rotations"][0]["people"] == ["erna", "anna", "erna"]
    standing = {"person": "anna", "start": "2026-03-02T18:00:00+01:00", "end": "2026-03-02T20:00:00+01:00"}
    sent(api.post(f"{path}override/", standing, format="json"))
    found = sent(api.get(f"{path}shifts/", {"from": "2026-03-02T08:00:00+01:00", "to": "2026-03-03T10:00:00+01:00"}))
    assert [(row["person"], row["stands_in"]) for row in found] == [
        ("erna", False),
        ("anna", True),
        ("erna", False),
        ("anna", False),
    ]
    long = {"from": "2026-01-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"}
    assert sent(api.get(f"{path}shifts/", long), 422)["code"] == "stretch_too_long"


def test_a_policy_has_steps_in_order_and_each_tells_somebody(north: Plant, south: Plant, api: APIClient) -> None:
    ours = Schedule.objects.create(name="Ours", site=north.site)
    theirs = Schedule.objects.create(name="Theirs", site=south.site)
    said: dict[str, Any] = {"name": "Night", "site": north.site.pk, "repeat": 1}
    steps = [{"wait_minutes": 5, "schedule": ours.pk}, {"wait_minutes": 10, "people": ["erna"]}]
    made = sent(api.post("/api/v1/escalation-policies/", said | {"steps": steps}, format="json"), 201)
    assert [step["wait_minutes"] for step in made["steps"]] == [5, 10]
    path = f"/api/v1/escalation-policies/{made['id']}/"
    changed = sent(api.patch(path, {"steps": steps[1:]}, format="json"))
    assert [step["people"] for step in changed["steps"]] == [["erna"]]
    assert EscalationPolicy.objects.get().repeat == 1
    for wrong in ([], [{"wait_minutes": 5}], [{"wait_minutes": 5, "schedule": theirs.pk}]):
        assert api.patch(path, {"steps": wrong}, format="json").status_code == 400
    assert api.patch(path, {"repeat": 6}, format="json").status_code == 400


def test_one_changes_ones_own_preferences(north: Plant, engineer: User, api: APIClient) -> None:
    sms = Channel.objects.create(name="SMS", kind="apprise", config={"personal": True})
    assert sent(api.get("/api/v1/preferences/"))["per_hour"] == 6
    said = {"timezone": "Europe/Berlin", "quiet_from": "22:00", "quiet_to": "06:00", "per_hour": 3}
    said_too = said | {"contacts": [{"channel": sms.pk, "address": "+49170"}]}
    kept = sent(api.patch("/api/v1/preferences/", said_too, format="json"))
    assert (kept["timezone"], kept["per_hour"], kept["contacts"]) == ("Europe/Berlin", 3, said_too["contacts"])
    assert engineer.contacts.get().channel == sms
    wrong = {"contacts": [{"channel": sms.pk, "address": "no number"}]}
    assert sent(api.patch("/api/v1/preferences/", wrong, format="json"), 422)["code"] == "bad_address"
    assert api.patch("/api/v1/preferences/", {"per_hour": 0}, format="json").status_code == 400


@pytest.mark.parametrize("asked", ["from=soon", "from=0001-01-01T00:00:00Z", "to=9999-12-31T23:59:59Z"])
@pytest.mark.parametrize("path", ["schedules/{}/shifts/", "alerts/statistics/"])
def test_times_that_are_none_of_ours_are_refused(north: Plant, api: APIClient, path: str, asked: str) -> None:
    schedule = Schedule.objects.create(name="Night", site=north.site)
    assert sent(api.get(f"/api/v1/{path.format(schedule.pk)}?{asked}"), 400)["code"] == "bad_period"


def test_nobody_stands_in_where_no_clock_can_show_it(north: Plant, api: APIClient) -> None:
    schedule = Schedule.objects.create(name="Night", site=north.site)
    said = {"person": "erna", "start": "0001-01-01T00:00:00Z", "end": "9999-12-31T23:59:59Z"}
    refused = sent(api.post(f"/api/v1/schedules/{schedule.pk}/override/", said, format="json"), 400)
    assert refused["errors"][0]["code"] == "out_of_time"


def test_a_route_of_every_site_does_not_go_by_the_policy_of_one(north: Plant) -> None:
    api = APIClient()
    api.force_login(person("ada", role="admin"))
    policy = EscalationPolicy.objects.create(name="North", site=north.site)
    said = {"name": "All", "policy": policy.pk}
    assert sent(api.post("/api/v1/routes/", said, format="json"), 400)["errors"][0]["code"] == "other_site"
    sent(api.post("/api/v1/routes/", said | {"site": north.site.pk}, format="json"), 201)

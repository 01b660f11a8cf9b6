import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from sensors import quarantine
from sensors.errors import Refused
from sensors.models import AuditEntry, Quarantined, Reading, Sensor, Site
from sensors.quarantine import Cause, Change
from tests.conftest import Plant

NOON = "2026-03-01T12:00:00Z"


def refused(site: Site | None, code: str = "unknown_sensor", **payload: Any) -> Quarantined:
    """A row as `store_batch` puts it into quarantine."""
    sent = payload if "raw" in payload else {"sensor_id": "pmp1", "timestamp": NOON, "value": 20.5} | payload
    number = Quarantined.objects.count()
    return Quarantined.objects.create(
        site=site, source="api", code=code, detail="It was refused.", payload=sent, digest=number.to_bytes(16, "big")
    )


def minute(number: int) -> str:
    return f"2026-03-01T{number // 60:02d}:{number % 60:02d}:00Z"


@pytest.fixture
def engineer(people: dict[str, User]) -> User:
    return people["engineer"]


@pytest.fixture
def browser(client: Client, engineer: User) -> Client:
    client.force_login(engineer)
    return client


def test_a_row_is_admitted_once_its_cause_is_gone(engineer: User, north: Plant) -> None:
    row = refused(north.site)
    with pytest.raises(Refused) as still:
        quarantine.readmit(row, engineer)
    assert still.value.code == "unknown_sensor"
    Sensor.objects.create(asset=north.pump, sensor_id="pmp1", kind="pressure", unit="kPa")
    quarantine.readmit(row, engineer)
    row.refresh_from_db()
    assert (row.state, row.settled_by, row.batch is not None) == ("readmitted", engineer, True)
    assert Reading.objects.get().value == 20.5


def test_admitting_what_is_settled_is_refused(engineer: User, north: Plant) -> None:
    row = refused(north.site, sensor_id=north.temperature.sensor_id)
    quarantine.readmit(row, engineer)
    for verb in (quarantine.readmit, quarantine.discard):
        with pytest.raises(Refused) as answer:
            verb(row, engineer)
        assert answer.value.code == "already_settled"
    assert Reading.objects.count() == 1


def test_what_is_refused_again_waits_with_its_new_reason_and_is_there_once(engineer: User, north: Plant) -> None:
    row = refused(north.site)
    fields = {"sensor_id": north.temperature.sensor_id, "timestamp": NOON, "value": 3, "unit": "bar"}
    with pytest.raises(Refused, match="cannot be measured"):
        quarantine.readmit(row, engineer, fields)
    waiting = Quarantined.objects.get()
    assert (waiting.pk, waiting.state, waiting.code) == (row.pk, "waiting", "unit_mismatch")
    assert waiting.payload == fields


def test_every_step_is_written_down_with_before_and_after(engineer: User, north: Plant) -> None:
    row = refused(north.site)
    fields = {"sensor_id": north.temperature.sensor_id, "timestamp": NOON, "value": 20.5}
    quarantine.readmit(row, engineer, fields)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject, entry.by, entry.site) == (
        "readmit",
        f"quarantined {row.pk}",
        engineer,
        north.site,
    )
    assert entry.detail["before"]["payload"]["sensor_id"] == "pmp1"
    assert entry.detail["after"] == fields


def test_a_discarded_row_is_kept_but_not_stored(engineer: User, north: Plant) -> None:
    row = refused(north.site, sensor_id=north.temperature.sensor_id)
    quarantine.discard(row, engineer)
    row.refresh_from_db()
    assert (row.state, row.settled_by) == ("discarded", engineer)
    assert not Reading.objects.exists()
    assert AuditEntry.objects.get().action == "discard"


def test_a_group_is_corrected_alike_and_admitted(engineer: User, north: Plant) -> None:
    for number in range(30):
        refused(north.site, "unknown_sensor", timestamp=minute(number), unit="K")
    other = refused(north.site, "unknown_sensor", sensor_id="elsewhere")
    change = Change(sensor_id=north.temperature.sensor_id, unit="°C")
    outcome = quarantine.readmit_all(Cause(north.site.pk, "unknown_sensor", "pmp1", "K"), engineer, change)
    assert (outcome.admitted, outcome.refused, outcome.left) == (30, 0, 0)
    assert set(Reading.objects.values_list("sensor", "value")) == {(north.temperature.pk, 20.5)}
    assert list(Quarantined.objects.filter(state="waiting")) == [other]


def test_times_are_shifted_and_read_on_the_clock_of_the_site(engineer: User, north: Plant) -> None:
    sensor = north.temperature.sensor_id
    refused(north.site, "naive_timestamp", sensor_id=sensor, timestamp="2026-07-01T12:00:00")
    change = Change(zone=north.site.timezone, shift=quarantine.timedelta(hours=-1))
    quarantine.readmit_all(Cause(north.site.pk, "naive_timestamp"), engineer, change)
    assert Reading.objects.get().timestamp.isoformat() == "2026-07-01T09:00:00+00:00"


def test_a_time_that_was_twice_is_not_guessed(engineer: User, north: Plant) -> None:
    sensor = north.temperature.sensor_id
    refused(north.site, "naive_timestamp", sensor_id=sensor, timestamp="2025-10-26T02:30:00")
    change = Change(zone=north.site.timezone)
    outcome = quarantine.readmit_all(Cause(north.site.pk, "naive_timestamp"), engineer, change)
    assert (outcome.admitted, outcome.refused, outcome.left) == (0, 1, 1)


def test_a_large_group_is_done_in_turns_that_say_what_is_left(
    engineer: User, north: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "CHUNK_ROWS", 10)
    monkeypatch.setattr(quarantine, "SECONDS_PER_REQUEST", 0)
    for number in range(25):
        refused(north.site, "sensor_retired", sensor_id=north.temperature.sensor_id, timestamp=minute(number))
    cause = Cause(north.site.pk, "sensor_retired")
    turns = [quarantine.readmit_all(cause, engineer) for _ in range(4)]
    assert [(turn.admitted, turn.left) for turn in turns] == [(10, 15), (10, 5), (5, 0), (0, 0)]
    assert AuditEntry.objects.count() == 3


def test_a_turn_goes_on_until_nothing_is_left_or_a_whole_chunk_was_refused(
    engineer: User, north: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "CHUNK_ROWS", 10)
    for number in range(25):
        refused(north.site, timestamp=minute(number))
    cause = Cause(north.site.pk, "unknown_sensor")
    first = quarantine.readmit_all(cause, engineer)
    assert (first.admitted, first.refused, first.left) == (0, 10, 25)
    second = quarantine.readmit_all(cause, engineer, Change(sensor_id=north.temperature.sensor_id))
    assert (second.admitted, second.left) == (25, 0)


def test_a_row_that_is_not_even_json_keeps_its_reason(engineer: User, north: Plant) -> None:
    unreadable = refused(north.site, "invalid_row", raw="pump,unit value=")
    readable = refused(north.site, "invalid_row", raw=json.dumps({"sensor_id": north.temperature.sensor_id}))
    outcome = quarantine.readmit_all(Cause(north.site.pk, "invalid_row"), engineer)
    assert outcome.refused == 2
    unreadable.refresh_from_db()
    readable.refresh_from_db()
    assert (unreadable.code, readable.code) == ("invalid_row", "missing_field")


@pytest.mark.parametrize("raw", ['{"value": NaN}', '{"value": 1e999}', '{"value": [-Infinity]}', '{"unit": "\\ud800"}'])
@pytest.mark.parametrize("change", [Change(), Change(shift=timedelta(hours=1))])
def test_a_row_that_is_no_proper_json_does_not_hold_up_the_others(
    engineer: User, north: Plant, raw: str, change: Change
) -> None:
    sensor_id = north.temperature.sensor_id
    refused(north.site, raw=json.dumps({"sensor_id": sensor_id, "timestamp": NOON, "unit": "°C"})[:-1] + ", " + raw[1:])
    good = refused(north.site, sensor_id=sensor_id)
    outcome = quarantine.readmit_all(Cause(north.site.pk, "unknown_sensor"), engineer, change)
    assert (outcome.admitted, outcome.refused) == (1, 1)
    good.refresh_from_db()
    assert good.state == "readmitted"


def test_a_nul_in_a_row_does_not_hold_up_the_others(engineer: User, north: Plant) -> None:
    refused(north.site, raw=json.dumps({"sensor_id": "p\0", "timestamp": NOON, "value": 1}))
    refused(north.site, sensor_id=north.temperature.sensor_id)
    outcome = quarantine.readmit_all(Cause(north.site.pk, "unknown_sensor"), engineer, Change(unit="°C"))
    assert (outcome.admitted, outcome.refused) == (1, 1)


def test_only_the_sensor_of_the_rows_own_site_is_meant(engineer: User, north: Plant, south: Plant) -> None:
    south.site.members.add(engineer)
    Sensor.objects.filter(pk__in=[north.temperature.pk, south.temperature.pk]).update(sensor_id="shared.key")
    row = refused(south.site, sensor_id="shared.key")
    quarantine.readmit(row, engineer)
    assert Reading.objects.get().sensor_id == south.temperature.pk


def test_a_key_with_a_slip_of_the_pen_creates_no_sensor(engineer: User, north: Plant) -> None:
    row = refused(north.site)
    with pytest.raises(Refused):
        quarantine.readmit(row, engineer, {"sensor_id": "nroth.p101", "timestamp": NOON, "value": 1})
    assert Sensor.objects.count() == 2


def test_unknown_sensors_are_discovered_where_that_is_asked_for(browser: Client, north: Plant) -> None:
    refused(north.site)
    browser.post(group_url(Cause(north.site.pk, "unknown_sensor")), {"action": "readmit", "discover": "on"})
    assert Sensor.objects.discovered().get().sensor_id == "pmp1"
    assert Reading.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_people_at_once_settle_each_row_once(engineer: User, north: Plant) -> None:
    for number in range(200):
        refused(north.site, "sensor_retired", sensor_id=north.temperature.sensor_id, timestamp=minute(number))
    settled = []

    def press() -> None:
        try:
            settled.append(quarantine.readmit_all(Cause(north.site.pk, "sensor_retired"), engineer).settled)
        finally:
            connection.close()

    threads = [threading.Thread(target=press) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(settled) == 200
    assert Reading.objects.count() == 200


# ---- the pages


def group_url(cause: Cause) -> str:
    query = {"site": cause.site_id, "code": cause.code, "sensor": cause.sensor_id, "unit": cause.unit}
    return (
        reverse("sensors:quarantine-group")
        + "?"
        + "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
    )


def test_rows_are_listed_by_cause_with_what_to_do(browser: Client, north: Plant) -> None:
    for number in range(3):
        refused(north.site, timestamp=minute(number))
    refused(north.site, sensor_id="other")
    refused(north.site, "naive_timestamp")
    page = browser.get(reverse("sensors:quarantine"))
    found = {(section["code"], section["rows"]): len(section["groups"]) for section in page.context["sections"]}
    assert found == {("unknown_sensor", 4): 2, ("naive_timestamp", 1): 1}
    assert quarantine.ADVICE["unknown_sensor"] in page.content.decode()


def test_rows_of_another_site_or_of_none_are_not_seen(browser: Client, north: Plant, south: Plant) -> None:
    row = refused(south.site, sensor_id="secret.sensor")
    refused(None, sensor_id="secret.sensor")
    assert "secret" not in browser.get(reverse("sensors:quarantine")).content.decode()
    cause = Cause(south.site.pk, "unknown_sensor")
    assert "Nothing of this cause waits" in browser.get(group_url(cause)).content.decode()
    browser.post(group_url(cause), {"action": "discard"})
    assert browser.get(reverse("sensors:quarantined", args=[row.pk])).status_code == 404
    assert Quarantined.objects.filter(state="waiting").count() == 2


def test_a_group_is_settled_from_its_page(browser: Client, north: Plant) -> None:
    for number in range(3):
        refused(north.site, timestamp=minute(number))
    url = group_url(Cause(north.site.pk, "unknown_sensor", "pmp1", ""))
    page = browser.post(url, {"action": "readmit", "to_sensor": north.temperature.sensor_id}, follow=True)
    assert "3 admitted." in page.content.decode()
    assert Reading.objects.count() == 3


def test_what_is_left_keeps_the_correction_that_was_typed(
    browser: Client, north: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "CHUNK_ROWS", 2)
    monkeypatch.setattr(quarantine, "SECONDS_PER_REQUEST", 0)
    for number in range(3):
        refused(north.site, timestamp=minute(number))
    url = group_url(Cause(north.site.pk, "unknown_sensor", "pmp1", ""))
    page = browser.post(url, {"to_sensor": north.temperature.sensor_id, "shift_hours": "-2"}, follow=True)
    assert "2 admitted, 1 of this cause still waiting" in page.content.decode()
    assert page.context["form"].initial["to_sensor"] == north.temperature.sensor_id
    assert page.context["form"].initial["shift_hours"] == "-2.0"


def test_a_row_is_corrected_on_its_page(browser: Client, north: Plant) -> None:
    row = refused(north.site, "naive_timestamp", timestamp="2026-07-01T12:00:00")
    form = {"sensor_id": north.temperature.sensor_id, "timestamp": "2026-07-01T12:00:00", "value": "21", "unit": "K"}
    url = reverse("sensors:quarantined", args=[row.pk])
    answer = browser.post(url, form)
    assert answer.status_code == 302
    reading = Reading.objects.get()
    assert reading.timestamp.isoformat() == "2026-07-01T10:00:00+00:00"
    assert reading.value == pytest.approx(21 - 273.15)
    assert "Readmitted" in browser.get(url).content.decode()


def test_a_correction_that_is_refused_keeps_what_was_typed(browser: Client, north: Plant) -> None:
    row = refused(north.site)
    form = {"sensor_id": "still.unknown", "timestamp": NOON, "value": "21.75"}
    answer = browser.post(reverse("sensors:quarantined", args=[row.pk]), form)
    assert answer.status_code == 422
    assert 'value="21.75"' in answer.content.decode()
    assert "Refused again" in answer.content.decode()


@pytest.mark.parametrize(
    ("field", "value"), [("timestamp", "yesterday"), ("timestamp", "2026-03-29T02:30:00"), ("value", "hot")]
)
def test_a_correction_that_makes_no_sense_is_explained_at_its_field(
    browser: Client, north: Plant, field: str, value: str
) -> None:
    row = refused(north.site)
    form = {"sensor_id": "a", "timestamp": NOON, "value": "1", field: value}
    answer = browser.post(reverse("sensors:quarantined", args=[row.pk]), form)
    assert (answer.status_code, list(answer.context["form"].errors)) == (422, [field])


def test_a_technician_looks_but_settles_nothing(client: Client, people: dict[str, User], north: Plant) -> None:
    client.force_login(people["technician"])
    row = refused(north.site, sensor_id=north.temperature.sensor_id)
    for url in (group_url(Cause(north.site.pk, row.code)), reverse("sensors:quarantined", args=[row.pk])):
        page = client.get(url)
        assert page.status_code == 200
        assert "<button" not in page.content.decode().partition("<main")[2]
        assert client.post(url, {"action": "readmit", "sensor_id": "a"}).status_code == 403
    assert not Reading.objects.exists()


@pytest.mark.parametrize("query", ["", "code=", "code=x&site=-1", "code=x&site=99999999999999999999", "code=x%00"])
def test_a_cause_that_cannot_be_is_a_bad_request(browser: Client, query: str) -> None:
    assert browser.get(f"{reverse('sensors:quarantine-group')}?{query}").status_code == 400


# ---- the API and the admin


def post(client: Client, row: Quarantined, verb: str, **fields: Any) -> HttpResponse:
    url = f"/api/v1/quarantine/{row.pk}/{verb}/"
    answer: HttpResponse = client.post(url, fields, content_type="application/json")
    return answer


def test_a_program_corrects_and_admits_a_row(browser: Client, engineer: User, north: Plant) -> None:
    row = refused(north.site)
    answer = post(browser, row, "readmit", sensor_id=north.temperature.sensor_id)
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["settled_by"]) == ("readmitted", engineer.username)
    assert Reading.objects.get().value == 20.5
    assert post(browser, row, "discard").json()["code"] == "already_settled"


def test_a_program_is_told_why_a_row_is_refused_again(browser: Client, north: Plant) -> None:
    row = refused(north.site)
    answer = post(browser, row, "readmit")
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_sensor")
    naive = post(browser, row, "readmit", sensor_id=north.temperature.sensor_id, timestamp="2026-03-01T12:00:00")
    assert (naive.status_code, naive.json()["code"]) == (422, "naive_timestamp")
    wrong = post(browser, row, "readmit", value="hot")
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (400, "value")


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 2),
        ("code=naive_timestamp", 1),
        ("state=discarded", 0),
        ("sensor_id=pmp1", 1),
        ("site={other}", 0),
        ("from=2096-01-01T00:00:00Z", 0),
    ],
)
def test_rows_can_be_filtered(browser: Client, north: Plant, south: Plant, query: str, count: int) -> None:
    refused(north.site)
    refused(north.site, "naive_timestamp", sensor_id="other")
    refused(south.site)
    rows = browser.get(f"/api/v1/quarantine/?{query.format(other=south.site.pk)}").json()["results"]
    assert len(rows) == count


def test_the_audit_log_can_be_read(browser: Client, engineer: User, north: Plant) -> None:
    quarantine.discard(refused(north.site), engineer)
    (entry,) = browser.get("/api/v1/audit-log/?action=discard").json()["results"]
    assert (entry["by"], entry["detail"]["payload"]["sensor_id"]) == (engineer.username, "pmp1")


@pytest.mark.parametrize(("action", "state"), [("readmit", "readmitted"), ("discard", "discarded")])
def test_the_admin_settles_rows(browser: Client, north: Plant, south: Plant, action: str, state: str) -> None:
    good = refused(north.site, "sensor_retired", sensor_id=north.temperature.sensor_id)
    elsewhere = refused(south.site, sensor_id=south.temperature.sensor_id)
    form = {"action": action, "_selected_action": [good.pk, elsewhere.pk]}
    page = browser.post(reverse("admin:sensors_quarantined_changelist"), form, follow=True).content.decode()
    assert "1 admitted." in page or "1 discarded." in page
    assert set(Quarantined.objects.values_list("pk", "state")) == {(good.pk, state), (elsewhere.pk, "waiting")}


def test_the_admin_searches_by_the_key_that_was_sent(browser: Client, north: Plant) -> None:
    refused(north.site, sensor_id="pmp7")
    refused(north.site, sensor_id="fan1")
    page = browser.get(reverse("admin:sensors_quarantined_changelist"), {"q": "pmp7"}).content.decode()
    assert "pmp7" in page
    assert "fan1" not in page


def test_a_technician_does_not_settle_rows_in_the_admin(client: Client, people: dict[str, User], north: Plant) -> None:
    row = refused(north.site, sensor_id=north.temperature.sensor_id)
    client.force_login(people["technician"])
    form = {"action": "readmit", "_selected_action": [row.pk]}
    client.post(reverse("admin:sensors_quarantined_changelist"), form, follow=True)
    assert not Reading.objects.exists()


def test_those_that_wait_are_announced_to_who_may_see_them(
    client: Client, people: dict[str, User], north: Plant, south: Plant
) -> None:
    refused(north.site)
    refused(south.site)
    for role, told in (("technician", True), ("operator", False)):
        client.force_login(people[role])
        for page in ("sensors:overview", "sensors:assets"):
            assert ("1 reading was refused" in client.get(reverse(page)).content.decode()) is told


def test_the_pages_cost_the_same_with_few_and_many_rows(browser: Client, north: Plant) -> None:
    pages = [reverse("sensors:quarantine"), group_url(Cause(north.site.pk, "unknown_sensor"))]
    counts = []
    for keys in (["a"], [f"b{i}" for i in range(20)]):
        for key in keys:
            refused(north.site, sensor_id=key)
        with CaptureQueriesContext(connection) as queries:
            assert {browser.get(page).status_code for page in pages} == {200}
        counts.append(len(queries))
    assert counts[0] == counts[1]


HOSTILE = [
    '{"sensor_id":"\\ud800","value":1}',
    '{"sensor_id":"a\\u0000b","timestamp":"2026-03-01T12:00:00Z","value":1}',
    '{"sensor_id":"pmp1","timestamp":"2026-03-01T12:00:00Z","value":NaN}',
    '{"sensor_id":"pmp1","timestamp":"2026-03-01T12:00:00Z","value":1e999}',
    '{"sensor_id":"pmp1","timestamp":"2026-03-01T12:00:00Z","value":1' + "0" * 400 + "}",
    '{"sensor_id":{"a":["b"]},"timestamp":[],"value":{}}',
]


def test_a_hostile_row_can_be_looked_at_and_does_not_keep_others_of_its_cause(
    browser: Client, engineer: User, north: Plant
) -> None:
    rows = [refused(north.site, raw=text) for text in HOSTILE]
    refused(north.site, sensor_id=north.temperature.sensor_id)
    for row in rows:
        assert browser.get(reverse("sensors:quarantined", args=[row.pk])).status_code == 200
    outcome = quarantine.readmit_all(Cause(north.site.pk, "unknown_sensor"), engineer)
    assert (outcome.admitted, outcome.refused) == (1, len(rows))
    for row in rows:
        with pytest.raises(Refused):
            quarantine.readmit(row, engineer)
        assert browser.get(reverse("sensors:quarantined", args=[row.pk])).status_code == 200
    assert browser.get(reverse("sensors:quarantine")).status_code == 200

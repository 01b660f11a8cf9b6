import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from alerts import lifecycle
from alerts.models import Alert, Severity, State
from sensors.models import Asset, Sensor
from tests.conftest import Plant


def alert_on(plant: Plant, title: str = "Too hot", severity: Severity = Severity.HIGH, **extra: Any) -> Alert:
    details = {"asset": plant.pump, "sensor": plant.temperature, "evidence": {}, "dedup_key": title} | extra
    return lifecycle.raise_alert(
        title=title, severity=severity, began_at=timezone.now(), last_seen_at=timezone.now(), **details
    )


@pytest.fixture
def viewer(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["viewer"])
    return client


@pytest.fixture
def operator(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["operator"])
    return client


def text(client: Client, url: str, **query: str) -> str:
    answer = client.get(url, query)
    assert answer.status_code == 200
    return answer.content.decode()


def queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as seen:
        assert client.get(url).status_code == 200
    return len(seen)


PANELS = ["alerts:inbox", "alerts:open-panel", "alerts:attention-panel"]


def test_a_viewer_sees_every_page_and_panel(viewer: Client, north: Plant) -> None:
    alert = alert_on(north)
    for name in PANELS:
        assert viewer.get(reverse(name)).status_code == 200, name
    assert "Too hot" in text(viewer, reverse("alerts:for-asset", args=[north.pump.pk]))
    assert "Too hot" in text(viewer, alert.get_absolute_url())


def test_alerts_of_another_site_do_not_exist(operator: Client, south: Plant) -> None:
    alert = alert_on(south, title="Secret of the south")
    assert operator.get(alert.get_absolute_url()).status_code == 404
    assert operator.get(reverse("alerts:for-asset", args=[south.pump.pk])).status_code == 404
    assert operator.post(reverse("alerts:acknowledge", args=[alert.pk])).status_code == 404
    assert operator.post(reverse("alerts:resolve", args=[alert.pk])).status_code == 404
    for name in PANELS:
        assert "Secret of the south" not in text(operator, reverse(name))
    alert.refresh_from_db()
    assert alert.state == State.OPEN


def test_a_viewer_may_not_acknowledge_or_resolve_and_sees_no_button(viewer: Client, north: Plant) -> None:
    alert = alert_on(north)
    for name in ("alerts:acknowledge", "alerts:resolve"):
        url = reverse(name, args=[alert.pk])
        assert viewer.post(url).status_code == 403
        assert url not in text(viewer, alert.get_absolute_url())
        assert url not in text(viewer, reverse("alerts:inbox"))
    alert.refresh_from_db()
    assert alert.state == State.OPEN


def test_acknowledging_records_who_did_it_and_returns_to_the_alert(
    operator: Client, people: dict[str, User], north: Plant
) -> None:
    alert = alert_on(north)
    answer = operator.post(reverse("alerts:acknowledge", args=[alert.pk]))
    assert answer.status_code == 302
    assert answer.headers["Location"] == alert.get_absolute_url()
    alert.refresh_from_db()
    assert alert.state == State.ACKNOWLEDGED
    assert alert.transitions.last().by == people["operator"]


def test_acknowledging_in_the_inbox_returns_to_the_inbox(operator: Client, north: Plant) -> None:
    url = reverse("alerts:acknowledge", args=[alert_on(north).pk])
    asked = reverse("alerts:inbox") + "?severity=3"
    assert operator.post(url, {"next": asked}).headers["Location"] == asked


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_an_action_never_sends_anybody_to_another_site(operator: Client, north: Plant, elsewhere: str) -> None:
    alert = alert_on(north)
    answer = operator.post(reverse("alerts:acknowledge", args=[alert.pk]), {"next": elsewhere})
    assert answer.headers["Location"] == alert.get_absolute_url()


def test_resolving_keeps_the_reason(operator: Client, north: Plant) -> None:
    alert = alert_on(north)
    operator.post(reverse("alerts:resolve", args=[alert.pk]), {"reason": "Planned test run"})
    alert.refresh_from_db()
    assert alert.state == State.RESOLVED
    assert "Planned test run" in text(operator, alert.get_absolute_url())


def test_acknowledging_what_is_resolved_is_explained(operator: Client, north: Plant) -> None:
    alert = alert_on(north)
    lifecycle.resolve(alert)
    answer = operator.post(reverse("alerts:acknowledge", args=[alert.pk]), follow=True)
    assert "This alert is resolved; it can no longer be changed." in answer.content.decode()


def test_actions_need_a_post_with_a_token(people: dict[str, User], north: Plant) -> None:
    alert = alert_on(north)
    url = reverse("alerts:acknowledge", args=[alert.pk])
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(people["operator"])
    assert strict.get(url)["Location"] == alert.get_absolute_url()
    assert strict.post(url).status_code == 403


def titles(page: str) -> list[str]:
    return re.findall(r'class="row-title"[^>]*>([^<]+)<', page)


def test_the_inbox_opens_with_what_needs_somebody_the_most_pressing_first(viewer: Client, north: Plant) -> None:
    alert_on(north, "Low", Severity.LOW)
    alert_on(north, "Critical", Severity.CRITICAL)
    lifecycle.resolve(alert_on(north, "Done"))
    now = timezone.now()
    lifecycle.record_historical(
        asset=north.pump,
        sensor=north.temperature,
        dedup_key="old",
        title="Old",
        severity=Severity.HIGH,
        evidence={},
        began_at=now - timedelta(days=900),
        last_seen_at=now - timedelta(days=900),
    )
    inbox = reverse("alerts:inbox")
    assert titles(text(viewer, inbox)) == ["Critical", "Low"]
    assert titles(text(viewer, inbox, state="resolved")) == ["Done"]
    assert titles(text(viewer, inbox, state="all")) == ["Critical", "Low", "Done"]
    assert titles(text(viewer, inbox, severity="1")) == ["Low"]
    assert titles(text(viewer, inbox, historical="on")) == ["Old"]
    assert titles(text(viewer, inbox, state="nonsense")) == ["Critical", "Low"]


def test_an_empty_inbox_says_that_nothing_needs_attention(viewer: Client) -> None:
    assert "Nothing needs attention" in text(viewer, reverse("alerts:inbox"))
    assert "Nothing needs attention" in text(viewer, reverse("alerts:open-panel"))
    assert "No alerts like that" in text(viewer, reverse("alerts:inbox"), severity="4")


def test_a_long_inbox_has_pages(viewer: Client, north: Plant) -> None:
    for i in range(51):
        alert_on(north, f"Alert {i}")
    first, second = (titles(text(viewer, reverse("alerts:inbox"), page=number)) for number in ("1", "2"))
    assert (len(first), len(second)) == (50, 1)
    assert len({*first, *second}) == 51
    assert len(titles(text(viewer, reverse("alerts:inbox"), page="-3"))) == 50


def test_assets_stand_by_severity_then_criticality(viewer: Client, north: Plant) -> None:
    for name, criticality in (("Calm and critical", 3), ("Calm", 1), ("Troubled", 1)):
        asset = Asset.objects.create(site=north.site, name=name, criticality=criticality)
        Sensor.objects.create(asset=asset, sensor_id=name.replace(" ", "."), kind="power", unit="kW")
        if name == "Troubled":
            alert_on(north, severity=Severity.CRITICAL, asset=asset, sensor=None)
    Asset.objects.create(site=north.site, name="An area without sensors", level=Asset.Level.AREA)
    alert_on(north, "Mild", Severity.LOW)
    lifecycle.resolve(alert_on(north, "Was bad", Severity.CRITICAL))
    page = text(viewer, reverse("alerts:attention-panel"))
    assert titles(page) == ["Troubled", "Pump P-101", "Calm and critical", "Calm"]


def test_the_alert_page_tells_the_evidence_and_draws_the_time_around_it(viewer: Client, north: Plant) -> None:
    evidence = {
        "unit": "°C",
        "peak_value": 84.2,
        "expected": 62.0,
        "start": "2026-07-01T12:00:00+00:00",
        "end": "2026-07-01T12:20:00+00:00",
        "layers": [{"name": "persistence", "passed": True, "detail": "3 of 5 readings."}],
    }
    alert = alert_on(north, evidence=evidence)
    page = text(viewer, alert.get_absolute_url())
    assert "The value reached 84.20 °C; about 62.00 °C was expected." in page
    assert "3 of 5 readings." in page
    assert 'data-query="from=2026-07-01T11:20:00Z&amp;to=2026-07-01T12:30:00Z"' in page


def test_titles_and_evidence_are_escaped(viewer: Client, north: Plant) -> None:
    nasty = "<script>alert(1)</script>"
    alert = alert_on(north, nasty, evidence={"layers": [{"name": nasty, "passed": True, "detail": nasty}]})
    for url in (alert.get_absolute_url(), *(reverse(name) for name in PANELS)):
        assert nasty not in text(viewer, url)


def test_an_alert_without_asset_and_sensor_has_a_page(viewer: Client, north: Plant) -> None:
    alert = Alert.objects.create(
        site=north.site, severity=2, kind=Alert.Kind.SYSTEM, dedup_key="s", title="Scoring fails"
    )
    assert "Scoring fails" in text(viewer, alert.get_absolute_url())


@pytest.mark.parametrize("name", [*PANELS, "alerts:for-asset"])
def test_lists_cost_the_same_with_one_and_with_ten_alerts(viewer: Client, north: Plant, name: str) -> None:
    alert_on(north)
    url = reverse(name, args=[north.pump.pk] if name == "alerts:for-asset" else [])
    few = queries(viewer, url)
    for i in range(9):
        asset = north.pump if name == "alerts:for-asset" else Asset.objects.create(site=north.site, name=f"Machine {i}")
        alert_on(north, f"Alert {i}", asset=asset)
    assert queries(viewer, url) == few <= 9


def test_the_alert_page_costs_the_same_after_one_and_after_ten_steps(viewer: Client, people: Any, north: Plant) -> None:
    alert = alert_on(north)
    few = queries(viewer, alert.get_absolute_url())
    for role in people:
        alert.transitions.create(step="commented", to_state=State.OPEN, by=people[role])
    assert queries(viewer, alert.get_absolute_url()) == few <= 9


def test_ticked_alerts_are_acknowledged_together(operator: Client, north: Plant, south: Plant) -> None:
    ours = [alert_on(north, f"Hot {n}") for n in range(3)]
    lifecycle.resolve(ours[2])
    theirs = alert_on(south, "Secret")
    url = reverse("alerts:acknowledge-many")
    answer = operator.post(url, {"alert": [*(a.pk for a in ours), theirs.pk, "x"], "next": "/alerts/?severity=3"})
    assert answer.headers["Location"] == "/alerts/?severity=3"
    states = dict(Alert.objects.values_list("title", "state"))
    assert states == {"Hot 0": "acknowledged", "Hot 1": "acknowledged", "Hot 2": "resolved", "Secret": "open"}
    assert "Tick the alerts first." in operator.post(url, follow=True).content.decode()


@pytest.mark.parametrize("length", ["1h", "4h", "12h", "morning", "3d", "7d"])
def test_snoozing_says_until_when(operator: Client, north: Plant, length: str) -> None:
    alert = alert_on(north)
    answer = operator.post(
        reverse("alerts:snooze", args=[alert.pk]), {"length": length, "reason": "Parts ordered"}, follow=True
    )
    assert "Snoozed until" in answer.content.decode()
    alert.refresh_from_db()
    assert alert.state == State.SNOOZED
    if length == "morning":
        assert alert.snoozed_until.astimezone(north.site.timezone).hour == 6


@pytest.mark.parametrize(
    ("step", "sent", "said"),
    [
        ("snooze", {"length": "forever"}, "Choose how long"),
        ("assign", {"to": "99999999"}, "Choose somebody"),
        ("comment", {"text": ""}, "Write something"),
        ("comment", {"text": "x" * 501}, "Write something"),
    ],
)
def test_what_makes_no_sense_is_said_and_changes_nothing(
    operator: Client, north: Plant, step: str, sent: dict[str, str], said: str
) -> None:
    alert = alert_on(north)
    answer = operator.post(reverse(f"alerts:{step}", args=[alert.pk]), sent, follow=True)
    assert said in answer.content.decode()
    assert alert.transitions.count() == 1


def test_assigned_alerts_are_found_by_their_person(operator: Client, people: dict[str, User], north: Plant) -> None:
    alert, _ = alert_on(north, "Mine"), alert_on(north, "Not his")
    operator.post(reverse("alerts:assign", args=[alert.pk]), {"to": people["operator"].pk})
    operator.post(reverse("alerts:comment", args=[alert.pk]), {"text": "<b>Looks bad</b>"})
    shown = text(operator, reverse("alerts:inbox"), mine="on")
    assert "Mine" in shown
    assert "Not his" not in shown
    assert "&lt;b&gt;Looks bad&lt;/b&gt;" in text(operator, alert.get_absolute_url())


def test_the_inbox_is_searched_by_words_kind_and_site(operator: Client, north: Plant) -> None:
    alert_on(north, "Bearing hot")
    alert_on(north, "Bad limit", kind=Alert.Kind.LIMIT)
    url = reverse("alerts:inbox")
    assert "Bad limit" not in text(operator, url, words="bearing")
    assert "Bad limit" in text(operator, url, words="P-101", kind="limit", site=str(north.site.pk))
    assert "Bearing hot" not in text(operator, url, kind="limit")


def test_the_overview_counts_no_further_than_anybody_reads(
    viewer: Client, north: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alerts.querysets.COUNTED", 2)
    alert_on(north, "First")
    alert_on(north, "Second")
    assert "<strong>2</strong> open" in text(viewer, reverse("alerts:open-panel"))
    alert_on(north, "Third")
    assert "<strong>2+</strong> open" in text(viewer, reverse("alerts:open-panel"))


def test_whoever_is_taken_off_a_site_sees_its_alerts_no_more(
    viewer: Client, people: dict[str, User], north: Plant
) -> None:
    alert_on(north, "Too hot")
    people["viewer"].sites.clear()
    assert "Too hot" not in text(viewer, reverse("alerts:inbox"))

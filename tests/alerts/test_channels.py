"""Setting up channels, looking at what went by them, and the link in a message."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db.models import QuerySet
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from alerts import lifecycle
from alerts.delivery import channels, links, secrets, sending
from alerts.models import Alert, Channel, Delivery, State
from sensors.errors import Refused
from tests.alerts.test_delivery import hook, message, raised
from tests.conftest import Plant
from tests.receivers import web

SECRET_URL = "https://hooks.example.com/T0KEN/x"


def new(plant: Plant, **values: Any) -> dict[str, Any]:
    chosen = {"name": "Hook", "kind": "webhook", "site": plant.site.pk, "url": SECRET_URL, "per_minute": 60}
    return chosen | {"enabled": "on"} | values


def set_up() -> QuerySet[Channel]:
    """The channels that somebody has made."""
    return Channel.objects.exclude(name__in=["Log of the server", "E-mail"])


@pytest.fixture
def engineer(client: Client, people: dict[str, User]) -> User:
    client.force_login(people["engineer"])
    return people["engineer"]


def test_a_webhook_is_set_up_and_its_address_never_shown_again(client: Client, north: Plant, engineer: User) -> None:
    answer = client.post(reverse("alerts:new-channel"), new(north), follow=True)
    channel = set_up().get()
    kept = secrets.decrypt(channel.secret)
    assert kept["url"] == SECRET_URL
    assert kept["signing_key"] in answer.content.decode(), "It is shown once."
    assert "T0KEN" not in channel.secret
    for page in (reverse("alerts:channel", args=[channel.pk]), reverse("alerts:channels")):
        shown = client.get(page).content.decode()
        assert "hooks.example.com" in shown
        assert "T0KEN" not in shown
        assert kept["signing_key"] not in shown


def test_a_secret_stays_until_another_is_entered(client: Client, north: Plant, engineer: User) -> None:
    client.post(reverse("alerts:new-channel"), new(north))
    channel = set_up().get()
    before = secrets.decrypt(channel.secret)
    page = reverse("alerts:channel", args=[channel.pk])
    client.post(page, new(north, name="Renamed", url=""))
    channel.refresh_from_db()
    assert (channel.name, secrets.decrypt(channel.secret)) == ("Renamed", before)
    client.post(page, new(north, url="https://other.example.com/"))
    channel.refresh_from_db()
    assert secrets.decrypt(channel.secret) == before | {"url": "https://other.example.com/"}


BAD = [
    ("webhook", "ftp://example.com"),
    ("webhook", "https://"),
    ("webhook", "https://user:pass@example.com/"),
    ("webhook", ""),
    *(("apprise", f"{scheme}://localhost/x") for scheme in ("json", "xml", "form", "syslog", "dbus", "file", "mailto")),
    ("apprise", "ntfy://ntfy.sh/topic?attach=/etc/passwd"),
    ("apprise", "slack"),
]


@pytest.mark.parametrize(("kind", "url"), BAD)
def test_an_address_that_may_not_be_used_is_refused(
    client: Client, north: Plant, engineer: User, kind: str, url: str
) -> None:
    answer = client.post(reverse("alerts:new-channel"), new(north, kind=kind, url=url))
    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert not set_up().exists()


def test_an_engineer_of_a_site_makes_and_changes_no_channel_of_every_site(
    client: Client, north: Plant, south: Plant, engineer: User
) -> None:
    for site in ("", south.site.pk):
        assert client.post(reverse("alerts:new-channel"), new(north, site=site)).status_code == 200
    assert not set_up().exists()
    everywhere = Channel.objects.create(name="Everywhere", kind="console")
    assert client.get(reverse("alerts:channel", args=[everywhere.pk])).status_code == 404
    assert "Everywhere" in client.get(reverse("alerts:channels")).content.decode()


def test_a_viewer_sees_the_names_of_channels_only(client: Client, north: Plant, people: dict[str, User]) -> None:
    channel = Channel.objects.create(name="Hook", kind="webhook", site=north.site, config={"host": "h.example.com"})
    client.force_login(people["viewer"])
    shown = client.get(reverse("alerts:channels")).content.decode()
    assert "Hook" in shown
    assert "h.example.com" not in shown
    assert client.get(reverse("alerts:channel", args=[channel.pk])).status_code == 403


def test_a_test_shows_what_came_of_it(client: Client, north: Plant, engineer: User, settings: LazySettings) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = ["127.0.0.0/8"]
    with web(200, 403) as receiver:
        channel = hook(receiver, north.site)
        page = reverse("alerts:channel", args=[channel.pk])
        for expected in ("Sent", "the receiver answers 403"):
            shown = client.post(reverse("alerts:test-channel", args=[channel.pk]), follow=True).content.decode()
            assert 'hx-trigger="every 1s"' in shown
            sending.deliver_due()
            shown = client.get(page, headers={"HX-Request": "true"}).content.decode()
            assert expected in shown
            assert "every 1s" not in shown
    assert not Alert.objects.exists()


def test_the_log_shows_messages_of_visible_sites_and_sends_failed_ones_again(
    client: Client, north: Plant, south: Plant, engineer: User
) -> None:
    channel = Channel.objects.create(name="Log", kind="console")
    mine = message(channel, raised(north), state="failed", subject="Here", attempts=1)
    other = message(channel, raised(south, "cold"), state="failed", subject="Elsewhere", attempts=1)
    shown = client.get(reverse("alerts:deliveries"), {"state": "failed", "channel": channel.pk}).content.decode()
    assert "Here" in shown
    assert "Elsewhere" not in shown
    assert client.get(reverse("alerts:delivery", args=[mine.pk])).status_code == 200
    assert client.post(reverse("alerts:redrive", args=[other.pk])).status_code == 404
    client.post(reverse("alerts:redrive", args=[mine.pk]))
    mine.refresh_from_db()
    other.refresh_from_db()
    assert (mine.state, other.state) == ("waiting", "failed")


def test_the_log_is_filtered(client: Client, north: Plant, engineer: User) -> None:
    channel = Channel.objects.create(name="Log", kind="console")
    alert = raised(north)
    message(channel, alert, subject="One", person=engineer)
    message(channel, raised(north, "loud"), subject="Two", state="sent")
    for query, expected in (
        ({"alert": alert.pk}, ("One",)),
        ({"person": engineer.username}, ("One",)),
        ({"state": "sent"}, ("Two",)),
        ({"alert": "x"}, ("One", "Two")),
    ):
        shown = client.get(reverse("alerts:deliveries"), query).content.decode()
        assert tuple(name for name in ("One", "Two") if f">{name}<" in shown) == expected


def link(alert: Alert, person: User) -> str:
    return links.acknowledge_url(alert, person).partition("8000")[2]


def test_opening_the_link_asks_and_only_its_button_acknowledges(north: Plant, people: dict[str, User]) -> None:
    alert, client = raised(north), Client(enforce_csrf_checks=True)
    address = link(alert, people["operator"])
    shown = client.get(address)
    assert "Pump is hot" in shown.content.decode()
    assert shown["Referrer-Policy"] == "no-referrer"
    assert shown["X-Robots-Tag"] == "noindex"
    assert north.pump.name not in shown.content.decode()
    alert.refresh_from_db()
    assert alert.state == State.OPEN
    assert "Others now see" in client.post(address).content.decode()
    alert.refresh_from_db()
    step = alert.transitions.last()
    assert alert.state == State.ACKNOWLEDGED
    assert step is not None
    assert (step.by, step.surface) == (people["operator"], "link")


def test_a_link_stops_working(north: Plant, people: dict[str, User], client: Client) -> None:
    alert, person = raised(north), people["operator"]
    address = link(alert, person)
    with time_machine.travel(timezone.now() + links.VALID_FOR + timedelta(minutes=1)):
        assert client.post(address).status_code == 410
    assert client.post(address[:-3] + "x/").status_code == 404
    assert client.post(link(alert, people["viewer"])).status_code == 403
    north.site.members.remove(person)
    assert client.post(address).status_code == 403
    north.site.members.add(person)
    User.objects.filter(pk=person.pk).update(is_active=False)
    assert client.post(address).status_code == 403
    alert.refresh_from_db()
    assert alert.state == State.OPEN


def test_a_link_to_what_is_resolved_says_so(north: Plant, people: dict[str, User], client: Client) -> None:
    alert = raised(north)
    address = link(alert, people["operator"])
    lifecycle.resolve(alert)
    assert "it is resolved" in client.get(address).content.decode()
    assert client.post(address).status_code == 409


def test_secrets_are_read_with_older_keys_and_written_with_the_newest(settings: LazySettings) -> None:
    settings.SECRETS_KEYS = ["old"]
    stored = secrets.encrypt({"url": SECRET_URL})
    settings.SECRETS_KEYS = ["new", "old"]
    afresh = secrets.encrypt_afresh(stored)
    settings.SECRETS_KEYS = ["new"]
    assert secrets.decrypt(afresh) == {"url": SECRET_URL}
    with pytest.raises(secrets.Unreadable):
        secrets.decrypt(stored)


def test_what_says_no_does_not_repeat_the_address() -> None:
    with pytest.raises(Refused) as refusal:
        channels.checked_url("webhook", "https://user:T0KEN@example.com/")
    assert "T0KEN" not in str(refusal.value)


def test_a_lost_key_is_said_and_the_message_waits(north: Plant, settings: LazySettings) -> None:
    settings.SECRETS_KEYS = ["old"]
    with web() as receiver:
        made = message(hook(receiver), raised(north))
        settings.SECRETS_KEYS = ["new"]
        sending.deliver_due()
    made.refresh_from_db()
    assert (made.state, "SECRETS_KEYS" in made.error) == (Delivery.State.WAITING, True)


def test_secrets_are_encrypted_afresh_by_a_command_that_names_what_is_lost(
    north: Plant, settings: LazySettings, capsys: pytest.CaptureFixture[str]
) -> None:
    with web() as receiver:
        settings.SECRETS_KEYS = ["lost"]
        hook(receiver, name="Lost")
        settings.SECRETS_KEYS = ["old"]
        kept = hook(receiver)
        settings.SECRETS_KEYS = ["new", "old"]
        with pytest.raises(CommandError, match=r"enter their secrets again: Lost\."):
            call_command("rotate_secrets")
        assert "1 channels" in capsys.readouterr().out
        settings.SECRETS_KEYS = ["new"]
        kept.refresh_from_db()
        assert secrets.decrypt(kept.secret)["url"] == receiver.url


def test_failed_messages_are_sent_again_from_the_admin(client: Client, north: Plant, engineer: User) -> None:
    made = message(Channel.objects.create(name="Log", kind="console"), raised(north), state="failed", attempts=1)
    page = reverse("admin:alerts_delivery_changelist")
    answer = client.post(page, {"action": "redrive", "_selected_action": [made.pk]}, follow=True)
    assert "1 messages are sent again" in answer.content.decode()
    made.refresh_from_db()
    assert made.state == "waiting"

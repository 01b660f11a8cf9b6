"""Services that Apprise speaks to, by a local receiver in their place."""

import json
import logging
from collections.abc import Iterator

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User

from alerts.delivery import channels, sending
from alerts.delivery.transports import apprise, network
from alerts.models import Channel, Contact, Delivery
from tests.alerts.test_delivery import message, raised, state_of
from tests.conftest import Plant
from tests.receivers import Web, web

Sent = Delivery.State
TOKEN = "tk_verysecrettoken"


@pytest.fixture
def receiver(settings: LazySettings) -> Iterator[Web]:
    settings.WEBHOOK_ALLOW_PRIVATE = ["127.0.0.0/8"]
    with web() as receiver:
        yield receiver


def service(url: str) -> Channel:
    channel = Channel(name="Chat", kind="apprise")
    channels.keep_secrets(channel, url=channels.checked_url("apprise", url))
    channel.save()
    return channel


def at(receiver: Web) -> str:
    return receiver.url.removeprefix("http://").removesuffix("/hook")


def test_a_chat_gets_the_subject_and_the_text(north: Plant, receiver: Web) -> None:
    channel = service(f"mmost://{at(receiver)}/abcdefghijklmnopqrstuvwxyz")
    made = message(channel, raised(north))
    sending.deliver_due()
    assert state_of(made) == (Sent.SENT, 1, "")
    assert channel.config == {"service": "Mattermost", "short": False, "personal": False}
    text = json.loads(receiver.posted[0].body)["text"]
    assert "[HIGH] Pump is hot · North" in text
    assert "Where: Pump P-101, North" in text


def test_each_person_is_reached_at_an_address_of_their_own(
    north: Plant, receiver: Web, people: dict[str, User]
) -> None:
    channel = service(f"ntfy://{TOKEN}@{at(receiver)}/{{to}}")
    assert channel.is_personal
    Contact.objects.create(person=people["operator"], channel=channel, address="olga-phone")
    made = message(channel, raised(north), person=people["operator"])
    nowhere = message(channel, raised(north, "loud"), person=people["technician"])
    sending.deliver_due()
    assert state_of(made)[0] == Sent.SENT
    sent = receiver.posted[0]
    assert "olga-phone" in sent.body.decode() + sent.path
    assert (state_of(nowhere)[0], "has no address for Chat" in nowhere.error) == (Sent.FAILED, True)


@pytest.mark.parametrize(
    ("answer", "state"), [(500, Sent.WAITING), (429, Sent.WAITING), (403, Sent.FAILED), (0, Sent.WAITING)]
)
def test_what_a_service_answers_decides_and_no_token_is_told(
    north: Plant, receiver: Web, answer: int, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers[:] = [(answer, {})]
    channel = service(f"ntfy://{TOKEN}@{at(receiver)}/topic")
    made = message(channel, raised(north))
    with caplog.at_level(logging.DEBUG):
        sending.deliver_due()
    assert state_of(made)[:2] == (state, 1)
    assert made.error == (f"ntfy answers {answer}" if answer else "ntfy does not answer")
    channel.refresh_from_db()
    assert TOKEN not in f"{made.error} {channel.last_error} {channel.config} {channel.secret} {caplog.text}"


def test_a_service_in_our_own_network_is_refused_unless_it_is_allowed(
    north: Plant, receiver: Web, settings: LazySettings
) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = []
    made = message(service(f"ntfy://{at(receiver).replace('127.0.0.1', 'localhost')}/topic"), raised(north))
    sending.deliver_due()
    assert state_of(made)[0] == Sent.FAILED
    assert "not an address of the public internet" in made.error
    assert receiver.posted == []


def test_a_service_that_hangs_is_cut_off(north: Plant, receiver: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "SEND_SECONDS", 0.6)
    receiver.answers[:] = [(-1, {})]
    made = message(service(f"ntfy://{at(receiver)}/topic"), raised(north))
    sending.deliver_due()
    assert (state_of(made)[0], made.error) == (Sent.WAITING, "no complete answer within 0.6 s")


def test_an_address_that_nobody_could_have_says_nothing_against_the_service(
    north: Plant, people: dict[str, User]
) -> None:
    channel = service("msgbird://" + "a" * 25 + "/15551230000/{to}")
    Contact.objects.create(person=people["operator"], channel=channel, address="nonsense")
    made = message(channel, raised(north), person=people["operator"])
    sending.deliver_due()
    assert state_of(made) == (Sent.FAILED, 1, "SMS by MessageBird cannot reach this address")
    channel.refresh_from_db()
    assert channel.failing_since is None


def test_an_sms_is_one_line(north: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(apprise, "_notify", lambda name, url, title, body: told.append((title, body)))
    account = "AC" + "a" * 32
    message(service(f"twilio://{account}:{'b' * 32}@15551230000/15551230001"), raised(north))
    sending.deliver_due()
    ((title, body),) = told
    assert title == ""
    assert body.startswith("[HIGH] Pump is hot · North http")
    assert len(body) <= 320


EXAMPLES = {
    "slack": "slack://TAAAAAAAA/BBBBBBBBB/CCCCCCCCCCCCCCCCCCCCCCCC/#alerts",
    "workflows": "workflows://prod-1.logic.azure.com:443/" + "a" * 32 + "/" + "b" * 43 + "/",
    "tgram": "tgram://123456789:abcdefghijklmnopqrstuvwxyzABCDEFGHI/12315544/",
    "pagerduty": "pagerduty://integrationkey@apikey/",
    "twilio": "twilio://AC" + "a" * 32 + ":" + "b" * 32 + "@15551230000/15551230001",
    "ntfys": "ntfys://ntfy.sh/topic",
    "discord": "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js/",
    "opsgenie": "opsgenie://apikey/",
    "gchat": "gchat://workspace/key/token",
    "signl4": "signl4://secret",
}


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_services_of_the_table_are_those_that_apprise_knows(name: str) -> None:
    assert name in apprise.services.SERVICES
    assert apprise._plugin(EXAMPLES[name]) is not None


def test_every_scheme_of_the_table_is_one_of_apprise() -> None:
    apprise._library()
    from apprise.manager_plugins import NotificationManager

    assert [name for name in apprise.services.SERVICES if name not in NotificationManager()] == []


@pytest.mark.parametrize(
    "options",
    [
        "?attach=/etc/passwd",
        "#?attach=/x",
        "?a=1;attach=/x",
        "?a=1&%61ttach=/x",
        "?+attach=/x",
        "?Wait=9",
        "?redirect=yes",
    ],
)
def test_options_that_read_files_wait_or_follow_are_refused_however_they_are_written(options: str) -> None:
    """Each is one to Apprise, too."""
    url = f"ntfy://host/topic{options}"
    assert apprise._library().Apprise.instantiate(url) is not None
    assert apprise.services.of(url) is None

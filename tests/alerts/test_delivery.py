"""Messages on their way, to real receivers."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from alerts import lifecycle
from alerts.delivery import channel_health, messages, secrets, sending
from alerts.delivery.transports import network, opened
from alerts.models import Alert, Channel, Delivery, Severity, State
from sensors.models import Site
from tests.conftest import Plant, make_plant
from tests.receivers import MailServer, Web, mail_server, web

MINUTE = timedelta(minutes=1)
Sent = Delivery.State


@pytest.fixture(autouse=True)
def breakers_of_now() -> Iterator[None]:
    """The test database numbers its channels anew; what Valkey knows of older ones is gone with the cache."""
    channel_health._circuit.cache_clear()
    yield
    channel_health._circuit.cache_clear()


@pytest.fixture
def local(settings: LazySettings) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = ["127.0.0.0/8"]


@pytest.fixture
def receiver(local: None) -> Iterator[Web]:
    with web() as receiver:
        yield receiver


@pytest.fixture
def mails(settings: LazySettings) -> Iterator[MailServer]:
    with mail_server() as server:
        set_mail_server(settings, server.port)
        yield server


def set_mail_server(settings: LazySettings, port: int) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port


def hook(receiver: Web, site: Site | None = None, **values: Any) -> Channel:
    secret = secrets.encrypt({"url": receiver.url, "signing_key": "a signing key"})
    name = values.pop("name", "Hook")
    return Channel.objects.create(name=name, kind="webhook", site=site, secret=secret, **values)


def raised(plant: Plant, key: str = "hot", severity: Severity = Severity.HIGH) -> Alert:
    return lifecycle.raise_alert(
        dedup_key=key,
        title=f"Pump is {key}",
        severity=severity,
        evidence={},
        began_at=timezone.now(),
        last_seen_at=timezone.now(),
        asset=plant.pump,
        sensor=plant.temperature,
    )


def message(channel: Channel, *alerts: Alert, person: User | None = None, **values: Any) -> Delivery:
    group = values.pop("group_key", f"asset-{Delivery.objects.count()}")
    site = alerts[0].site if alerts else None
    made = Delivery.objects.create(
        channel=channel, site=site, person=person, group_key=group, reason="of a route.", **values
    )
    for alert in alerts:
        made.items.create(alert=alert, reason="of a route.")
    return made


def state_of(made: Delivery) -> tuple[str, int, str]:
    made.refresh_from_db()
    return made.state, made.attempts, made.error


def test_a_webhook_is_told_in_json_that_it_can_verify(north: Plant, receiver: Web) -> None:
    made = message(hook(receiver), raised(north))
    assert sending.deliver_due() == 1
    (posted,) = receiver.posted
    stamped = posted.headers["X-Timestamp"].encode() + b"." + posted.body
    expected = hmac.new(b"a signing key", stamped, hashlib.sha256).hexdigest()
    assert posted.headers["X-Signature"] == f"sha256={expected}"
    assert posted.headers["Idempotency-Key"] == str(made.key)
    body = json.loads(posted.body)
    assert (body["kind"], body["severity"], body["id"]) == ("anomaly", "high", str(made.key))
    assert [(alert["title"], alert["asset"]) for alert in body["alerts"]] == [("Pump is hot", "Pump P-101")]
    assert state_of(made) == (Sent.SENT, 1, "")
    assert made.sent_at is not None
    assert made.subject == "[HIGH] Pump is hot · North"


def test_an_e_mail_has_text_html_and_what_threads_it(north: Plant, mails: MailServer, people: dict[str, User]) -> None:
    channel = Channel.objects.create(name="Mail", kind="email")
    first, second = raised(north, "hot"), raised(north, "loud")
    made = message(channel, first, person=people["operator"], group_key="asset-1")
    message(channel, second, person=people["operator"], group_key="asset-1", kind="escalation")
    sending.deliver_due()
    mail, other = mails.mails
    assert mail["To"] == people["operator"].email
    assert mail["Message-ID"] == f"<{made.key}@localhost>"
    assert mail["X-Idempotency-Key"] == str(made.key)
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["In-Reply-To"] == other["In-Reply-To"]
    text, html = (part.get_payload(decode=True).decode() for part in mail.get_payload())  # type: ignore[union-attr]
    assert "Pump is hot" in text
    assert "by-link/" in text
    assert "<h1>Pump is hot</h1>" in html
    assert mails.connections == 1
    made.refresh_from_db()
    assert "by-link/" not in made.body, "Others who read the log must not find the link."


@pytest.mark.parametrize("answer", [500, 502, 503, 429, 408, 0])
def test_what_may_pass_is_tried_again_under_the_same_key(north: Plant, local: None, answer: int) -> None:
    with web(answer, 200) as receiver:
        made = message(hook(receiver), raised(north))
        sending.deliver_due()
        state, attempts, error = state_of(made)
        assert (state, attempts) == (Sent.WAITING, 1)
        assert error
        assert 15 <= (made.due_at - timezone.now()).total_seconds() <= 30
        assert sending.deliver_due() == 0
        with time_machine.travel(timezone.now() + MINUTE):
            sending.deliver_due()
        assert state_of(made) == (Sent.SENT, 2, "")
    assert len({posted.headers["Idempotency-Key"] for posted in receiver.posted}) == 1


@pytest.mark.parametrize("answer", [301, 400, 401, 404, 410])
def test_what_cannot_pass_fails_at_once_and_an_alert_says_so(north: Plant, local: None, answer: int) -> None:
    with web(answer) as receiver:
        channel = hook(receiver)
        made = [message(channel, raised(north, key)) for key in ("hot", "loud")]
        sending.deliver_due()
    assert [state_of(one)[0] for one in made] == [Sent.FAILED, Sent.FAILED]
    assert str(answer) in made[0].error
    alert = Alert.objects.get(kind=Alert.Kind.SYSTEM)
    assert (alert.title, alert.occurrences) == ("Messages by Hook cannot be delivered", 2)


def test_a_receiver_that_asks_for_patience_gets_it(north: Plant, local: None) -> None:
    with web((429, {"Retry-After": "600"}), 200) as receiver:
        made = message(hook(receiver), raised(north))
        sending.deliver_due()
        made.refresh_from_db()
        assert 595 <= (made.due_at - timezone.now()).total_seconds() <= 601


@pytest.mark.parametrize("answer", [-1, -2], ids=["says nothing", "drips"])
def test_a_receiver_that_hangs_is_cut_off(
    north: Plant, local: None, answer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "SEND_SECONDS", 0.6)
    with web(answer) as receiver:
        made = message(hook(receiver), raised(north))
        begun = time.monotonic()
        sending.deliver_due()
        assert time.monotonic() - begun < 3
    assert state_of(made)[:2] == (Sent.WAITING, 1)
    assert "no complete answer within 0.6 s" in made.error


@pytest.mark.parametrize(
    ("reply", "state"), [("550 no such mailbox", Sent.FAILED), ("451 greylisted", Sent.WAITING)], ids=["5xx", "4xx"]
)
def test_what_a_mail_server_says_decides(
    north: Plant, mails: MailServer, people: dict[str, User], reply: str, state: str
) -> None:
    mails.reply = reply
    made = message(Channel.objects.create(name="Mail", kind="email"), raised(north), person=people["operator"])
    sending.deliver_due()
    assert state_of(made) == (state, 1, f"the mail server says {reply}")


ADDRESSES = [
    *("127.0.0.1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
    *("224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "fe80::1%eth0", "fc00::1", "::ffff:10.0.0.1", "ff02::1"),
    *("64:ff9b::7f00:1", "2002:7f00:1::", "198.18.0.1", "fec0::1"),
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_of_private_networks_are_refused(address: str) -> None:
    with pytest.raises(network.PermanentFailure, match="not an address of the public internet"):
        network.require_public(address)


def test_a_webhook_to_our_own_network_fails_without_a_connection_whatever_its_name(north: Plant) -> None:
    with web() as receiver:
        receiver.url = receiver.url.replace("127.0.0.1", "localhost")
        made = message(hook(receiver), raised(north))
        sending.deliver_due()
        assert receiver.posted == []
    assert state_of(made)[0] == Sent.FAILED
    assert "not an address of the public internet" in made.error


def test_an_hour_without_a_mail_server_ends_in_sent(
    north: Plant, settings: LazySettings, people: dict[str, User]
) -> None:
    """The server is away from 0:00 to 1:00; the program looks every ten seconds."""
    channel = Channel.objects.create(name="Mail", kind="email")
    start = datetime(2026, 3, 1, tzinfo=UTC)
    with mail_server() as server:
        set_mail_server(settings, server.port)
    with time_machine.travel(start, tick=False):
        made = [
            message(channel, raised(north, f"hot {number}"), person=people["operator"], severity=Severity.HIGH)
            for number in range(3)
        ]
    for step in range(360):
        with time_machine.travel(start + step * timedelta(seconds=10), tick=False):
            sending.deliver_due()
    assert {state_of(one)[0] for one in made} == {Sent.WAITING}
    tried = [one.attempts for one in made]
    assert max(tried) < sending.ATTEMPTS
    channel.refresh_from_db()
    assert channel.failing_since is not None
    assert channel.paused_until is not None
    with mail_server(server.port) as server:
        for step in range(360, 480):
            with time_machine.travel(start + step * timedelta(seconds=10), tick=False):
                sending.deliver_due()
            if all(state_of(one)[0] == Sent.SENT for one in made):
                break
        assert len(server.mails) == 3
    minutes_late = (step - 360) / 6
    assert minutes_late <= 10.5, f"{minutes_late} minutes after the server was back"
    channel.refresh_from_db()
    assert (channel.failing_since, channel.paused_until, channel.last_error) == (None, None, "")


def test_eight_attempts_take_from_ten_hours_to_a_day() -> None:
    waits = [[sending.wait_after(attempts, chance) for attempts in range(1, sending.ATTEMPTS)] for chance in (0, 1)]
    shortest, longest = (sum(row, timedelta()) for row in waits)
    assert timedelta(hours=10) < shortest < longest < timedelta(hours=24)


def test_who_looks_after_a_channel_is_told_once_by_another_way_and_again_when_it_works(
    north: Plant, local: None, people: dict[str, User], mails: MailServer
) -> None:
    Channel.objects.create(name="Mail", kind="email")
    start = timezone.now()
    with web(500) as receiver:
        channel = hook(receiver, owner=people["engineer"])
        made = message(channel, raised(north))
        for minute in range(15):
            with time_machine.travel(start + minute * MINUTE, tick=False):
                sending.deliver_due()
        assert [mail["Subject"] for mail in mails.mails] == ["Hook fails"]
        assert mails.mails[0]["To"] == people["engineer"].email
        receiver.answers[:] = [(200, {})]
        for minute in range(15, 40):
            with time_machine.travel(start + minute * MINUTE, tick=False):
                sending.deliver_due()
    assert state_of(made)[0] == Sent.SENT
    assert [mail["Subject"] for mail in mails.mails] == ["Hook fails", "Hook works again"]


def test_a_channel_that_fails_is_spared_and_what_waits_for_it_loses_no_attempt(north: Plant, local: None) -> None:
    with web(500) as receiver:
        channel = hook(receiver)
        made = [message(channel, raised(north, str(number))) for number in range(20)]
        sending.deliver_due()
        sending.deliver_due()
        assert len(receiver.posted) == channel_health.BREAKER_FAILURES
    assert sorted(state_of(one)[1] for one in made) == [0] * 15 + [1] * 5


def test_a_channel_sends_no_more_a_minute_than_it_may_but_everything_critical(north: Plant, receiver: Web) -> None:
    channel = hook(receiver, per_minute=3)
    for number in range(6):
        message(channel, raised(north, f"warm {number}"), severity=Severity.HIGH)
    sending.deliver_due()
    assert len(receiver.posted) == 3
    for number in range(4):
        critical = raised(north, f"burning {number}", Severity.CRITICAL)
        message(channel, critical, severity=Severity.CRITICAL)
    sending.deliver_due()
    assert len(receiver.posted) == 7
    with time_machine.travel(timezone.now() + MINUTE + timedelta(seconds=1)):
        sending.deliver_due()
    assert len(receiver.posted) == 10


def test_a_lease_that_ran_out_is_sent_again_under_the_same_key(north: Plant, receiver: Web) -> None:
    made = message(hook(receiver), raised(north))
    sending._claim(made.channel_id)
    assert sending.deliver_due() == 0
    with time_machine.travel(timezone.now() + sending.LEASE + timedelta(seconds=1)):
        sending.deliver_due()
    assert state_of(made) == (Sent.SENT, 2, "")
    assert receiver.posted[0].headers["Idempotency-Key"] == str(made.key)


def test_what_kills_its_sender_each_time_is_given_up(north: Plant, receiver: Web) -> None:
    made = message(hook(receiver), raised(north))
    for number in range(sending.ATTEMPTS + 1):
        with time_machine.travel(timezone.now() + number * 2 * MINUTE):
            if number < sending.ATTEMPTS:
                assert len(sending._claim(made.channel_id)[1]) == 1
            else:
                sending.deliver_due()
    assert state_of(made) == (Sent.FAILED, sending.ATTEMPTS, "its sender was interrupted again and again")
    assert receiver.posted == []


def test_what_was_resolved_before_anybody_was_told_is_not_sent(north: Plant, receiver: Web) -> None:
    alert = raised(north)
    made = message(hook(receiver), alert)
    lifecycle.resolve(alert)
    sending.deliver_due()
    assert state_of(made)[0] == Sent.CANCELLED
    assert receiver.posted == []


def test_who_has_lost_the_site_is_not_told_of_it(north: Plant, mails: MailServer, people: dict[str, User]) -> None:
    made = message(Channel.objects.create(name="Mail", kind="email"), raised(north), person=people["operator"])
    north.site.members.remove(people["operator"])
    sending.deliver_due()
    assert state_of(made)[0] == Sent.CANCELLED
    assert mails.mails == []


def test_failed_messages_are_sent_again_and_their_alert_is_settled(north: Plant, local: None) -> None:
    with web(404) as receiver:
        channel = hook(receiver)
        made = [message(channel, raised(north, key)) for key in ("hot", "loud")]
        sending.deliver_due()
        receiver.answers[:] = [(200, {})]
        assert sending.redrive(Delivery.objects.filter(pk=made[0].pk)) == 1
        assert Alert.objects.get(kind="system").state == State.OPEN
        assert sending.redrive(Delivery.objects.filter(channel=channel)) == 1
        sending.deliver_due()
    assert [state_of(one)[0] for one in made] == [Sent.SENT, Sent.SENT]
    assert Alert.objects.get(kind="system").state == State.RESOLVED
    keys = [posted.headers["Idempotency-Key"] for posted in receiver.posted]
    assert keys == [str(one.key) for one in made] * 2


def test_a_channel_that_is_switched_off_keeps_its_messages_and_still_takes_a_test(north: Plant, receiver: Web) -> None:
    channel = hook(receiver, enabled=False)
    made, test = message(channel, raised(north)), message(channel, kind="test", subject="Test", body="Try.")
    sending.deliver_due()
    assert [state_of(one)[0] for one in (made, test)] == [Sent.WAITING, Sent.SENT]
    channel.enabled = True
    channel.save()
    sending.deliver_due()
    assert state_of(made)[0] == Sent.SENT


@pytest.mark.django_db(transaction=True)
def test_a_receiver_that_hangs_holds_up_nobody_else(north: Plant, local: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "SEND_SECONDS", 4)
    with web(-1) as hanging, web() as quick:
        slow = hook(hanging)
        for number in range(4):
            message(slow, raised(north, str(number)))

        def turn(channel_pk: int) -> None:
            try:
                sending.deliver_by(channel_pk)
            finally:
                connection.close()

        threads = [threading.Thread(target=turn, args=(sending.waited_for()[0],)) for _ in range(4)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 5
        while len(hanging.posted) < sending.SENDERS and time.monotonic() < deadline:
            time.sleep(0.02)
        try:
            other = hook(quick, name="Other")
            made = message(other, raised(north, "loud"))
            begun = time.monotonic()
            sending.deliver_by(other.pk)
            assert state_of(made)[0] == Sent.SENT
            assert time.monotonic() - begun < 1
            assert len(hanging.posted) == sending.SENDERS
        finally:
            hanging.closed.set()
            for thread in threads:
                thread.join(20)


def test_without_a_mail_server_the_log_says_so_and_nobody_is_alerted(
    north: Plant, settings: LazySettings, people: dict[str, User]
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    made = message(Channel.objects.create(name="Mail", kind="email"), raised(north), person=people["operator"])
    sending.deliver_due()
    assert state_of(made) == (Sent.FAILED, 1, "no mail server is set; see EMAIL_URL")
    assert not Alert.objects.filter(kind=Alert.Kind.SYSTEM).exists()


@pytest.mark.parametrize("trouble", ["a full mailbox", "no address", "a text that cannot be made"])
def test_one_message_that_cannot_be_sent_does_not_stop_the_channel_for_others(
    north: Plant, mails: MailServer, people: dict[str, User], trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mails.full = people["operator"].email if trouble == "a full mailbox" else ""
    if trouble == "no address":
        User.objects.filter(pk=people["operator"].pk).update(email="olga@example.com\nBcc: all@example.com")
    channel = Channel.objects.create(name="Mail", kind="email")
    start = timezone.now()
    with time_machine.travel(start, tick=False):
        stuck = message(channel, raised(north), person=people["operator"], severity=Severity.CRITICAL)
    if trouble == "a text that cannot be made":
        compose = messages.compose
        monkeypatch.setattr(messages, "compose", lambda row: compose(row) if row.pk != stuck.pk else 1 / 0)
    for minute in range(16):
        with time_machine.travel(start + minute * MINUTE, tick=False):
            sending.deliver_due()
    with time_machine.travel(start + 16 * MINUTE, tick=False):
        made = message(channel, raised(north, "loud"), person=people["technician"])
        sending.deliver_due()
    assert state_of(made)[0] == Sent.SENT
    assert state_of(stuck)[0] == (Sent.FAILED if trouble == "no address" else Sent.WAITING)
    channel.refresh_from_db()
    assert (channel.failing_since, channel.paused_until) == (None, None)


def test_a_paused_channel_is_tried_with_what_was_not_tried_in_vain(north: Plant, receiver: Web) -> None:
    now = timezone.now()
    channel = hook(receiver, failing_since=now - 20 * MINUTE, paused_until=now - MINUTE)
    message(channel, raised(north), severity=Severity.CRITICAL, attempts=1, due_at=now - 2 * MINUTE)
    fresh = message(channel, raised(north, "loud"), severity=Severity.LOW, due_at=now - MINUTE)
    assert sending._claim(channel.pk)[1] == [fresh]


def test_members_of_one_site_do_not_read_what_fails_at_another(north: Plant, local: None) -> None:
    south = make_plant("South")
    with web(404) as receiver:
        channel = hook(receiver)
        for plant in (north, south):
            message(channel, raised(plant, plant.site.name))
        sending.deliver_due()
        found = Alert.objects.filter(kind=Alert.Kind.SYSTEM)
        assert sorted(found.values_list("site__name", "occurrences")) == [("North", 1), ("South", 1)]
        receiver.answers[:] = [(200, {})]
        sending.redrive(Delivery.objects.filter(channel=channel))
    assert not found.unresolved().exists()


def test_a_channel_that_became_another_sites_is_not_told_of_the_first_ones_alerts(north: Plant, receiver: Web) -> None:
    channel = hook(receiver, north.site)
    made = message(channel, raised(north))
    Channel.objects.filter(pk=channel.pk).update(site=make_plant("South").site)
    sending.deliver_due()
    assert (state_of(made)[0], receiver.posted) == (Sent.CANCELLED, [])


def test_a_room_gets_no_link_by_which_somebody_else_would_acknowledge(
    north: Plant, receiver: Web, people: dict[str, User]
) -> None:
    """The channel reached people one by one when the message was written."""
    message(hook(receiver), raised(north), person=people["operator"])
    sending.deliver_due()
    assert b"by-link" not in receiver.posted[0].body


def test_nothing_is_sent_when_its_lease_is_nearly_over(north: Plant, receiver: Web) -> None:
    """Another one would send it at the same time."""
    made = message(hook(receiver), raised(north))
    ((claimed,), now) = sending._claim(made.channel_id)[1], timezone.now()
    with opened(made.channel) as send, time_machine.travel(now + timedelta(seconds=51), tick=False):
        sending._deliver(claimed, send)
    assert (state_of(made)[0], receiver.posted) == (Sent.SENDING, [])


def test_channels_of_one_site_that_hang_leave_threads_to_others(north: Plant, receiver: Web) -> None:
    own = [hook(receiver, north.site, name=f"Hook {number}") for number in range(4)]
    everywhere = hook(receiver, name="Everywhere")
    with ExitStack() as held:
        taken = [held.enter_context(sending._place(channel.pk)) for channel in own for _ in range(sending.SENDERS)]
        assert sum(taken) == sending.SENDERS_OF_SITE
        assert held.enter_context(sending._place(everywhere.pk))
    with sending._place(own[-1].pk) as is_free:
        assert is_free

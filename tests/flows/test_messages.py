"""Programs that send messages are killed (SIGKILL) at every step: each message ends sent, none is lost, and one that is
sent twice carries the same key.
"""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone

from alerts.delivery import channel_health, sending
from alerts.models import Delivery
from sensors import embedded
from tests.alerts.test_delivery import hook, message, raised
from tests.conftest import Plant
from tests.platform import child_environment
from tests.receivers import Web, web

pytestmark = pytest.mark.django_db(transaction=True)

SEND = "import django; django.setup(); from alerts.delivery import sending; sending.deliver_due()"
SEND_FOR_LONG = """
import time, django
django.setup()
from alerts.delivery import sending
from alerts.models import Delivery
deadline = time.monotonic() + 30
while time.monotonic() < deadline and Delivery.objects.exclude(state="sent").exists():
    sending.deliver_due()
    time.sleep(0.05)
"""
Sent = Delivery.State


@pytest.fixture
def receiver(settings: LazySettings) -> Iterator[Web]:
    channel_health._circuit.cache_clear()
    settings.WEBHOOK_ALLOW_PRIVATE = ["127.0.0.0/8"]
    with web() as receiver:
        yield receiver


@pytest.fixture
def waiting(north: Plant, receiver: Web) -> Delivery:
    return message(hook(receiver), raised(north))


@contextmanager
def session() -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Another connection to the database, to hold something up with; what it holds is let go at the end."""
    params = {name: value for name, value in connection.get_connection_params().items() if name != "cursor_factory"}
    params.pop("context", None)
    with psycopg.connect(**params) as other:
        yield other
        other.rollback()


def sender(code: str = SEND, **environment: str) -> "subprocess.Popen[bytes]":
    variables = child_environment() | {"WEBHOOK_ALLOW_PRIVATE": "127.0.0.0/8"} | environment
    return subprocess.Popen([sys.executable, "-c", code], env=variables, stderr=subprocess.PIPE)


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def waits_in_the_database(event: str) -> Callable[[], bool]:
    def waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'child' AND wait_event = ANY(%s)",
                [[event] if event != "lock" else ["relation", "transactionid", "tuple"]],
            )
            return bool(cursor.fetchone()[0])

    return waits


def kill(child: "subprocess.Popen[bytes]") -> None:
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=20)
    with connection.cursor() as cursor:
        # What PostgreSQL does itself when it notices; a connection of a dead process that waits would be noticed late.
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'child'")
    wait_until(lambda: not _children())


def _children() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'child'")
        return int(cursor.fetchone()[0])


def let_the_lease_run_out(made: Delivery) -> None:
    Delivery.objects.filter(pk=made.pk, state=Sent.SENDING).update(lease_until=timezone.now() - timedelta(seconds=1))


def keys(receiver: Web) -> list[str]:
    return [posted.headers["Idempotency-Key"] for posted in receiver.posted]


def state_of(made: Delivery) -> tuple[str, int]:
    made.refresh_from_db()
    return made.state, made.attempts


def test_killed_before_the_claim_it_has_done_nothing(waiting: Delivery, receiver: Web) -> None:
    with session() as other:
        other.execute("SELECT 1 FROM alerts_channel WHERE id = %s FOR UPDATE", [waiting.channel_id])
        child = sender()
        wait_until(waits_in_the_database("lock"))
        kill(child)
    assert state_of(waiting) == (Sent.WAITING, 0)
    sending.deliver_due()
    assert state_of(waiting) == (Sent.SENT, 1)
    assert keys(receiver) == [str(waiting.key)]


def test_killed_after_the_claim_and_before_it_sends_the_message_is_sent_once(waiting: Delivery, receiver: Web) -> None:
    with session() as other:
        other.execute("LOCK alerts_deliveryitem IN ACCESS EXCLUSIVE MODE")
        child = sender()
        wait_until(waits_in_the_database("lock"))
        kill(child)
    assert state_of(waiting) == (Sent.SENDING, 1)
    assert sending.deliver_due() == 0, "The lease still runs."
    let_the_lease_run_out(waiting)
    sending.deliver_due()
    assert state_of(waiting) == (Sent.SENT, 2)
    assert keys(receiver) == [str(waiting.key)]


def test_killed_after_sending_and_before_marking_it_is_sent_again_under_the_same_key(
    waiting: Delivery, receiver: Web
) -> None:
    receiver.gate.clear()
    child = sender()
    wait_until(lambda: bool(receiver.posted))
    with session() as other:
        other.execute("SELECT 1 FROM alerts_delivery WHERE id = %s FOR UPDATE", [waiting.pk])
        receiver.gate.set()
        wait_until(waits_in_the_database("lock"))
        kill(child)
    assert state_of(waiting) == (Sent.SENDING, 1)
    let_the_lease_run_out(waiting)
    sending.deliver_due()
    assert state_of(waiting) == (Sent.SENT, 2)
    assert keys(receiver) == [str(waiting.key)] * 2


@pytest.fixture
def slow_commit(waiting: Delivery) -> Iterator[None]:
    """Marking a message as sent takes long to commit."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ "
            "BEGIN IF current_setting('application_name') = 'child' THEN PERFORM pg_sleep(30); END IF; "
            "RETURN NULL; END $$"
        )
        cursor.execute(
            "CREATE CONSTRAINT TRIGGER linger AFTER UPDATE ON alerts_delivery DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW WHEN (NEW.state = 'sent') EXECUTE FUNCTION linger()"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER linger ON alerts_delivery")
        cursor.execute("DROP FUNCTION linger")


def test_killed_during_the_commit_it_is_sent_again_under_the_same_key(
    waiting: Delivery, receiver: Web, slow_commit: None
) -> None:
    child = sender()
    wait_until(waits_in_the_database("PgSleep"))
    kill(child)
    assert state_of(waiting) == (Sent.SENDING, 1)
    let_the_lease_run_out(waiting)
    sending.deliver_due()
    assert state_of(waiting) == (Sent.SENT, 2)
    assert keys(receiver) == [str(waiting.key)] * 2


@pytest.fixture
def own_valkey() -> Iterator[tuple[str, Callable[[], None]]]:
    """The address of a Valkey, and how to kill it and start it again."""
    directory = Path(tempfile.mkdtemp(prefix="sm-valkey-"))
    directory.chmod(0o711)
    embedded.prepare_directory(directory)
    command = embedded.valkey_command(directory)
    servers = [subprocess.Popen(command, stdout=subprocess.DEVNULL)]
    embedded.wait_for_valkey(directory)

    def restart() -> None:
        servers[-1].kill()
        servers[-1].wait(10)
        time.sleep(0.5)
        servers.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        embedded.wait_for_valkey(directory)

    yield embedded.redis_url(directory), restart
    servers[-1].kill()
    servers[-1].wait(10)


def test_valkey_is_killed_and_comes_back_and_each_message_is_sent_once(
    north: Plant, receiver: Web, own_valkey: tuple[str, Callable[[], None]]
) -> None:
    url, restart = own_valkey
    channel = hook(receiver, per_minute=1000)
    made = [message(channel, raised(north, str(number))) for number in range(60)]
    child = sender(SEND_FOR_LONG, REDIS_URL=url)
    wait_until(lambda: len(receiver.posted) > 10)
    restart()
    said = child.communicate(timeout=60)[1]
    assert child.returncode == 0, said.decode()
    assert {state_of(one) for one in made} == {(Sent.SENT, 1)}
    assert sorted(keys(receiver)) == sorted(str(one.key) for one in made)

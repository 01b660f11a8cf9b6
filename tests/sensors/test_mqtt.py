"""The bridge, against a real broker: what is published arrives, once, whoever is killed in the middle."""

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings, settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from paho.mqtt import publish
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from config import health
from sensors.access import Sender
from sensors.models import Quarantined, Reading, Sensor
from sensors.mqtt import Bridge, Place, Template
from sensors.mqtt import bridge as bridge_module
from sensors.mqtt.bridge import _all_refused
from sensors.mqtt.messages import Gathered
from tests.broker import MOSQUITTO, Broker
from tests.conftest import Plant, make_user
from tests.platform import child_environment

NOW_US = 1_767_225_600_000_000
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("template", "topic", "place"),
    [
        ("plant/{site}/{sensor}", "plant/North/p1.temp", Place("p1.temp", "North")),
        ("plant/{site}/{sensor}", "plant/North/p1/temp", None),
        ("plant/{site}/{sensor}", "other/North/p1", None),
        ("factory/+/{sensor}", "factory/gw 1/p1", Place("p1", "")),
        ("factory/{sensor...}", "factory/line 2/p7/temp", Place("line_2.p7.temp", "")),
        ("factory/#", "factory/line2/p7", Place("line2.p7", "")),
        ("{sensor}/state/#", "p7/state/any/thing", Place("p7", "")),
        ("gateway/data", "gateway/data", Place("", "")),
        ("a+b/{sensor}", "", ValueError),
        ("{sensor...}/x", "", ValueError),
        ("{sensor}/{sensor}", "", ValueError),
        ("{machine}/x", "", ValueError),
        ("", "", ValueError),
    ],
)
def test_a_template_takes_topics_apart(template: str, topic: str, place: Any) -> None:
    if place is ValueError:
        with pytest.raises(ValueError, match=r"level|sensor once"):
            Template.parse(template)
    else:
        assert Template.parse(template).place(topic) == place


AT = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("payload", "readings"),
    [
        (b"21.5", [("t", NOW_US, 21.5)]),
        (b" -3e2\n", [("t", NOW_US, -300.0)]),
        (b'{"value": 5}', [("t", NOW_US, 5.0)]),
        (b'{"value": 5, "sensor_id": "own", "timestamp": "2026-01-01T00:00:01Z"}', [("own", NOW_US + 1_000_000, 5.0)]),
        (b'[{"value": 5}, {"value": 6, "sensor_id": "own"}]', [("t", NOW_US, 5.0), ("own", NOW_US, 6.0)]),
        (
            f'{{"timestamps": ["{AT}", "2026-01-01T00:00:01Z"], "values": [1, 2]}}'.encode(),
            [("t", NOW_US, 1.0), ("t", NOW_US + 1_000_000, 2.0)],
        ),
    ],
)
def test_a_message_is_a_number_or_json_and_what_it_leaves_out_is_taken_from_topic_and_clock(
    payload: bytes, readings: list[tuple[str, int, float]]
) -> None:
    gathered = Gathered()
    gathered.add(payload, "t", "plant/t", NOW_US)
    columns = gathered.columns()
    found = zip(columns.codes.tolist(), columns.timestamps.tolist(), columns.values.tolist(), strict=True)
    assert [(columns.sensor_ids[code], at, value) for code, at, value in found] == readings
    assert not columns.rejected


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"warm", "malformed_message"),
        (b"\xff\xfe", "malformed_message"),
        (b'{"value": "x"}', "invalid_value"),
        (b'{"value": 1, "timestamp": "2026-01-01T00:00:00"}', "naive_timestamp"),
        (b'{"temperature": 1}', "missing_field"),
        (b"true", "invalid_value"),
        (b"[" * 5000, "malformed_message"),
        (b'{"timestamps": [], "values": [1]}', "lists_differ"),
    ],
)
def test_a_message_that_cannot_be_read_is_kept_with_the_reason(payload: bytes, code: str) -> None:
    gathered = Gathered()
    gathered.add(payload, "t", "plant/t", NOW_US)
    columns = gathered.columns()
    assert (len(columns), [row.code for row in columns.rejected]) == (0, [code])
    assert columns.rejected[0].payload


def test_a_reading_without_a_sensor_in_topic_or_message_is_refused() -> None:
    gathered = Gathered()
    gathered.add(b"5", "", "gateway/data", NOW_US)
    assert [row.code for row in gathered.columns().rejected] == ["missing_field"]


def test_readings_for_an_unknown_site_wait_with_unit_and_quality_as_they_were_sent() -> None:
    gathered = Gathered()
    gathered.add('{"value": 212, "unit": "°F", "quality": 0.5}'.encode(), "t", "plant/Atlantis/t", NOW_US)
    gathered.add(b"21.5", "t", "plant/Atlantis/t", NOW_US)
    refused = _all_refused(gathered.columns(), "unknown_site", "There is no such site.").rejected
    sent = {"sensor_id": "t", "timestamp": BEGIN.isoformat()}
    assert [row.payload for row in refused] == [
        sent | {"value": 212, "quality": 0.5, "unit": "°F"},
        sent | {"value": 21.5},
    ]


@pytest.mark.parametrize("url", ["http://x", "mqtt://", "broker:1883"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="mqtt://"):
        Bridge(url, [], Sender(user=User()), "x")


@pytest.mark.django_db
def test_the_command_says_what_is_missing(settings: Any) -> None:
    with pytest.raises(CommandError, match="MQTT_URL"):
        call_command("mqtt_bridge")
    settings.MQTT_URL, settings.MQTT_USER = "mqtt://localhost", "gateway"
    with pytest.raises(CommandError, match="no active account 'gateway'"):
        call_command("mqtt_bridge")
    User.objects.create_user("gateway")
    with pytest.raises(CommandError, match="role integration"):
        call_command("mqtt_bridge")


with_broker = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed (apt-get install mosquitto)"),
]


@pytest.mark.usefixtures("gateway")
class TestWithABroker:
    pytestmark = with_broker

    @pytest.fixture
    def gateway(self, north: Plant) -> User:
        user = make_user("integration", north.site)
        User.objects.filter(pk=user.pk).update(username="mqtt")
        return user

    @pytest.fixture
    def broker(self, tmp_path: Path) -> Iterator[Broker]:
        broker = Broker(tmp_path)
        broker.start()
        yield broker
        broker.kill(signal.SIGTERM)

    @pytest.fixture
    def bridge(self, broker: Broker) -> "Iterator[BridgeProcess]":
        process = BridgeProcess(broker)
        process.start()
        yield process
        process.stop()

    def test_readings_of_every_form_arrive_and_unreadable_ones_go_into_quarantine(
        self, broker: Broker, bridge: "BridgeProcess", north: Plant
    ) -> None:
        known = north.temperature.sensor_id
        messages = [
            (f"plant/north/{known}", "21.5"),
            (f"plant/North/{known}", json.dumps({"value": 70, "unit": "°F", "timestamp": AT})),
            ("plant/North/line2/new.pressure", json.dumps([{"value": 3, "unit": "bar"}])),
            (f"plant/North/{known}", "warm"),
            (f"plant/Atlantis/{known}", json.dumps({"value": 212, "unit": "°F", "quality": 0.5, "timestamp": AT})),
            (f"plant/North/{known}", ""),
        ]
        publish.multiple([{"topic": t, "payload": p, "qos": 1} for t, p in messages], port=broker.port)
        wait_for(lambda: Reading.objects.count() == 3 and Quarantined.objects.count() == 2)
        assert Reading.objects.get(timestamp=BEGIN).value == pytest.approx(21.111, abs=0.001)
        assert Sensor.objects.get(sensor_id="line2.new.pressure").status == "discovered"
        assert set(Quarantined.objects.values_list("code", flat=True)) == {"malformed_message", "unknown_site"}
        assert Quarantined.objects.get(code="malformed_message").payload["raw"] == "warm"
        sent = {"sensor_id": known, "timestamp": BEGIN.isoformat(), "value": 212, "quality": 0.5, "unit": "°F"}
        assert Quarantined.objects.get(code="unknown_site").payload == sent

    def test_a_retained_message_without_a_time_is_not_taken_for_a_new_reading(
        self, broker: Broker, north: Plant
    ) -> None:
        topic = f"plant/North/{north.temperature.sensor_id}"
        publish.single(topic, "21.5", qos=1, retain=True, port=broker.port)
        with BridgeProcess(broker).running():
            publish.single(topic, "22.5", qos=1, port=broker.port)
            wait_for(Reading.objects.exists)
        assert [row.value for row in Reading.objects.all()] == [22.5]

    def test_what_is_published_while_the_bridge_is_away_arrives_later(
        self, broker: Broker, bridge: "BridgeProcess", north: Plant
    ) -> None:
        bridge.stop()
        publish_series(broker, north, range(50))
        assert Reading.objects.count() == 0
        bridge.start()
        wait_for(lambda: Reading.objects.count() == 50)

    def test_a_bridge_killed_again_and_again_loses_nothing_and_stores_nothing_twice(
        self, broker: Broker, bridge: "BridgeProcess", north: Plant
    ) -> None:
        numbers = itertools.count()
        for _ in range(3):
            before = Reading.objects.count()
            publish_series(broker, north, [next(numbers) for _ in range(2000)])
            wait_for(lambda before=before: Reading.objects.count() > before)  # type: ignore[misc]
            bridge.kill()
            bridge.start()
        published = next(numbers)
        wait_for(lambda: Reading.objects.count() >= published)
        time.sleep(0.3)
        values = sorted(Reading.objects.values_list("value", flat=True))
        assert values == [float(number) for number in range(published)]

    def test_a_broker_killed_with_messages_in_hand_loses_none_and_the_bridge_comes_back(
        self, broker: Broker, bridge: "BridgeProcess", north: Plant
    ) -> None:
        publish_series(broker, north, range(500))
        with transaction.atomic():
            # Nothing can be stored, so nothing is acknowledged, when the broker dies.
            connection.cursor().execute("LOCK TABLE sensors_reading IN ACCESS EXCLUSIVE MODE")
            publish_series(broker, north, range(500, 1000))
            broker.save()
            broker.kill()
        broker.start()
        publish_series(broker, north, range(1000, 1100))
        wait_for(lambda: Reading.objects.count() == 1100)
        assert sorted(Reading.objects.values_list("value", flat=True)) == [float(n) for n in range(1100)]

    def test_health_knows_whether_the_bridge_has_its_broker(
        self, broker: Broker, bridge: "BridgeProcess", settings: LazySettings
    ) -> None:
        settings.MQTT_URL = broker.url

        def state() -> str:
            return str(health.report()["checks"]["mqtt_bridge"]["state"])

        wait_for(lambda: state() == "ok")
        broker.kill()
        wait_for(lambda: state() == "degraded")
        assert health.report()["status"] == "degraded"
        broker.start()
        wait_for(lambda: state() == "ok")

    def test_a_database_that_goes_away_makes_messages_wait(
        self, broker: Broker, bridge: "BridgeProcess", north: Plant
    ) -> None:
        publish_series(broker, north, range(10))
        wait_for(lambda: Reading.objects.count() == 10)
        killed = 0
        for _ in range(3):
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'child'"
                )
                killed += cursor.rowcount
            publish_series(broker, north, range(10, 20))
        wait_for(lambda: Reading.objects.count() == 20)
        assert killed > 0
        assert bridge.process
        assert bridge.process.poll() is None

    def test_a_full_bridge_waits_for_the_database_at_rest_and_keeps_its_connection(
        self, broker: Broker, north: Plant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bridge_module, "BATCH_READINGS", 10)
        monkeypatch.setattr(bridge_module, "SIGN_OF_LIFE_SECONDS", 0.5)
        monkeypatch.setattr(bridge_module, "KEEPALIVE_SECONDS", 1)  # The broker hangs up after 1.5 s of silence.
        user = User.objects.get(username="mqtt")
        bridge = CountingBridge(broker.url, [Template.parse("plant/{site}/{sensor}")], Sender(user=user), "full")
        client = bridge._client()
        bridge._connect(client)
        begun = time.monotonic()
        bridge.retry_at = begun + 8  # As after a batch that could not be stored.
        publish_series(broker, north, range(30))

        def stop_when_stored() -> None:
            try:
                wait_for(lambda: bridge.stopping or Reading.objects.count() == 30)
            finally:
                bridge.stop()
                connection.close()

        watcher = threading.Thread(target=stop_when_stored)
        watcher.start()
        try:
            bridge._serve(client)
        finally:
            bridge.stop()
            watcher.join()
        assert 10 <= bridge.held < 30
        assert bridge.turns < 50 * (time.monotonic() - begun)
        assert sorted(Reading.objects.values_list("value", flat=True)) == [float(number) for number in range(30)]
        assert "exceeded timeout" not in (broker.directory / "mosquitto.log").read_text()
        bridge._close(client)

    def test_told_to_stop_it_finishes_its_batch(self, broker: Broker, bridge: "BridgeProcess", north: Plant) -> None:
        publish_series(broker, north, range(100))
        wait_for(Reading.objects.exists)
        assert bridge.stop() == 0

    def test_a_broker_that_knows_only_the_older_protocol_is_served_as_well(self, broker: Broker, north: Plant) -> None:
        user = User.objects.get(username="mqtt")
        bridge = Bridge(broker.url, [Template.parse("plant/{sensor}")], Sender(user=user), "old")
        bridge.protocol = 4
        client = bridge._client()
        bridge._connect(client)
        publish.single(f"plant/{north.temperature.sensor_id}", "5", qos=1, port=broker.port)
        wait_for(lambda: bridge._read(client) or bool(bridge.waiting))
        bridge._flush(client)
        assert Reading.objects.get().value == 5
        bridge._close(client)


def publish_series(broker: Broker, plant: Plant, numbers: Any) -> None:
    """One message per number, QoS 1; returns when the broker has confirmed all of them."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    sent = []
    for number in numbers:
        at = (BEGIN + timedelta(seconds=number)).isoformat()
        body = json.dumps({"value": number, "timestamp": at})
        sent.append(client.publish(f"plant/North/{plant.temperature.sensor_id}", body, qos=1))
    for info in sent:
        info.wait_for_publish(20)
    client.disconnect()
    client.loop_stop()


class CountingBridge(Bridge):
    """Knows how often it looked for messages, and how many readings it had in hand while it could store none."""

    turns = held = 0

    def _read(self, client: Client) -> None:
        self.turns += 1
        super()._read(client)
        if self.retry_at:
            self.held = self.size


class BridgeProcess:
    """`manage.py mqtt_bridge` as a process of its own."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.process: subprocess.Popen[bytes] | None = None
        self.log = broker.directory / "bridge.log"

    def start(self) -> None:
        before = self._connections()
        environment = child_environment() | {"MQTT_URL": self.broker.url, "LOG_FORMAT": "text"}
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "mqtt_bridge"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_for(lambda: self._connections() > before)

    def _connections(self) -> int:
        return self.log.read_text().count("listening") if self.log.exists() else 0

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        if self.process is None or self.process.poll() is not None:
            return -1
        self.process.terminate()
        return self.process.wait(15)

    @contextmanager
    def running(self) -> Iterator[None]:
        self.start()
        yield
        self.stop()


def wait_for(holds: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)

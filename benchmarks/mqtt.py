"""How fast messages published with QoS 1 are stored: publisher, broker, bridge and database on this machine."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.ingest import row, worker_stopped
from benchmarks.plant import Plant, plant_with
from tests.broker import Broker

SENSORS = 1000
MESSAGES = 150_000
# Unconfirmed messages of the publisher.
WINDOW = 1000


def run() -> list[dict[str, Any]]:
    with plant_with(SENSORS) as plant, tempfile.TemporaryDirectory() as directory:
        broker = Broker(Path(directory))
        broker.start()
        bridge = start_bridge(plant, broker)
        try:
            with worker_stopped(plant):
                live = measure(plant, broker, datetime.now(UTC) - timedelta(minutes=50))
            beside = measure(plant, broker, datetime.now(UTC) - timedelta(minutes=20))
        finally:
            bridge.terminate()
            bridge.wait(20)
            broker.kill(signal.SIGTERM)
    return [
        row("MQTT, QoS 1, a reading a message, worker stopped", live, "readings/s", 10_000, live >= 10_000),
        row("MQTT, QoS 1, a reading a message, worker scoring", beside, "readings/s", 10_000, beside >= 10_000),
    ]


def start_bridge(plant: Plant, broker: Broker) -> "subprocess.Popen[bytes]":
    environment = plant.platform.environment | {
        "MQTT_URL": broker.url,
        "MQTT_USER": "program",
        "MQTT_TOPICS": "plant/{sensor}",
        "LOG_FORMAT": "text",
    }
    log = broker.directory / "bridge.log"
    with log.open("wb") as output:
        command = [sys.executable, "manage.py", "mqtt_bridge"]
        process = subprocess.Popen(command, env=os.environ | environment, stdout=output, stderr=output)
    while "listening" not in log.read_text():
        if process.poll() is not None:
            raise RuntimeError(log.read_text())
        time.sleep(0.1)
    return process


def measure(plant: Plant, broker: Broker, start: datetime) -> float:
    """Readings a second, from the first message published to the last one committed."""
    from sensors import embedded

    packets = list(messages(plant.sensor_ids, start))
    with psycopg.connect(embedded.database_url(plant.platform.state_dir), autocommit=True) as database:

        def stored() -> int:
            found = database.execute("SELECT count(*) FROM sensors_reading WHERE timestamp >= %s", [start]).fetchone()
            assert found
            return int(found[0])

        before = stored()
        begin = time.monotonic()
        publish(broker.port, packets)
        while stored() - before < MESSAGES:
            if time.monotonic() > begin + 120:
                raise TimeoutError(f"{stored() - before} of {MESSAGES} messages were stored")
            time.sleep(0.1)
        return MESSAGES / (time.monotonic() - begin)


def messages(sensor_ids: list[str], start: datetime) -> Iterator[bytes]:
    """PUBLISH packets with QoS 1."""
    for number in range(MESSAGES):
        at = start + timedelta(milliseconds=number // SENSORS * 1000 + number % SENSORS)
        topic = f"plant/{sensor_ids[number % SENSORS]}".encode()
        payload = b'{"value":%.3f,"timestamp":"%s"}' % (20 + number % 7 / 8, at.isoformat().encode())
        packet_id = (number % 60_000 + 1).to_bytes(2)
        body = len(topic).to_bytes(2) + topic + packet_id + payload
        assert len(body) < 128 * 128
        length = bytes([len(body)]) if len(body) < 128 else bytes([len(body) % 128 | 128, len(body) // 128])
        yield b"\x32" + length + body


def publish(port: int, packets: list[bytes]) -> None:
    """As fast as the broker confirms them; by hand, as a client library would take the processor from the bridge."""
    with socket.create_connection(("127.0.0.1", port)) as broker:
        broker.sendall(b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05bench")
        assert broker.recv(4) == b"\x20\x02\x00\x00"
        confirmed_bytes = 0
        for first in range(0, len(packets), WINDOW):
            broker.sendall(b"".join(packets[first : first + WINDOW]))
            # Each confirmation has four bytes.
            while confirmed_bytes < 4 * (first + WINDOW // 2) and confirmed_bytes < 4 * len(packets):
                confirmed_bytes += len(broker.recv(65536))
        while confirmed_bytes < 4 * len(packets):
            confirmed_bytes += len(broker.recv(65536))

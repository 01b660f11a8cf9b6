"""Takes messages from a broker and acknowledges each one when its readings are committed, never before.

One thread does everything: it reads messages, stores them a micro-batch at a time and acknowledges them. While the
database is away nothing is acknowledged, so the broker keeps what comes in. A bridge that dies leaves its messages
unacknowledged: the broker delivers them to the next one again, and what was stored already counts as duplicates. (A
message without a time is measured when it arrives; if its acknowledgement was lost, it arrives, and counts, twice.)
"""

import logging
import select
import ssl
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
from django.db import InterfaceError, OperationalError, connection
from paho.mqtt.client import Client, ConnectFlags, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from sensors.access import Sender
from sensors.columns import Columns, Rejection
from sensors.formats import as_sensor_id
from sensors.heartbeat import Pulse
from sensors.ingest import store_batch
from sensors.models import Site
from sensors.mqtt.messages import Gathered, iso
from sensors.mqtt.topics import Place, Template

logger = logging.getLogger(__name__)

DATABASE_ERRORS = (OperationalError, InterfaceError, psycopg.OperationalError)

# A batch is stored when it has so many readings, when its first one has waited so long, or when no more come in.
BATCH_READINGS = 5_000
BATCH_SECONDS = 0.05
IDLE_SECONDS = 0.004
# What the broker may send ahead of our acknowledgements (MQTT 5; with 3.1.1 the broker's own limit holds).
MAX_UNACKNOWLEDGED = 20_000
# A larger message is not delivered to us: a batch of 50 of them must fit into memory several times over.
MAX_PACKET_BYTES = 2 * 1024 * 1024
# So long a broker keeps our place, and what comes in, while no bridge is connected.
SESSION_SECONDS = 7 * 86_400
KEEPALIVE_SECONDS = 30
CONNECT_SECONDS = 10
# So often the broker hears from us while we wait for the database with all we can hold, and with what: we leave a topic
# that we never asked for, because a PING is answered behind messages that are not read, and paho would miss the answer.
SIGN_OF_LIFE_SECONDS = 10
UNUSED_TOPIC = "smart-maintenance/still-here"
# Waits between attempts, at a broker or a database that is away.
SHORTEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.2, 15.0
REPORT_SECONDS = 60
SITES_SECONDS = 10


@dataclass(frozen=True)
class Waiting:
    """A message that is to be acknowledged once it is stored."""

    mid: int
    qos: int
    topic: str
    payload: bytes
    place: Place
    received_us: int


class Bridge:
    """`run` works until `stop` is called, which may happen in a signal handler."""

    def __init__(self, url: str, templates: list[Template], sender: Sender, client_id: str) -> None:
        """`url` is mqtt(s)://user:password@host:port. Raises ValueError when it is not."""
        self.address = urlsplit(url)
        if self.address.scheme not in ("mqtt", "mqtts") or not self.address.hostname:
            raise ValueError("it is written mqtt://user:password@host:1883, or mqtts:// for TLS")
        self.templates = templates
        self.sender = sender
        self.client_id = client_id
        self.protocol = MQTTv5
        self.stopping = False
        self.listening = False
        self.pulse = Pulse()
        self.batches: dict[str, Gathered] = {}
        self.waiting: list[Waiting] = []
        self.size = 0
        self.begun = self.last = 0.0
        self.counts: Counter[str] = Counter()
        self.reported = time.monotonic()
        self.said_at = float(-SIGN_OF_LIFE_SECONDS)
        self.retry_at = 0.0
        self.retry_seconds = SHORTEST_WAIT_SECONDS
        self.sites: dict[str, int] = {}
        self.sites_at = float(-SITES_SECONDS)

    def stop(self) -> None:
        self.stopping = True

    def run(self) -> None:
        """Connect, and connect again for ever; what was gathered when `stop` is called is stored and acknowledged."""
        wait = SHORTEST_WAIT_SECONDS
        while not self.stopping:
            self.pulse.beat(self.listening)
            client = self._client()
            try:
                self._connect(client)
                wait = SHORTEST_WAIT_SECONDS
                self._serve(client)
            except (OSError, ValueError) as error:
                logger.warning("no connection to the broker: %s", error, extra={"retry_seconds": wait})
            finally:
                self.listening = False
                self._close(client)
                # What was not acknowledged the broker delivers again.
                self._forget()
            self.pulse.beat(self.listening)
            self._pause(wait)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)
        self._report()

    def _client(self) -> Client:
        options: dict[str, Any] = {} if self.protocol == MQTTv5 else {"clean_session": False}
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            protocol=self.protocol,
            manual_ack=True,
            **options,
        )
        if self.address.username is not None:
            client.username_pw_set(unquote(self.address.username), unquote(self.address.password or ""))
        if self.address.scheme == "mqtts":
            client.tls_set_context(ssl.create_default_context())
        client.connect_timeout = CONNECT_SECONDS
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _connect(self, client: Client) -> None:
        options: dict[str, Any] = {}
        if self.protocol == MQTTv5:
            properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_SECONDS
            properties.ReceiveMaximum = MAX_UNACKNOWLEDGED
            properties.MaximumPacketSize = MAX_PACKET_BYTES
            options = {"clean_start": False, "properties": properties}
        port = self.address.port or (8883 if self.address.scheme == "mqtts" else 1883)
        client.connect(str(self.address.hostname), port, KEEPALIVE_SECONDS, **options)
        deadline = time.monotonic() + CONNECT_SECONDS
        while not self.listening:
            if time.monotonic() > deadline:
                raise TimeoutError("the broker does not answer")
            self._require(client.loop(0.1))

    def _on_connect(
        self, client: Client, userdata: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            if "protocol version" in str(reason).lower() and self.protocol == MQTTv5:
                self.protocol = MQTTv311
            raise ConnectionRefusedError(str(reason))
        self.counts["connections"] += 1
        logger.info("connected to the broker", extra={"session_kept": flags.session_present})
        client.subscribe([(template.filter, 1) for template in self.templates])

    def _on_subscribe(
        self, client: Client, userdata: Any, mid: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        for template, reason in zip(self.templates, reasons, strict=True):
            if reason.is_failure:
                logger.error("the broker refuses a topic: %s", reason, extra={"topic": template.filter})
        self.listening = True
        logger.info("listening", extra={"topics": [template.filter for template in self.templates]})

    def _serve(self, client: Client) -> None:
        misc = time.monotonic()
        while not self.stopping:
            self.pulse.beat(self.listening)
            self._read(client)
            now = time.monotonic()
            if self._is_due(now):
                self._flush(client)
            if self._is_full():
                misc = now  # Until it has read again, paho cannot tell a lost connection.
            elif now > misc + 1:
                self._require(client.loop_misc())
                misc = now
            if now > self.reported + REPORT_SECONDS:
                self._report()
        self._flush(client)

    def _read(self, client: Client) -> None:
        """Take what has come in, until a batch is full or nothing is left; waits for a moment at most."""
        socket: Any = client.socket()
        if socket is None:
            raise ConnectionError("the connection was closed")
        if self._is_full():
            self._hold(client, socket)
            return
        wait = IDLE_SECONDS if self.waiting and not self.retry_at else 0.5
        # What TLS has decrypted already, select does not see.
        if not (hasattr(socket, "pending") and socket.pending()):
            select.select([socket], [socket] if client.want_write() else [], [], wait)
        if client.want_write():
            self._require(client.loop_write())
        before = -1
        while not self._is_full() and len(self.waiting) != before:
            before = len(self.waiting)
            self._require(client.loop_read())

    def _is_full(self) -> bool:
        return self.size >= BATCH_READINGS

    def _hold(self, client: Client, socket: Any) -> None:
        """Wait a moment for the database with a full batch: the broker keeps the rest, and hears that we are there."""
        if time.monotonic() > self.said_at + SIGN_OF_LIFE_SECONDS:
            self._require(client.unsubscribe(UNUSED_TOPIC)[0])
            self.said_at = time.monotonic()
        select.select([], [socket] if client.want_write() else [], [], 0.5)
        if client.want_write():
            self._require(client.loop_write())

    @staticmethod
    def _require(code: MQTTErrorCode) -> None:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise ConnectionError(f"the connection was lost ({code.name})")

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        self.last = time.monotonic()
        self.begun = self.begun if self.waiting else self.last
        topic, payload, received_us = message.topic, bytes(message.payload), round(time.time() * 1e6)
        place = self._place(topic)
        self.waiting.append(Waiting(message.mid, message.qos, topic, payload, place, received_us))
        self.counts["messages"] += 1
        if not payload or (message.retain and not _has_time(payload)):
            # It clears a retained message, or is one: measured some time ago, nobody knows when.
            return
        gathered = self.batches.setdefault(place.site, Gathered())
        before = gathered.size
        gathered.add(payload, place.sensor_id, topic, received_us)
        self.size += gathered.size - before

    def _place(self, topic: str) -> Place:
        found = (template.place(topic) for template in self.templates)
        return next((place for place in found if place), Place())

    def _is_due(self, now: float) -> bool:
        if not self.waiting or now < self.retry_at:
            return False
        return self._is_full() or now >= self.begun + BATCH_SECONDS or now >= self.last + IDLE_SECONDS

    def _flush(self, client: Client) -> None:
        """Store what was gathered and acknowledge it. While the database is away, it is tried again later."""
        try:
            self._store()
        except DATABASE_ERRORS as error:
            self._retry_later(error)
            return
        except Exception:
            logger.exception("a batch could not be stored; each of its messages is tried by itself")
            try:
                self._store_one_by_one()
            except DATABASE_ERRORS as error:
                self._retry_later(error)
                return
        for message in self.waiting:
            client.ack(message.mid, message.qos)
        self.retry_seconds = SHORTEST_WAIT_SECONDS
        self._forget()

    def _retry_later(self, error: Exception) -> None:
        logger.warning("readings are not stored yet: %s", error, extra={"retry_seconds": self.retry_seconds})
        connection.close()
        self.retry_at = time.monotonic() + self.retry_seconds
        self.retry_seconds = min(self.retry_seconds * 2, LONGEST_WAIT_SECONDS)

    def _forget(self) -> None:
        self.batches, self.waiting, self.size, self.retry_at = {}, [], 0, 0.0

    def _store(self) -> None:
        for site, gathered in self.batches.items():
            self._store_columns(gathered.columns(), site)
            self.counts["batches"] += 1

    def _store_one_by_one(self) -> None:
        """One message is more than the platform can bear: it goes into quarantine, the others do not suffer for it."""
        for message in self.waiting:
            gathered = Gathered()
            gathered.add(message.payload, message.place.sensor_id, message.topic, message.received_us)
            try:
                self._store_columns(gathered.columns(), message.place.site)
            except DATABASE_ERRORS:
                raise
            except Exception as error:
                logger.exception("a message could not be stored", extra={"topic": message.topic})
                refused = Gathered()
                refused.reject("unstorable", f"{type(error).__name__}", message.payload, message.topic)
                self._store_columns(refused.columns(), "")

    def _store_columns(self, columns: Columns, site: str) -> None:
        sender = self.sender
        if site:
            site_id = self._site_id(site)
            if site_id is None:
                columns = _all_refused(columns, "unknown_site", f"There is no site {site[:100]!r}.")
            else:
                sender = replace(sender, site_id=site_id)
        stored = store_batch(columns, source="mqtt", sender=sender)
        self.counts["stored"] += stored.accepted
        self.counts["duplicates"] += stored.duplicates
        self.counts["refused"] += len(stored.rejected)

    def _site_id(self, name: str) -> int | None:
        """The site of a topic; its name may be written the way a sensor's key is, and in any case."""
        if time.monotonic() > self.sites_at + SITES_SECONDS:
            rows = Site.objects.visible_to(self.sender.user).values_list("name", "pk")
            self.sites = {as_sensor_id(site).lower(): pk for site, pk in rows}
            self.sites_at = time.monotonic()
        return self.sites.get(as_sensor_id(name).lower())

    def _report(self) -> None:
        logger.info("bridge at work", extra=dict(self.counts) | {"waiting": len(self.waiting)})
        self.reported = time.monotonic()

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.stopping and time.monotonic() < until:
            self.pulse.beat(self.listening)
            time.sleep(min(0.1, seconds))

    @staticmethod
    def _close(client: Client) -> None:
        """Leave, keeping our place: the broker goes on collecting."""
        try:
            client.disconnect()
            client.loop_write()
        except (OSError, ValueError):
            pass
        socket = client.socket()
        if socket is not None:
            socket.close()


def _has_time(payload: bytes) -> bool:
    return b'"timestamp' in payload


def _all_refused(columns: Columns, code: str, detail: str) -> Columns:
    """None of a batch, each with what was sent."""
    rejected = [replace(row, index=number) for number, row in enumerate(columns.rejected)]
    for row in range(len(columns)):
        payload = {
            "sensor_id": columns.sensor_ids[columns.codes[row]],
            "timestamp": iso(int(columns.timestamps[row])),
            "value": float(columns.values[row]),
        }
        if columns.qualities[row] != 1:
            payload["quality"] = float(columns.qualities[row])
        if columns.units[row] >= 0:
            payload["unit"] = columns.unit_names[columns.units[row]]
        rejected.append(Rejection(len(rejected), code, detail, payload))
    return replace(Gathered().columns(), rejected=rejected)

"""The doors of a running platform, as the programs of a plant use them."""

import asyncio
import gzip
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import influxdb_client
import psycopg
import pytest
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from sensors import embedded
from tests.platform import Platform, running

SETUP = """
from tests.flows.records import *
from sensors.models import ApiKey, Asset, Sensor
site, ids = plant_with_sensors(20)
user, viewer = User.objects.create_user("gateway"), User.objects.create_user("looker")
user.groups.add(Group.objects.get(name="integration"))
viewer.groups.add(Group.objects.get(name="viewer"))
site.members.add(user, viewer)
keys = {
    "open": ApiKey.issue(user, "open", ["ingest"], requests_per_second=0)[1],
    "slow": ApiKey.issue(user, "slow", ["ingest"], requests_per_second=5)[1],
    "read": ApiKey.issue(user, "read", ["read"])[1],
    "looker": ApiKey.issue(viewer, "looker", ["ingest"])[1],
}
import json; print(json.dumps(keys))
"""


@dataclass
class Doors:
    platform: Platform
    keys: dict[str, str]

    def post(self, body: Any, key: str = "open", path: str = "/api/v1/readings/", **headers: str) -> httpx.Response:
        about = {"X-API-Key": self.keys.get(key, key), "Content-Type": "application/json", **headers}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(self.platform.url + path, content=content, headers=about, timeout=30)

    def post_until_stored(self, body: Any, **headers: str) -> httpx.Response:
        """What a gateway does: send the same again until it is taken."""
        deadline = time.monotonic() + 40
        while True:
            try:
                answer = self.post(body, **headers)
                if answer.is_success or time.monotonic() > deadline:
                    return answer
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.3)

    def stored(self, sensor_id: str) -> int:
        sensors = "SELECT id FROM sensors_sensor WHERE sensor_id"
        return int(self.query(f"SELECT count(*) FROM sensors_reading WHERE sensor_id IN ({sensors} = '{sensor_id}')"))

    def query(self, sql: str) -> Any:
        with psycopg.connect(embedded.database_url(self.platform.state_dir)) as database:
            row = database.execute(sql).fetchone()
            return row[0] if row else None


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    with running(ADDRESS_REQUESTS_PER_SECOND="0") as platform:
        out = platform.manage("shell", "--no-imports", "-c", SETUP)
        yield Doors(platform, json.loads(out.strip().splitlines()[-1]))


pytestmark = [pytest.mark.platform, pytest.mark.timeout(180)]


def now(seconds_ago: float = 0) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat()


def reading(sensor: str = "load.1", at: str | None = None, value: Any = 20.5, **more: Any) -> dict[str, Any]:
    return {"sensor_id": sensor, "timestamp": at or now(), "value": value, **more}


def test_the_unmodified_influxdb_client_delivers(doors: Doors) -> None:
    at = datetime.now(UTC).replace(microsecond=123456)
    client = influxdb_client.InfluxDBClient(url=doors.platform.url, token=doors.keys["open"], org="-", enable_gzip=True)
    with client, client.write_api(write_options=SYNCHRONOUS) as api:
        point = influxdb_client.Point("pump").tag("sensor_id", "influx.1").tag("unit", "mm/s").field("value", 3.25)
        assert api.write(bucket="any", record=point.time(at)) is None
        with pytest.raises(ApiException) as refused:
            api.write(bucket="any", record="not line protocol at all")
    assert refused.value.status == 422
    assert json.loads(refused.value.body)["message"]
    found = doors.query(
        "SELECT concat_ws(' ', s.kind, s.unit, s.status, r.value, extract(microseconds FROM r.timestamp))"
        " FROM sensors_reading r JOIN sensors_sensor s ON s.id = r.sensor_id WHERE s.sensor_id = 'influx.1'"
    )
    assert found.startswith("vibration mm/s discovered 3.25")
    assert found.endswith("123456")


def test_many_single_readings_at_once_share_transactions_and_none_is_lost(doors: Doors) -> None:
    begin = doors.query("SELECT coalesce(max(id), 0) FROM sensors_readingbatch")
    start = datetime.now(UTC) - timedelta(seconds=600)

    async def send_all() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=40)
        headers = {"X-API-Key": doors.keys["open"]}
        async with httpx.AsyncClient(base_url=doors.platform.url, headers=headers, limits=limits, timeout=60) as client:
            rows = [reading("load.2", (start + timedelta(seconds=n)).isoformat()) for n in range(400)]
            return await asyncio.gather(*(client.post("/api/v1/readings/", json=row) for row in [*rows, *rows[:50]]))

    answers = [answer.json() for answer in asyncio.run(send_all())]
    assert sum(answer["accepted"] for answer in answers) == 400
    assert sum(answer["duplicates"] for answer in answers) == 50
    assert doors.stored("load.2") == 400
    largest = doors.query(f"SELECT max(accepted) FROM sensors_readingbatch WHERE id > {begin}")
    assert largest > 1, "Requests that come together share a transaction."


def test_good_and_bad_rows_share_a_request_and_the_bad_ones_wait_in_quarantine(doors: Doors) -> None:
    answer = doors.post([reading("load.3"), reading("load.3", value="hot"), reading("load.3", unit="furlong")])
    assert answer.status_code == 201
    assert [bad["code"] for bad in answer.json()["rejected"]] == ["invalid_value", "unknown_unit"]
    assert doors.query("SELECT count(*) FROM sensors_quarantined WHERE payload->>'sensor_id' = 'load.3'") == 2


BAD_REQUESTS = [
    (b"[{]", {}, 400, "malformed_json"),
    (b"\xff\xfe", {}, 400, "malformed_json"),
    (b"plain", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
    (b"plain", {"Content-Encoding": "gzip"}, 400, "malformed_gzip"),
    (b"plain", {"Content-Encoding": "br"}, 415, "unsupported_encoding"),
    (gzip.compress(b" " * 20_000_000, mtime=0), {"Content-Encoding": "gzip"}, 413, "body_too_large"),
    (b" " * 17_000_000, {}, 413, "body_too_large"),
    (json.dumps([reading(unit="furlong")]).encode(), {}, 422, "readings_rejected"),
    (json.dumps([reading()]).encode(), {"Idempotency-Key": "x" * 300}, 400, "invalid_idempotency_key"),
]


@pytest.mark.parametrize(("body", "headers", "status", "code"), BAD_REQUESTS, ids=lambda value: str(value)[:30])
def test_every_bad_request_has_a_code_and_the_one_shape(
    doors: Doors, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = doors.post(body, **headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json().keys() == {"code", "detail", "errors", "request_id"}
    assert answer.headers["X-Request-ID"] == answer.json()["request_id"]


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        ("sm_invented", 401, "invalid_api_key"),
        ("read", 403, "scope_missing"),
        ("looker", 403, "permission_denied"),
    ],
)
def test_keys_that_may_not_send_are_turned_away(doors: Doors, key: str, status: int, code: str) -> None:
    for path in ("/api/v1/readings/", "/api/v2/write"):
        answer = doors.post([reading()], key, path)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_without_any_key_django_answers(doors: Doors) -> None:
    answer = httpx.post(doors.platform.url + "/api/v1/readings/", json=[reading()])
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


def test_a_key_has_its_rate_and_recovers(doors: Doors) -> None:
    answers = [doors.post(reading("load.4"), "slow") for _ in range(12)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert {answer.json()["code"] for answer in refused} == {"too_many_requests"}
    time.sleep(int(refused[0].headers["Retry-After"]))
    assert doors.post(reading("load.4"), "slow").status_code == 201


def test_a_repeat_is_answered_as_the_first_was_also_after_a_restart(doors: Doors) -> None:
    row = [reading("load.5")]
    first = doors.post(row, **{"Idempotency-Key": "restart"})
    doors.platform.kill("granian")
    again = doors.post_until_stored(row, **{"Idempotency-Key": "restart"})
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()


def test_while_the_database_is_away_senders_are_told_when_to_come_back(doors: Doors) -> None:
    row = [reading("load.6")]
    doors.post_until_stored([reading("load.7")])
    doors.platform.kill("postgres")
    with suppress(httpx.TransportError):
        answer = doors.post(row)
        if not answer.is_success:
            assert (answer.status_code, answer.json()["code"]) == (503, "database_busy")
            assert int(answer.headers["Retry-After"]) > 0
    assert doors.post_until_stored(row).is_success
    assert doors.stored("load.6") == 1

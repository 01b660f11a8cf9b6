"""The worker, the web process, Valkey and PostgreSQL are killed in the middle of a steady stream of readings."""

import asyncio
import time
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import dict_row

from sensors import embedded
from tests.load import Load
from tests.platform import Platform, running

SENSORS = 50
RATE = 1000
SECONDS = 28
ANOMALY_AT = 14
# What is killed, and when.
KILLS = [
    (3.0, "celery", "worker@"),
    (7.0, "granian", ""),
    (11.0, "valkey", ""),
    (14.0, "celery", "background@"),
    (17.0, "celery", "worker@"),
    (21.0, "postgres", "-D"),
]


@pytest.fixture
def platform() -> Iterator[Platform]:
    with running() as platform:
        yield platform


async def run_with_kills(platform: Platform, load: Load) -> None:
    async def kill_all() -> None:
        begin = time.monotonic()
        for at, program, argument in KILLS:
            await asyncio.sleep(max(0.0, begin + at - time.monotonic()))
            platform.kill(program, argument)

    await asyncio.gather(load.run(), kill_all())


def wait_until_scored(database: psycopg.Connection[dict[str, object]], timeout_seconds: float = 60) -> None:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        left = database.execute("SELECT count(*) AS n FROM sensors_pending").fetchone()
        if left and left["n"] == 0:
            return
        time.sleep(0.5)
    raise TimeoutError("Some batches were never scored.")


@pytest.mark.platform
@pytest.mark.timeout(240)
def test_everything_acknowledged_is_stored_scored_and_alerted_exactly_once(platform: Platform) -> None:
    setup = (
        "from tests.flows.records import *; site, ids = plant_with_sensors(%d); print('key', key_and_viewer(site)[0])"
    )
    out = platform.manage("shell", "--no-imports", "-c", setup % SENSORS)
    key = out.split()[-1]
    load = Load(platform.url, key, [f"load.{n}" for n in range(SENSORS)], RATE, SECONDS, ANOMALY_AT)
    asyncio.run(run_with_kills(platform, load))
    platform.wait_until_healthy()

    url = embedded.database_url(platform.state_dir)
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as database:
        wait_until_scored(database)
        rows = database.execute(
            "SELECT s.sensor_id, r.timestamp FROM sensors_reading r JOIN sensors_sensor s ON s.id = r.sensor_id"
        ).fetchall()
        stored = {(row["sensor_id"], row["timestamp"].isoformat()) for row in rows}
        alerts = database.execute("SELECT id, occurrences, state FROM alerts_alert").fetchall()
        anomalies = database.execute("SELECT decision, alert_id FROM mlops_anomaly").fetchall()

    assert load.retries > 0, "The kills disturbed nobody: the test proves nothing."
    assert load.sent == RATE * SECONDS
    assert load.accepted + load.duplicates == load.sent
    assert stored == load.keys
    assert len(rows) == load.sent
    assert [(alert["occurrences"], alert["state"]) for alert in alerts] == [(1, "open")]
    assert anomalies == [{"decision": "credible_anomaly", "alert_id": alerts[0]["id"]}]

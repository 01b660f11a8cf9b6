"""From a reading to its anomaly at 1,000 readings a second, alone and while a month of history is imported and scored.

The platform runs as `make up` starts it. 200 sensors send; half of them leave their normal level for a second, one
after the other, and a reading's way is over when its anomaly can be read from the database.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psutil
import psycopg

from benchmarks.formats import wide_file
from benchmarks.ingest import row, wait_for_backlog
from benchmarks.plant import Plant, plant_with
from tests.load import Load

SENSORS, DISTURBED, RATE, SECONDS = 200, 100, 1000, 60
QUIET_SECONDS = 15
PAST_SENSORS, PAST_MINUTES = 100, 30 * 1440
POLL_SECONDS = 0.01
GOAL_SECONDS = 1.0


@dataclass
class Disturbed(Load):
    """The first sensors are far off once, for a second, one after the other."""

    def _batch(self, noise: np.random.Generator, elapsed: float) -> list[dict[str, Any]]:
        count = len(self.sensor_ids)
        begins = QUIET_SECONDS + np.arange(count) * (self.seconds - QUIET_SECONDS - 2) / DISTURBED
        off = (elapsed >= begins) & (elapsed < begins + 1) & (np.arange(count) < DISTURBED)
        at = datetime.now(UTC).isoformat()
        values = np.where(off, 60, 20) + noise.normal(0, 0.5, count)
        return [
            {"sensor_id": sensor_id, "timestamp": at, "value": float(value)}
            for sensor_id, value in zip(self.sensor_ids, values, strict=True)
        ]


async def latencies(plant: Plant, prefix: str) -> list[float]:
    """Seconds from the first anomalous reading of each sensor until its anomaly is there."""
    from sensors import embedded

    sensor_ids = [f"{prefix}.{number}" for number in range(SENSORS)]
    await asyncio.to_thread(_sensors, plant, sensor_ids)
    load = Disturbed(plant.platform.url, plant.key, sensor_ids, RATE, SECONDS, anomaly_at=0)
    sending = asyncio.create_task(load.run())
    seen: dict[int, float] = {}
    url = embedded.database_url(plant.platform.state_dir)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as database:
        until = time.monotonic() + SECONDS + 5
        while time.monotonic() < until:
            found = await database.execute(
                "SELECT a.id, extract(epoch FROM now() - a.start)::float FROM mlops_anomaly a "
                "JOIN sensors_sensor s ON s.id = a.sensor_id WHERE s.sensor_id LIKE %s AND NOT a.id = ANY(%s)",
                [f"{prefix}.%", list(seen)],
            )
            seen |= dict(await found.fetchall())
            await asyncio.sleep(POLL_SECONDS)
    await sending
    return list(seen.values())


def _sensors(plant: Plant, sensor_ids: list[str]) -> None:
    from sensors.models import Asset, Sensor

    asset = Asset.objects.get(site=plant.site)
    Sensor.objects.bulk_create(
        Sensor(site=plant.site, asset=asset, sensor_id=sensor_id, kind="temperature", unit="°C")
        for sensor_id in sensor_ids
    )


def run() -> list[dict[str, Any]]:
    with plant_with(PAST_SENSORS) as plant:
        time.sleep(20)  # MLflow starts beside everything else.
        results = _rows("reading to anomaly", asyncio.run(latencies(plant, "alone")))
        begun = time.monotonic()
        import_a_month(plant)
        results += _rows("the same beside a month of history", asyncio.run(latencies(plant, "beside")))
        results.append(row("  worst memory of the background worker", _memory_mib(plant), "MiB", None, True))
        wait_for_backlog(plant)
        rate = PAST_SENSORS * PAST_MINUTES / (time.monotonic() - begun)
        results.append(row("  the month, read and scored meanwhile", rate, "readings/s", None, True))
    return results


def _rows(name: str, seconds: list[float]) -> list[dict[str, Any]]:
    p50, p95, most = np.quantile(seconds, [0.5, 0.95, 1.0])
    return [
        row(f"{name}, found", len(seconds), "anomalies", DISTURBED, len(seconds) == DISTURBED),
        row(f"{name}, median", p50, "s", None, True),
        row(f"{name}, 95th percentile", p95, "s", GOAL_SECONDS, bool(p95 <= GOAL_SECONDS)),
        row(f"{name}, longest", most, "s", None, True),
    ]


def import_a_month(plant: Plant) -> None:
    """Hand a wide file over, as an upload does: a value a minute of 100 sensors."""
    from django.core.files.uploadedfile import SimpleUploadedFile

    from sensors import imports

    user = plant.site.members.get(username="program")
    start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=31)
    file = SimpleUploadedFile("month.csv", wide_file(PAST_SENSORS, PAST_MINUTES, start, 60))
    done = imports.receive(file, site=plant.site, user=user)
    imports.run(done)


def _memory_mib(plant: Plant) -> float:
    processes = psutil.Process(plant.platform.process.pid).children(recursive=True)
    return float(sum(p.memory_full_info().pss for p in processes if "background@" in " ".join(p.cmdline()))) / 2**20

"""A plant that sends readings at a steady rate and remembers what was acknowledged."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np


@dataclass
class Load:
    """`sensors` sensors in one batch, `rate` readings a second in all; from `anomaly_at` on, the first sensor is far
    off.

    A batch that is not answered with success is sent again, unchanged, until it is: what a gateway would do.
    """

    url: str
    key: str
    sensor_ids: list[str]
    rate: float
    seconds: float
    anomaly_at: float
    sent: int = 0
    accepted: int = 0
    duplicates: int = 0
    retries: int = 0
    latencies: list[float] = field(default_factory=list)
    keys: set[tuple[str, str]] = field(default_factory=set)
    anomaly_sent_at: float | None = None

    async def run(self) -> None:
        interval = len(self.sensor_ids) / self.rate
        noise = np.random.default_rng(11)
        begin = time.monotonic()
        async with httpx.AsyncClient(base_url=self.url, headers={"X-API-Key": self.key}, timeout=10) as client:
            async with asyncio.TaskGroup() as group:
                for number in range(int(self.seconds / interval)):
                    await asyncio.sleep(max(0.0, begin + number * interval - time.monotonic()))
                    group.create_task(self._deliver(client, self._batch(noise, number * interval)))

    def _batch(self, noise: np.random.Generator, elapsed: float) -> list[dict[str, Any]]:
        at = datetime.now(UTC).isoformat()
        values = noise.normal(20, 0.5, len(self.sensor_ids))
        if elapsed >= self.anomaly_at:
            values[0] += 40
            self.anomaly_sent_at = self.anomaly_sent_at or time.time()
        return [
            {"sensor_id": sensor_id, "timestamp": at, "value": float(value)}
            for sensor_id, value in zip(self.sensor_ids, values, strict=True)
        ]

    async def _deliver(self, client: httpx.AsyncClient, batch: list[dict[str, Any]]) -> None:
        self.sent += len(batch)
        while True:
            begin = time.monotonic()
            try:
                answer = await client.post("/api/v1/readings/", json=batch)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.is_success:
                break
            self.retries += 1
            await asyncio.sleep(0.25)
        self.latencies.append(time.monotonic() - begin)
        result = answer.json()
        self.accepted += result["accepted"]
        self.duplicates += result["duplicates"]
        self.keys |= {(row["sensor_id"], row["timestamp"]) for row in batch}

"""A cheap sender in a process of its own: HTTP over plain sockets, so that the client costs little of the two cores.

`python -m benchmarks.sender` reads a job as JSON from standard input and prints what it measured as JSON.
"""

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import uvloop

Body = Callable[[int], bytes]


class Connection:
    """One kept-alive HTTP connection."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        lines = [f"POST {job['path']} HTTP/1.1", "Host: localhost", f"X-API-Key: {job['key']}"]
        lines.append(f"Content-Type: {job.get('content_type', 'application/json')}")
        self.head = "\r\n".join(lines).encode()

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.job["port"], limit=1 << 20)

    async def post(self, body: bytes) -> tuple[int, bytes]:
        key = f"\r\nIdempotency-Key: {uuid.uuid4().hex}".encode() if self.job.get("idempotent") else b""
        self.writer.write(self.head + key + f"\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        return int(head[9:12]), await self.reader.readexactly(int(length or 0))


def single_rows(sensor_ids: list[str]) -> Iterator[bytes]:
    """One reading of now, endlessly, of one sensor after the other."""
    number = 0
    while True:
        at = datetime.now(UTC).isoformat()
        sensor_id = sensor_ids[number % len(sensor_ids)]
        number += 1
        yield f'{{"sensor_id":"{sensor_id}","timestamp":"{at}","value":{20 + number % 7}.5}}'.encode()


class BulkBodies:
    """Bodies of `rows` readings over all sensors, one second apart from `start` on; only the times differ."""

    def __init__(self, sensor_ids: list[str], rows: int, start: datetime, line_protocol: bool) -> None:
        self.per_sensor = max(1, rows // len(sensor_ids))
        self.start = start
        self.line_protocol = line_protocol
        values = np.random.default_rng(5).normal(20, 1, (self.per_sensor, len(sensor_ids))).round(3)
        rows_of = [
            self._row(sensor_id, self._mark(step), float(values[step, number]))
            for step in range(self.per_sensor)
            for number, sensor_id in enumerate(sensor_ids)
        ]
        text = "\n".join(rows_of) if line_protocol else "[" + ",".join(rows_of) + "]"
        self.template = text.encode()
        self.rows = len(rows_of)

    def _row(self, sensor_id: str, at: str, value: float) -> str:
        if self.line_protocol:
            return f"m,sensor_id={sensor_id} value={value} {at}"
        return f'{{"sensor_id":"{sensor_id}","timestamp":"{at}","value":{value}}}'

    @staticmethod
    def _mark(step: int) -> str:
        return f"@{step:03d}" + "@" * 15

    def body(self, number: int) -> bytes:
        text = self.template
        for step in range(self.per_sensor):
            at = self.start + timedelta(seconds=number * self.per_sensor + step)
            written = f"{int(at.timestamp())}000000000" if self.line_protocol else f"{at:%Y-%m-%dT%H:%M:%S}Z"
            text = text.replace(self._mark(step).encode(), written.encode())
        return text


async def send(job: dict[str, Any]) -> dict[str, Any]:
    """Send until `seconds` are over or `rows` are sent, over `connections` at once."""
    connections = [Connection(job) for _ in range(job["connections"])]
    for connection in connections:
        await connection.open()
    latencies: list[float] = []
    sent = accepted = 0
    deadline = time.monotonic() + job.get("seconds", 1e9)
    bulk = None
    if job.get("rows_per_body"):
        start = datetime.fromisoformat(job["start"])
        bulk = BulkBodies(job["sensor_ids"], job["rows_per_body"], start, job["path"].startswith("/api/v2"))
    numbers = iter(range(10**9))
    singles = single_rows(job["sensor_ids"])
    # Made before the clock starts, as far as memory allows: what is measured is the platform.
    ready = [bulk.body(next(numbers)) for _ in range(min(job.get("prepare", 0), 400))] if bulk else []

    started = time.monotonic()

    async def run(connection: Connection) -> None:
        nonlocal sent, accepted
        while time.monotonic() < deadline and sent < job.get("rows", 1e12):
            body = ready.pop() if ready else bulk.body(next(numbers)) if bulk else next(singles)
            rows = bulk.rows if bulk else 1
            sent += rows
            if pace := job.get("rows_per_second"):
                await asyncio.sleep(max(0.0, started + sent / pace - time.monotonic()))
            begin = time.perf_counter()
            status, answer = await connection.post(body)
            latencies.append(time.perf_counter() - begin)
            if status not in (200, 201, 204):
                raise RuntimeError(f"{status} {answer[:300]!r}")
            accepted += json.loads(answer)["accepted"] if answer else rows

    begin = time.monotonic()
    await asyncio.gather(*map(run, connections))
    seconds = time.monotonic() - begin
    p50, p95 = np.quantile(latencies, [0.5, 0.95]) * 1000
    return {
        "seconds": seconds,
        "sent": sent,
        "accepted": accepted,
        "requests_per_second": len(latencies) / seconds,
        "rows_per_second": sent / seconds,
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "next": next(numbers),
    }


if __name__ == "__main__":
    # On the loop of the web process: the client has its share of the same two cores.
    print(json.dumps(uvloop.run(send(json.load(sys.stdin)))))

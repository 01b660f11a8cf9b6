"""How fast readings come in over HTTP, as a share of the rate of bare COPY in the same run on the same server.

Everything is on: key, rate limits, checks, quality, outbox, idempotency keys for the bulk requests. The baseline copies
the same rows in PostgreSQL's binary format into a staging table and inserts them with ON CONFLICT DO NOTHING.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psutil
import psycopg

from benchmarks.plant import Plant, plant_with

SENSORS = 1000
ROWS = 5000
CONNECTIONS = 4
CLIENTS = 16
SCORED_RATE = 60_000
SECONDS = float(os.environ.get("SECONDS", "12"))
GROWTH_ROWS = int(os.environ.get("GROWTH_ROWS", "50000000"))
FLAT_ROWS = int(os.environ.get("FLAT_ROWS", "20000000"))
STAGING_ROW = np.dtype(
    [("fields", ">i2")]
    + [
        (f"{kind}{name}", fmt)
        for name, fmt in (("s", ">i8"), ("t", ">i8"), ("v", ">f8"), ("q", ">f8"))
        for kind, fmt in (("n", ">i4"), ("x", fmt))
    ]
    + [("nf", ">i4"), ("xf", ">i2")]
)


def sender(plant: Plant, **job: Any) -> dict[str, Any]:
    """Run the sender in a process of its own."""
    about = {"port": int(plant.platform.url.rsplit(":", 1)[1]), "key": plant.key, "sensor_ids": plant.sensor_ids, **job}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sender"],
        input=json.dumps(about),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def bulk(plant: Plant, start: datetime, **job: Any) -> dict[str, Any]:
    return sender(
        plant,
        **{
            "path": "/api/v1/readings/",
            "connections": CONNECTIONS,
            "rows_per_body": ROWS,
            "idempotent": True,
            "start": start.isoformat(),
            "prepare": 400,
            "seconds": SECONDS,
            **job,
        },
    )


def copy_rate(plant: Plant, start: datetime, batches: int = 200) -> float:
    """Rows a second of bare COPY, over as many connections."""
    from sensors import embedded

    url = embedded.database_url(plant.platform.state_dir)
    with psycopg.connect(url) as database:
        pks = [row[0] for row in database.execute("SELECT id FROM sensors_sensor ORDER BY id LIMIT %s", [SENSORS])]
    buffers = [_copy_buffer(np.array(pks), start + timedelta(seconds=5 * number)) for number in range(batches)]

    def copy_all(numbers: range) -> None:
        with psycopg.connect(url) as database:
            database.execute("CREATE TEMP TABLE staging (LIKE sensors_reading) ON COMMIT DELETE ROWS")
            database.commit()
            for number in numbers:
                with database.cursor() as cursor:
                    columns = "(sensor_id, timestamp, value, quality, flags)"
                    with cursor.copy(f"COPY staging {columns} FROM STDIN (FORMAT BINARY)") as copy:
                        copy.write(buffers[number])
                    cursor.execute(
                        f"INSERT INTO sensors_reading {columns} SELECT sensor_id, timestamp, value, quality, flags "
                        "FROM staging ON CONFLICT DO NOTHING"
                    )
                    assert cursor.rowcount == ROWS
                database.commit()

    begin = time.monotonic()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(copy_all, [range(n, batches, CONNECTIONS) for n in range(CONNECTIONS)]))
    return batches * ROWS / (time.monotonic() - begin)


def _copy_buffer(pks: "np.ndarray[Any, Any]", start: datetime) -> bytes:
    per_sensor = ROWS // SENSORS
    rows = np.zeros(ROWS, STAGING_ROW)
    rows["fields"] = 5
    for name in ("ns", "nt", "nv", "nq"):
        rows[name] = 8
    rows["nf"] = 2
    rows["xs"] = np.tile(pks, per_sensor)
    since_2000 = int((start - datetime(2000, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000_000
    rows["xt"] = np.repeat(since_2000 + np.arange(per_sensor) * 1_000_000, SENSORS)
    rows["xv"] = np.random.default_rng(1).normal(20, 1, ROWS)
    rows["xq"] = 1
    return b"PGCOPY\n\xff\r\n\0" + b"\0" * 8 + rows.tobytes() + b"\xff\xff"


@contextmanager
def worker_stopped(plant: Plant) -> Iterator[None]:
    workers = [p for p in _processes(plant) if "celery" in " ".join(p.cmdline()) and "worker" in p.cmdline()]
    for process in workers:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in workers:
            process.send_signal(signal.SIGCONT)


def _processes(plant: Plant) -> list[psutil.Process]:
    return psutil.Process(plant.platform.process.pid).children(recursive=True)


def web_memory_mib(plant: Plant) -> float:
    return max(p.memory_info().rss for p in _processes(plant) if "granian" in " ".join(p.cmdline())) / 2**20


def wait_for_backlog(plant: Plant) -> float:
    """Seconds until every batch has been worked on."""
    from sensors import embedded

    begin = time.monotonic()
    with psycopg.connect(embedded.database_url(plant.platform.state_dir), autocommit=True) as database:
        while database.execute("SELECT 1 FROM sensors_pending WHERE dead_at IS NULL LIMIT 1").fetchone():
            time.sleep(0.2)
    return time.monotonic() - begin


def row(
    name: str, value: float, unit: str, goal: float | None, holds: bool, baseline: float | None = None
) -> dict[str, Any]:
    ratio = round(value / baseline, 3) if baseline else None
    return {
        "name": name,
        "value": round(value, 2),
        "unit": unit,
        "baseline": baseline and round(baseline, 1),
        "ratio": ratio,
        "goal": goal,
        "holds": holds,
    }


def recent(minutes: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=minutes)


def past(days: float) -> datetime:
    """For rows that only fill the table; every call of a benchmark has days of its own."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=days)


def run() -> list[dict[str, Any]]:
    results = []
    with plant_with(SENSORS) as plant:
        with worker_stopped(plant):
            bulk(plant, past(90), seconds=2)
            copied = copy_rate(plant, past(80))
            result = bulk(plant, recent(58))
            copied = (copied + copy_rate(plant, past(70))) / 2
            rate = result["rows_per_second"]
            results += [
                row("HTTP bulk, worker stopped", rate, "readings/s", 100_000, rate >= 100_000, copied),
                row("HTTP bulk, share of bare COPY", rate / copied, "", 0.5, rate >= 0.5 * copied),
                row(
                    "sent but not accepted",
                    result["sent"] - result["accepted"],
                    "readings",
                    0,
                    result["sent"] == result["accepted"],
                ),
                row("HTTP bulk, 95th percentile", result["p95_ms"], "ms", None, True),
            ]
        wait_for_backlog(plant)
        line = bulk(plant, past(60), path="/api/v2/write", content_type="text/plain", idempotent=False)
        wait_for_backlog(plant)
        results.append(
            row("line protocol", line["rows_per_second"], "readings/s", 80_000, line["rows_per_second"] >= 80_000)
        )
    return results


def run_single() -> list[dict[str, Any]]:
    """One reading a request, as a gateway without a buffer sends them."""
    with plant_with(SENSORS) as plant:
        sender(plant, path="/api/v1/readings/", connections=CLIENTS, seconds=2)
        beside = sender(plant, path="/api/v1/readings/", connections=CLIENTS, seconds=SECONDS)
        with worker_stopped(plant):
            alone = sender(plant, path="/api/v1/readings/", connections=CLIENTS, seconds=SECONDS)
    rate, p95 = beside["requests_per_second"], beside["p95_ms"]
    return [
        row("single readings, worker scoring", rate, "requests/s", 2000, rate >= 2000),
        row("single readings, 95th percentile", p95, "ms", 15, p95 <= 15),
        row("single readings, worker stopped", alone["requests_per_second"], "requests/s", None, True),
        row("the same, 95th percentile", alone["p95_ms"], "ms", None, True),
    ]


def run_scored() -> list[dict[str, Any]]:
    """At a steady rate beside the worker, and as fast as it goes; the backlog is worked off afterwards."""
    results = []
    with plant_with(SENSORS) as plant:
        for pace, name in ((SCORED_RATE, f"HTTP bulk at {SCORED_RATE:,}/s"), (None, "HTTP bulk, all it takes")):
            sent = bulk(plant, recent(58 if pace else 42), rows_per_second=pace)
            backlog = wait_for_backlog(plant)
            rate, whole = sent["rows_per_second"], sent["seconds"] + backlog
            goal = sent["seconds"] if pace else None
            results += [
                row(f"{name}, worker scoring", rate, "readings/s", 50_000, rate >= 50_000),
                row("  backlog gone after", backlog, "s", goal, not goal or backlog <= goal),
                row("  scored, while sending and after", sent["sent"] / whole, "readings/s", None, True),
            ]
    return results


def run_growth() -> list[dict[str, Any]]:
    """The rate at GROWTH_ROWS stored rows against that at none, and the web process's memory over FLAT_ROWS."""
    from sensors import embedded

    with plant_with(SENSORS) as plant, worker_stopped(plant):
        bulk(plant, past(90), seconds=2)
        first = bulk(plant, past(40))["rows_per_second"]
        before = web_memory_mib(plant)
        flat = bulk(plant, past(170), rows=FLAT_ROWS, seconds=3600, prepare=0)
        after = web_memory_mib(plant)
        with psycopg.connect(embedded.database_url(plant.platform.state_dir), autocommit=True) as database:
            [(stored,)] = database.execute("SELECT count(*) FROM sensors_reading").fetchall()
            database.execute(
                "INSERT INTO sensors_reading (sensor_id, timestamp, value, quality, flags) "
                "SELECT s.id, timestamptz '2020-01-01' + n * interval '1 second', 20, 1, 0 "
                "FROM generate_series(1, %s) n CROSS JOIN sensors_sensor s",
                [max(0, (GROWTH_ROWS - stored) // SENSORS)],
            )
            database.execute("VACUUM ANALYZE sensors_reading")
            database.execute("CHECKPOINT")
        # As before the first: what comes right after a checkpoint writes whole pages to the log.
        bulk(plant, past(60), seconds=2)
        last = bulk(plant, past(20))["rows_per_second"]
    return [
        row(f"rate at {GROWTH_ROWS / 1e6:g} million rows", last, "readings/s", None, True, first),
        row(f"rate at {GROWTH_ROWS / 1e6:g} million rows, share", last / first, "", 0.85, last >= 0.85 * first),
        row(f"{FLAT_ROWS / 1e6:g} million rows at", flat["rows_per_second"], "readings/s", None, True),
        row("web process grew by", after - before, "MiB", 30, after - before <= 30),
    ]

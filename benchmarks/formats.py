"""How fast each format is parsed, and how fast a wide file is imported, from its first byte to the last commit."""

import json as standard_json
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ingest import row, wait_for_backlog, worker_stopped
from benchmarks.plant import plant_with

ROWS = 5000
SENSORS = 1000
NOW = datetime(2026, 6, 1, tzinfo=UTC)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
WIDE_COLUMNS, WIDE_ROWS = 100, 20_000
MEMORY_MIB = 200


def run() -> list[dict[str, Any]]:
    from sensors.formats import csv, json, line_protocol

    names = [f"plant.line.{number % SENSORS}.temperature" for number in range(ROWS)]
    times = [NOW + timedelta(milliseconds=137 * number) for number in range(ROWS)]
    values = np.random.default_rng(1).normal(20, 5, ROWS).tolist()
    rows = [
        {"sensor_id": name, "timestamp": at.isoformat(), "value": value}
        for name, at, value in zip(names, times, values, strict=True)
    ]
    series = {"sensor_id": names[0], "timestamps": [at.isoformat() for at in times], "values": values}
    lines = "\n".join(
        f"m,sensor_id={name} value={value} {round(at.timestamp() * 1e9)}"
        for name, at, value in zip(names, times, values, strict=True)
    ).encode()
    fields = ",".join(f"f{number}={value}" for number, value in enumerate(values[:10]))
    many = "\n".join(f"cpu,host=h{n % 100} {fields} {n}" for n in range(ROWS // 10)).encode()
    long = "time,sensor,value\n" + "".join(
        f"{at.isoformat()},{name},{value}\n" for name, at, value in zip(names, times, values, strict=True)
    )
    wide = wide_file(WIDE_COLUMNS, 2000)
    return [
        rate("JSON rows", json.parse, standard_json.dumps(rows).encode(), None),
        rate("JSON by columns", json.parse, standard_json.dumps(series).encode(), None),
        rate("line protocol", lambda body: line_protocol.parse(body, "ns", NOW), lines, 200_000),
        rate("line protocol, ten fields a line", lambda body: line_protocol.parse(body, "ns", NOW), many, None),
        rate("CSV, long", lambda body: read_all(csv, body), long.encode(), None),
        rate("CSV, wide", lambda body: read_all(csv, body), wide, 150_000),
    ]


def read_all(csv: Any, body: bytes) -> list[Any]:
    layout = csv.guess(body[: 64 * 1024])
    return [chunk.columns for chunk in csv.read(BytesIO(body), layout)]


def rate(name: str, parse: Callable[[bytes], Any], body: bytes, goal: float | None) -> dict[str, Any]:
    """The best of several runs: what else the machine did is not of interest."""
    seconds = []
    for _ in range(10):
        begin = time.perf_counter()
        parsed = parse(body)
        seconds.append(time.perf_counter() - begin)
    count = sum(map(len, parsed)) if isinstance(parsed, list) else len(parsed)
    best = count / min(seconds)
    return row(f"parse {name}", best, "readings/s", goal, goal is None or best >= goal)


def wide_file(columns: int, rows: int, start: datetime = FIRST, step_seconds: int = 1) -> bytes:
    """A column per sensor, eight characters a value."""
    values = np.random.default_rng(1).normal(20, 5, (rows, columns)).round(4)
    begin = np.datetime64(start.replace(tzinfo=None), "s")
    times = np.datetime_as_string(begin + np.arange(rows) * np.timedelta64(step_seconds, "s"))
    head = "time," + ",".join(f"wide.{number}.temp [°C]" for number in range(columns))
    body = "\n".join(f"{at}Z," + ",".join(map(str, line)) for at, line in zip(times, values.tolist(), strict=True))
    return f"{head}\n{body}\n".encode()


def run_import() -> list[dict[str, Any]]:
    results = []
    file = wide_file(WIDE_COLUMNS, WIDE_ROWS)
    with plant_with(1) as plant:
        for name, goal in (("worker stopped", 150_000), ("once more, all of it known", None)):
            with worker_stopped(plant):
                seconds = import_file(plant, file)
            reached = WIDE_COLUMNS * WIDE_ROWS / seconds
            holds = goal is None or reached >= goal
            results.append(row(f"wide file imported, {name}", reached, "readings/s", goal, holds))
        backlog = wait_for_backlog(plant)
        results.append(row("its readings scored after", backlog, "s", None, True))
    return [*results, memory()]


def import_file(plant: Any, file: bytes) -> float:
    from django.core.files.uploadedfile import SimpleUploadedFile

    from sensors import imports
    from sensors.models import Import

    user = plant.site.members.get(username="program")
    begin = time.perf_counter()
    done = imports.receive(SimpleUploadedFile("wide.csv", file), site=plant.site, user=user)
    imports.run(done)
    while done.is_at_work:
        imports.take_turn(done.pk)
        done.refresh_from_db()
    assert done.state == Import.State.DONE, done.error
    assert done.stored + done.duplicates == WIDE_COLUMNS * WIDE_ROWS
    return time.perf_counter() - begin


def memory() -> dict[str, Any]:
    """How much a process grows that reads a large file, beyond what it has after a small one."""
    from sensors.formats import csv

    block = wide_file(WIDE_COLUMNS, 2000)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "large.csv")
        with path.open("wb") as file:
            file.write(block)
            for _ in range(MEMORY_MIB * 2**20 // len(block)):
                file.write(block.partition(b"\n")[2])
        layout = csv.guess(block[: 64 * 1024])
        before = 0
        with path.open("rb") as file:
            for number, _chunk in enumerate(csv.read(file, layout)):
                if number == 50:
                    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return row(f"memory grew over a file of {MEMORY_MIB} MiB by", grown, "MiB", 20, grown <= 20)

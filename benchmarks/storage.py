"""Reading back a month: the chart of a sensor that is read every second, and the hours of a hundred sensors.

The baseline of the summary is the same hours computed from the readings in one statement, which leaves out the first
and last value of each hour. Sizes: 30 days of one sensor at 1 Hz (2.6 million readings) and of 100 sensors every 10 s
(26 million).
"""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import numpy as np
import psutil

from benchmarks.plant import Plant, plant_with

DAYS = int(os.environ.get("DAYS", "30"))
FLEET = int(os.environ.get("FLEET", "100"))
REQUESTS = 100
CHART_GOAL_MS, SUMMARY_GOAL = 150, 50

FILL = """
    INSERT INTO sensors_reading (sensor_id, "timestamp", value)
    SELECT %s, time, round((60 + 8 * sin(extract(epoch FROM time) * 7.27e-5) + random())::numeric, 1)
    FROM generate_series(%s, %s, make_interval(secs => %s)) AS time
"""
FROM_RAW = """
    SELECT sensor_id, date_trunc('hour', "timestamp", 'UTC'), count(*), avg(value), min(value), max(value), avg(quality)
    FROM sensors_reading WHERE sensor_id = ANY(%s) AND "timestamp" >= %s AND "timestamp" < %s GROUP BY 1, 2
"""


def run() -> list[dict[str, Any]]:
    with plant_with(FLEET + 1) as plant:
        from sensors.models import Sensor

        one, *fleet = Sensor.objects.order_by("pk").values_list("pk", flat=True)
        stop = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        start = stop - timedelta(days=DAYS)
        _fill(one, [*fleet], start, stop)
        rows = [_computed([one, *fleet], start, stop)]
        rows += _charts(plant, one, fleet[0])
        rows.append(_summary(fleet, start, stop))
        rows += _export(plant, one)
        return rows


def _row(
    name: str, value: float, unit: str, goal: float | None = None, holds: bool = True, **more: Any
) -> dict[str, Any]:
    about = {"name": name, "value": value, "unit": unit, "baseline": None, "ratio": None}
    return about | {"goal": goal, "holds": holds} | more


def _fill(one: int, fleet: list[int], start: datetime, stop: datetime) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        for sensor, step in [(one, 1), *((sensor, 10) for sensor in fleet)]:
            cursor.execute(FILL, [sensor, start, stop - timedelta(seconds=step), step])
        cursor.execute("VACUUM ANALYZE sensors_reading")


def _computed(sensors: list[int], start: datetime, stop: datetime) -> dict[str, Any]:
    """How fast marked hours are computed; the worker, which does the same every 5 s, may help."""
    from sensors import summary
    from sensors.models import DirtyHour, Reading

    summary.mark_window(sensors, start, stop - timedelta(hours=1))
    begin = time.monotonic()
    while DirtyHour.objects.exists():
        summary.rebuild_due(quiet_seconds=0)
    seconds = time.monotonic() - begin
    return _row("hours computed from", round(Reading.objects.count() / seconds), "readings/s")


def _charts(plant: Plant, one: int, slow: int) -> list[dict[str, Any]]:
    from django.contrib.auth.models import User

    from sensors.models import ApiKey

    _, key = ApiKey.issue(User.objects.get(username="program"), "reader", ["read"], requests_per_second=0)
    rows = []
    with httpx.Client(base_url=plant.platform.url, headers={"X-API-Key": key}, timeout=30) as client:
        for sensor, window in ((one, "30d"), (one, "24h"), (slow, "7d")):
            address = f"/api/v1/sensors/{sensor}/series/?range={window}"
            answer = client.get(address).raise_for_status().json()
            assert 500 <= len(answer["times"]) <= 1000
            p95 = _p95_ms(partial(_fetch, client, address))
            name = f"{window} chart, a reading every {1 if sensor == one else 10} s"
            rows.append(_row(name, p95, "ms p95", CHART_GOAL_MS, p95 <= CHART_GOAL_MS))
    return rows


def _fetch(client: httpx.Client, address: str) -> None:
    client.get(address).raise_for_status()


def _p95_ms(ask: Callable[[], object]) -> float:
    times = []
    for _ in range(REQUESTS):
        begin = time.monotonic()
        ask()
        times.append(time.monotonic() - begin)
    return round(float(np.quantile(times, 0.95)) * 1000, 1)


def _summary(fleet: list[int], start: datetime, stop: datetime) -> dict[str, Any]:
    from django.db import connection

    from sensors import summary

    begin = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(FROM_RAW, [fleet, start, stop])
        from_raw = len(cursor.fetchall())
    raw_ms = (time.monotonic() - begin) * 1000
    times = []
    for _ in range(5):
        begin = time.monotonic()
        assert len(summary.hours(fleet, start, stop).count) == from_raw
        times.append((time.monotonic() - begin) * 1000)
    median = float(np.median(times))
    return _row(
        f"hours of {FLEET} sensors x {DAYS} days",
        round(median, 1),
        "ms",
        baseline=round(raw_ms),
        ratio=median / raw_ms,
        goal=round(raw_ms / SUMMARY_GOAL, 1),
        holds=raw_ms / median >= SUMMARY_GOAL,
    )


def _export(plant: Plant, one: int) -> list[dict[str, Any]]:
    """A month as CSV: how fast it comes, and by how much the web process grows meanwhile."""
    from django.contrib.auth.models import User

    from sensors.models import ApiKey

    _, key = ApiKey.issue(User.objects.get(username="program"), "exporter", ["read"])
    web = [child for child in psutil.Process(plant.platform.process.pid).children(recursive=True) if _is_web(child)]
    lines, most = 0, 0
    before = sum(process.memory_info().rss for process in web)
    begin = time.monotonic()
    address = f"{plant.platform.url}/api/v1/sensors/{one}/export/?format=csv"
    with httpx.stream("GET", address, headers={"X-API-Key": key}, timeout=60) as answer:
        for piece in answer.iter_bytes():
            lines += piece.count(b"\n")
            most = max(most, sum(process.memory_info().rss for process in web))
    seconds = time.monotonic() - begin
    grown = round((most - before) / 1e6)
    return [
        _row("CSV export of a month at 1 Hz", round(lines / seconds), "readings/s"),
        _row("memory of the web process meanwhile", grown, "MB more", 200, grown <= 200),
    ]


def _is_web(process: psutil.Process) -> bool:
    return "granian" in " ".join(process.cmdline())

"""Open pages: how soon 500 of them hear of alerts, and whether the web process's memory stays flat.

The platform runs as `make up` starts it. 400 WebSockets belong to people of a site on which 20 alerts a second are
raised, 100 to people of another site, on which nothing happens: they must not receive a byte. An alert's delay on a
page is the time from its commit to the next hint, which makes the page fetch what it shows. Ten of the pages do fetch
the critical alerts at each hint. `SECONDS=600` measures for ten minutes.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import psutil
import websockets

from benchmarks.ingest import row
from benchmarks.plant import Plant, plant_with

LISTENING, ELSEWHERE, FETCHING = 400, 100, 10
PEOPLE = 20
ALERTS_A_SECOND = 20
SECONDS = float(os.environ.get("SECONDS", "60"))
GOAL_SECONDS, FLAT_WITHIN = 1.0, 0.05
MEMORY_EVERY_SECONDS = 2.0


def people(site: Any, name: str) -> list[str]:
    """Session cookies of viewers of the site."""
    from django.contrib.auth.models import Group, User

    from tests.flows.records import session_cookie

    users = User.objects.bulk_create(User(username=f"{name}-{number}") for number in range(PEOPLE))
    Group.objects.get(name="viewer").user_set.add(*users)
    site.members.add(*users)
    return [session_cookie(user) for user in users]


async def listen(plant: Plant, cookie: str, heard: list[float], sizes: list[int], fetches: bool) -> None:
    """One page: note when hints come and how many bytes; fetch the critical alerts if it `fetches`."""
    url, headers = plant.platform.url, {"Cookie": f"sessionid={cookie}"}
    socket_url = url.replace("http", "ws") + "/ws/live/"
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client,
        websockets.connect(
            socket_url, additional_headers=headers, origin=url, open_timeout=60, ping_interval=None
        ) as socket,
    ):
        heard.append(time.time())
        fetch: asyncio.Task[httpx.Response] | None = None
        async for message in socket:
            heard.append(time.time())
            sizes.append(len(message))
            # As the page does: one question at a time.
            if fetches and (fetch is None or fetch.done()):
                fetch = asyncio.create_task(client.get("/alerts/critical/"))


def raise_alerts(site: Any, until: float) -> list[float]:
    """20 a second, each with a cause of its own; the times of their commits."""
    from django.utils import timezone

    from alerts import lifecycle
    from alerts.models import Severity
    from sensors.models import Asset

    asset, committed = Asset.objects.filter(site=site)[0], []
    begin = time.time()
    while time.time() < until:
        now = timezone.now()
        lifecycle.raise_alert(
            dedup_key=f"live:{len(committed)}",
            title=f"Alert {len(committed)}",
            severity=Severity.CRITICAL if len(committed) % 20 == 0 else Severity.MEDIUM,
            evidence={},
            began_at=now,
            last_seen_at=now,
            asset=asset,
        )
        committed.append(time.time())
        time.sleep(max(0.0, begin + len(committed) / ALERTS_A_SECOND - time.time()))
    return committed


def memory_mib(plant: Plant) -> float:
    """Of the web process and its children."""
    processes = psutil.Process(plant.platform.process.pid).children(recursive=True)
    web = [process for process in processes if "granian" in " ".join(process.cmdline())]
    return float(sum(process.memory_full_info().pss for process in web)) / 2**20


async def watch_memory(plant: Plant, seen: list[float]) -> None:
    while True:
        seen.append(await asyncio.to_thread(memory_mib, plant))
        await asyncio.sleep(MEMORY_EVERY_SECONDS)


async def measure(plant: Plant, noisy: Any, cookies: dict[str, list[str]]) -> dict[str, Any]:
    heard: list[list[float]] = [[] for _ in range(LISTENING + ELSEWHERE)]
    sizes: list[list[int]] = [[] for _ in heard]
    pages = []
    for number in range(len(heard)):
        cookie = cookies["noisy" if number < LISTENING else "quiet"][number % PEOPLE]
        fetches = number < FETCHING
        pages.append(asyncio.create_task(listen(plant, cookie, heard[number], sizes[number], fetches)))
        await asyncio.sleep(0.01)
    while not all(heard):
        await asyncio.sleep(0.1)
        assert not any(page.done() for page in pages), "A page was not let in."
    memory: list[float] = []
    with running(watch_memory(plant, memory)):
        committed = await asyncio.to_thread(raise_alerts, noisy, time.time() + SECONDS)
        await asyncio.sleep(3)
    assert not any(page.done() for page in pages), "A page lost its connection."
    for page in pages:
        page.cancel()
    return {"heard": heard, "sizes": sizes, "committed": committed, "memory": memory}


@contextmanager
def running(work: Any) -> Iterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()


def delays(heard: list[list[float]], committed: list[float]) -> Any:
    """Seconds from each alert's commit to the next hint on each page; infinite where none came."""
    found = []
    for times in heard:
        hints = np.append(np.array(times[1:]), np.inf)
        found.append(hints[np.searchsorted(hints, committed)] - committed)
    return np.concatenate(found)


def run() -> list[dict[str, Any]]:
    import uvloop

    with plant_with(1, MLFLOW_TRACKING_URI="none") as plant:
        from sensors.models import Site

        quiet = Site.objects.create(name="Quiet")
        cookies = {"noisy": people(plant.site, "noisy"), "quiet": people(quiet, "quiet")}
        found = uvloop.run(measure(plant, plant.site, cookies))
    waited = delays(found["heard"][:LISTENING], found["committed"])
    p50, p95, most = np.quantile(waited, [0.5, 0.95, 1.0]).tolist()
    elsewhere = sum(map(sum, found["sizes"][LISTENING:]))
    hints = np.array([len(sizes) for sizes in found["sizes"][:LISTENING]]) / SECONDS
    first, last = (float(np.median(part)) for part in np.array_split(np.array(found["memory"]), 3)[::2])
    return [
        row("open pages", LISTENING + ELSEWHERE, "sockets", None, True),
        row("alert to hint on each page, 95th percentile", p95, "s", GOAL_SECONDS, p95 <= GOAL_SECONDS),
        row("  median", p50, "s", None, True),
        row("  longest", most, "s", None, True),
        row("  hints a page, at most", float(hints.max()), "a second", 2.1, bool(hints.max() <= 2.1)),
        row("alerts raised", len(found["committed"]) / SECONDS, "a second", None, True),
        row("bytes to pages of another site", elsewhere, "bytes", 0, elsewhere == 0),
        row("memory of the web process, at first", first, "MiB", None, True),
        row("  in the end", last, "MiB", round(first * (1 + FLAT_WITHIN), 2), last <= first * (1 + FLAT_WITHIN)),
    ]

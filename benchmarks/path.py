"""The main job under load: 1,000 readings/s for a minute, an anomaly among them, and somebody watching the page."""

import asyncio
import json
import os
import time
from typing import Any

import httpx
import numpy as np
import websockets

from tests.load import Load
from tests.platform import Platform, running

SENSORS = 50
RATE = 1000
SECONDS = 60


async def watch(platform: Platform, cookie: str, panel: str, seen: dict[str, float]) -> None:
    """What an open page does: listen for hints, fetch the panel, look for the alert."""
    headers = {"Cookie": f"sessionid={cookie}"}
    socket_url = platform.url.replace("http", "ws") + "/ws/live/"
    async with (
        httpx.AsyncClient(base_url=platform.url, headers=headers) as client,
        websockets.connect(socket_url, additional_headers=headers, origin=platform.url) as socket,
    ):
        async for message in socket:
            if json.loads(message)["topic"] == "alerts":
                page = await client.get(panel)
                if "above normal" in page.text and page.status_code == 200:
                    seen["at"] = time.time()
                    return


async def measure(platform: Platform, load: Load, cookie: str, panel: str) -> float | None:
    seen: dict[str, float] = {}
    watching = asyncio.create_task(watch(platform, cookie, panel, seen))
    await load.run()
    await asyncio.wait([watching], timeout=10)
    watching.cancel()
    return seen["at"] - load.anomaly_sent_at if "at" in seen and load.anomaly_sent_at else None


def run() -> list[dict[str, Any]]:
    with running() as platform:
        os.environ |= {key: platform.environment[key] for key in ("STATE_DIR", "PORT")}
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        import django

        django.setup()
        from django.urls import reverse

        from tests.flows.records import key_and_viewer, plant_with_sensors

        site, sensor_ids = plant_with_sensors(SENSORS)
        key, cookie = key_and_viewer(site)
        load = Load(platform.url, key, sensor_ids, RATE, SECONDS, anomaly_at=SECONDS / 2)
        to_page = asyncio.run(measure(platform, load, cookie, reverse("alerts:open-panel")))
        return results(load, to_page)


def results(load: Load, to_page: float | None) -> list[dict[str, Any]]:
    from sensors.models import Reading

    stored = Reading.objects.filter(sensor__sensor_id__in=load.sensor_ids).count()
    p50, p95 = np.quantile(load.latencies, [0.5, 0.95]) * 1000
    rows = [
        ("readings sent", load.sent, "readings", None, True),
        ("acknowledged but not stored", load.accepted - stored, "readings", 0, load.accepted == stored),
        ("sent but not stored", load.sent - stored, "readings", 0, load.sent == stored),
        ("acknowledgement, median", round(float(p50), 1), "ms", None, True),
        ("acknowledgement, 95th percentile", round(float(p95), 1), "ms", 100, bool(p95 <= 100)),
        (
            "anomaly sent to alert on the page",
            to_page and round(to_page, 2),
            "s",
            3,
            to_page is not None and to_page <= 3,
        ),
    ]
    keys = ("name", "value", "unit", "goal", "holds")
    return [dict(zip(keys, row, strict=True)) for row in rows]

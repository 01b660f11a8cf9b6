"""Alerts among many: raising one, and opening the inbox, with 100,000 unresolved and a million resolved ones.

500 assets on 20 sites, two sensors each; the viewer is a member of five sites, the admin sees all. A tenth of the
unresolved alerts come from faults of instruments, the rest from readings; some are acknowledged or snoozed, and the
severe ones that are open are back to normal and wait for somebody. Pages are asked for over HTTP, one after the other.
Beside `raise_alert` stands what one insert and its commit take.
"""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import numpy as np

from benchmarks.ingest import row
from benchmarks.plant import plant_with

SITES, ASSETS, SENSORS = 20, 500, 1000
UNRESOLVED = int(os.environ.get("UNRESOLVED", "100000"))
RESOLVED = int(os.environ.get("RESOLVED", "1000000"))
RAISED, PAGES = 1000, 60
RAISE_MS, PAGE_MS, SWEEP_MS = 5, 200, 250
INBOX = "/alerts/"
# What a person opens first, filters and searches for; "zebra" is nowhere.
PAGES_ASKED = {
    "inbox": INBOX,
    "inbox, page 100": f"{INBOX}?page=100",
    "inbox, of one site": f"{INBOX}?site={{site}}",
    "inbox, critical": f"{INBOX}?severity=4",
    "inbox, everything": f"{INBOX}?state=all",
    "inbox, resolved": f"{INBOX}?state=resolved",
    "inbox, search": f"{INBOX}?words=machine+61",
    "inbox, search everything": f"{INBOX}?state=all&words=machine+61",
    "inbox, search in vain": f"{INBOX}?state=all&words=zebra",
    "overview, open alerts": "/alerts/open/",
    "overview, assets by attention": "/alerts/attention/",
}

FILL = """
    WITH made AS (
        INSERT INTO alerts_alert (site_id, asset_id, sensor_id, kind, severity, state, historical, dedup_key, title,
            evidence, occurrences, began_at, last_seen_at, opened_at, snoozed_until, normal_since, resolved_at)
        SELECT s.site_id, s.asset_id, s.id, CASE WHEN n %% 10 = 0 THEN 'silent' ELSE 'anomaly' END, severity, state,
            false, CASE WHEN n %% 10 = 0 THEN 'fault:' ELSE 'anomaly:sensor:' END || %(first)s + n,
            format('Temperature of %%s above normal: %%s °C, usually 71', a.name, 75 + n %% 20), evidence, 1 + n %% 4,
            at, at, at, CASE WHEN state = 'snoozed' THEN now() + interval '1 day' END,
            CASE WHEN state = 'open' AND severity > 2 THEN at END,
            CASE WHEN state = 'resolved' THEN at + interval '1 hour' END
        FROM generate_series(0, %(count)s - 1) AS n
        JOIN sensors_sensor s ON s.id = (%(sensors)s::bigint[])[1 + n %% %(fleet)s]
        JOIN sensors_asset a ON a.id = s.asset_id
        CROSS JOIN LATERAL (SELECT
            (%(states)s::text[])[1 + n %% 7 %% cardinality(%(states)s::text[])] AS state, 1 + (n / 7) %% 4 AS severity,
            now() - random() * %(age)s::interval - interval '2 hours' AS at,
            (SELECT jsonb_object_agg('fact ' || k, md5(n || '-' || k)) FROM generate_series(1, 12) AS k) AS evidence
        ) about
        RETURNING id, opened_at, resolved_at, title
    )
    INSERT INTO alerts_transition (alert_id, step, from_state, to_state, at, surface, reason)
    SELECT id, 'raised', '', 'open', opened_at, 'platform', title FROM made
    UNION ALL
    SELECT id, 'resolved', 'open', 'resolved', resolved_at, 'platform', '' FROM made WHERE resolved_at IS NOT NULL
"""


def fill(unresolved: int, resolved: int) -> None:
    """Alerts of the last two years, those of the last month unresolved, in a plant that has them on every asset."""
    from django.db import connection

    from sensors.models import Asset, Sensor, Site

    sites = Site.objects.bulk_create(Site(name=f"Plant {number}") for number in range(SITES))
    assets = Asset.objects.bulk_create(Asset(site=sites[n % SITES], name=f"Machine {n}") for n in range(ASSETS))
    sensors = Sensor.objects.bulk_create(
        Sensor(
            site=asset.site, asset=asset, sensor_id=f"machine{n % ASSETS}.{n // ASSETS}", kind="temperature", unit="°C"
        )
        for n, asset in enumerate(assets * (SENSORS // ASSETS))
    )
    known = {"sensors": [sensor.pk for sensor in sensors], "fleet": len(sensors)}
    states = ["open", "acknowledged", "snoozed", "open", "open"]
    with connection.cursor() as cursor:
        cursor.execute(FILL, known | {"first": 0, "count": unresolved, "states": states, "age": timedelta(days=30)})
        old = {"first": unresolved, "count": resolved, "states": ["resolved"], "age": timedelta(days=700)}
        cursor.execute(FILL, known | old)
        cursor.execute("VACUUM ANALYZE alerts_alert")
        cursor.execute("VACUUM ANALYZE alerts_transition")


def session_of(role: str, sites: int) -> str:
    """The cookie of a person of this role who is a member of so many sites."""
    from django.contrib.auth.models import Group, User

    from sensors.models import Site
    from tests.flows.records import session_cookie

    user = User.objects.create_user(f"bench-{role}")
    user.groups.add(Group.objects.get(name=role))
    user.sites.set(Site.objects.filter(name__startswith="Plant").order_by("pk")[:sites])
    return session_cookie(user)


def milliseconds(work: Callable[[], object], times: int) -> list[float]:
    took = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        took.append((time.perf_counter() - begin) * 1000)
    return took


def raising() -> list[float]:
    """The milliseconds of each new alert, its commit included."""
    from django.utils import timezone

    from alerts import lifecycle
    from alerts.models import Severity
    from sensors.models import Sensor

    sensors = list(Sensor.objects.filter(sensor_id__startswith="machine").select_related("asset")[:SENSORS])
    numbers = iter(range(10**6))

    def one() -> None:
        number, now = next(numbers), timezone.now()
        sensor = sensors[number % len(sensors)]
        lifecycle.raise_alert(
            dedup_key=f"bench:{number}",
            title=f"Temperature of {sensor.asset} above normal",
            severity=Severity(1 + number % 4),
            evidence={f"fact {k}": "x" * 32 for k in range(12)},
            began_at=now,
            last_seen_at=now,
            asset=sensor.asset,
            sensor=sensor,
        )

    milliseconds(one, 50)  # Connections and plans.
    return milliseconds(one, RAISED)


def inserting() -> list[float]:
    """The milliseconds of one row of the same size and its commit: what no alert can do without."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("CREATE UNLOGGED TABLE probe (id bigint PRIMARY KEY, title text)")
        cursor.execute("ALTER TABLE probe SET LOGGED")
        numbers = iter(range(10**6))
        insert = "INSERT INTO probe VALUES (%s, %s)"
        return milliseconds(lambda: cursor.execute(insert, [next(numbers), "x" * 600]), RAISED)


def sweeps() -> dict[str, list[float]]:
    """What beat asks for every few seconds."""
    from django.utils import timezone

    from alerts import faults, lifecycle, returning

    return {
        "sweep, back to normal": milliseconds(lambda: returning.look(timezone.now()), 20),
        "sweep, end of snoozes": milliseconds(lambda: lifecycle.wake(timezone.now()), 20),
        "sweep, faults of instruments": milliseconds(faults.pull_faults, 20),
    }


def run() -> list[dict[str, Any]]:
    with plant_with(1, MLFLOW_TRACKING_URI="none") as plant:
        from sensors.models import Site

        fill(UNRESOLVED, RESOLVED)
        results = [_row("raise_alert", raising(), RAISE_MS), _row("one insert and its commit", inserting(), None)]
        site = Site.objects.filter(name__startswith="Plant").order_by("pk")[0].pk
        for role, sites in (("viewer", 5), ("admin", 0)):
            headers = {"Cookie": f"sessionid={session_of(role, sites)}"}
            with httpx.Client(base_url=plant.platform.url, headers=headers, timeout=60) as client:
                for name, path in PAGES_ASKED.items():
                    took = _asked(client, path.format(site=site))
                    results.append(_row(f"{name} ({role})", took, PAGE_MS))
        return results + [_row(name, took, SWEEP_MS) for name, took in sweeps().items()]


def _asked(client: httpx.Client, path: str) -> list[float]:
    client.get(path).raise_for_status()
    return milliseconds(lambda: client.get(path).raise_for_status(), PAGES)


def _row(name: str, took: list[float], goal: float | None) -> dict[str, Any]:
    p95 = float(np.quantile(took, 0.95))
    return row(f"{name}, 95th percentile", p95, "ms", goal, goal is None or p95 <= goal)

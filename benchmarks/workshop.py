"""How long people wait for the pages of maintenance in an old plant: 100,000 orders and 1,000,000 log entries of five
years, on 500 assets of five sites.

Requests go through Django's own handler in one process, beside PostgreSQL. Somebody who sees every site and somebody of
one site ask in turn; the words that are searched are in every second entry, in one of a hundred, in five, and in none.
"""

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from benchmarks.ingest import row
from benchmarks.scoring import servers

SITES, ASSETS, ORDERS, LOGS = 5, 500, 100_000, 1_000_000
GOAL_MS = 300.0
ROUNDS = 10
# A fifth of the whole history in one figure: said, not promised.
BEYOND = ("figures of five years",)

FILL = [
    """
    INSERT INTO maintenance_failuremode (code, name) SELECT 'F' || n, 'Failure ' || n FROM generate_series(1, 20) AS n
    """,
    # One in fifty still runs; the others were closed within days.
    """
    CREATE TEMP TABLE place AS SELECT row_number() OVER (ORDER BY id) - 1 AS slot, id, site_id FROM sensors_asset;
    CREATE TEMP TABLE mode AS SELECT row_number() OVER (ORDER BY id) - 1 AS slot, id FROM maintenance_failuremode;
    """,
    """
    INSERT INTO maintenance_workorder (site_id, asset_id, title, description, kind, priority, state, due_at,
        estimated_hours, actual_hours, created_at, started_at, done_at, closed_at, outcome, failure_mode_id,
        downtime_minutes, downtime_reason, other_cost)
    SELECT place.site_id, place.id, 'Replace seal ' || n, '',
        (ARRAY['corrective', 'preventive', 'condition_based'])[n %% 3 + 1], n %% 4 + 1,
        CASE WHEN n %% 50 = 0 THEN 'approved' ELSE 'closed' END, at + interval '3 days', n %% 8, n %% 7, at,
        at + interval '1 hour', at + interval '5 hours',
        CASE WHEN n %% 50 > 0 THEN at + interval '6 hours' END,
        CASE WHEN n %% 3 = 0 THEN 'fault_found' ELSE 'planned_work' END,
        mode.id, CASE WHEN n %% 2 = 0 THEN n %% 300 END, '', n %% 1000
    FROM (
        SELECT n, CASE WHEN n %% 50 = 0 THEN now() - random() * interval '20 days'
            ELSE now() - random() * interval '1825 days' END AS at FROM generate_series(1, %(orders)s) AS n
    ) made JOIN place ON place.slot = made.n * 7919 %% (SELECT count(*) FROM place)
    JOIN mode ON mode.slot = made.n %% 20
    """,
    """
    CREATE TEMP TABLE ended AS
    SELECT row_number() OVER (ORDER BY id) AS n, id, asset_id, closed_at, outcome, failure_mode_id
    FROM maintenance_workorder WHERE closed_at IS NOT NULL
    """,
    """
    INSERT INTO maintenance_maintenancelog (asset_id, work_order_id, kind, failure_mode_id, done_by_name,
        completion_date, duration_minutes, downtime_minutes, downtime_reason, parts, cost, notes, source, external_id)
    SELECT place.id, NULL, (ARRAY['corrective', 'preventive', 'condition_based', ''])[n %% 4 + 1], mode.id,
        'Fitter ' || n %% 50, now() - random() * interval '1825 days', n %% 300, n %% 100, '', '', n %% 500,
        (ARRAY['Replaced', 'Cleaned', 'Checked'])[n %% 3 + 1] || CASE WHEN n %% 2 = 0 THEN ' bearing' ELSE ' seal' END
            || CASE WHEN n %% 100 = 0 THEN ' gearbox' ELSE '' END
            || CASE WHEN n %% 200000 = 7 THEN ' quicksilver' ELSE '' END || ' on shaft ' || n %% 1000,
        'bench', n::text
    FROM generate_series(1, %(logs)s - (SELECT count(*) FROM ended)) AS n
    JOIN place ON place.slot = n * 7919 %% (SELECT count(*) FROM place)
    JOIN mode ON mode.slot = n %% 20
    """,
    """
    INSERT INTO maintenance_maintenancelog (asset_id, work_order_id, kind, done_by_name, completion_date,
        duration_minutes, downtime_reason, parts, notes, source, external_id)
    SELECT asset_id, id, '', '', closed_at, 60, '', '', 'Done as ordered, bearing ' || n, '', '' FROM ended
    """,
    """
    INSERT INTO maintenance_verdict (asset_id, work_order_id, outcome, failure_mode_id, window_start, window_end,
        given_at)
    SELECT asset_id, id, outcome, failure_mode_id, closed_at - interval '5 hours', closed_at, closed_at FROM ended
    """,
    """
    INSERT INTO maintenance_verdict (asset_id, log_id, outcome, failure_mode_id, window_start, window_end, given_at)
    SELECT asset_id, id, 'fault_found', failure_mode_id, completion_date, completion_date, completion_date
    FROM maintenance_maintenancelog WHERE work_order_id IS NULL AND kind = 'corrective' AND id %% 8 = 0
    """,
    "ANALYZE",
]


def _fill() -> None:
    from django.db import connection

    from sensors.models import Asset, AssetClass, Site

    classes = [AssetClass.objects.create(name=name) for name in ("Pump", "Fan", "Press")]
    for number in range(1, SITES + 1):
        site = Site.objects.create(name=f"Works {number}", timezone="Europe/Berlin")
        for place in range(ASSETS // SITES // 10):
            machine = Asset.objects.create(site=site, name=f"Machine {place}", asset_class=classes[place % 3])
            about = {"site": site, "parent": machine, "level": "component", "asset_class": machine.asset_class}
            Asset.objects.bulk_create(Asset(name=f"{machine} part {part}", **about) for part in range(1, 10))
    about = {"orders": ORDERS, "logs": LOGS}
    with connection.cursor() as cursor:
        for statement in FILL:
            cursor.execute(statement, about)


def _people() -> list[Any]:
    """Somebody who sees every site, and somebody of one."""
    from django.contrib.auth.models import Group, User

    from sensors.models import Site

    people = [User.objects.create(username=role) for role in ("admin", "technician")]
    for person in people:
        person.groups.add(Group.objects.get(name=person.username))
    Site.objects.first().members.add(people[1])  # type: ignore[union-attr]
    return people


def _pages() -> Iterator[tuple[str, list[str]]]:
    """What is asked for, by name, as addresses that take turns."""
    from datetime import UTC, datetime, timedelta

    from django.urls import NoReverseMatch, reverse

    from sensors.models import Asset, Site

    site = Site.objects.earliest("pk")
    machine = Asset.objects.filter(site=site, parent=None).earliest("pk")
    log, orders = reverse("maintenance:log-book"), reverse("maintenance:work-orders")
    figures, api = reverse("maintenance:figures"), reverse("api:log-list")

    def asking(path: str, *asked: dict[str, object]) -> list[str]:
        return [f"{path}?{urlencode(one)}" for one in asked]

    def since(days: int) -> str:
        return f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%d}"

    words = ["bearing", "gearbox", "quicksilver", "unobtainium", "replaced seal 77"]
    yield "orders that run", [orders]
    yield "orders that ended", asking(orders, {"show": "closed"}, {"state": "closed"}, {"state": "closed", "page": 20})
    yield "orders searched", asking(orders, *({"words": word} for word in ("seal 77", "unobtainium")))
    yield "log", asking(log, {}, {"site": site.pk}, {"page": 20})
    yield "log searched", asking(log, *({"words": word} for word in words))
    yield (
        "log filtered",
        asking(
            log,
            {"asset": machine.name, "site": site.pk},
            {"asset": machine.name, "words": "gearbox"},
            {"kind": "preventive", "first": since(400), "last": since(300)},
            {"site": site.pk, "words": "bearing", "first": since(1000), "last": since(900)},
        ),
    )
    yield "log by the API", asking(api, {}, {"search": "gearbox"}, {"below": machine.pk}, {"kind": "preventive"})
    yield "work of an asset", [reverse("maintenance:for-asset", args=[machine.pk])]
    yield "marks of an asset", [reverse("maintenance:work-marks", args=[machine.pk])]
    yield "figures of 90 days", asking(figures, {"site": site.pk})
    yield "figures of a year", asking(figures, {"site": site.pk, "first": since(365)})
    yield "figures of five years", asking(figures, {"site": site.pk, "first": since(1825)})
    yield "figures of a machine", asking(figures, {"site": site.pk, "asset": machine.pk, "first": since(1825)})
    for name in ("calendar", "workload"):
        try:
            yield name, [reverse(f"maintenance:{name}")]
        except NoReverseMatch:
            continue


def _measured(people: list[Any], urls: list[str]) -> tuple[float, set[int]]:
    """The 95th percentile in milliseconds, and how many statements requests took."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    times, queries = [], set()
    for person in people:
        client = Client()
        client.force_login(person)
        for url in urls:
            for turn in range(ROUNDS + 1):
                with CaptureQueriesContext(connection) as seen:
                    begin = time.perf_counter()
                    answer = client.get(url)
                    elapsed = time.perf_counter() - begin
                assert answer.status_code == 200, (url, answer.status_code)
                if turn:  # The first one warms caches up.
                    times.append(1000 * elapsed)
            queries.add(len(seen))
    times.sort()
    return times[int(0.95 * (len(times) - 1))], queries


def run() -> list[dict[str, Any]]:
    with servers():
        from django.conf import settings

        settings.ALLOWED_HOSTS = ["testserver"]
        settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
        _fill()
        people = _people()
        rows = []
        for name, urls in _pages():
            p95, queries = _measured(people, urls)
            goal = None if name in BEYOND else GOAL_MS
            rows.append(row(f"{name}, p95 ({max(queries)} statements)", p95, "ms", goal, not goal or p95 <= goal))
        return rows

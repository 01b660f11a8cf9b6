"""How well a site is kept: MTBF, MTTR, planned share, backlog, reaction, downtime, cost, downtime avoided.

After EN 15341 and ISO 14224, with these definitions:

- A *failure* is a verdict "fault found", one per work order or log entry however many alerts it judged; it counts when
  it was found (the end of the verdict's window).
- *MTBF* is operating time / failures. Operating time is calendar time of the period, times the assets of a class, less
  their noted downtime of unplanned work. An asset's failures are its own. A site, or a part of the tree, is taken as
  one machine: all failures in it, and calendar time.
- *MTTR* is the mean time from start to done of the orders in which a fault was found, waiting included; for a log entry
  without an order its duration. Repairs without either are left out.
- *Work* is closed orders and log entries without an order. Corrective work is unplanned, preventive and condition-based
  work planned; work of no stated kind is in neither share. What an order itself says of hours and downtime holds,
  otherwise the sum of its log; its costs are its own, its parts'
  and its log's.
- *Downtime avoided* is an estimate: for faults that were found on an alert and whose order states the downtime, what
  such a failure typically costs less that. Typical is the median of the failures before the end of the period that no
  alert foretold, of the same failure mode and class of assets, or else of the class alone, if there are three of them.

Six statements, whatever the number of assets, orders and entries.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from maintenance.models import WorkOrder
from sensors.models import Asset, Site

PLANNED = (WorkOrder.Kind.PREVENTIVE, WorkOrder.Kind.CONDITION_BASED)
# Of fewer failures a typical downtime is a guess.
ENOUGH_PAST = 3
LONGEST_PERIOD = timedelta(days=366 * 50)
MONTH = timedelta(days=30)


@dataclass(frozen=True)
class Scope:
    """A site, or the part of its tree at and below `asset`."""

    site: Site
    asset: Asset | None = None


@dataclass(frozen=True)
class Period:
    """From `start` up to `end`, not included."""

    start: datetime
    end: datetime

    @property
    def hours(self) -> float:
        return (self.end - self.start) / timedelta(hours=1)


@dataclass(frozen=True)
class Reliability:
    """How often something fails: `operating_hours` of all `assets` of it together."""

    name: str
    asset: int | None
    assets: int
    failures: int
    operating_hours: float
    repaired: int
    repair_hours: float

    @property
    def mtbf_hours(self) -> float | None:
        return self.operating_hours / self.failures if self.failures else None

    @property
    def mttr_hours(self) -> float | None:
        return self.repair_hours / self.repaired if self.repaired else None


@dataclass(frozen=True)
class Work:
    """Jobs of one kind ("" where none is stated) in a period."""

    jobs: int = 0
    hours: float = 0
    downtime_hours: float = 0
    cost: float = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.jobs + other.jobs,
            self.hours + other.hours,
            self.downtime_hours + other.downtime_hours,
            self.cost + other.cost,
        )


@dataclass(frozen=True)
class Month:
    """What was done from `start`, local midnight, to the next month."""

    start: datetime
    planned: Work
    unplanned: Work
    unstated: Work
    failures: int


@dataclass(frozen=True)
class Backlog:
    """Running orders now: `hours` are those estimated, `unestimated` orders have none."""

    orders: int
    hours: float
    unestimated: int
    overdue: int


@dataclass(frozen=True)
class Reaction:
    """Medians in seconds, from when the cause of an alert began to its order and to the end of the work on it."""

    orders: int
    to_order: float | None
    repaired: int
    to_repair: float | None


@dataclass(frozen=True)
class Hours:
    """Estimated and actual hours of the `orders` that have both."""

    orders: int
    estimated: float
    actual: float


@dataclass(frozen=True)
class Cause:
    name: str
    jobs: int
    hours: float


@dataclass(frozen=True)
class Avoided:
    """An estimate: `hours` of `faults`; of others the order states no downtime, or the past tells no typical one."""

    hours: float
    faults: int
    unstated: int
    without_past: int


@dataclass(frozen=True)
class Figures:
    scope: Scope
    period: Period
    whole: Reliability
    by_class: list[Reliability]
    by_asset: list[Reliability]
    work: dict[str, Work]
    months: list[Month]
    backlog: Backlog
    reaction: Reaction
    hours: Hours
    downtime: list[Cause]
    avoided: Avoided

    @property
    def total(self) -> Work:
        return sum(self.work.values(), Work())

    @property
    def planned(self) -> Work:
        return sum((self.work.get(kind, Work()) for kind in PLANNED), Work())

    @property
    def unplanned(self) -> Work:
        return self.work.get(WorkOrder.Kind.CORRECTIVE, Work())

    @property
    def planned_share(self) -> float | None:
        known = self.planned.jobs + self.unplanned.jobs
        return self.planned.jobs / known if known else None


@dataclass(frozen=True)
class _Member:
    pk: int
    name: str
    class_name: str | None


def figures(scope: Scope, period: Period, now: datetime) -> Figures:
    """The figures of a period; the backlog is that of `now`."""
    members = [
        _Member(*row) for row in _rows(MEMBERS, {"site": scope.site.pk, "asset": scope.asset and scope.asset.pk})
    ]
    about = {
        "site": scope.site.pk,
        "assets": [member.pk for member in members],
        "start": period.start,
        "end": period.end,
        "now": now,
        "zone": str(scope.site.timezone),
    }
    failed = [_Failed(*row) for row in _rows(FAILURES, about)]
    done = [_Done(*row) for row in _rows(WORK, about)]
    orders = _rows(ORDERS, about)[0]
    single = _single(members, period, failed, done)
    return Figures(
        scope=scope,
        period=period,
        whole=_together(str(scope.asset or scope.site), single, period.hours),
        by_class=_by_class(members, single),
        by_asset=sorted((one for one in single if one.failures), key=lambda one: (-one.failures, one.name)),
        work=_by_kind(done),
        months=_months(scope.site, done, failed),
        backlog=Backlog(*orders[:4]),
        reaction=Reaction(*orders[4:8]),
        hours=Hours(*orders[8:]),
        downtime=[Cause(row.cause, row.jobs, row.downtime) for row in done if row.cause],
        avoided=_avoided(_rows(FORETOLD, about), _rows(PAST, about)),
    )


@dataclass(frozen=True)
class _Failed:
    """Failures of an asset, or of a month."""

    asset: int | None
    month: datetime | None
    failures: int
    repaired: int
    repair_hours: float


@dataclass(frozen=True)
class _Done:
    """Work of a month and kind, or of a cause of downtime, or the unplanned work of an asset. Hours."""

    month: datetime | None
    kind: str | None
    asset: int | None
    cause: str | None
    jobs: int
    hours: float
    downtime: float
    cost: float
    unplanned_downtime: float


def _rows(statement: str, about: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, about)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def _single(members: list[_Member], period: Period, failed: list[_Failed], done: list[_Done]) -> list[Reliability]:
    """Each asset by itself."""
    failures = {row.asset: row for row in failed if row.asset}
    stopped = {row.asset: row.unplanned_downtime for row in done if row.asset}
    none = _Failed(None, None, 0, 0, 0.0)
    return [
        Reliability(
            name=member.name,
            asset=member.pk,
            assets=1,
            failures=(row := failures.get(member.pk, none)).failures,
            operating_hours=max(period.hours - stopped.get(member.pk, 0.0), 0.0),
            repaired=row.repaired,
            repair_hours=row.repair_hours,
        )
        for member in members
    ]


def _together(name: str, single: Sequence[Reliability], operating_hours: float) -> Reliability:
    return Reliability(
        name=name,
        asset=None,
        assets=len(single),
        failures=sum(one.failures for one in single),
        operating_hours=operating_hours,
        repaired=sum(one.repaired for one in single),
        repair_hours=sum(one.repair_hours for one in single),
    )


def _by_class(members: list[_Member], single: list[Reliability]) -> list[Reliability]:
    """Classes of assets in which something failed, the one that fails most often first."""
    classes: dict[str, list[Reliability]] = {}
    for member, one in zip(members, single, strict=True):
        if member.class_name:
            classes.setdefault(member.class_name, []).append(one)
    found = [_together(name, ones, sum(one.operating_hours for one in ones)) for name, ones in classes.items()]
    return sorted((one for one in found if one.failures), key=lambda one: (-one.failures, one.name))


def _by_kind(done: Iterable[_Done]) -> dict[str, Work]:
    kinds: dict[str, Work] = {}
    for row in done:
        if row.kind is not None:
            kinds[row.kind] = kinds.get(row.kind, Work()) + _work(row)
    return kinds


def _months(site: Site, done: Iterable[_Done], failed: Iterable[_Failed]) -> list[Month]:
    """Those in which something was done or failed, in order."""
    work: dict[datetime, dict[str, Work]] = {}
    for row in done:
        if row.month is not None and row.kind is not None:
            work.setdefault(row.month, {})[row.kind] = _work(row)
    failures = {row.month: row.failures for row in failed if row.month}
    return [
        Month(
            start=at.replace(tzinfo=site.timezone),
            planned=sum((work.get(at, {}).get(kind, Work()) for kind in PLANNED), Work()),
            unplanned=work.get(at, {}).get(WorkOrder.Kind.CORRECTIVE, Work()),
            unstated=work.get(at, {}).get("", Work()),
            failures=failures.get(at, 0),
        )
        for at in sorted(work.keys() | failures.keys())
    ]


def _work(row: _Done) -> Work:
    return Work(row.jobs, row.hours, row.downtime, row.cost)


def _avoided(foretold: list[tuple[Any, ...]], past: list[tuple[Any, ...]]) -> Avoided:
    """From the stops of faults found on an alert, and the median stops of others: by class and mode, in minutes."""
    typical = {(kind, mode): minutes for kind, mode, minutes, failures in past if failures >= ENOUGH_PAST}
    minutes, faults, unstated, without_past = 0.0, 0, 0, 0
    for kind, mode, stops, silent in foretold:
        unstated += silent
        usual = typical.get((kind, mode), typical.get((kind, None)))
        if usual is None:
            without_past += len(stops)
            continue
        faults += len(stops)
        minutes += sum(max(usual - stop, 0.0) for stop in stops)
    return Avoided(minutes / 60, faults, unstated, without_past)


MEMBERS = """
    WITH RECURSIVE below AS (
        SELECT id, name, asset_class_id FROM sensors_asset
        WHERE site_id = %(site)s AND (%(asset)s::bigint IS NULL OR id = %(asset)s)
        UNION
        SELECT child.id, child.name, child.asset_class_id
        FROM below JOIN sensors_asset child ON child.parent_id = below.id
    )
    SELECT below.id, below.name, class.name
    FROM below LEFT JOIN sensors_assetclass class ON class.id = asset_class_id ORDER BY below.name
"""
# One row per failure. Verdicts of one order, or of one entry without an order, are of one failure.
FAILED = """
    failed AS MATERIALIZED (
        SELECT min(v.asset_id) AS asset_id, v.work_order_id, max(v.log_id) AS log_id, max(v.window_end) AS at,
            max(v.failure_mode_id) AS mode_id, bool_or(v.alert_id IS NOT NULL) AS foretold
        FROM maintenance_verdict v
        WHERE v.outcome = 'fault_found' AND v.asset_id = ANY(%(assets)s::bigint[])
            AND v.window_end >= %(start)s AND v.window_end < %(end)s
        GROUP BY v.work_order_id, CASE WHEN v.work_order_id IS NULL THEN v.log_id END,
            CASE WHEN v.work_order_id IS NULL AND v.log_id IS NULL THEN v.id END
    )
"""
FAILURES = f"""
    WITH {FAILED},
    repairs AS (
        SELECT failed.asset_id, date_trunc('month', failed.at AT TIME ZONE %(zone)s) AS month,
            coalesce(
                extract(epoch FROM coalesce(o.done_at, o.closed_at) - o.started_at) / 3600, log.duration_minutes / 60.0
            )::float8 AS hours
        FROM failed LEFT JOIN maintenance_workorder o ON o.id = failed.work_order_id
        LEFT JOIN maintenance_maintenancelog log ON log.id = failed.log_id
    )
    SELECT asset_id, month, count(*), count(hours), coalesce(sum(hours), 0)
    FROM repairs GROUP BY GROUPING SETS ((asset_id), (month))
"""  # noqa: S608 - a text of ours
WORK = """
    WITH jobs AS (
        SELECT o.asset_id, o.kind, o.closed_at AS at, o.downtime_reason, o.failure_mode_id,
            coalesce(o.actual_hours, log.minutes / 60.0, 0) AS hours,
            coalesce(o.downtime_minutes, log.downtime, 0) AS downtime,
            coalesce(o.other_cost, 0) + coalesce(log.cost, 0) + coalesce(parts.cost, 0) AS cost
        FROM maintenance_workorder o
        LEFT JOIN LATERAL (
            SELECT sum(duration_minutes) AS minutes, sum(downtime_minutes) AS downtime, sum(cost) AS cost
            FROM maintenance_maintenancelog WHERE work_order_id = o.id
        ) log ON true
        LEFT JOIN LATERAL (
            SELECT sum(quantity * unit_cost) AS cost
            FROM maintenance_partuse WHERE order_id = o.id AND put_back_at IS NULL
        ) parts ON true
        WHERE o.state = 'closed' AND o.asset_id = ANY(%(assets)s::bigint[])
            AND o.closed_at >= %(start)s AND o.closed_at < %(end)s
        UNION ALL
        SELECT asset_id, kind, completion_date, downtime_reason, failure_mode_id, coalesce(duration_minutes / 60.0, 0),
            coalesce(downtime_minutes, 0), coalesce(cost, 0)
        FROM maintenance_maintenancelog
        WHERE work_order_id IS NULL AND asset_id = ANY(%(assets)s::bigint[])
            AND completion_date >= %(start)s AND completion_date < %(end)s
    ),
    named AS (
        SELECT jobs.*, date_trunc('month', at AT TIME ZONE %(zone)s) AS month,
            CASE WHEN downtime > 0
                THEN coalesce(nullif(downtime_reason, ''), mode.name, 'No reason stated') END AS cause
        FROM jobs LEFT JOIN maintenance_failuremode mode ON mode.id = jobs.failure_mode_id
    )
    SELECT month, kind, asset_id, cause, count(*), sum(hours)::float8, sum(downtime)::float8 / 60, sum(cost)::float8,
        coalesce(sum(downtime) FILTER (WHERE kind = 'corrective'), 0)::float8 / 60
    FROM named GROUP BY GROUPING SETS ((month, kind), (asset_id), (cause)) ORDER BY 7 DESC
"""
ORDERS = """
    SELECT
        count(*) FILTER (WHERE closed_at IS NULL),
        coalesce(sum(estimated_hours) FILTER (WHERE closed_at IS NULL), 0),
        count(*) FILTER (WHERE closed_at IS NULL AND estimated_hours IS NULL),
        count(*) FILTER (WHERE closed_at IS NULL AND due_at < %(now)s),
        count(to_order), percentile_cont(0.5) WITHIN GROUP (ORDER BY to_order),
        count(to_repair), percentile_cont(0.5) WITHIN GROUP (ORDER BY to_repair),
        count(*) FILTER (WHERE compared), coalesce(sum(estimated_hours) FILTER (WHERE compared), 0),
        coalesce(sum(actual_hours) FILTER (WHERE compared), 0)
    FROM (
        SELECT o.closed_at, o.due_at, o.estimated_hours, o.actual_hours,
            CASE WHEN o.created_at >= %(start)s AND o.created_at < %(end)s
                THEN extract(epoch FROM o.created_at - alert.began_at)::float8 END AS to_order,
            CASE WHEN o.state = 'closed' AND o.closed_at >= %(start)s AND o.closed_at < %(end)s
                THEN extract(epoch FROM coalesce(o.done_at, o.closed_at) - alert.began_at)::float8 END AS to_repair,
            o.state = 'closed' AND o.closed_at >= %(start)s AND o.closed_at < %(end)s
                AND o.estimated_hours IS NOT NULL AND o.actual_hours IS NOT NULL AS compared
        FROM maintenance_workorder o LEFT JOIN alerts_alert alert ON alert.id = o.alert_id
        WHERE o.asset_id = ANY(%(assets)s::bigint[])
            AND (o.closed_at IS NULL OR o.closed_at >= %(start)s OR o.created_at >= %(start)s)
    ) AS known
"""
FORETOLD = f"""
    WITH {FAILED},
    stops AS (
        SELECT asset.asset_class_id, coalesce(failed.mode_id, o.failure_mode_id) AS mode_id, o.downtime_minutes
        FROM failed JOIN maintenance_workorder o ON o.id = failed.work_order_id
        JOIN sensors_asset asset ON asset.id = failed.asset_id
        WHERE failed.foretold
    )
    SELECT asset_class_id, mode_id,
        coalesce(array_agg(downtime_minutes) FILTER (WHERE downtime_minutes IS NOT NULL), '{{}}'),
        count(*) FILTER (WHERE downtime_minutes IS NULL)
    FROM stops GROUP BY 1, 2
"""  # noqa: S608 - a text of ours
PAST = """
    WITH stops AS (
        SELECT asset.asset_class_id, coalesce(v.failure_mode_id, o.failure_mode_id, log.failure_mode_id, 0) AS mode_id,
            coalesce(o.downtime_minutes, log.downtime_minutes) AS minutes
        FROM maintenance_verdict v
        JOIN sensors_asset asset ON asset.id = v.asset_id
        LEFT JOIN maintenance_workorder o ON o.id = v.work_order_id
        LEFT JOIN maintenance_maintenancelog log ON log.id = v.log_id
        WHERE v.outcome = 'fault_found' AND v.alert_id IS NULL AND v.window_end < %(end)s
            AND asset.site_id = %(site)s AND asset.asset_class_id IS NOT NULL
    )
    SELECT asset_class_id, mode_id, percentile_cont(0.5) WITHIN GROUP (ORDER BY minutes)::float8, count(*)
    FROM stops WHERE minutes IS NOT NULL GROUP BY GROUPING SETS ((asset_class_id, mode_id), (asset_class_id))
"""

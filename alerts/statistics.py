"""How much alerts ask of people, by site: the figures of ISA-18.2 and EEMUA 191 for one operator position.

An alert counts when it is raised and whenever its cause reopens it; one of imported history counts when it would have
been raised. A site is one operator position. The limits are those of the example metrics in clause 16 of
ANSI/ISA-18.2-2016, which are EEMUA 191's. Three statements, whatever the number of sites and alerts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from alerts.models import Severity
from sensors.models import Site

TEN_MINUTES = timedelta(minutes=10)
# A flood begins with more than ten alarms in ten minutes and is over when there are fewer than five (EEMUA 191).
FLOOD_BEGINS_ABOVE, FLOOD_ENDS_BELOW = 10, 5
CROWDED_HOUR = 30
# Three times from the same cause within a minute (ISA-18.2's first pass for chattering alarms).
CHATTERS, CHATTERS_WITHIN = 3, timedelta(minutes=1)
STALE_AFTER = timedelta(hours=24)
TOP = 10
MONTH = timedelta(days=30)
LONGEST_PERIOD = timedelta(days=366)


@dataclass(frozen=True)
class Period:
    """From `start` up to `end`, not included; with `historical`, imported history counts as well."""

    start: datetime
    end: datetime
    historical: bool = False

    @property
    def hours(self) -> float:
        return (self.end - self.start) / timedelta(hours=1)


@dataclass(frozen=True)
class Load:
    """The figures of one position. Times in seconds, shares from 0 to 1; None where there is nothing to say."""

    site: Site
    hours: float
    alarms: int
    most_in_ten_minutes: int
    crowded_hours: int
    floods: int
    flood_hours: float
    chattering: int
    stale: int
    from_top_causes: int
    acknowledged: int
    acknowledged_median: float | None
    acknowledged_p95: float | None
    by_severity: dict[int, int]

    @property
    def per_hour(self) -> float:
        return self.alarms / self.hours

    @property
    def per_ten_minutes(self) -> float:
        return self.per_hour / 6

    @property
    def flood_share(self) -> float:
        return self.flood_hours / self.hours

    @property
    def crowded_share(self) -> float:
        return self.crowded_hours / self.hours

    @property
    def top_share(self) -> float | None:
        return self.from_top_causes / self.alarms if self.alarms else None

    @property
    def critical_share(self) -> float | None:
        told = sum(self.by_severity.values())
        return self.by_severity.get(Severity.CRITICAL, 0) / told if told else None


@dataclass(frozen=True)
class Cause:
    """One of the most frequent causes: its newest alert's title, where it is, how often it came."""

    site: str
    title: str
    alert: int
    alarms: int
    share: float
    chatters: bool


def loads(sites: Sequence[Site], period: Period) -> list[Load]:
    """The figures of each site, in the order given. Two statements."""
    about = _about(sites, period)
    with connection.cursor() as cursor:
        cursor.execute(LOADS, about)
        came = {row[0]: row[1:] for row in cursor.fetchall()}
        cursor.execute(REACTIONS, about)
        reactions = {row[0]: row[1:] for row in cursor.fetchall()}
    return [_load(site, period, came[site.pk], reactions[site.pk]) for site in sites]


def top_causes(sites: Sequence[Site], period: Period) -> list[Cause]:
    """The most frequent causes of these sites, the most frequent first. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(CAUSES, _about(sites, period))
        return [Cause(*row) for row in cursor.fetchall()]


def _about(sites: Sequence[Site], period: Period) -> dict[str, Any]:
    return {
        "sites": [site.pk for site in sites],
        "start": period.start,
        "end": period.end,
        "historical": period.historical,
        "crowded": CROWDED_HOUR,
        "flood_ends": FLOOD_ENDS_BELOW,
        "chatters": CHATTERS - 1,
        "chatters_within": CHATTERS_WITHIN,
        "stale_after": STALE_AFTER,
        "top": TOP,
    }


def _load(site: Site, period: Period, came: tuple[Any, ...], reactions: tuple[Any, ...]) -> Load:
    alarms, most, crowded, bins, counts, chattering, top = came
    acknowledged, median, p95, stale, severities = reactions
    floods, flooded = _floods(bins or [], counts or [])
    return Load(
        site=site,
        hours=period.hours,
        alarms=alarms,
        most_in_ten_minutes=most,
        crowded_hours=crowded,
        floods=floods,
        flood_hours=flooded * TEN_MINUTES / timedelta(hours=1),
        chattering=chattering,
        stale=stale,
        from_top_causes=top,
        acknowledged=acknowledged,
        acknowledged_median=median,
        acknowledged_p95=p95,
        by_severity={severity: severities[severity - 1] for severity in Severity},
    )


def _floods(bins: list[datetime], counts: list[int]) -> tuple[int, int]:
    """How many floods there are, and how many stretches of ten minutes they last together.

    Given are the stretches in which a flood may begin or go on, in order, and how many alarms each has.

    >>> begin = datetime(2026, 1, 1)
    >>> _floods([begin + n * TEN_MINUTES for n in (0, 1, 2, 3, 7)], [6, 11, 5, 9, 8])
    (1, 3)
    """
    floods = flooded = 0
    until: datetime | None = None
    for begin, count in zip(bins, counts, strict=True):
        goes_on = until == begin
        if goes_on or count > FLOOD_BEGINS_ABOVE:
            floods += not goes_on
            flooded += 1
            until = begin + TEN_MINUTES
    return floods, flooded


# The steps are named as the index `transition_calling` has them, so that it is used.
EVENTS = """
    events AS MATERIALIZED (
        SELECT a.site_id, a.dedup_key, t.alert_id, t.at
        FROM alerts_transition t JOIN alerts_alert a ON a.id = t.alert_id
        WHERE t.step IN ('raised', 'more_severe', 'reopened') AND t.step <> 'more_severe'
            AND t.at >= %(start)s AND t.at < %(end)s AND a.site_id = ANY(%(sites)s::bigint[]) AND NOT a.historical
        UNION ALL
        SELECT site_id, dedup_key, id, opened_at FROM alerts_alert
        WHERE %(historical)s AND historical AND site_id = ANY(%(sites)s::bigint[])
            AND opened_at >= %(start)s AND opened_at < %(end)s
    ),
    spaced AS (
        SELECT site_id, dedup_key, alert_id, at - lag(at, %(chatters)s)
            OVER (PARTITION BY site_id, dedup_key ORDER BY at) AS length
        FROM events
    ),
    causes AS (
        SELECT site_id, dedup_key, count(*) AS alarms, max(alert_id) AS newest,
            coalesce(bool_or(length <= %(chatters_within)s), false) AS chatters
        FROM spaced GROUP BY 1, 2
    )
"""
LOADS = f"""
    WITH {EVENTS},
    bins AS (
        SELECT site_id, date_bin('10 minutes', at, '2000-01-01 00:00+00') AS begin, count(*) AS alarms
        FROM events GROUP BY 1, 2
    ),
    rates AS (
        SELECT site_id, sum(alarms) AS alarms, max(alarms) AS most,
            array_agg(begin ORDER BY begin) FILTER (WHERE alarms >= %(flood_ends)s) AS begins,
            array_agg(alarms ORDER BY begin) FILTER (WHERE alarms >= %(flood_ends)s) AS counts
        FROM bins GROUP BY 1
    ),
    hours AS (
        SELECT site_id, count(*) AS crowded FROM (
            SELECT site_id FROM bins GROUP BY site_id, date_trunc('hour', begin, 'UTC')
            HAVING sum(alarms) > %(crowded)s
        ) AS hour GROUP BY 1
    ),
    ranked AS (SELECT *, row_number() OVER (PARTITION BY site_id ORDER BY alarms DESC) AS place FROM causes),
    shares AS (
        SELECT site_id, count(*) FILTER (WHERE chatters) AS chattering,
            sum(alarms) FILTER (WHERE place <= %(top)s) AS top
        FROM ranked GROUP BY 1
    )
    SELECT site.id, coalesce(alarms, 0)::int, coalesce(most, 0), coalesce(crowded, 0), begins, counts,
        coalesce(chattering, 0), coalesce(top, 0)::int
    FROM unnest(%(sites)s::bigint[]) AS site(id)
    LEFT JOIN rates ON rates.site_id = site.id
    LEFT JOIN hours ON hours.site_id = site.id
    LEFT JOIN shares ON shares.site_id = site.id
"""  # noqa: S608 - a text of ours
# Nobody was told of alerts of the past, so they cannot be stale. Stale ones are those of the day that has most of them.
REACTIONS = """
    WITH alerts AS MATERIALIZED (
        SELECT a.id, a.site_id, a.severity, a.opened_at, a.resolved_at, a.historical
        FROM alerts_alert a
        WHERE a.site_id = ANY(%(sites)s::bigint[]) AND a.opened_at < %(end)s AND (%(historical)s OR NOT a.historical)
            AND (a.opened_at >= %(start)s OR a.state <> 'resolved' OR a.resolved_at > %(start)s)
    ),
    firsts AS (
        SELECT t.alert_id, min(t.at) FILTER (WHERE t.step = 'acknowledged') AS acknowledged, min(t.at) AS touched
        FROM alerts_transition t JOIN alerts a ON a.id = t.alert_id WHERE t.by_id IS NOT NULL GROUP BY 1
    ),
    reactions AS (
        SELECT a.*, extract(epoch FROM first.acknowledged - a.opened_at)::float8 AS after,
            a.opened_at + %(stale_after)s AS stale_from,
            least(first.touched, a.resolved_at, %(end)s) AS stale_until
        FROM alerts a LEFT JOIN firsts first ON first.alert_id = a.id
    ),
    asked AS (
        SELECT site_id, count(after) AS acknowledged,
            percentile_cont(0.5) WITHIN GROUP (ORDER BY after) AS median,
            percentile_cont(0.95) WITHIN GROUP (ORDER BY after) AS p95,
            ARRAY[count(*) FILTER (WHERE severity = 1), count(*) FILTER (WHERE severity = 2),
                count(*) FILTER (WHERE severity = 3), count(*) FILTER (WHERE severity = 4)] AS severities
        FROM reactions WHERE opened_at >= %(start)s GROUP BY 1
    ),
    days AS (
        SELECT DISTINCT least(day + interval '1 day', %(end)s) AS at
        FROM generate_series(%(start)s::timestamptz, %(end)s, interval '1 day') AS day
    ),
    stale AS (
        SELECT site_id, max(number) AS most FROM (
            SELECT site_id, at, count(*) AS number FROM reactions
            JOIN days ON stale_from < at AND at <= stale_until
            WHERE NOT historical AND stale_until > stale_from GROUP BY 1, 2
        ) AS day GROUP BY 1
    )
    SELECT site.id, coalesce(acknowledged, 0), median, p95, coalesce(most, 0), coalesce(severities, '{0,0,0,0}')
    FROM unnest(%(sites)s::bigint[]) AS site(id)
    LEFT JOIN asked ON asked.site_id = site.id
    LEFT JOIN stale ON stale.site_id = site.id
"""
CAUSES = f"""
    WITH {EVENTS}
    SELECT site.name, alert.title, alert.id, alarms, (alarms / sum(alarms) OVER ())::float8, chatters
    FROM causes JOIN alerts_alert alert ON alert.id = newest JOIN sensors_site site ON site.id = causes.site_id
    ORDER BY alarms DESC, newest DESC LIMIT %(top)s
"""  # noqa: S608 - a text of ours

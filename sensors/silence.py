"""Sensors that have fallen silent, judged by how often each one usually delivers, in the database.

A silent sensor is one fault. When many of one sender (gateway) or one asset fall silent together, that is one fault of
the sender or asset, and the sensors' own are part of it.
"""

import logging
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from django.core.cache import cache
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, Min, OuterRef

from sensors.models import Pending, QualityPolicy, SensorFault
from sensors.wording import duration

logger = logging.getLogger(__name__)

Owner = Literal["sender", "asset"]

# So many sensors at least, and more than half of those that should have been heard since, make a common silence.
FEWEST_TOGETHER = 3
# Their last deliveries lie no further apart than this, beside what each one's own interval explains.
TOGETHER_WITHIN = timedelta(minutes=2)
# Nobody was listening when silence was not judged for longer than this: the platform was down, or its worker.
MISSED_AFTER = timedelta(seconds=60)
LOOKED = "silence:looked"

_DEFAULT = QualityPolicy()
_PARAMETERS = {"factor": _DEFAULT.silent_factor, "grace": _DEFAULT.silent_grace_seconds}
# Every sensor that can fall silent: `usual` seconds pass between two deliveries, after `allowed` it is silent.
# A gateway that delivers once an hour what was measured every second is not silent in between.
JUDGED = """
    SELECT s.id, s.site_id, s.asset_id, p.sent_by_id, p.last_received_at, rhythm.usual,
        greatest(coalesce(q.silent_factor, %(factor)s) * rhythm.usual, coalesce(q.silent_grace_seconds, %(grace)s))
            AS allowed
    FROM sensors_sensor s
    JOIN sensors_sensorprofile p ON p.sensor_id = s.id AND p.last_received_at IS NOT NULL
    LEFT JOIN sensors_qualitypolicy q ON q.site_id = s.site_id
    CROSS JOIN LATERAL (
        SELECT greatest(coalesce(s.cadence_seconds, p.cadence_seconds), p.arrival_seconds) AS usual
    ) rhythm
    WHERE s.status = 'active' AND (q.id IS NULL OR q.silent_factor IS NOT NULL)
        AND (s.cadence_seconds IS NOT NULL OR p.cadence_seconds IS NOT NULL AND p.arrival_seconds IS NOT NULL)
"""


def judge(now: datetime) -> set[int]:
    """Open and end faults of silent sensors, senders and assets; returns the sites where something changed.

    To be called in a transaction by one worker at a time.
    """
    since, until = _listening_since(now), _heard_until(now)
    sites = _end_heard(now) | _notice(now, since, until)
    _release(until)
    _group(_silent(), "sender", now)
    _group(_silent(), "asset", now)
    return sites


def _listening_since(now: datetime) -> datetime:
    """Since when silence has been judged without a break. A break counts as if every sensor was heard at its end: while
    the platform was down nobody could deliver, and afterwards senders need a moment.
    """
    looked, since = cache.get(LOOKED) or (None, now)
    if looked is None or not timedelta(0) <= now - looked <= MISSED_AFTER:
        since = now
    cache.set(LOOKED, (now, since), timeout=None)
    return since


def _heard_until(now: datetime) -> datetime:
    """Up to when the profiles know what came in: batches that still wait may speak of sensors that seem silent."""
    waiting = Pending.objects.waiting().filter(consumer="watch", live=True)
    oldest = waiting.aggregate(oldest=Min("batch__received_at"))["oldest"]
    return min(now, oldest) if oldest else now


def _notice(now: datetime, since: datetime, until: datetime) -> set[int]:
    rows = _run(
        f"""
        WITH judged AS ({JUDGED}), noticed AS (
            INSERT INTO sensors_sensorfault (site_id, sensor_id, kind, detail, began_at, noticed_at)
            SELECT site_id, id, 'silent', '', last_received_at, %(now)s
            FROM judged
            WHERE extract(epoch FROM %(until)s - greatest(last_received_at, %(since)s)) > allowed
                AND NOT EXISTS (
                    SELECT FROM sensors_sensorfault f
                    WHERE f.sensor_id = judged.id AND f.kind = 'silent' AND f.ended_at IS NULL
                )
            ON CONFLICT (kind, sensor_id) WHERE ended_at IS NULL DO NOTHING
            RETURNING id, site_id, sensor_id
        )
        SELECT noticed.id, noticed.site_id, judged.usual
        FROM noticed JOIN judged ON judged.id = noticed.sensor_id
        """,  # noqa: S608 - the variable part is a constant of ours
        now=now,
        since=since,
        until=until,
    )
    faults = [
        SensorFault(pk=pk, detail=f"It usually delivers at least every {duration(usual)}.") for pk, _, usual in rows
    ]
    SensorFault.objects.bulk_update(faults, ["detail"], batch_size=1000)
    return {site for _, site, _ in rows}


def _end_heard(now: datetime) -> set[int]:
    """End the silence of sensors that were heard, or that nobody waits for any more; of groups when half are back."""
    rows = _run(
        f"""
        UPDATE sensors_sensorfault f SET ended_at = %(now)s
        WHERE f.kind = 'silent' AND f.ended_at IS NULL AND f.sensor_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM ({JUDGED}) judged WHERE judged.id = f.sensor_id AND judged.last_received_at <= f.began_at
        )
        RETURNING f.site_id
        """,  # noqa: S608 - the variable part is a constant of ours
        now=now,
    )
    _run(
        """
        UPDATE sensors_sensorfault g SET ended_at = %(now)s
        WHERE g.kind = 'silent' AND g.ended_at IS NULL AND g.sensor_id IS NULL AND (
            SELECT 2 * count(*) FILTER (WHERE part.ended_at IS NOT NULL) >= count(*)
            FROM sensors_sensorfault part WHERE part.part_of_id = g.id AND part.sensor_id IS NOT NULL
        )
        RETURNING g.site_id
        """,
        now=now,
    )
    return {site for (site,) in rows}


def _release(until: datetime) -> None:
    """Sensors that stay away although the rest of their group has long been back are silent by themselves."""
    _run(
        f"""
        UPDATE sensors_sensorfault f SET part_of_id = NULL
        FROM sensors_sensorfault g, ({JUDGED}) judged
        WHERE f.part_of_id = g.id AND f.ended_at IS NULL AND judged.id = f.sensor_id
            AND extract(epoch FROM %(until)s - g.ended_at) > judged.allowed
        RETURNING f.id
        """,  # noqa: S608 - the variable part is a constant of ours
        until=until,
    )


class _Silent(NamedTuple):
    """A silent sensor. `group` is the open fault of a sender or an asset that its own one is part of."""

    fault: int
    began_at: datetime
    usual: timedelta
    site: int
    asset: int
    sender: int | None
    group: int | None
    group_is_of: Owner

    def gone_by(self) -> datetime:
        """It may have been alive until its next delivery was due."""
        return self.began_at + self.usual + TOGETHER_WITHIN


def _silent() -> list[_Silent]:
    """The silent sensors in the order they fell silent, without those whose group has ended."""
    rows = _run(
        f"""
        SELECT f.id, f.began_at, make_interval(secs => judged.usual), judged.site_id, judged.asset_id,
            judged.sent_by_id, g.id, CASE WHEN g.sender_id IS NULL THEN 'asset' ELSE 'sender' END
        FROM sensors_sensorfault f
        JOIN ({JUDGED}) judged ON judged.id = f.sensor_id
        LEFT JOIN sensors_sensorfault g ON g.id = f.part_of_id
        WHERE f.kind = 'silent' AND f.ended_at IS NULL AND g.ended_at IS NULL
        ORDER BY f.began_at, f.id
        """  # noqa: S608 - the variable part is a constant of ours
    )
    return [_Silent(*row) for row in rows]


def _group(silent: list[_Silent], owner: Owner, now: datetime) -> None:
    """Give each sensor that fell silent with its sender (or asset) a part in that one's fault."""
    open_groups = {
        (getattr(fault, f"{owner}_id"), fault.site_id): fault
        for fault in SensorFault.objects.open().filter(
            kind=SensorFault.Kind.SILENT, sensor=None, sender__isnull=owner == "asset"
        )
    }
    by_owner: dict[tuple[int, int], list[_Silent]] = {}
    for sensor in silent:
        key: int | None = getattr(sensor, owner)
        # A sender's fault may take over what was an asset's, not the other way round.
        free = sensor.group is None or (owner == "sender" and sensor.group_is_of == "asset")
        if key is not None and free:
            by_owner.setdefault((key, sensor.site), []).append(sensor)
    for (key, site), sensors in by_owner.items():
        try:
            with transaction.atomic():
                _group_one(owner, key, site, open_groups.get((key, site)), sensors, now)
        except IntegrityError:
            # What is wrong with one owner's rows must not stop the watch over all others.
            logger.exception("silent sensors not grouped", extra={"owner": owner, "owner_id": key, "site": site})


def _group_one(
    owner: Owner, key: int, site: int, group: SensorFault | None, sensors: list[_Silent], now: datetime
) -> None:
    """Add an owner's silent sensors to its open group, or open the one that they give cause for.

    An owner has one open group: those that fell silent later are part of it too.
    """
    if group:
        _join(group, [sensor for sensor in sensors if sensor.gone_by() >= group.began_at], now)
        return
    for together in _clusters(sensors):
        enough = len(together) >= FEWEST_TOGETHER
        if not group and enough and len(together) > _heard_since(owner, key, site, together[-1]):
            group = _open(owner, key, site, together, now)
        if group:
            _join(group, together, now)


def _clusters(sensors: list[_Silent]) -> list[list[_Silent]]:
    """Sensors, in the order they fell silent, parted where they cannot have done so at the same time."""
    clusters: list[list[_Silent]] = []
    gone_by = None
    for sensor in sensors:
        if gone_by and sensor.began_at <= gone_by:
            clusters[-1].append(sensor)
        else:
            clusters.append([sensor])
            gone_by = None
        gone_by = max(gone_by or sensor.gone_by(), sensor.gone_by())
    return clusters


def _heard_since(owner: Owner, key: int, site: int, last: _Silent) -> int:
    """How many sensors of the same sender or asset were heard after the last one fell silent."""
    column = {"sender": "sent_by_id", "asset": "asset_id"}[owner]
    rows = _run(
        f"SELECT count(*) FROM ({JUDGED}) judged "  # noqa: S608 - the variable parts are constants of ours
        f"WHERE {column} = %(key)s AND site_id = %(site)s AND last_received_at > %(began_at)s",
        key=key,
        site=site,
        began_at=last.began_at,
    )
    return int(rows[0][0])


def _open(owner: Owner, key: int, site: int, together: list[_Silent], now: datetime) -> SensorFault:
    assets = {sensor.asset for sensor in together}
    fault = SensorFault(
        site_id=site,
        kind=SensorFault.Kind.SILENT,
        detail=f"{len(together)} of its sensors fell silent together.",
        began_at=together[-1].began_at,
        noticed_at=now,
        sender_id=key if owner == "sender" else None,
        asset_id=assets.pop() if len(assets) == 1 else None,
    )
    fault.save()
    return fault


def _join(group: SensorFault, sensors: list[_Silent], now: datetime) -> None:
    """Make the sensors' faults part of the group's, and end groups of assets that thereby lose all their parts."""
    if not sensors:
        return
    SensorFault.objects.filter(pk__in=[sensor.fault for sensor in sensors]).update(part_of=group)
    left = {sensor.group for sensor in sensors if sensor.group}
    still_there = SensorFault.objects.open().filter(part_of=OuterRef("pk"))
    SensorFault.objects.filter(~Exists(still_there), pk__in=left).update(part_of=group, ended_at=now)


def _run(statement: str, **values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, _PARAMETERS | values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

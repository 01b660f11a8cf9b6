"""Instruments that cannot be trusted: opened and ended as rows (`SensorFault`), a few statements over all sensors.

A sensor fault is not a machine fault: it masks the sensor's readings and asks for somebody to look at the instrument.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from sensors import live, silence
from sensors.alone import alone
from sensors.arrays import any_of
from sensors.models import Reading, SensorFault
from sensors.quality import Flag
from sensors.wording import measured

Kind = SensorFault.Kind
# A fault is a habit: this many of the newest readings are looked at, and so many of them must be flagged.
LOOKED_AT = 20
# Half of them: a plug that was pulled or a value that a process once reached is over before.
MOST = 10
# A single spike is a disturbance on the line; every fourth reading is no longer one.
SEVERAL = 5
# It has ended when so many in a row are clean again.
CLEAN_AGAIN = 10
# Sensors that were not heard for longer than this have no new readings to judge.
HEARD_WITHIN = timedelta(minutes=10)
# How many readings back the beginning of a standstill is looked for.
STANDSTILL_READINGS = 2000


@dataclass(frozen=True)
class Symptom:
    """Which flags on how many of the newest readings mean what."""

    kind: SensorFault.Kind
    flags: Flag
    least: int


# The first that fits is the diagnosis: a broken wire reads out of range and also never changes. One at a time.
SYMPTOMS = (
    Symptom(Kind.OUT_OF_RANGE, Flag.OUT_OF_RANGE, MOST),
    Symptom(Kind.STUCK, Flag.STUCK, MOST),
    Symptom(Kind.ERRATIC, Flag.SPIKE | Flag.RATE, SEVERAL),
    Symptom(Kind.CLOCK, Flag.CLOCK_SKEW, MOST),
)
FLAGS_OF = {symptom.kind: symptom.flags for symptom in SYMPTOMS}
ANY_FLAG = reduce(or_, FLAGS_OF.values())
# While one of these lasts, what the sensor says about its machine is not believed.
DISTRUSTED = (Kind.OUT_OF_RANGE, Kind.STUCK, Kind.ERRATIC)


def look(now: datetime | None = None) -> None:
    """Open and end faults by what is stored. One worker at a time; doing it twice changes nothing."""
    now = now or timezone.now()
    with transaction.atomic():
        if not alone("look for sensor faults"):
            return
        sites = _judge_instruments(now) | silence.judge(now)
        for site_id in sites:
            live.publish("readings", site_id=site_id)


def distrusted(sensor: int, start: datetime, end: datetime) -> list[tuple[datetime, datetime | None]]:
    """When the sensor's values could not be believed between `start` and `end`; None stands for "still"."""
    lasting = Q(ended_at__isnull=True) | Q(ended_at__gte=start)
    found = SensorFault.objects.filter(lasting, sensor=sensor, kind__in=DISTRUSTED, began_at__lte=end)
    return list(found.values_list("began_at", "ended_at"))


def distrusted_of(
    sensors: Collection[int], start: datetime, end: datetime
) -> list[tuple[int, datetime, datetime | None]]:
    """The same for several sensors, each period with its sensor; one query."""
    lasting = Q(ended_at__isnull=True) | Q(ended_at__gte=start)
    found = SensorFault.objects.filter(lasting, sensor__in=any_of(sensors), kind__in=DISTRUSTED, began_at__lte=end)
    return list(found.values_list("sensor", "began_at", "ended_at"))


@dataclass(frozen=True)
class _Suspect:
    """The newest live readings of a sensor, newest first, at least one of them flagged or an earlier fault open."""

    sensor: int
    site: int
    unit: str
    low: float | None
    high: float | None
    open: str | None
    timestamps: list[datetime]
    values: list[float]
    flags: list[int]

    def flagged(self, wanted: Flag) -> list[int]:
        return [place for place, flags in enumerate(self.flags) if flags & wanted]

    def shows(self, symptom: Symptom) -> bool:
        return len(self.flagged(symptom.flags)) >= symptom.least and not self.is_clean_of(symptom.kind)

    def is_clean_of(self, kind: SensorFault.Kind) -> bool:
        newest = self.flags[:CLEAN_AGAIN]
        return len(newest) == CLEAN_AGAIN and not any(flags & FLAGS_OF[kind] for flags in newest)


def _judge_instruments(now: datetime) -> set[int]:
    """Returns the sites where something changed."""
    sites = _end_unwatched(now)
    for suspect in _suspects(now):
        still_open = suspect.open is not None and not suspect.is_clean_of(Kind(suspect.open))
        if suspect.open and not still_open:
            SensorFault.objects.open().filter(sensor=suspect.sensor, kind=suspect.open).update(ended_at=now)
            sites.add(suspect.site)
        symptom = next((symptom for symptom in SYMPTOMS if suspect.shows(symptom)), None)
        if symptom and not still_open:
            _open(suspect, symptom, now)
            sites.add(suspect.site)
    return sites


def _open(suspect: _Suspect, symptom: Symptom, now: datetime) -> None:
    places = suspect.flagged(symptom.flags)
    began_at = suspect.timestamps[places[-1]]
    if symptom.kind == Kind.STUCK:
        began_at = _standstill_since(suspect.sensor, began_at, suspect.values[places[-1]])
    fault = SensorFault(
        site_id=suspect.site,
        sensor_id=suspect.sensor,
        kind=symptom.kind,
        detail=_detail(suspect, symptom, len(places)),
        began_at=began_at,
        noticed_at=now,
    )
    SensorFault.objects.bulk_create([fault], ignore_conflicts=True)


def _detail(suspect: _Suspect, symptom: Symptom, count: int) -> str:
    newest = measured(suspect.values[suspect.flagged(symptom.flags)[0]], suspect.unit)
    share = f"{count} of the last {len(suspect.flags)} readings"
    if symptom.kind == Kind.OUT_OF_RANGE:
        limits = [("below", suspect.low), ("above", suspect.high)]
        said = " or ".join(f"{side} {measured(at, suspect.unit)}" for side, at in limits if at is not None)
        return f"{share} lie where no real value can be ({said}); the newest of them is {newest}."
    if symptom.kind == Kind.STUCK:
        return f"Every reading is exactly {newest}, although its values usually vary."
    if symptom.kind == Kind.ERRATIC:
        return f"{share} jump away from their neighbours faster than the quantity can change."
    return f"{share} carry a time that lies ahead of the server's clock."


def _standstill_since(sensor: int, flagged_at: datetime, value: float) -> datetime:
    """When the value was first reached: only from a number of repeats on are readings flagged."""
    before = Reading.objects.filter(sensor=sensor, timestamp__lte=flagged_at).order_by("-timestamp")
    since = flagged_at
    for at, other in before.values_list("timestamp", "value")[:STANDSTILL_READINGS]:
        if other != value:
            break
        since = at
    return since


def _end_unwatched(now: datetime) -> set[int]:
    """End the faults of sensors that nobody uses any more."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE sensors_sensorfault f SET ended_at = %s
            FROM sensors_sensor s
            WHERE s.id = f.sensor_id AND s.status <> 'active' AND f.ended_at IS NULL
            RETURNING f.site_id
            """,
            [now],
        )
        return {site for (site,) in cursor.fetchall()}


def _suspects(now: datetime) -> list[_Suspect]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT p.sensor_id, s.site_id, s.unit, s.range_low, s.range_high, f.kind,
                array_agg(r.timestamp ORDER BY r.timestamp DESC), array_agg(r.value ORDER BY r.timestamp DESC),
                array_agg(r.flags ORDER BY r.timestamp DESC)
            FROM sensors_sensorprofile p
            JOIN sensors_sensor s ON s.id = p.sensor_id AND s.status = 'active'
            LEFT JOIN sensors_sensorfault f
                ON f.sensor_id = p.sensor_id AND f.ended_at IS NULL AND f.kind <> 'silent'
            CROSS JOIN LATERAL (
                SELECT timestamp, value, flags FROM sensors_reading
                -- What was there before the sensor was live is history.
                WHERE sensor_id = p.sensor_id AND timestamp >= p.live_since ORDER BY timestamp DESC LIMIT %(looked_at)s
            ) r
            WHERE p.last_received_at > %(heard_since)s
            GROUP BY p.sensor_id, s.id, f.id
            HAVING f.id IS NOT NULL OR bit_or(r.flags) & %(flags)s <> 0
            """,
            {"looked_at": LOOKED_AT, "heard_since": now - HEARD_WITHIN, "flags": int(ANY_FLAG)},
        )
        return [_Suspect(*row) for row in cursor.fetchall()]

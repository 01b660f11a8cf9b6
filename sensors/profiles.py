"""What each sensor usually does, learned from its stored readings, and when it was last heard."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from numpy.typing import NDArray

from sensors import outbox
from sensors.arrays import Bigints, Doubles, Timestamps, numpy_cursor
from sensors.models import ReadingBatch

# A profile rests on this many of a sensor's newest readings, and on no fewer than these.
NEWEST_READINGS = 500
ENOUGH_READINGS = 30
# The cadence follows the newest of them: imported history often has another one than what comes live.
CADENCE_GAPS = 60
# Every hour a profile is learned anew, while it is young whenever its readings may have doubled.
RELEARN_AFTER = timedelta(hours=1)
# One that what comes in contradicts, or that lacks readings, is tried again after this long.
RETRY_AFTER = timedelta(seconds=10)
# A sensor that was not heard for longer than this has nothing new to learn from, and no day to be complete.
FORGET_AFTER = timedelta(hours=26)
LEARN_AT_ONCE = 200
# Completeness: so many windows of a day are counted, each ten readings long; all of them at a high rate would be slow.
DAY = timedelta(days=1)
WINDOWS = 288
READINGS_PER_WINDOW = 10
# Makes the median absolute difference of two normal readings an estimate of their standard deviation: 1.4826 for the
# median (Rousseeuw and Croux, 1993), 1 / sqrt(2) because a difference has the noise of both.
DIFFERENCE_TO_SIGMA = 1.4826 / 2**0.5
# The pause between two deliveries is remembered at its longest and fades by this factor with each delivery. One beyond
# what passes for silence (five times the usual, a minute at least) is an outage and counts for no more than that.
PAUSE_KEPT = 0.95
PAUSE_GROWTH = 5.0
PAUSE_FLOOR_SECONDS = 60.0


def hear(batches: list[ReadingBatch]) -> None:
    """Note which sensors these batches, all of one mode, speak of: when they were heard, and from whom."""
    numbers, sensors, firsts, lasts = outbox.spans(batches)
    if batches[0].mode == ReadingBatch.Mode.HISTORY:
        _note_history(np.unique(sensors))
        return
    received = _us([batch.received_at for batch in batches])[numbers]
    keys = np.array([batch.sent_by_id or 0 for batch in batches], np.int64)[numbers]
    order = np.lexsort((received, sensors))
    sensors, received, keys = sensors[order], received[order], keys[order]
    starts = np.flatnonzero(np.append(True, np.diff(sensors) != 0))
    ends = np.append(starts[1:], len(sensors)) - 1
    pauses = np.append(0, np.diff(received))
    pauses[starts] = 0
    _note_live(
        sensors=Bigints(sensors[starts]),
        firsts=Timestamps(np.minimum.reduceat(firsts[order], starts)),
        lasts=Timestamps(np.maximum.reduceat(lasts[order], starts)),
        first_received=Timestamps(received[starts]),
        last_received=Timestamps(received[ends]),
        keys=Bigints(keys[ends]),
        pauses=Doubles(np.maximum.reduceat(pauses, starts) / 1e6),
        deliveries=Bigints(ends - starts + 1),
    )


def _note_live(**columns: Any) -> None:
    with numpy_cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO sensors_sensorprofile AS p
                (sensor_id, live_since, last_at, last_received_at, sent_by_id, arrival_seconds, readings)
            SELECT new.sensor, new.first_at, new.last_at, new.last_received, nullif(new.key, 0),
                CASE WHEN old.last_received_at IS NOT NULL OR new.pause > 0 THEN greatest(
                    least(
                        greatest(new.pause, extract(epoch FROM new.first_received - old.last_received_at)),
                        CASE WHEN old.arrival_seconds IS NULL THEN 'Infinity'
                            ELSE greatest(%(growth)s * old.arrival_seconds, %(floor)s) END
                    ),
                    old.arrival_seconds * power(%(kept)s, new.deliveries)
                ) END,
                0
            FROM unnest(
                %(sensors)s, %(firsts)s, %(lasts)s, %(first_received)s, %(last_received)s, %(keys)s, %(pauses)s,
                %(deliveries)s
            ) AS new(sensor, first_at, last_at, first_received, last_received, key, pause, deliveries)
            LEFT JOIN sensors_sensorprofile old ON old.sensor_id = new.sensor
            -- In one order everywhere, or two workers could wait for each other.
            ORDER BY new.sensor
            ON CONFLICT (sensor_id) DO UPDATE SET
                live_since = coalesce(p.live_since, excluded.live_since),
                last_at = greatest(p.last_at, excluded.last_at),
                last_received_at = excluded.last_received_at,
                sent_by_id = excluded.sent_by_id,
                arrival_seconds = excluded.arrival_seconds
            -- A sensor that sends a hundred times a second need not cost a hundred writes.
            WHERE p.last_received_at IS NULL OR excluded.last_received_at >= p.last_received_at + interval '1 second'
            """,
            columns | {"growth": PAUSE_GROWTH, "floor": PAUSE_FLOOR_SECONDS, "kept": PAUSE_KEPT},
        )


def _note_history(sensors: NDArray[np.int64]) -> None:
    """Past readings say nothing of when a sensor was heard, but there may be more to learn from."""
    with numpy_cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO sensors_sensorprofile AS p (sensor_id, readings)
            SELECT sensor, 0 FROM unnest(%s) AS sensor
            ON CONFLICT (sensor_id) DO UPDATE SET learned_at = NULL
            WHERE p.readings < %s OR p.learned_at < %s
            """,
            [Bigints(sensors), NEWEST_READINGS, timezone.now() - RELEARN_AFTER],
        )


def learn_due(now: datetime) -> int:
    """Learn the profiles whose time has come, the longest waiting first and a bounded number; returns how many."""
    due = _due(now)
    if not len(due):
        return 0
    learned = {name: np.full(len(due), np.nan) for name in _LEARNED}
    counts = np.zeros(len(due), np.int64)
    for place, timestamps, values, qualities in _newest(due):
        counts[place] = len(timestamps)
        for name, value in learn(timestamps, values, qualities).items():
            learned[name][place] = value
    learned["completeness"] = _completeness(due, learned["cadence_seconds"], now)
    _write(due, counts, learned, now)
    return len(due)


_LEARNED = ("cadence_seconds", "low", "high", "noise", "repeat_share", "completeness", "quality")


def learn(
    timestamps: NDArray[np.int64], values: NDArray[np.float64], qualities: NDArray[np.float64]
) -> dict[str, float]:
    """What readings in time order (microseconds UTC) show; too few of them show nothing.

    The cadence comes from all of them, what is said of the values from those that can be trusted.
    """
    if len(timestamps) < ENOUGH_READINGS:
        return {}
    found = {
        "cadence_seconds": float(np.median(np.diff(timestamps[-CADENCE_GAPS - 1 :]))) / 1e6,
        "quality": float(qualities.mean()),
    }
    good = values[qualities >= settings.QUALITY_THRESHOLD]
    if len(good) < ENOUGH_READINGS:
        return found
    steps = np.diff(good)
    low, high = np.percentile(good, [1, 99])
    return found | {
        "low": float(low),
        "high": float(high),
        "noise": DIFFERENCE_TO_SIGMA * float(np.median(np.abs(steps - np.median(steps)))),
        "repeat_share": float(np.mean(steps == 0)),
    }


def _due(now: datetime) -> NDArray[np.int64]:
    with numpy_cursor() as cursor:
        cursor.execute(
            """
            SELECT array_agg(sensor_id) FROM (
                SELECT p.sensor_id
                FROM sensors_sensorprofile p
                JOIN sensors_sensor s ON s.id = p.sensor_id AND s.status <> 'retired'
                WHERE p.learned_at IS NULL
                    OR p.learned_at < %(retry_before)s AND p.last_received_at > p.learned_at AND (
                        p.readings < %(newest)s
                            AND p.learned_at + make_interval(secs => p.readings * coalesce(p.cadence_seconds, 0))
                                < %(now)s
                        -- More comes in than it has learned: its rate was changed.
                        OR p.cadence_seconds > 2 * p.arrival_seconds
                    )
                    OR p.learned_at < %(relearn_before)s AND p.last_received_at > %(forgotten)s
                ORDER BY p.learned_at NULLS FIRST LIMIT %(limit)s
            ) due
            """,
            {
                "now": now,
                "newest": NEWEST_READINGS,
                "retry_before": now - RETRY_AFTER,
                "relearn_before": now - RELEARN_AFTER,
                "forgotten": now - FORGET_AFTER,
                "limit": LEARN_AT_ONCE,
            },
        )
        found: tuple[Any] | None = cursor.fetchone()
    if found is None or found[0] is None:
        return np.empty(0, np.int64)
    # In one order everywhere, or two workers could wait for each other.
    return np.sort(found[0])


def _newest(sensors: NDArray[np.int64]) -> list[tuple[int, Any, Any, Any]]:
    """The newest readings of each sensor in time order: its place, their times, values and qualities."""
    with numpy_cursor() as cursor:
        cursor.execute(
            """
            SELECT s.number - 1, array_agg(r.timestamp ORDER BY r.timestamp),
                array_agg(r.value ORDER BY r.timestamp), array_agg(r.quality ORDER BY r.timestamp)
            FROM unnest(%s) WITH ORDINALITY AS s(sensor, number)
            CROSS JOIN LATERAL (
                SELECT timestamp, value, quality FROM sensors_reading
                WHERE sensor_id = s.sensor ORDER BY timestamp DESC LIMIT %s
            ) r
            GROUP BY s.number
            """,
            [Bigints(sensors), NEWEST_READINGS],
        )
        return cursor.fetchall()


def _completeness(sensors: NDArray[np.int64], cadences: NDArray[np.float64], now: datetime) -> NDArray[np.float64]:
    """The share of the readings expected in the last day (since it is live, if that is later) that came; NaN where
    nobody can tell.
    """
    with numpy_cursor() as cursor:
        cursor.execute(
            """
            SELECT array_agg(s.number - 1), array_agg(counted.came * s.cadence / (counted.windows * s.width))
            FROM (
                SELECT number, cadence, sensor, width, begin, stop,
                    make_interval(secs => greatest(width, extract(epoch FROM stop - begin) / %(windows)s)) AS step
                FROM unnest(%(sensors)s, %(cadences)s) WITH ORDINALITY AS wanted(sensor, cadence, number)
                JOIN sensors_sensorprofile p ON p.sensor_id = wanted.sensor
                CROSS JOIN LATERAL (
                    SELECT least(cadence * %(readings)s, %(day)s / %(windows)s) AS width,
                        greatest(p.live_since, %(now)s - interval '1 day') AS begin,
                        -- What is on its way is not missing.
                        %(now)s - make_interval(secs => cadence + coalesce(p.arrival_seconds, 0)) AS stop
                ) period
                WHERE cadence <> 'NaN' AND cadence > 0
            ) s
            CROSS JOIN LATERAL (
                SELECT count(*)::float8 AS windows, sum(inside.count)::float8 AS came
                FROM generate_series(s.begin, s.stop - make_interval(secs => s.width), s.step) AS window_begin
                CROSS JOIN LATERAL (
                    SELECT count(*) FROM sensors_reading
                    WHERE sensor_id = s.sensor AND timestamp >= window_begin
                        AND timestamp < window_begin + make_interval(secs => s.width)
                ) inside
            ) counted
            WHERE counted.windows > 0 AND s.begin IS NOT NULL
            """,
            {
                "sensors": Bigints(sensors),
                "cadences": Doubles(cadences),
                "now": now,
                "windows": float(WINDOWS),
                "readings": float(READINGS_PER_WINDOW),
                "day": DAY.total_seconds(),
            },
        )
        found: tuple[Any, Any] | None = cursor.fetchone()
    shares = np.full(len(sensors), np.nan)
    if found and found[0] is not None:
        shares[found[0]] = np.minimum(found[1], 1.0)
    return shares


def _write(
    sensors: NDArray[np.int64], counts: NDArray[np.int64], learned: dict[str, NDArray[np.float64]], now: datetime
) -> None:
    """Keep what was learned; what could not be learned this time stays as it was."""
    names = ", ".join(_LEARNED)
    changes = ", ".join(f"{name} = coalesce(nullif(new.{name}, 'NaN'), p.{name})" for name in _LEARNED)
    with transaction.atomic(), numpy_cursor() as cursor:
        # Locked in one order everywhere, or two workers could wait for each other.
        cursor.execute(
            "SELECT 1 FROM sensors_sensorprofile WHERE sensor_id = ANY(%s) ORDER BY sensor_id FOR NO KEY UPDATE",
            [Bigints(sensors)],
        )
        cursor.execute(
            f"""
            UPDATE sensors_sensorprofile p SET learned_at = %s, readings = new.readings, {changes}
            FROM unnest(%s, %s, {", ".join(["%s"] * len(_LEARNED))}) AS new(sensor, readings, {names})
            WHERE p.sensor_id = new.sensor
            """,  # noqa: S608 - the variable parts are names of ours
            [now, Bigints(sensors), Bigints(counts), *(Doubles(learned[name]) for name in _LEARNED)],
        )


def _us(times: Sequence[datetime]) -> NDArray[np.int64]:
    return np.array([round(at.timestamp() * 1e6) for at in times], np.int64)

"""The only way readings get into the database.

`store_batch` checks a batch, stores what is good and writes the work it causes, all in one transaction. When it
returns, the rows are durable: a caller may be told so.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from numpy.typing import NDArray

from sensors import discovery, lookup, news, refusals
from sensors.access import Sender
from sensors.arrays import Bigints, Doubles, Smallints, Timestamps, numpy_cursor
from sensors.checks import Batch
from sensors.columns import Columns, Rejection, together
from sensors.models import Correction, ReadingBatch
from sensors.quality import CEILINGS, Flag
from sensors.timescale.compression import unlimited_decompression

Mode = ReadingBatch.Mode
OnConflict = Literal["keep", "replace"]

INSERT = """
    WITH stored AS (
        INSERT INTO sensors_reading (sensor_id, timestamp, value, quality, flags)
        SELECT * FROM unnest(%(sensors)s, %(timestamps)s, %(values)s, %(qualities)s, %(flags)s)
        ON CONFLICT {on_conflict}
        RETURNING sensor_id, timestamp
    ), counted AS (
        SELECT count(*) AS touched, {keys} FROM stored
    ), batch AS (
        INSERT INTO sensors_readingbatch (
            received_at, source, mode, sent_by_id, accepted, duplicates, corrected, sensors, firsts, lasts
        )
        SELECT %(now)s, %(source)s, %(mode)s, %(sent_by)s, touched - %(corrected)s, %(sent)s - touched, %(corrected)s,
               %(span_sensors)s, %(firsts)s, %(lasts)s
        FROM counted WHERE touched > 0
        RETURNING id
    ), work AS (
        INSERT INTO sensors_pending (batch_id, consumer, live, due_at, attempts, error)
        SELECT batch.id, consumer, %(live)s, %(now)s, 0, '' FROM batch, unnest(%(consumers)s::text[]) AS consumer
    )
    SELECT (SELECT id FROM batch), counted.* FROM counted
"""
# So many refused rows are named in an answer; the others are counted. All of them are in quarantine.
MAX_LISTED = 1000
# Any number that no other advisory lock here has.
CORRECTIONS_LOCK = 7_001
COUNT_ONLY = "NULL::bigint[] AS sensors, NULL::timestamptz[] AS timestamps"
WITH_KEYS = "array_agg(sensor_id) AS sensors, array_agg(timestamp) AS timestamps"
REPLACE = """(sensor_id, timestamp) DO UPDATE
        SET value = excluded.value, quality = excluded.quality, flags = excluded.flags
        WHERE sensors_reading.value <> excluded.value"""


@dataclass(frozen=True)
class Stored:
    """What became of a batch. `batch_id` is None when it held nothing new; `corrected` readings were replaced."""

    batch_id: int | None
    accepted: int
    duplicates: int
    rejected: list[Rejection] = field(default_factory=list)
    corrected: int = 0

    def as_json(self) -> dict[str, Any]:
        listed = self.rejected[:MAX_LISTED]
        answer = {
            "batch": self.batch_id,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": [{"index": row.index, "code": row.code, "detail": row.detail} for row in listed],
        }
        more = len(self.rejected) - len(listed)
        answer |= {"rejected_beyond_these": more} if more else {}
        return answer | ({"corrected": self.corrected} if self.corrected else {})


def store_batch(
    columns: Columns,
    *,
    source: str,
    sender: Sender | None = None,
    mode: ReadingBatch.Mode = Mode.LIVE,
    on_conflict: OnConflict = "keep",
) -> Stored:
    """Store the good rows of a batch, once each, and say which rows were refused and why; those go into quarantine.

    Rows of a live batch that are older than LATE_AFTER_SECONDS make a batch of history beside it: they are scored after
    everything live, and nobody is told.

    The first value of a `(sensor, timestamp)` wins; later ones count as duplicates. With `on_conflict="replace"`
    another value replaces the stored one, which is kept as a `Correction`. Sensors that the sender may not see count as
    unknown, and are discovered if the sender does that; without a sender every sensor is known.
    """
    return _store(columns, source, sender, mode, on_conflict, quarantine=True)


def store_attended(columns: Columns, *, source: str, sender: Sender, on_conflict: OnConflict = "keep") -> Stored:
    """As `store_batch`, for a person who is there to see what was refused: it does not go into quarantine."""
    return _store(columns, source, sender, Mode.LIVE, on_conflict, quarantine=False)


def store_together(requests: Sequence[Columns], *, source: str, sender: Sender) -> list[Stored]:
    """Store what several requests of one sender hold in one transaction; each gets its own answer.

    Of the same reading in two requests the first one counts as accepted.
    """
    begin = np.cumsum([0, *(len(columns) + len(columns.rejected) for columns in requests)])
    outcome = _Outcome()
    merged = together([_renumbered(columns) for columns in requests])
    whole = _store(merged, source, sender, Mode.LIVE, "keep", quarantine=True, outcome=outcome)
    accepted = np.bincount(np.searchsorted(begin, outcome.accepted, "right") - 1, minlength=len(requests))
    rejected: list[list[Rejection]] = [[] for _ in requests]
    for row in whole.rejected:
        number = int(np.searchsorted(begin, row.index, "right")) - 1
        rejected[number].append(replace(row, index=_index_sent(requests[number], row.index - int(begin[number]))))
    sizes = np.diff(begin)
    return [
        Stored(
            whole.batch_id if accepted[number] else None,
            int(accepted[number]),
            int(sizes[number] - accepted[number]) - len(refused),
            sorted(refused),
        )
        for number, refused in enumerate(rejected)
    ]


def _renumbered(columns: Columns) -> Columns:
    """The rows with an index each, good ones first: what a sender counts (lines, say) may hold several rows or none."""
    count = len(columns)
    refused = [replace(row, index=count + number) for number, row in enumerate(columns.rejected)]
    return replace(columns, indexes=np.arange(count), rejected=refused)


def _index_sent(columns: Columns, number: int) -> int:
    count = len(columns)
    return int(columns.indexes[number]) if number < count else columns.rejected[number - count].index


@dataclass
class _Outcome:
    """Which rows were new, by their indexes; asking for it costs time, so only those who need it do."""

    accepted: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


def _store(
    columns: Columns,
    source: str,
    sender: Sender | None,
    mode: ReadingBatch.Mode,
    on_conflict: OnConflict,
    *,
    quarantine: bool,
    outcome: _Outcome | None = None,
) -> Stored:
    now = timezone.now()
    batch = Batch(columns, sender, now)
    batch.check(mode)
    rejected = sorted(batch.rejected)
    parts = list(batch.parts(mode)) if len(batch.columns) else []
    accepted, corrected, batch_ids = 0, 0, []
    keep_refused = quarantine and bool(rejected)
    # A single statement is its own transaction.
    reaches_back = bool(len(batch.spiked)) or on_conflict == "replace" or any(m == Mode.HISTORY for _, m in parts)
    several = len(parts) > 1 or keep_refused or reaches_back
    with transaction.atomic(savepoint=False) if several else nullcontext():
        if reaches_back:
            unlimited_decompression()
        for part, part_mode in parts:
            replaced = _note_corrections(part, sender, now) if on_conflict == "replace" else 0
            batch_id, new = _insert(part, part_mode, source, sender, replaced, on_conflict, outcome)
            accepted, corrected = accepted + new, corrected + replaced
            batch_ids += [batch_id] if batch_id else []
        if len(batch.spiked):
            _mark_spiked(batch)
        if keep_refused:
            refusals.keep(rejected, sites=_sites(batch, rejected), source=source, sender=sender, now=now)
        if batch_ids:
            sites = batch.site_ids()
            transaction.on_commit(lambda: news.tell(sites), robust=True)
    duplicates = len(batch.repeated) + len(batch.columns) - accepted - corrected
    return Stored(batch_ids[0] if batch_ids else None, accepted, duplicates, rejected, corrected)


def _insert(
    part: Batch,
    mode: ReadingBatch.Mode,
    source: str,
    sender: Sender | None,
    replaced: int,
    on_conflict: OnConflict,
    outcome: _Outcome | None,
) -> tuple[int | None, int]:
    """Insert the rows that are not there yet, and write down what that was and the work it causes.

    One statement for all of it; returns the batch's id and how many rows were new.
    """
    c, pks, starts = part.columns, part.sensor_pks(), part.span_starts()
    ends = np.append(starts[1:], len(c)) - 1
    firsts = c.timestamps[starts]
    if len(part.spiked):
        # What was marked down behind the first reading has to be summed up and scored again.
        opening = np.unique(c.codes[starts], return_index=True)[1]
        opening = opening[np.isin(c.codes[starts][opening], part.spiked)]
        firsts[opening] = np.minimum(firsts[opening], part.context.last_at[c.codes[starts][opening]].astype(np.int64))
    statement = INSERT.format(
        on_conflict="DO NOTHING" if on_conflict == "keep" else REPLACE, keys=WITH_KEYS if outcome else COUNT_ONLY
    )
    with numpy_cursor() as cursor:
        cursor.execute(
            statement,
            {
                "sensors": Bigints(pks),
                "timestamps": Timestamps(c.timestamps),
                "values": Doubles(c.values),
                "qualities": Doubles(c.qualities),
                "flags": Smallints(part.flags),
                "now": part.now,
                "source": source,
                "mode": str(mode),
                "sent_by": sender and sender.key_id,
                "sent": len(c),
                "corrected": replaced,
                "span_sensors": Bigints(pks[starts]),
                "firsts": Timestamps(firsts),
                "lasts": Timestamps(c.timestamps[ends]),
                "live": mode == Mode.LIVE,
                "consumers": list(settings.OUTBOX_CONSUMERS),
            },
            prepare=True,
        )
        found: tuple[Any, Any, Any, Any] = cursor.fetchone()  # type: ignore[assignment]
    batch_id, touched, sensors, timestamps = found
    if outcome and touched:
        stored = set(zip(sensors.tolist(), timestamps.tolist(), strict=True))
        new = [key in stored for key in zip(pks.tolist(), c.timestamps.tolist(), strict=True)]
        outcome.accepted = np.sort(np.concatenate([outcome.accepted, c.indexes[new]]))
    return batch_id, touched - replaced


def _note_corrections(part: Batch, sender: Sender | None, now: datetime) -> int:
    """Keep the stored values that the rows are about to replace; returns how many those are."""
    with numpy_cursor() as cursor:
        # One correction at a time: compressed readings of TimescaleDB cannot be locked.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CORRECTIONS_LOCK])
        cursor.execute(
            """
            SELECT r.sensor_id, r.timestamp, r.value, r.quality, new.value
            FROM unnest(%s, %s, %s) AS new(sensor, timestamp, value)
            JOIN sensors_reading r ON r.sensor_id = new.sensor AND r.timestamp = new.timestamp
            WHERE r.value <> new.value AND r.timestamp BETWEEN %s AND %s
            ORDER BY r.sensor_id, r.timestamp
            """,
            [
                Bigints(part.sensor_pks()),
                Timestamps(part.columns.timestamps),
                Doubles(part.columns.values),
                *_period(part.columns.timestamps),
            ],
        )
        rows = cursor.fetchall()
    fields = ("sensor_id", "timestamp", "old_value", "old_quality", "new_value")
    by = sender.user.pk if sender else None
    Correction.objects.bulk_create(Correction(**dict(zip(fields, row, strict=True)), at=now, by_id=by) for row in rows)
    return len(rows)


def _mark_spiked(batch: Batch) -> None:
    """Flag readings that the ones after them have shown to be spikes."""
    codes = batch.spiked
    pks = np.array([sensor.pk if (sensor := batch.sensors[code]) else -1 for code in codes.tolist()], np.int64)
    with numpy_cursor() as cursor:
        cursor.execute(
            """
            UPDATE sensors_reading r SET flags = r.flags | %s::smallint, quality = least(r.quality, %s)
            FROM unnest(%s, %s) AS spike(sensor, timestamp)
            WHERE r.sensor_id = spike.sensor AND r.timestamp = spike.timestamp AND r.timestamp BETWEEN %s AND %s
            """,
            [
                int(Flag.SPIKE),
                CEILINGS[Flag.SPIKE],
                Bigints(pks),
                Timestamps(batch.context.last_at[codes].astype(np.int64)),
                *_period(batch.context.last_at[codes].astype(np.int64)),
            ],
        )


def _period(timestamps: NDArray[np.int64]) -> list[datetime]:
    """First and last of them: without these as constants TimescaleDB would look into every chunk."""
    return [datetime.fromtimestamp(int(us) / 1e6, UTC) for us in (timestamps.min(), timestamps.max() + 1)]


def _sites(batch: Batch, rejected: list[Rejection]) -> list[int | None]:
    """Where each refused row belongs: to the site of its sensor, or else to its sender's."""
    of_sensor = {
        sensor_id: sensor.site_id
        for sensor_id, sensor in zip(batch.columns.sensor_ids, batch.sensors, strict=True)
        if sensor and sensor is not lookup.AMBIGUOUS
    }
    otherwise = discovery.place_of(batch.sender)
    return [of_sensor.get(row.payload.get("sensor_id", ""), otherwise) for row in rejected]

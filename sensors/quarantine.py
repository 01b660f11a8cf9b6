"""Refused readings and what people do with them: admit them after all, as they are or corrected, or discard them.

A broken sender makes thousands of rows with one cause, so they are looked at and settled by cause. Settled rows keep
what was sent; the audit log says who settled them, when (`settled_at`) and with which change.
"""

import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Count, Max, Min, QuerySet, Sum, TextField, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce
from django.utils import timezone

from sensors import audit, by_hand
from sensors.columns import Rejection
from sensors.errors import Refused
from sensors.ingest import Stored
from sensors.models import Quarantined
from sensors.querysets import Viewer
from sensors.storable import storable
from sensors.wall_clock import instants

FIELDS = ("sensor_id", "timestamp", "value", "unit", "quality")
# One transaction's worth.
CHUNK_ROWS = 5_000
# A person waits this long for a large group; what is then left is said, and done with the next press of the button.
SECONDS_PER_REQUEST = 5.0
# Causes are looked for among the newest rows; counting all of a flood would take longer than anybody waits.
ROWS_LOOKED_AT = 100_000
MOST_CAUSES = 200
WAITING = Quarantined.State.WAITING

ADVICE = {
    "unknown_sensor": "Create the sensor, let it be discovered, or name the one that was meant. Then admit.",
    "ambiguous_sensor": "Several sites have a sensor with this key: send with a key of one site, or discard.",
    "unknown_site": "The sender names a site that is not here: have its topic corrected, and let it send again.",
    "sensor_name_clash": "Two names of the file become one key: name another sensor, or the same if they are the same.",
    "invalid_sensor_id": "Name the sensor that was meant: this cannot be the key of one.",
    "too_many_discovered": "Place or ignore the sensors that were discovered. Then admit, and let these be discovered.",
    "sensor_retired": "Set the sensor active again if it is in use, name the one that replaced it, or discard.",
    "unknown_unit": "Name the unit that was meant, and have the sender corrected.",
    "unit_mismatch": "The unit does not fit this sensor: name the right unit, or the sensor that was meant.",
    "naive_timestamp": "Say that these times are those of the site's clock, and have the sender name its time zone.",
    "timestamp_in_future": "The sender's clock runs ahead. Shift the times back by as much, and have the clock set.",
    "timestamp_too_old": "The sender's clock was reset. Shift the times if you know by how much, or discard.",
    "value_not_finite": "There is no value in it. Discard, and have the sender looked at.",
    "value_out_of_bounds": "No plant measures such a value. Correct it row by row, or discard.",
}
GENERAL_ADVICE = "Correct the rows one by one, or discard them, and have the sender looked at."


@dataclass(frozen=True)
class Cause:
    """What rows of a group share. `sensor_id` and `unit` are as sent, "" where none was; None stands for any."""

    site_id: int | None
    code: str
    sensor_id: str | None = None
    unit: str | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, (self.code, self.sensor_id, self.unit)))

    def waiting(self, user: Viewer) -> "QuerySet[Any]":
        rows = _keyed(Quarantined.objects.visible_to(user)).filter(site=self.site_id, code=self.code, state=WAITING)
        if self.sensor_id is not None:
            rows = rows.filter(sent_sensor=self.sensor_id)
        return rows if self.unit is None else rows.filter(sent_unit=self.unit)


@dataclass(frozen=True)
class Change:
    """What is done to each row of a group before it is admitted. Empty: nothing.

    `zone` is where times without a zone were read off the wall. With `discover`, sensors that are not known are created
    and wait to be placed.
    """

    sensor_id: str = ""
    unit: str = ""
    shift: timedelta = timedelta(0)
    zone: tzinfo | None = None
    discover: bool = False

    def applied_to(self, fields: dict[str, Any]) -> dict[str, Any]:
        changed = dict(fields)
        if self.sensor_id:
            changed["sensor_id"] = self.sensor_id
        if self.unit:
            changed["unit"] = self.unit
        if self.shift or self.zone:
            changed["timestamp"] = self._timestamp(fields.get("timestamp"))
        return changed

    def _timestamp(self, sent: Any) -> Any:
        """A time that cannot be read, or could be two, stays as it was sent and will be refused for that."""
        try:
            at = datetime.fromisoformat(sent)
            if at.tzinfo is None and self.zone:
                (at,) = instants(at, self.zone)
            return (at + self.shift).isoformat() if at.tzinfo else sent
        except (TypeError, ValueError, OverflowError):
            return sent

    def as_json(self) -> dict[str, Any]:
        said = {name: value for name, value in asdict(replace(self, zone=None)).items() if value}
        if self.shift:
            said["shift"] = self.shift.total_seconds()
        return said | ({"zone": str(self.zone)} if self.zone else {})


@dataclass(frozen=True)
class Outcome:
    """How many rows were settled (newly stored, stored before, discarded), and what became of the rest."""

    admitted: int = 0
    duplicates: int = 0
    discarded: int = 0
    refused: int = 0
    left: int = 0
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def settled(self) -> int:
        return self.admitted + self.duplicates + self.discarded

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(
            self.admitted + other.admitted,
            self.duplicates + other.duplicates,
            self.discarded + other.discarded,
            self.refused + other.refused,
            other.left,
            self.reasons | other.reasons,
        )


def waiting_count(user: Viewer, at_most: int) -> int:
    """How many rows wait, counted up to `at_most`."""
    return Quarantined.objects.visible_to(user).filter(state=WAITING).order_by()[:at_most].count()


def causes(user: Viewer) -> list[dict[str, Any]]:
    """The causes among the newest waiting rows, the latest first, at most MOST_CAUSES.

    Each has `site`, `code`, `sent_sensor`, `sent_unit`, the number of `rows`, how often they came (`times`), `first`
    and `last` time, and `example`, the newest row.
    """
    newest = Quarantined.objects.visible_to(user).filter(state=WAITING).order_by("-received_at")[:ROWS_LOOKED_AT]
    found = (
        _keyed(Quarantined.objects.filter(pk__in=newest.values("pk")))
        .order_by()
        .values("site", "code", "sent_sensor", "sent_unit")
        .annotate(
            rows=Count("pk"),
            times=Sum("times"),
            first=Min("received_at"),
            last=Max("last_received_at"),
            newest=Max("pk"),
        )
        .order_by("-last", "-newest")[:MOST_CAUSES]
    )
    groups = [dict(row) for row in found]
    examples = Quarantined.objects.select_related("site").in_bulk([group["newest"] for group in groups])
    return [group | {"example": examples[group["newest"]]} for group in groups if group["newest"] in examples]


def fields_of(row: Quarantined) -> dict[str, Any]:
    """What can be read of the row and stored again; empty when it is not even JSON."""
    payload = row.payload
    if "raw" in payload:
        try:
            payload = _strict_json(payload["raw"])
        except (TypeError, ValueError, RecursionError):
            return {}
    if not isinstance(payload, dict):
        return {}
    return {name: value for name in FIELDS if (value := _scalar(payload.get(name))) is not None}


def _scalar(sent: Any) -> Any:
    """What a reading can carry, and both JSON and the database; None for all else, so that one row stops no others."""
    return storable(sent) if isinstance(sent, str | int | float) else None


def _strict_json(text: str) -> Any:
    """Raises ValueError for what PostgreSQL would not keep, or for what the whole group would be refused for."""
    found = json.loads(text, parse_constant=str, parse_float=_number)
    # Half a character cannot be encoded; PostgreSQL has no text with NUL in it.
    if rb"\u0000" in json.dumps(found, ensure_ascii=False).encode():
        raise ValueError("a text with NUL in it")
    return found


def _number(text: str) -> float | str:
    """Too large a number stays text, which is no value."""
    return float(text) if math.isfinite(float(text)) else text


def readmit(row: Quarantined, by: User, fields: dict[str, Any] | None = None) -> Outcome:
    """Send one row again, with these `fields` instead of its own if they are given.

    Raises Refused when somebody settled it before, or when it is refused again: it then waits with the new reason and
    the corrected fields.
    """
    with transaction.atomic():
        locked = list(_locked(Quarantined.objects.filter(pk=row.pk, state=WAITING)))
        if not locked:
            raise Refused("already_settled", "Somebody has settled this row already.")
        row = locked[0]
        sent = fields if fields is not None else fields_of(row)
        before = {"code": row.code, "payload": row.payload}
        outcome, now = _send_again([row], [sent], by)
        detail = {"before": before, "after": sent, "refused": outcome.reasons}
        audit.record("readmit", f"quarantined {row.pk}", by=by, site_id=row.site_id, detail=detail, at=now)
    if outcome.reasons:
        code, why = next(iter(outcome.reasons.items()))
        raise Refused(code, why, 422)
    return outcome


def readmit_all(cause: Cause, by: User, change: Change | None = None) -> Outcome:
    """Send the rows of a cause again, changed alike; stops when time is up or a whole chunk was refused again."""
    change = change or Change()

    def step(rows: list[Quarantined]) -> Outcome:
        outcome, now = _send_again(rows, [change.applied_to(fields_of(row)) for row in rows], by, change.discover)
        counts = {"admitted": outcome.admitted, "duplicates": outcome.duplicates, "refused": outcome.refused}
        detail = {"cause": asdict(cause), "change": change.as_json(), **counts, "reasons": outcome.reasons}
        audit.record("readmit", f"quarantine {cause}", by=by, site_id=cause.site_id, detail=detail, at=now)
        return outcome

    return _in_turns(cause, by, step)


def discard(row: Quarantined, by: User) -> None:
    """Settle one row without storing it. Raises Refused when somebody settled it before."""
    now = timezone.now()
    with transaction.atomic():
        if not _settle([row.pk], Quarantined.State.DISCARDED, by, now):
            raise Refused("already_settled", "Somebody has settled this row already.")
        detail = {"code": row.code, "payload": row.payload}
        audit.record("discard", f"quarantined {row.pk}", by=by, site_id=row.site_id, detail=detail, at=now)


def discard_all(cause: Cause, by: User) -> Outcome:
    """Settle the rows of a cause without storing them."""

    def step(rows: list[Quarantined]) -> Outcome:
        now = timezone.now()
        count = _settle([row.pk for row in rows], Quarantined.State.DISCARDED, by, now)
        detail = {"cause": asdict(cause), "discarded": count}
        audit.record("discard", f"quarantine {cause}", by=by, site_id=cause.site_id, detail=detail, at=now)
        return Outcome(discarded=count)

    return _in_turns(cause, by, step)


def _in_turns(cause: Cause, by: User, step: Callable[[list[Quarantined]], Outcome]) -> Outcome:
    total, after = Outcome(), 0
    deadline = time.monotonic() + SECONDS_PER_REQUEST
    while True:
        with transaction.atomic():
            rows = list(_locked(cause.waiting(by).filter(pk__gt=after))[:CHUNK_ROWS])
            done = step(rows) if rows else Outcome()
        total += done
        if not done.settled or time.monotonic() > deadline:
            break
        after = rows[-1].pk
    return replace(total, left=cause.waiting(by).order_by().count())


def _keyed(rows: "QuerySet[Quarantined]") -> "QuerySet[Any]":
    blank = Value("", TextField())
    return rows.annotate(
        sent_sensor=Coalesce(KT("payload__sensor_id"), blank), sent_unit=Coalesce(KT("payload__unit"), blank)
    )


def _locked(rows: "QuerySet[Quarantined]") -> "QuerySet[Quarantined]":
    """Two people at once: the second waits here and then finds the rows settled. In one order, so no deadlock."""
    return rows.select_for_update(of=("self",)).order_by("pk")


def _send_again(
    rows: list[Quarantined], fields: list[dict[str, Any]], by: User, discover: bool = False
) -> tuple[Outcome, datetime]:
    """Give locked rows of one site to `store_batch`, settle the stored ones, note the new reasons of the others."""
    now = timezone.now()
    # What cannot be read has nothing to send: its empty object keeps the places of the others.
    stored = by_hand.send(fields, source="quarantine", by=by, site_id=rows[0].site_id, discover=discover)
    refused = {rejection.index: rejection for rejection in stored.rejected}
    settled = [row.pk for index, row in enumerate(rows) if index not in refused]
    _settle(settled, Quarantined.State.READMITTED, by, now, stored.batch_id)
    reasons = _note_reasons(rows, fields, refused)
    return _outcome(stored, len(rows), settled, reasons), now


def _outcome(stored: Stored, rows: int, settled: list[int], reasons: dict[str, str]) -> Outcome:
    return Outcome(stored.accepted, len(settled) - stored.accepted, 0, rows - len(settled), 0, reasons)


def _note_reasons(
    rows: list[Quarantined], fields: list[dict[str, Any]], refused: dict[int, Rejection]
) -> dict[str, str]:
    """Let refused rows wait with their new reason and corrected fields; returns an example of each reason."""
    reasons: dict[str, str] = {}
    pks, codes, details, payloads = [], [], [], []
    for index, rejection in refused.items():
        row = rows[index]
        if not fields[index]:  # Unreadable, as before: what it lacks is no better reason than the one it has.
            reasons.setdefault(row.code, row.detail)
            continue
        reasons.setdefault(rejection.code, rejection.detail)
        pks.append(row.pk)
        codes.append(rejection.code[:40])
        details.append(storable(rejection.detail)[:500])
        payloads.append(json.dumps(storable(row.payload if fields[index] == fields_of(row) else fields[index])))
    if pks:
        with connection.cursor() as cursor:
            cursor.execute(
                """
                UPDATE sensors_quarantined AS waiting
                SET code = new.code, detail = new.detail, payload = new.payload::jsonb
                FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[]) AS new (id, code, detail, payload)
                WHERE waiting.id = new.id
                """,
                [pks, codes, details, payloads],
            )
    return reasons


def _settle(pks: Iterable[int], state: Quarantined.State, by: User, now: datetime, batch_id: int | None = None) -> int:
    rows = Quarantined.objects.filter(pk__in=list(pks), state=WAITING)
    return rows.update(state=state, settled_at=now, settled_by=by, batch_id=batch_id)

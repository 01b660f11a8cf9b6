"""What every HTTP door does around `store_batch`: repeats answered as before, a database in trouble left in peace."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pybreaker
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from sensors.access import Sender
from sensors.columns import Columns
from sensors.errors import Refused
from sensors.ingest import OnConflict, Stored, store_batch
from sensors.models import IdempotentRequest

IDEMPOTENCY_HOURS = 24
MAX_KEY_LENGTH = 200
# So many failures in a row, and nobody asks the database for so many seconds.
BREAKER_FAILURES, BREAKER_SECONDS = 5, 5
DATABASE_ERRORS = (OperationalError, psycopg.OperationalError)

breaker = pybreaker.CircuitBreaker(
    fail_max=BREAKER_FAILURES,
    reset_timeout=BREAKER_SECONDS,
    exclude=[lambda error: not isinstance(error, DATABASE_ERRORS)],
    throw_new_error_on_trip=False,
)


@dataclass(frozen=True)
class Delivery:
    """One request that holds readings. `body` and `address` are what a repeat under `idempotency_key` must equal."""

    sender: Sender
    source: str
    parse: Callable[[], Columns]
    body: bytes = b""
    address: str = ""
    idempotency_key: str | None = None
    on_conflict: str = "keep"


@dataclass(frozen=True)
class Answer:
    """201 when something was stored, 200 when all of it was known, 422 when no row was good; `stored` as JSON."""

    status: int
    stored: dict[str, Any]
    replayed: bool = False

    @property
    def headers(self) -> dict[str, str]:
        return {"Idempotent-Replayed": "true"} if self.replayed else {}


def receive(delivery: Delivery) -> Answer:
    """Store what a request holds. Raises Refused, with 503 and when to come back while the database is in trouble."""
    on_conflict = _on_conflict(delivery)
    key = _checked_key(delivery.idempotency_key)
    columns = delivery.parse()
    with database_in_reach():
        if key is None:
            return answer_to(
                store_batch(columns, source=delivery.source, sender=delivery.sender, on_conflict=on_conflict)
            )
        return _once(delivery, key, columns, on_conflict)


def answer_to(stored: Stored) -> Answer:
    if stored.accepted or stored.corrected:
        return Answer(201, stored.as_json())
    return Answer(422 if stored.rejected and not stored.duplicates else 200, stored.as_json())


@contextmanager
def database_in_reach() -> Iterator[None]:
    """Turns failures of the database into Refused (503): nothing was acknowledged, so the sender still has it all.

    After BREAKER_FAILURES in a row callers are turned away at once for BREAKER_SECONDS, so that they do not pile up.
    """
    busy = Refused(
        "database_busy",
        "The database does not answer in time; send the request again.",
        503,
        retry_after_seconds=BREAKER_SECONDS,
    )
    try:
        # Not `breaker.call`, which holds its lock for the length of the call.
        with breaker.calling():
            yield
    except pybreaker.CircuitBreakerError as error:
        raise busy from error
    except DATABASE_ERRORS as error:
        if not connection.in_atomic_block:
            connection.close()
        raise busy from error


def _once(delivery: Delivery, key: str, columns: Columns, on_conflict: OnConflict) -> Answer:
    """Store under an idempotency key. A repeat that comes while the first is at work waits for it."""
    # Two gateways of one user may both count their requests 1, 2, 3, and may send for different sites.
    key = f"{delivery.sender.key_id}:{delivery.sender.site_id}:{key}"
    digest = hashlib.sha256(delivery.address.encode() + b"\0" + delivery.body).digest()
    with transaction.atomic():
        row = _claim(delivery, key, digest)
        if row is None:
            return _replay(delivery, key, digest)
        stored = store_batch(columns, source=delivery.source, sender=delivery.sender, on_conflict=on_conflict)
        answer = answer_to(stored)
        IdempotentRequest.objects.filter(pk=row).update(status=answer.status, answer=answer.stored)
    return answer


def _claim(delivery: Delivery, key: str, digest: bytes) -> int | None:
    """Be the first to use the key; None when somebody was, once their transaction has ended."""
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO sensors_idempotentrequest AS old (user_id, key, digest, status, created_at)
            VALUES (%s, %s, %s, 0, %s)
            ON CONFLICT (user_id, key) DO UPDATE SET digest = excluded.digest, created_at = excluded.created_at
            WHERE old.created_at < %s
            RETURNING id
            """,
            [delivery.sender.user.pk, key, digest, now, now - timedelta(hours=IDEMPOTENCY_HOURS)],
        )
        row = cursor.fetchone()
    return row[0] if row else None


def _replay(delivery: Delivery, key: str, digest: bytes) -> Answer:
    row = IdempotentRequest.objects.get(user=delivery.sender.user.pk, key=key)
    if bytes(row.digest) != digest:
        detail = "This Idempotency-Key was used for another request in the last 24 hours; use a new one."
        raise Refused("idempotency_key_reused", detail, 409)
    return Answer(row.status, row.answer or {}, replayed=True)


def _checked_key(key: str | None) -> str | None:
    if key is not None and not (0 < len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        detail = f"An Idempotency-Key has 1 to {MAX_KEY_LENGTH} printable ASCII characters."
        raise Refused("invalid_idempotency_key", detail, 400)
    return key


def _on_conflict(delivery: Delivery) -> OnConflict:
    if delivery.on_conflict not in ("keep", "replace"):
        raise Refused("invalid_on_conflict", "`on_conflict` is `keep` or `replace`.", 400)
    if delivery.on_conflict == "keep":
        return "keep"
    if not delivery.sender.user.has_perm("sensors.change_reading"):
        raise Refused("permission_denied", "Only engineers may replace stored readings.", 403)
    return "replace"

"""Refused rows, put into quarantine in the transaction that stores the good ones beside them."""

import hashlib
import logging
import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from django.conf import settings
from django.db import connection

from sensors.access import Sender
from sensors.columns import Rejection
from sensors.models import Quarantined

logger = logging.getLogger(__name__)

MAX_DETAIL = 500
# Somebody has decided that these are not wanted, or they are no measurements at all: a sender that goes on sending them
# would fill the quarantine with what nobody can correct.
NOT_KEPT = frozenset({"sensor_retired", "not_a_number"})
# PostgreSQL's JSON has no NUL. An escaped backslash before `u0000` is text and stays.
_NUL = re.compile(rb"\\\\|\\u0000")


def keep(
    rejected: Sequence[Rejection],
    *,
    sites: Sequence[int | None],
    source: str,
    sender: Sender | None,
    now: datetime,
) -> None:
    """Keep refused rows for a person to see to; `sites[i]` is where row i belongs, None where nobody knows.

    Rows of retired sensors and texts are not kept. A row that waits already counts up. When QUARANTINE_LIMIT rows of a
    site wait, further ones are not kept: a broken sender must not fill the disk.
    """
    waiting = {site: _waiting(site) for site in set(sites)}
    rows: dict[bytes, _Row] = {}
    for rejection, site in zip(rejected, sites, strict=True):
        if rejection.code in NOT_KEPT or waiting[site] >= settings.QUARANTINE_LIMIT:
            continue
        payload = _NUL.sub(_without_nul, msgspec.json.encode(rejection.payload or {"raw": ""}))
        about = msgspec.json.encode([site, sender.user.pk if sender else None, rejection.code])
        digest = hashlib.blake2b(about + payload, digest_size=16).digest()
        before = rows[digest].times if digest in rows else 0
        detail = rejection.detail.replace("\0", "\ufffd")[:MAX_DETAIL]
        rows[digest] = _Row(digest, site, rejection.code, detail, payload.decode(), before + 1)
    if full := [site for site, count in waiting.items() if count >= settings.QUARANTINE_LIMIT]:
        logger.error("the quarantine is full; refused readings are not kept", extra={"sites": full})
    # In one order everywhere, or two transactions with the same rows could wait for each other.
    _insert([rows[digest] for digest in sorted(rows)], source, sender, now)


def _without_nul(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0] != b"\\u0000" else "\ufffd".encode()


class _Row(NamedTuple):
    digest: bytes
    site: int | None
    code: str
    detail: str
    payload: str
    times: int


def _waiting(site: int | None) -> int:
    return Quarantined.objects.filter(site=site, state="waiting")[: settings.QUARANTINE_LIMIT].count()


def _insert(rows: list[_Row], source: str, sender: Sender | None, now: datetime) -> None:
    if not rows:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO sensors_quarantined (
                source, sent_by_id, user_id, received_at, last_received_at, state,
                digest, site_id, code, detail, payload, times
            )
            SELECT %s, %s, %s, %s, %s, 'waiting', rows.*
            FROM unnest(%s::bytea[], %s::bigint[], %s::text[], %s::text[], %s::jsonb[], %s::int[]) AS rows
            ON CONFLICT (digest) WHERE state = 'waiting' DO UPDATE
            SET times = sensors_quarantined.times + excluded.times, last_received_at = excluded.last_received_at
            """,
            [
                source,
                sender.key_id if sender else None,
                sender.user.pk if sender else None,
                now,
                now,
                *([*column] for column in zip(*rows, strict=True)),
            ],
        )

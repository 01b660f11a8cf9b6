"""The maintenance log: finding in it, and writing down work that had no order."""

from datetime import datetime, timedelta
from decimal import Decimal
from functools import reduce
from operator import and_
from typing import Any

from django.contrib.auth.models import User
from django.contrib.postgres.search import SearchQuery
from django.db import connection, transaction
from django.utils import timezone

from maintenance.models import FailureMode, MaintenanceLog, Outcome, Verdict
from maintenance.querysets import MaintenanceLogQuerySet
from sensors import live
from sensors.errors import Refused
from sensors.models import Asset

# The same words about the same work within this time were sent twice.
DOUBLE_TAP = timedelta(minutes=1)
MOST_WORDS = 8

BELOW = """
    WITH RECURSIVE below AS (
        SELECT %s::bigint AS id
        UNION
        SELECT child.id FROM below JOIN sensors_asset child ON child.parent_id = below.id
    )
    SELECT id FROM below
"""


def search(rows: MaintenanceLogQuerySet, words: str) -> MaintenanceLogQuerySet:
    """The entries that hold every one of the words, or words that begin so, in any of their texts."""
    parts = ["".join(sign if sign.isalnum() else " " for sign in word).split() for word in words.split()]
    wanted = [part for word in parts for part in word][:MOST_WORDS]
    if not wanted:
        return rows
    found: MaintenanceLogQuerySet = rows.filter(words=reduce(and_, map(_begins, wanted)))
    return found


def _begins(word: str) -> SearchQuery:
    # Not every PostgreSQL knows the small letters of signs beyond ASCII.
    spellings = {word} if word.isascii() else {word, word.lower(), word.capitalize(), word.upper()}
    return SearchQuery(" | ".join(f"{one}:*" for one in sorted(spellings)), config="simple", search_type="raw")


def below(asset: int) -> list[int]:
    """The primary keys of an asset and of everything in it."""
    with connection.cursor() as cursor:
        cursor.execute(BELOW, [asset])
        return [pk for (pk,) in cursor.fetchall()]


def write(
    asset: Asset,
    by: User,
    *,
    notes: str,
    completion_date: datetime | None = None,
    kind: str = "",
    failure_mode: FailureMode | None = None,
    duration_minutes: int | None = None,
    downtime_minutes: int | None = None,
    downtime_reason: str = "",
    parts: str = "",
    cost: Decimal | None = None,
    fault_found: bool = False,
) -> MaintenanceLog:
    """Note work on an asset that had no order; with `fault_found` it was a failure, of which a verdict is kept.

    The same words sent twice are one entry. Raises Refused for work that is finished in the future, and for a failure
    mode of another class of assets.
    """
    now = timezone.now()
    at = completion_date or now
    if at > now + timedelta(minutes=5):
        raise Refused("in_the_future", "Log work when it is finished.", 422)
    if failure_mode and failure_mode.asset_class_id not in (None, asset.asset_class_id):
        raise Refused("other_class", f"{failure_mode} is a failure mode of other assets.", 422)
    about: dict[str, Any] = {
        "kind": kind,
        "failure_mode": failure_mode,
        "duration_minutes": duration_minutes,
        "downtime_minutes": downtime_minutes,
        "downtime_reason": downtime_reason,
        "parts": parts,
        "cost": cost,
    }
    with transaction.atomic():
        # Of two that come at once the second one waits, and then finds the first.
        Asset.objects.select_for_update(no_key=True).get(pk=asset.pk)
        mine = MaintenanceLog.objects.filter(asset=asset, work_order=None, done_by=by, notes=notes)
        twin: MaintenanceLog | None = mine.filter(completion_date__range=(at - DOUBLE_TAP, at + DOUBLE_TAP)).first()
        if twin is not None:
            return twin
        log = MaintenanceLog.objects.create(asset=asset, done_by=by, notes=notes, completion_date=at, **about)
        if fault_found:
            Verdict.objects.create(
                asset=asset,
                log=log,
                outcome=Outcome.FAULT_FOUND,
                failure_mode=failure_mode,
                window_start=at - timedelta(minutes=downtime_minutes or 0),
                window_end=at,
                given_by=by,
            )
        live.publish("work", site_id=asset.site_id, asset_id=asset.pk)
    return log

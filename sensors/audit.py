"""The book of steps that change what is believed about the data."""

from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from sensors.models import AuditEntry
from sensors.storable import storable

LONGEST_SUBJECT = 200


def record(
    action: str, subject: str, *, by: User, site_id: int | None, detail: dict[str, Any], at: datetime | None = None
) -> None:
    """Write down who did what to what; `detail` says what it was before and is now, in JSON's types."""
    AuditEntry.objects.create(
        action=action,
        subject=storable(subject)[:LONGEST_SUBJECT],
        by=by,
        site_id=site_id,
        detail=storable(detail),
        at=at or timezone.now(),
    )

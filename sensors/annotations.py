"""What people say about stretches of time, and taking it back."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from sensors import audit, live
from sensors.errors import Refused
from sensors.models import Annotation, Asset
from sensors.wording import for_machines

# Times of a chart. What lies outside was noted before the model refused it.
FIRST, LAST = datetime(1980, 1, 1, tzinfo=UTC), datetime(2199, 12, 31, tzinfo=UTC)


def add(asset: Asset, by: User, **about: Any) -> Annotation:
    """Write it down. Raises the model's ValidationError when it makes no sense."""
    annotation = Annotation(asset=asset, created_by=by, **about)
    annotation.full_clean()
    annotation.save()
    live.publish("readings", site_id=asset.site_id, asset_id=asset.pk)
    return annotation


def take_back(annotation: Annotation, by: User) -> None:
    """It stands no longer, but is kept. Raises Refused when somebody took it back before."""
    now = timezone.now()
    with transaction.atomic():
        standing = Annotation.objects.standing().filter(pk=annotation.pk)
        if not standing.update(removed_at=now, removed_by=by):
            raise Refused("already_removed", "Somebody has taken this back already.")
        site_id = annotation.asset.site_id
        detail = {"kind": annotation.kind, "text": annotation.text, "by": annotation.created_by_id}
        audit.record("take back", f"annotation {annotation.pk}", by=by, site_id=site_id, detail=detail, at=now)
    live.publish("readings", site_id=site_id, asset_id=annotation.asset_id)


def window_around(note: Annotation) -> str:
    """What to ask the charts for, so that they show a note with as much time before and after it."""
    first, last = max(note.start, FIRST), min(note.end, LAST)
    margin = max(last - first, timedelta(minutes=10))
    return urlencode({"from": for_machines(first - margin), "to": for_machines(last + margin)})

"""What people say about stretches of time, and taking it back."""

from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from sensors import audit, live
from sensors.errors import Refused
from sensors.models import Annotation, Asset


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

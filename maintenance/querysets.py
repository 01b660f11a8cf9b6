from datetime import datetime
from typing import Self

from django.contrib.auth.models import User
from django.db import models
from django.db.models import F, Q

from sensors.models import Asset
from sensors.querysets import SiteScopedQuerySet, Viewer


class WorkOrderQuerySet(SiteScopedQuerySet):
    def running(self) -> Self:
        return self.filter(closed_at=None)

    def by_due(self) -> Self:
        """The next due first; orders without a due time last, the most urgent of them first."""
        return self.order_by(F("due_at").asc(nulls_last=True), "-priority", "pk")

    def overdue(self, now: datetime) -> Self:
        return self.running().filter(due_at__lt=now)

    def matching(self, words: str, reader: User) -> Self:
        """Those whose title or asset has these words in it, and the one of this number (WO-12 or 12)."""
        # Looked up first: few assets are called so, and their orders are found by index.
        assets = Asset.objects.visible_to(reader).filter(name__icontains=words).values_list("pk", flat=True)
        number = words.strip().upper().removeprefix("WO-")
        by_number = Q(pk=int(number)) if number.isdecimal() and len(number) < 19 else Q()
        return self.filter(Q(title__icontains=words) | Q(asset__in=list(assets)) | by_number)

    def of(self, user: User) -> Self:
        """Those that somebody answers for or works on."""
        crews = self.model.crew.through.objects.filter(user=user).values("workorder")
        return self.filter(Q(assignee=user) | Q(pk__in=crews))


class OfWorkOrderQuerySet(SiteScopedQuerySet):
    """Steps, checklist and files: who sees the order sees them."""

    site_path = "order__site"


class MaintenanceLogQuerySet(SiteScopedQuerySet):
    site_path = "asset__site"


class VerdictQuerySet(SiteScopedQuerySet):
    site_path = "asset__site"


class CalendarLinkQuerySet(models.QuerySet):  # type: ignore[type-arg]
    def visible_to(self, user: Viewer) -> Self:
        """One's own alone."""
        return self.filter(person=user.pk)


class PlanQuerySet(SiteScopedQuerySet):
    site_path = "asset__site"

    def to_look_at(self, now: datetime) -> Self:
        return self.filter(enabled=True, next_look_at__lte=now)


class PlanOccurrenceQuerySet(SiteScopedQuerySet):
    site_path = "plan__asset__site"


class PartQuerySet(SiteScopedQuerySet):
    def to_reorder(self) -> Self:
        return self.filter(minimum__gt=0, quantity__lte=F("minimum"))


class PartUseQuerySet(SiteScopedQuerySet):
    site_path = "order__site"

    def standing(self) -> Self:
        """Those that were not put back."""
        return self.filter(put_back_at=None)


class ReportQuerySet(SiteScopedQuerySet):
    pass


class ReportScheduleQuerySet(SiteScopedQuerySet):
    pass

from typing import Self

from django.db.models import F

from sensors.querysets import SiteScopedQuerySet


class WorkOrderQuerySet(SiteScopedQuerySet):
    def running(self) -> Self:
        return self.filter(closed_at=None)

    def by_due(self) -> Self:
        """The next due first; orders without a due time last, the most urgent of them first."""
        return self.order_by(F("due_at").asc(nulls_last=True), "-priority", "pk")


class WorkOrderStepQuerySet(SiteScopedQuerySet):
    site_path = "order__site"


class MaintenanceLogQuerySet(SiteScopedQuerySet):
    site_path = "asset__site"


class VerdictQuerySet(SiteScopedQuerySet):
    site_path = "asset__site"

from typing import Self

from django.db.models import Case, IntegerField, Value, When

from sensors.querysets import SiteScopedQuerySet


class AlertQuerySet(SiteScopedQuerySet):
    def unresolved(self) -> Self:
        return self.exclude(state="resolved")

    def by_attention(self) -> Self:
        """Open before acknowledged before snoozed before resolved, then the most severe, then the newest."""
        rank = Case(
            When(state="open", then=Value(0)),
            When(state="acknowledged", then=Value(1)),
            When(state="snoozed", then=Value(2)),
            default=Value(3),
            output_field=IntegerField(),
        )
        return self.order_by(rank, "-severity", "-opened_at")


class TransitionQuerySet(SiteScopedQuerySet):
    site_path = "alert__site"

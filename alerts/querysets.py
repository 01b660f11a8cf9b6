from datetime import datetime
from typing import Self

from django.db.models import Case, IntegerField, Q, Value, When

from sensors.querysets import SiteScopedQuerySet, Viewer

# An index holds alerts in this order.
BY_RANK = ["open", "acknowledged", "snoozed", "resolved"]
RANK = Case(
    *(When(state=state, then=Value(rank)) for rank, state in enumerate(BY_RANK[:-1])),
    default=Value(len(BY_RANK) - 1),
    output_field=IntegerField(),
)
# Anomalies that end by themselves once the values are as usual; severe ones known to be over wait for a person.
MAY_RETURN = (
    ~Q(state="resolved")
    & Q(kind="anomaly", historical=False, sensor__isnull=False)
    & ~Q(state="open", normal_since__isnull=False, severity__gte=3)
)

# Steps that make an alert something new to look at.
CALLING = Q(step__in=["raised", "more_severe", "reopened"])


class AlertQuerySet(SiteScopedQuerySet):
    def visible_to(self, user: Viewer) -> Self:
        """Looks the sites up at once: only of those it is told does PostgreSQL know how many of the rows are theirs."""
        if not user.is_authenticated or user.has_perm("sensors.view_all_sites"):
            return super().visible_to(user)
        return self.filter(site__in=list(user.sites.values_list("pk", flat=True)))

    def unresolved(self) -> Self:
        return self.exclude(state="resolved")

    def in_state(self, state: str) -> Self:
        """Asked for by rank, they are found in the order of attention."""
        return self.alias(rank=RANK).filter(state=state, rank=BY_RANK.index(state))

    def may_return(self) -> Self:
        """Those whose cause is looked at again and again, as they end when it is gone."""
        return self.filter(MAY_RETURN)

    def by_attention(self) -> Self:
        """Open before acknowledged before snoozed before resolved, then the most severe, then the newest."""
        return self.order_by(RANK, "-severity", "-opened_at")


class TransitionQuerySet(SiteScopedQuerySet):
    site_path = "alert__site"

    def calling_since(self, at: datetime) -> Self:
        return self.filter(CALLING, at__gt=at)

from datetime import datetime
from typing import Self

from django.apps import apps
from django.db.models import Case, Exists, IntegerField, OuterRef, Q, Value, When

from sensors.querysets import SiteScopedQuerySet, Viewer

COUNTED = 999
# An index holds alerts in this order.
BY_RANK = ["open", "acknowledged", "snoozed", "resolved"]
RANK = Case(
    *(When(state=state, then=Value(rank)) for rank, state in enumerate(BY_RANK[:-1])),
    default=Value(len(BY_RANK) - 1),
    output_field=IntegerField(),
)
# What ends by itself once the values are as usual; severe ones that are known to be over wait for a person.
MAY_RETURN = (
    ~Q(state="resolved")
    & Q(kind__in=["anomaly", "limit"], historical=False, sensor__isnull=False)
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

    def roughly(self) -> str:
        """How many there are: nobody works through more than are counted, and to count all takes longer than a page."""
        found = self.order_by()[: COUNTED + 1].count()
        return str(found) if found <= COUNTED else f"{COUNTED}+"

    def by_attention(self) -> Self:
        """Open before acknowledged before snoozed before resolved, then the most severe, then the newest."""
        return self.order_by(RANK, "-severity", "-opened_at")


class TransitionQuerySet(SiteScopedQuerySet):
    site_path = "alert__site"

    def calling_since(self, at: datetime) -> Self:
        return self.filter(CALLING, at__gt=at)


class EverywhereQuerySet(SiteScopedQuerySet):
    """Rows of a site, or of every site: those everybody sees who sees any site."""

    def visible_to(self, user: Viewer) -> Self:
        if not user.is_authenticated:
            return self.none()
        if user.has_perm("sensors.view_all_sites"):
            return self
        own = user.sites.values("pk")
        return self.filter(Q(site__in=own) | Q(Exists(own), site__isnull=True))

    def changeable_by(self, user: Viewer) -> Self:
        """What is of every site is for those to change who see every site."""
        return super().visible_to(user)


class ChannelQuerySet(EverywhereQuerySet):
    def with_condition(self) -> Self:
        """With their site and owner, and whether messages have failed as `has_failed`."""
        failed = apps.get_model("alerts", "Delivery").objects.filter(channel=OuterRef("pk"), state="failed")
        return self.select_related("site", "owner").annotate(has_failed=Exists(failed))


class RouteQuerySet(EverywhereQuerySet):
    pass


class MessageTemplateQuerySet(SiteScopedQuerySet):
    """Templates are those of every site."""

    def visible_to(self, user: Viewer) -> Self:
        return self if user.is_authenticated and user.has_perm("alerts.view_messagetemplate") else self.none()


class ScheduleQuerySet(EverywhereQuerySet):
    pass


class EscalationPolicyQuerySet(EverywhereQuerySet):
    pass


class PartQuerySet(SiteScopedQuerySet):
    """Parts of rows of a site or of every site; whoever sees the whole sees them."""

    whole = ""

    def visible_to(self, user: Viewer) -> Self:
        rows = self.model._meta.get_field(self.whole).remote_field.model.objects
        return self.filter(**{f"{self.whole}__in": rows.visible_to(user)})


class OfScheduleQuerySet(PartQuerySet):
    whole = "schedule"


class RotationMemberQuerySet(PartQuerySet):
    whole = "rotation"


class EscalationStepQuerySet(PartQuerySet):
    whole = "policy"


class EscalationQuerySet(SiteScopedQuerySet):
    site_path = "alert__site"

    def running(self) -> Self:
        return self.filter(next_at__isnull=False)


class PersonalQuerySet(SiteScopedQuerySet):
    """A person's own rows: nobody else's business."""

    def visible_to(self, user: Viewer) -> Self:
        return self.filter(person=user) if user.is_authenticated else self.none()


class PreferenceQuerySet(PersonalQuerySet):
    pass


class ContactQuerySet(PersonalQuerySet):
    pass


class SilenceQuerySet(SiteScopedQuerySet):
    def running(self, at: datetime) -> Self:
        return self.filter(starts_at__lte=at, ends_at__gt=at)


class DeliveryQuerySet(SiteScopedQuerySet):
    """Messages on the matters of a site; those of no single site are their reader's own."""

    def visible_to(self, user: Viewer) -> Self:
        if not user.is_authenticated:
            return self.none()
        return self.filter(site__isnull=True, person=user) | super().visible_to(user)


class DeliveryItemQuerySet(SiteScopedQuerySet):
    site_path = "alert__site"


class RuleQuerySet(SiteScopedQuerySet):
    def standing(self) -> Self:
        """Those that nobody has deleted."""
        return self.filter(removed_at__isnull=True)

    def at_work(self) -> Self:
        return self.standing().filter(enabled=True)


class ConditionQuerySet(SiteScopedQuerySet):
    site_path = "rule__site"


class FiringQuerySet(SiteScopedQuerySet):
    site_path = "sensor__site"

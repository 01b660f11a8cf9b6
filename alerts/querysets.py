from datetime import datetime
from typing import Self

from django.db.models import Case, Exists, IntegerField, Q, Value, When

from sensors.querysets import SiteScopedQuerySet, Viewer


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
    pass


class RouteQuerySet(EverywhereQuerySet):
    pass


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
    pass


class DeliveryItemQuerySet(SiteScopedQuerySet):
    site_path = "alert__site"

from typing import Self

from django.db.models import Case, IntegerField, Value, When

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


class ChannelQuerySet(SiteScopedQuerySet):
    """Channels of a site; those of every site are everybody's to choose, and theirs to change who see every site."""

    def visible_to(self, user: Viewer) -> Self:
        if not user.is_authenticated:
            return self.none()
        return self.filter(site__isnull=True) | super().visible_to(user)

    def changeable_by(self, user: Viewer) -> Self:
        return super().visible_to(user)


class ContactQuerySet(SiteScopedQuerySet):
    """A person's own; addresses are nobody else's business."""

    def visible_to(self, user: Viewer) -> Self:
        return self.filter(person=user) if user.is_authenticated else self.none()


class DeliveryQuerySet(SiteScopedQuerySet):
    """Messages on the matters of a site; those of no single site are their reader's own."""

    def visible_to(self, user: Viewer) -> Self:
        if not user.is_authenticated:
            return self.none()
        return self.filter(site__isnull=True, person=user) | super().visible_to(user)


class DeliveryItemQuerySet(SiteScopedQuerySet):
    site_path = "alert__site"

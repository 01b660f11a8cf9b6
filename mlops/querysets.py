from typing import Self

from django.db.models import Exists, Q

from sensors.querysets import SiteScopedQuerySet, Viewer


class BaselineQuerySet(SiteScopedQuerySet):
    site_path = "sensor__site"


class AnomalyQuerySet(SiteScopedQuerySet):
    site_path = "sensor__site"


class ValidationPolicyQuerySet(SiteScopedQuerySet):
    site_path = "site"


class UnscoredStretchQuerySet(SiteScopedQuerySet):
    site_path = "asset__site"


class OfASiteOrAllQuerySet(SiteScopedQuerySet):
    """Rows without a site concern every site: whoever is a member of one sees them."""

    def visible_to(self, user: Viewer) -> Self:
        if not user.is_authenticated or user.has_perm("sensors.view_all_sites"):
            return super().visible_to(user)
        sites = user.sites.all()
        return self.filter(Q(site__in=sites.values("pk")) | (Q(site__isnull=True) & Q(Exists(sites))))


class ModelVersionQuerySet(OfASiteOrAllQuerySet):
    pass


class DeploymentQuerySet(OfASiteOrAllQuerySet):
    def in_service(self) -> Self:
        return self.filter(until__isnull=True)


class TrainingRunQuerySet(SiteScopedQuerySet):
    def visible_to(self, user: Viewer) -> Self:
        if not user.is_authenticated or user.has_perm("sensors.view_all_sites"):
            return super().visible_to(user)
        sites = user.sites.values("pk")
        return self.filter(Q(sensor__site__in=sites) | Q(asset__site__in=sites))


class RepairCheckQuerySet(SiteScopedQuerySet):
    site_path = "order__site"

"""Who sees what, said once per model: every list a person or program gets starts at `visible_to(user)`."""

from typing import Self

from django.apps import apps
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.postgres.expressions import ArraySubquery
from django.db import models
from django.db.models import Prefetch, Q

Viewer = User | AnonymousUser


class SiteScopedQuerySet(models.QuerySet):  # type: ignore[type-arg]
    """Rows that belong to a site, found along `site_path`; its members see them, and those who see all sites."""

    site_path = "site"

    def visible_to(self, user: Viewer) -> Self:
        if not user.is_authenticated:
            return self.none()
        if user.has_perm("sensors.view_all_sites"):
            return self
        prefix = f"{self.site_path}__" if self.site_path else ""
        # A sub-select, not a join: a join with members would multiply rows and break later annotations.
        sites = user.sites.values("pk")
        return self.filter(**{f"{prefix}pk__in" if prefix else "pk__in": sites})


class CatalogueQuerySet(SiteScopedQuerySet):
    """Rows that belong to no site: everybody who is known sees them."""

    def visible_to(self, user: Viewer) -> Self:
        return self if user.is_authenticated else self.none()


class SiteQuerySet(SiteScopedQuerySet):
    site_path = ""


class AssetQuerySet(SiteScopedQuerySet):
    pass


class AssetDocumentQuerySet(SiteScopedQuerySet):
    site_path = "asset__site"

    def standing(self) -> Self:
        """Those that nobody has taken away."""
        return self.filter(removed_at__isnull=True)


class SensorQuerySet(SiteScopedQuerySet):
    def active(self) -> Self:
        return self.filter(status="active")

    def discovered(self) -> Self:
        """Those that wait to be placed on an asset."""
        return self.filter(status="discovered")

    def with_condition(self) -> Self:
        """With their profile, and what is wrong with them now as `open_faults`."""
        faults = apps.get_model("sensors", "SensorFault").objects.open()
        return self.select_related("profile").prefetch_related(Prefetch("faults", faults, to_attr="open_faults"))


class ReadingQuerySet(SiteScopedQuerySet):
    site_path = "sensor__site"


class SensorProfileQuerySet(SiteScopedQuerySet):
    site_path = "sensor__site"


class CorrectionQuerySet(SiteScopedQuerySet):
    site_path = "sensor__site"


class AnnotationQuerySet(SiteScopedQuerySet):
    site_path = "asset__site"

    def standing(self) -> Self:
        """Those that nobody has taken back."""
        return self.filter(removed_at__isnull=True)


class SensorFaultQuerySet(SiteScopedQuerySet):
    def open(self) -> Self:
        return self.filter(ended_at__isnull=True)


class ImportQuerySet(SiteScopedQuerySet):
    def at_work(self) -> Self:
        """Those that a worker should be reading."""
        return self.filter(state__in=("checking", "running"))


class IdempotentRequestQuerySet(models.QuerySet):  # type: ignore[type-arg]
    def visible_to(self, user: Viewer) -> Self:
        return self.filter(user=user.pk)


class ReadingBatchQuerySet(models.QuerySet):  # type: ignore[type-arg]
    site_path = ""

    def visible_to(self, user: Viewer) -> Self:
        """Batches that hold no sensor of a site the user does not see."""
        if not user.is_authenticated:
            return self.none()
        if user.has_perm("sensors.view_all_sites"):
            return self
        sensors = apps.get_model("sensors", "Sensor").objects.visible_to(user).order_by()
        return self.filter(**{f"{self.site_path}sensors__contained_by": ArraySubquery(sensors.values("pk"))})


class PendingQuerySet(ReadingBatchQuerySet):
    site_path = "batch__"

    def dead(self) -> Self:
        return self.filter(dead_at__isnull=False)

    def waiting(self) -> Self:
        return self.filter(dead_at__isnull=True)


class ApiKeyQuerySet(models.QuerySet):  # type: ignore[type-arg]
    def usable(self) -> Self:
        return self.filter(revoked_at__isnull=True, user__is_active=True)

    def visible_to(self, user: Viewer) -> Self:
        if user.has_perm("sensors.view_apikey"):
            return self
        return self.filter(Q(user=user.pk))

"""Records of who is told of what."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Model
from django.http import HttpRequest

from alerts.models import EscalationPolicy, EscalationStep, Rotation, Route, Schedule, Silence
from alerts.routing.directory import colleagues
from sensors.admin import ReadOnly, SiteScopedAdmin, VisibleChoices, VisibleRelatedFilter


class NamesPeople(admin.options.BaseModelAdmin):  # type: ignore[type-arg]
    """Offers people of visible sites only."""

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "people":
            assert isinstance(request.user, User)
            kwargs["queryset"] = colleagues(request.user)
        return super().formfield_for_manytomany(db_field, request, **kwargs)


class EverywhereAdmin(SiteScopedAdmin):
    """Rows of a site or of every site; the latter are changed by those who see every site."""

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        if obj is None or not super().has_change_permission(request, obj):
            return super().has_change_permission(request, obj)
        rows: Any = self.model._default_manager
        return bool(rows.changeable_by(request.user).filter(pk=obj.pk).exists())

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "site" and field is not None and not request.user.has_perm("sensors.view_all_sites"):
            field.required = True
        return field


class RotationInline(VisibleChoices, admin.TabularInline):  # type: ignore[type-arg]
    """Who takes turns is said on the page of the schedule."""

    model = Rotation
    fields = ["starts_on", "hand_over", "every", "hours"]
    extra = 0
    can_delete = False
    show_change_link = False


@admin.register(Schedule)
class ScheduleAdmin(EverywhereAdmin):
    list_display = ["name", "site", "timezone"]
    list_filter = [("site", VisibleRelatedFilter)]
    list_select_related = ["site"]
    search_fields = ["name"]
    inlines = [RotationInline]


class StepInline(NamesPeople, VisibleChoices, admin.StackedInline):  # type: ignore[type-arg]
    model = EscalationStep
    fields = ["position", "wait_minutes", "people", "roles", "schedule", "channel"]
    extra = 0


@admin.register(EscalationPolicy)
class EscalationPolicyAdmin(EverywhereAdmin):
    list_display = ["name", "site", "repeat"]
    list_filter = [("site", VisibleRelatedFilter)]
    list_select_related = ["site"]
    search_fields = ["name"]
    inlines = [StepInline]


@admin.register(Silence)
class SilenceAdmin(ReadOnly, SiteScopedAdmin):
    """Begun and ended on the page of silences."""

    list_display = ["reason", "site", "asset", "sensor", "starts_at", "ends_at", "created_by"]
    list_filter = [("site", VisibleRelatedFilter)]
    list_select_related = ["site", "asset", "sensor", "created_by"]
    search_fields = ["reason", "asset__name", "sensor__sensor_id"]
    date_hierarchy = "starts_at"


@admin.register(Route)
class RouteAdmin(NamesPeople, EverywhereAdmin):
    list_display = ["name", "site", "asset", "least_severity", "begins", "ends", "enabled"]
    list_filter = [("site", VisibleRelatedFilter), "enabled"]
    list_select_related = ["site", "asset"]
    search_fields = ["name"]
    autocomplete_fields = ["asset"]

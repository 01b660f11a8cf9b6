"""Records of sites, assets, sensors, batches and keys for people."""

from contextlib import nullcontext, suppress
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sensors import placement
from sensors.access import users_within_rights_of
from sensors.admin.base import ReadOnly, SiteScopedAdmin, VisibleChoices, VisibleRelatedFilter
from sensors.errors import Refused
from sensors.models import (
    ApiKey,
    Asset,
    Import,
    Pending,
    QualityPolicy,
    ReadingBatch,
    Sensor,
    SensorFault,
    SensorProfile,
    Site,
)


class QualityPolicyInline(admin.StackedInline):  # type: ignore[type-arg]
    model = QualityPolicy
    can_delete = False


@admin.register(Site)
class SiteAdmin(SiteScopedAdmin):
    list_display = ["name", "timezone"]
    search_fields = ["name"]
    autocomplete_fields = ["members"]
    inlines = [QualityPolicyInline]


@admin.register(QualityPolicy)
class QualityPolicyAdmin(SiteScopedAdmin):
    """For engineers, who may not change sites themselves."""

    list_display = ["site", "check_range", "check_rate", "stuck_repeats", "spike_factor", "gap_factor", "silent_factor"]
    list_select_related = ["site"]
    search_fields = ["site__name"]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return ["site"] if obj else []


class SensorInline(VisibleChoices, admin.TabularInline):  # type: ignore[type-arg]
    model = Sensor
    fields = ["sensor_id", "name", "kind", "unit", "cadence_seconds", "range_low", "range_high", "status"]
    extra = 0
    show_change_link = True
    can_delete = False


@admin.register(Asset)
class AssetAdmin(SiteScopedAdmin):
    list_display = ["name", "site", "parent", "level", "asset_class", "criticality", "warranty_until"]
    list_filter = [("site", VisibleRelatedFilter), "level", "asset_class", "criticality"]
    list_select_related = ["site", "parent", "asset_class"]
    search_fields = ["name", "description", "manufacturer", "model", "serial_number", "sensors__sensor_id"]
    autocomplete_fields = ["site", "parent"]
    inlines = [SensorInline]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return ["site"] if obj else []


@admin.register(Sensor)
class SensorAdmin(SiteScopedAdmin):
    list_display = ["sensor_id", "name", "asset", "site", "kind", "unit", "status", "readings"]
    list_filter = [("site", VisibleRelatedFilter), "kind", "status"]
    list_select_related = ["asset", "site"]
    search_fields = ["sensor_id", "name", "asset__name"]
    autocomplete_fields = ["asset"]
    actions = ["retire"]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        if obj is None:
            return []
        return ["readings"] if obj.status == Sensor.Status.DISCOVERED else ["unit", "readings"]  # type: ignore[attr-defined]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        assert isinstance(request.user, User)
        waits = change and form.initial["status"] == Sensor.Status.DISCOVERED
        with placement.seeing_to(obj, request.user) if waits else nullcontext():
            super().save_model(request, obj, form, change)

    @admin.display(description="readings")
    def readings(self, sensor: Sensor) -> SafeString:
        pages = [reverse(f"sensors:{page}", args=[sensor.pk]) for page in ("readings", "connect")]
        return format_html('<a href="{}">Readings</a> · <a href="{}">Connect</a>', *pages)

    @admin.action(description="Retire: take no more readings, keep what there is", permissions=["change"])
    def retire(self, request: HttpRequest, queryset: QuerySet[Sensor]) -> None:
        assert isinstance(request.user, User)
        # By key, as the list may be filtered by the state that changes here.
        chosen = Sensor.objects.filter(pk__in=list(queryset.values_list("pk", flat=True)))
        for sensor in chosen.filter(status=Sensor.Status.DISCOVERED):
            with suppress(Refused):  # Somebody has placed it just now: it is retired like any other.
                placement.ignore(sensor, request.user)
        count = chosen.update(status=Sensor.Status.RETIRED)
        self.message_user(request, f"{count} retired.", messages.SUCCESS)


@admin.register(SensorProfile)
class SensorProfileAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["sensor", "last_received_at", "cadence_seconds", "completeness", "quality", "learned_at"]
    list_filter = [("sensor__site", VisibleRelatedFilter)]
    list_select_related = ["sensor"]
    search_fields = ["sensor__sensor_id", "sensor__name", "sensor__asset__name"]
    ordering = ["sensor__sensor_id"]


@admin.register(SensorFault)
class SensorFaultAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["kind", "site", "sensor", "asset", "sender", "part_of", "began_at", "noticed_at", "ended_at"]
    list_filter = [
        "kind",
        ("ended_at", admin.EmptyFieldListFilter),
        ("site", VisibleRelatedFilter),
    ]
    list_select_related = ["site", "sensor", "asset", "sender", "part_of"]
    search_fields = ["sensor__sensor_id", "sensor__name", "asset__name", "sender__name"]
    date_hierarchy = "began_at"


@admin.register(ReadingBatch)
class ReadingBatchAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["id", "received_at", "source", "mode", "accepted", "duplicates"]
    list_filter = ["mode", "source"]
    date_hierarchy = "received_at"
    ordering = ["-received_at"]


@admin.register(Import)
class ImportAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["name", "site", "uploaded_by", "created_at", "state", "rows", "stored", "refused"]
    list_filter = [("site", VisibleRelatedFilter), "state"]
    list_select_related = ["site", "uploaded_by"]
    search_fields = ["name"]
    date_hierarchy = "created_at"


class DeadOrWaiting(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("dead", "dead letter"), ("waiting", "waiting")]

    def queryset(self, request: HttpRequest, queryset: Any) -> QuerySet[Pending]:
        chosen = {"dead": queryset.dead, "waiting": queryset.waiting}.get(self.value() or "", queryset.all)
        rows: QuerySet[Pending] = chosen()
        return rows


@admin.register(Pending)
class PendingAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["batch", "consumer", "live", "attempts", "due_at", "dead_at", "last_error"]
    list_filter = [DeadOrWaiting, "consumer"]
    list_select_related = ["batch"]
    search_fields = ["error"]
    actions = ["try_again"]

    @admin.display(description="error")
    def last_error(self, row: Pending) -> str:
        return row.error[:200]

    def has_redrive_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("sensors.change_pending")

    @admin.action(description="Try again", permissions=["redrive"])
    def try_again(self, request: HttpRequest, queryset: Any) -> None:
        dead = list(queryset.dead())
        for row in dead:
            row.try_again()
        self.message_user(request, f"{len(dead)} dead letters are being tried again.", messages.SUCCESS)


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    scopes = forms.MultipleChoiceField(choices=ApiKey.Scope.choices, widget=forms.CheckboxSelectMultiple)

    class Meta:
        model = ApiKey
        fields = ["user", "name", "scopes", "site", "discovers", "requests_per_second"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        user, site = self.instance.user if self.instance.pk else cleaned.get("user"), cleaned.get("site")
        if user and site and not Site.objects.visible_to(user).filter(pk=site.pk).exists():
            self.add_error("site", "The key's user is no member of this site.")
        return cleaned


@admin.register(ApiKey)
class ApiKeyAdmin(SiteScopedAdmin):
    """Keys are made and revoked; only their limits can be changed. The key itself is shown once."""

    form = ApiKeyForm
    list_display = ["name", "prefix", "user", "scopes", "created_at", "revoked_at"]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter)]
    list_select_related = ["user"]
    search_fields = ["name", "prefix", "user__username"]
    date_hierarchy = "created_at"
    actions = ["revoke"]

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        limits = ["site", "discovers", "requests_per_second"]
        return ["user", "name", "scopes", *limits, *(["prefix", "created_at", "revoked_at"] if obj else [])]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return ["user", "name", "scopes", "prefix", "created_at", "revoked_at"] if obj else []

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "user":
            assert isinstance(request.user, User)
            kwargs["queryset"] = users_within_rights_of(request.user).filter(is_active=True).order_by("username")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        limits = {name: getattr(obj, name) for name in ("site", "discovers", "requests_per_second")}
        row, key = ApiKey.issue(obj.user, obj.name, obj.scopes, **limits)
        obj.pk, obj.prefix = row.pk, row.prefix
        self.message_user(request, f"Copy the key now, it is not shown again: {key}", messages.WARNING)

    @admin.action(description="Revoke", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        count = queryset.filter(revoked_at__isnull=True).update(revoked_at=timezone.now())
        self.message_user(request, f"{count} revoked; they stop working within seconds.", messages.SUCCESS)

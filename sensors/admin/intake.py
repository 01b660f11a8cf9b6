"""Refused readings, and what people did to data, for people."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sensors import quarantine
from sensors.admin.base import ReadOnly, SiteScopedAdmin, VisibleRelatedFilter
from sensors.errors import Refused
from sensors.models import Annotation, AuditEntry, Correction, Quarantined


@admin.register(Quarantined)
class QuarantinedAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["received_at", "site", "code", "sent_sensor", "detail", "times", "source", "state", "page"]
    list_filter = ["state", "code", ("site", VisibleRelatedFilter), "source"]
    list_select_related = ["site"]
    search_fields = ["detail", "payload__sensor_id"]
    date_hierarchy = "received_at"
    exclude = ["digest"]
    actions = ["readmit", "discard"]

    @admin.display(description="sensor")
    def sent_sensor(self, row: Quarantined) -> str:
        return str(row.payload.get("sensor_id") or "–")[:60]

    @admin.display(description="")
    def page(self, row: Quarantined) -> SafeString:
        return format_html('<a href="{}">Correct</a>', reverse("sensors:quarantined", args=[row.pk]))

    def has_settle_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("sensors.settle_quarantined")

    @admin.action(description="Admit as they are", permissions=["settle"])
    def readmit(self, request: HttpRequest, queryset: QuerySet[Quarantined]) -> None:
        self._each(request, queryset, quarantine.readmit, "admitted")

    @admin.action(description="Discard", permissions=["settle"])
    def discard(self, request: HttpRequest, queryset: QuerySet[Quarantined]) -> None:
        self._each(request, queryset, quarantine.discard, "discarded")

    def _each(
        self, request: HttpRequest, rows: QuerySet[Quarantined], verb: Callable[[Quarantined, User], Any], done: str
    ) -> None:
        """A page's worth; whole causes are settled on the page "Quarantine"."""
        assert isinstance(request.user, User)
        count, refused = 0, set()
        for row in rows[: self.list_per_page]:
            try:
                verb(row, request.user)
                count += 1
            except Refused as refusal:
                refused.add(refusal.detail)
        self.message_user(request, f"{count} {done}.", messages.SUCCESS if count else messages.WARNING)
        for detail in sorted(refused)[:5]:
            self.message_user(request, detail, messages.ERROR)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["at", "by", "action", "subject", "site"]
    list_filter = ["action", ("site", VisibleRelatedFilter)]
    list_select_related = ["by", "site"]
    search_fields = ["subject", "by__username"]
    date_hierarchy = "at"


@admin.register(Correction)
class CorrectionAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["sensor", "timestamp", "old_value", "new_value", "at", "by"]
    list_select_related = ["sensor", "by"]
    search_fields = ["sensor__sensor_id", "sensor__name"]
    date_hierarchy = "at"


@admin.register(Annotation)
class AnnotationAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["asset", "sensor", "kind", "start", "end", "text", "created_by", "removed_at"]
    list_filter = ["kind", ("removed_at", admin.EmptyFieldListFilter)]
    list_select_related = ["asset", "sensor", "created_by"]
    search_fields = ["text", "asset__name", "sensor__sensor_id"]
    date_hierarchy = "start"

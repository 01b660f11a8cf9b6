from collections.abc import Callable

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest

from alerts import lifecycle
from alerts.delivery import admin as template_admin  # noqa: F401 (registers its pages)
from alerts.delivery import sending
from alerts.models import Alert, Channel, Delivery, DeliveryItem, Transition
from alerts.routing import admin as routing_admin  # noqa: F401
from alerts.rules import admin as rules_admin  # noqa: F401
from sensors.admin import ReadOnly, SiteScopedAdmin, VisibleRelatedFilter
from sensors.errors import Refused


class TransitionInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    model = Transition
    fields = ["at", "step", "from_state", "to_state", "by", "surface", "reason"]


@admin.register(Alert)
class AlertAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["title", "severity", "state", "kind", "site", "asset", "occurrences", "opened_at", "last_seen_at"]
    list_filter = ["state", "severity", "historical", "kind", ("site", VisibleRelatedFilter)]
    list_select_related = ["site", "asset"]
    search_fields = ["title", "asset__name", "sensor__sensor_id"]
    date_hierarchy = "opened_at"
    inlines = [TransitionInline]
    actions = ["acknowledge", "resolve"]

    def has_acknowledge_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("alerts.acknowledge_alert")

    def has_resolve_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("alerts.resolve_alert")

    @admin.action(description="Acknowledge", permissions=["acknowledge"])
    def acknowledge(self, request: HttpRequest, queryset: QuerySet[Alert]) -> None:
        self._move(request, queryset, lifecycle.acknowledge, "acknowledged")

    @admin.action(description="Resolve", permissions=["resolve"])
    def resolve(self, request: HttpRequest, queryset: QuerySet[Alert]) -> None:
        self._move(request, queryset, lifecycle.resolve, "resolved")

    def _move(
        self, request: HttpRequest, alerts: QuerySet[Alert], step: Callable[[Alert, lifecycle.Actor], Alert], done: str
    ) -> None:
        assert isinstance(request.user, User)
        actor = lifecycle.Actor(request.user, Transition.Surface.ADMIN)
        for alert in alerts:
            try:
                step(alert, actor)
            except Refused as refusal:
                self.message_user(request, f"{alert}: {refusal.detail}", messages.ERROR)
            else:
                self.message_user(request, f"{alert}: {done}.", messages.SUCCESS)


@admin.register(Channel)
class ChannelAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["name", "kind", "site", "enabled", "failing_since", "paused_until", "last_sent_at"]
    list_filter = ["kind", "enabled"]
    list_select_related = ["site"]
    exclude = ["secret"]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Asked for by its beginning, letter after letter, a secret could be read from the number of rows."""
        return not lookup.startswith("secret") and super().lookup_allowed(lookup, value, request)


class DeliveryItemInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    model = DeliveryItem
    fields = ["alert", "reason", "added_at"]


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["created_at", "kind", "channel", "person", "state", "severity", "attempts", "sent_at", "error"]
    list_filter = ["state", "kind", ("site", VisibleRelatedFilter)]
    list_select_related = ["channel", "person"]
    date_hierarchy = "created_at"
    inlines = [DeliveryItemInline]
    actions = ["redrive"]

    def has_redrive_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("alerts.redrive_delivery")

    @admin.action(description="Send again what has failed", permissions=["redrive"])
    def redrive(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        assert isinstance(request.user, User)
        # The list's own query has an order and joins that cannot be locked.
        rows = Delivery.objects.filter(pk__in=list(queryset.values_list("pk", flat=True)))
        count = sending.redrive(rows, lifecycle.Actor(request.user, Transition.Surface.ADMIN))
        self.message_user(request, f"{count} messages are sent again.", messages.SUCCESS)

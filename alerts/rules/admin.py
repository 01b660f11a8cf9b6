"""Rules and firings for people; rules are changed on their own pages, which can try them on the past."""

from django.contrib import admin

from alerts.models import Condition, Firing, Rule
from sensors.admin import ReadOnly, SiteScopedAdmin, VisibleRelatedFilter


class ConditionInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    model = Condition
    fields = ["sensor", "alarm_low", "warn_low", "warn_high", "alarm_high"]


@admin.register(Rule)
class RuleAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["name", "asset", "site", "enabled", "severity", "combination", "duration_seconds", "removed_at"]
    list_filter = ["enabled", ("site", VisibleRelatedFilter), ("removed_at", admin.EmptyFieldListFilter)]
    list_select_related = ["asset", "site"]
    search_fields = ["name", "asset__name", "conditions__sensor__sensor_id"]
    inlines = [ConditionInline]


@admin.register(Firing)
class FiringAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["start", "end", "rule", "sensor", "alarm_at", "peak_value", "historical", "alert"]
    list_filter = ["historical", ("sensor__site", VisibleRelatedFilter)]
    list_select_related = ["rule", "sensor", "alert"]
    search_fields = ["rule__name", "sensor__sensor_id"]
    date_hierarchy = "start"

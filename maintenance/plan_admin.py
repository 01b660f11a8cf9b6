"""Plans and what came of them, to look at; they are changed on their pages, where the next dates show before saving."""

from django.contrib import admin

from maintenance.models import Plan, PlanOccurrence
from sensors.admin import ReadOnly, SiteScopedAdmin, VisibleRelatedFilter


class OccurrenceInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    model = PlanOccurrence
    fields = ["due_at", "key", "order", "created_at"]
    max_num = 50


@admin.register(Plan)
class PlanAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["title", "asset", "trigger", "rule", "next_due_at", "used", "assignee", "enabled", "problem"]
    list_filter = ["trigger", "enabled", ("asset__site", VisibleRelatedFilter)]
    list_select_related = ["asset", "assignee"]
    search_fields = ["title", "description", "asset__name"]
    inlines = [OccurrenceInline]

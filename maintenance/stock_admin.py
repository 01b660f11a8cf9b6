"""The store and what was taken out of it, to look at; quantities change by what people do on the pages."""

from django.contrib import admin

from maintenance.models import Part, PartUse
from sensors.admin import ReadOnly, SiteScopedAdmin, VisibleRelatedFilter


@admin.register(Part)
class PartAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["number", "name", "site", "place", "quantity", "minimum", "unit", "unit_cost"]
    list_filter = [("site", VisibleRelatedFilter)]
    list_select_related = ["site"]
    search_fields = ["number", "name", "place"]


@admin.register(PartUse)
class PartUseAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["at", "part", "quantity", "unit_cost", "order", "by", "put_back_at"]
    list_filter = [("part__site", VisibleRelatedFilter)]
    list_select_related = ["part", "order", "by"]
    search_fields = ["part__number", "part__name"]
    date_hierarchy = "at"

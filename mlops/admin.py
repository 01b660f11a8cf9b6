from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from mlops.models import Anomaly, Baseline, ValidationPolicy
from sensors.admin import ReadOnly, SiteScopedAdmin, VisibleRelatedFilter


@admin.register(Anomaly)
class AnomalyAdmin(ReadOnly, SiteScopedAdmin):
    list_display = [
        "start",
        "end",
        "sensor",
        "peak_score",
        "peak_value",
        "decision",
        "confidence",
        "historical",
        "alert",
    ]
    list_filter = ["decision", "historical", ("sensor__site", VisibleRelatedFilter)]
    list_select_related = ["sensor", "alert"]
    search_fields = ["sensor__sensor_id", "sensor__name", "sensor__asset__name"]
    date_hierarchy = "start"


@admin.register(Baseline)
class BaselineAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["sensor", "valid_from", "readings", "median", "spread"]
    list_filter = [("sensor__site", VisibleRelatedFilter)]
    list_select_related = ["sensor"]
    search_fields = ["sensor__sensor_id", "sensor__name"]
    date_hierarchy = "valid_from"
    ordering = ["-valid_from"]


@admin.register(ValidationPolicy)
class ValidationPolicyAdmin(SiteScopedAdmin):
    list_display = ["site", "preset"]
    list_select_related = ["site"]
    search_fields = ["site__name"]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return ["site"] if obj else []

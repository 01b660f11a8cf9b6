from django.contrib import admin

from mlops.models import Anomaly, Baseline
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

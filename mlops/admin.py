from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from mlops.models import (
    Anomaly,
    Baseline,
    Deployment,
    ModelVersion,
    RepairCheck,
    TrainingRun,
    UnscoredStretch,
    ValidationPolicy,
)
from sensors.admin import ReadOnly, SiteScopedAdmin, VisibleRelatedFilter


@admin.register(Anomaly)
class AnomalyAdmin(ReadOnly, SiteScopedAdmin):
    list_display = [
        "start",
        "end",
        "sensor",
        "asset",
        "peak_score",
        "peak_value",
        "decision",
        "confidence",
        "historical",
        "alert",
    ]
    list_filter = ["decision", "historical", ("sensor__site", VisibleRelatedFilter)]
    list_select_related = ["sensor", "asset", "alert"]
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


@admin.register(UnscoredStretch)
class UnscoredStretchAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["asset", "start", "end", "historical"]
    list_filter = ["historical", ("asset__site", VisibleRelatedFilter)]
    list_select_related = ["asset"]


@admin.register(ValidationPolicy)
class ValidationPolicyAdmin(SiteScopedAdmin):
    list_display = ["site", "preset"]
    list_select_related = ["site"]
    search_fields = ["site__name"]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return ["site"] if obj else []


@admin.register(TrainingRun)
class TrainingRunAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["of", "purpose", "state", "said", "asked_by", "asked_at", "version"]
    list_filter = ["state", "purpose"]
    list_select_related = ["sensor", "asset", "asked_by", "version"]


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["name", "version", "purpose", "site", "size_bytes", "created_at"]
    list_filter = ["purpose", ("site", VisibleRelatedFilter)]
    list_select_related = ["site"]
    search_fields = ["name", "run_id", "sha256"]
    date_hierarchy = "created_at"


@admin.register(Deployment)
class DeploymentAdmin(ReadOnly, SiteScopedAdmin):
    """The ledger; what is in service is seen and withdrawn on the page "Models"."""

    list_display = ["version", "purpose", "scope_label", "site", "since", "by", "why", "until", "ended_by", "rejected"]
    list_filter = ["purpose", ("until", admin.EmptyFieldListFilter), "rejected", ("site", VisibleRelatedFilter)]
    list_select_related = ["version", "sensor", "asset", "site", "by", "ended_by"]
    search_fields = ["version__name", "sensor__sensor_id", "asset__name", "why"]
    date_hierarchy = "since"


@admin.register(RepairCheck)
class RepairCheckAdmin(ReadOnly, SiteScopedAdmin):
    list_display = ["order", "answer", "checked_at", "due_at"]
    list_filter = ["answer", ("order__site", VisibleRelatedFilter)]
    list_select_related = ["order"]
    search_fields = ["order__title", "order__asset__name"]

"""Classes of assets, failure modes and templates for engineers."""

from django.contrib import admin

from maintenance.models import AssetTemplate, FailureMode
from sensors.admin import SiteScopedAdmin
from sensors.models import AssetClass


@admin.register(AssetClass)
class AssetClassAdmin(SiteScopedAdmin):
    list_display = ["name", "auto_approve"]
    search_fields = ["name"]


@admin.register(FailureMode)
class FailureModeAdmin(SiteScopedAdmin):
    list_display = ["code", "name", "asset_class"]
    list_filter = ["asset_class"]
    list_select_related = ["asset_class"]
    search_fields = ["code", "name"]


@admin.register(AssetTemplate)
class AssetTemplateAdmin(SiteScopedAdmin):
    list_display = ["name", "asset_class"]
    list_filter = ["asset_class"]
    list_select_related = ["asset_class"]
    search_fields = ["name"]

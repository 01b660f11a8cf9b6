from django.contrib import admin
from django.http import HttpRequest


class AdminSite(admin.AdminSite):
    """Django's admin for everybody whose role may use it; no separate staff flag to keep in step with the roles."""

    site_header = site_title = "Smart Maintenance"
    index_title = "Records"

    def has_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active and request.user.has_perm("sensors.access_admin")

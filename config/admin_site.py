"""Django's admin as this installation runs it.

Not in `config.admin`: that module registers models on the site, so the site may not have to import it first.
"""

from typing import Any

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, URLResolver, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache


class AdminSite(admin.AdminSite):
    """Django's admin for everybody whose role may use it; no separate staff flag to keep in step with the roles."""

    site_title = "Smart Maintenance"
    site_header = "Smart Maintenance (times in UTC)"
    index_title = "Records"

    def has_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active and request.user.has_perm("sensors.access_admin")

    @method_decorator([never_cache, login_not_required])
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """There is one door: allauth's, where the second factor and the limit of tries count."""
        if self.has_permission(request):
            return HttpResponseRedirect(reverse("admin:index"))
        if request.user.is_authenticated:
            raise PermissionDenied
        return redirect_to_login(request.GET.get("next") or reverse("admin:index"))

    def get_urls(self) -> list[URLPattern | URLResolver]:
        # That view answers for any row of any site, and so tells which exist.
        return [url for url in super().get_urls() if getattr(url, "name", "") != "view_on_site"]

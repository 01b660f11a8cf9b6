from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from config.health import health
from sensors.doors.views import LineProtocolDoor

handler400 = "config.errors.bad_request"
handler403 = "config.errors.permission_denied"
handler404 = "config.errors.not_found"
handler500 = "config.errors.server_error"

urlpatterns = [
    path("health", health, name="health"),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("api/v1/", include("config.api_urls")),
    # Where InfluxDB has it, so that its clients need nothing but the address.
    path("api/v2/write", login_not_required(LineProtocolDoor.as_view()), name="line-protocol"),
    # DRF checks who asks; the pages' login redirect would answer programs with HTML.
    path("api/schema/", login_not_required(SpectacularAPIView.as_view()), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="api-docs"),
    path("", include("sensors.urls")),
    path("alerts/", include("alerts.urls")),
    path("work-orders/", include("maintenance.urls")),
    path("models/", include("mlops.urls")),
]

"""How to send a sensor's readings, and whether they arrive."""

from datetime import timedelta

from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_safe

from sensors import snippets
from sensors.models import Quarantined, Reading, Sensor
from sensors.pages import Request, live_page

# A page that waits for the first reading also tells of one that was refused this long ago.
REFUSED_WITHIN = timedelta(minutes=30)
# After this the newest reading no longer shows that the connection works.
FRESH_WITHIN = timedelta(hours=1)

FIRST_VALUE = 42.0


@require_safe
@permission_required("sensors.view_sensor", raise_exception=True)
def connect(request: Request, pk: int) -> HttpResponse:
    sensor = get_object_or_404(Sensor.objects.visible_to(request.user).select_related("site", "asset"), pk=pk)
    now = timezone.now()
    latest = Reading.objects.filter(sensor=sensor).order_by("-timestamp").first()
    context = {
        "sensor": sensor,
        "latest": latest,
        "stale": latest is not None and latest.timestamp < now - FRESH_WITHIN,
        "refused": _newest_refusal(request, sensor) if request.user.has_perm("sensors.view_quarantined") else None,
    }
    if not request.htmx:
        base = request.build_absolute_uri("/").rstrip("/")
        # An example far from what the sensor measures would raise an alert when it is pasted.
        context["snippets"] = snippets.for_sensor(sensor, base, latest.value if latest else FIRST_VALUE)
    return live_page(request, "sensors/connect.html", "sensors/_connection.html", context)


def _newest_refusal(request: Request, sensor: Sensor) -> Quarantined | None:
    rows = Quarantined.objects.visible_to(request.user).filter(site=sensor.site_id, state=Quarantined.State.WAITING)
    recent = rows.filter(received_at__gte=timezone.now() - REFUSED_WITHIN)
    return recent.filter(payload__sensor_id=sensor.sensor_id).order_by("-received_at").first()

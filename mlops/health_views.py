"""The health of assets: a panel of one, and the column of a list of them."""

from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from mlops import health_facts
from sensors.models import Asset
from sensors.pages import Request

# Whoever reads what speaks against an asset reads of its alerts and of its work.
NEEDED = ["mlops.view_anomaly", "alerts.view_alert", "maintenance.view_workorder"]


@require_safe
@permission_required(NEEDED, raise_exception=True)
def of_asset(request: Request, pk: int) -> HttpResponse:
    asset = get_object_or_404(Asset.objects.visible_to(request.user), pk=pk)
    health = health_facts.of_assets([asset.pk], timezone.now())[asset.pk]
    return render(request, "mlops/_health.html", {"asset": asset, "health": health})


@require_safe
@permission_required(NEEDED, raise_exception=True)
def of_fleet(request: Request) -> HttpResponse:
    """The badges of every asset with sensors, which htmx puts into their places in a list."""
    shown = Asset.objects.visible_to(request.user).filter(sensors__status="active").order_by().distinct()
    found = health_facts.of_assets(list(shown.values_list("pk", flat=True)), timezone.now())
    return render(request, "mlops/_fleet_health.html", {"found": found.items()})

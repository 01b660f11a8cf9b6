from datetime import timedelta
from typing import Any

from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from mlops.hindsight import hindsight
from mlops.models import Anomaly
from sensors.models import Asset
from sensors.pages import Request, overlapping
from sensors.wording import for_machines

PANEL_ROWS = 10
MAX_MARKS = 500
HINDSIGHT_DAYS = 180


@require_safe
@permission_required("mlops.view_anomaly", raise_exception=True)
def for_asset(request: Request, pk: int) -> HttpResponse:
    asset = get_object_or_404(Asset.objects.visible_to(request.user).select_related("site"), pk=pk)
    found = list(Anomaly.objects.filter(sensor__asset=asset).select_related("sensor")[: PANEL_ROWS + 1])
    context = {"asset": asset, "anomalies": found[:PANEL_ROWS], "more": len(found) > PANEL_ROWS}
    return render(request, "mlops/_for_asset.html", context)


@require_safe
@permission_required(["mlops.view_anomaly", "maintenance.view_verdict"], raise_exception=True)
def validation(request: Request) -> HttpResponse:
    found = hindsight(request.user, timezone.now() - timedelta(days=HINDSIGHT_DAYS))
    tallies = [*found.layers.values(), found.decision]
    return render(request, "mlops/validation.html", {"found": found, "tallies": tallies, "days": HINDSIGHT_DAYS})


@require_safe
@permission_required("mlops.view_anomaly", raise_exception=True)
def marks(request: Request, pk: int) -> JsonResponse:
    """The anomalies of an asset for its charts, by sensor, newest first; `from` and `to` narrow them."""
    asset = get_object_or_404(Asset.objects.visible_to(request.user), pk=pk)
    rows = overlapping(Anomaly.objects.filter(sensor__asset=asset), request.GET.dict())
    by_sensor: dict[int, list[dict[str, Any]]] = {}
    for anomaly in rows[:MAX_MARKS]:
        by_sensor.setdefault(anomaly.sensor_id, []).append(_mark(anomaly))
    return JsonResponse({"sensors": by_sensor})


def _mark(anomaly: Anomaly) -> dict[str, Any]:
    return {
        "start": for_machines(anomaly.start),
        "end": for_machines(anomaly.end),
        "peak_at": for_machines(anomaly.peak_at),
        "peak_value": anomaly.peak_value,
        "decision": anomaly.decision,
        "label": anomaly.get_decision_display(),
        "confidence": anomaly.confidence,
        "alert": reverse("alerts:alert", args=[anomaly.alert_id]) if anomaly.alert_id else None,
    }

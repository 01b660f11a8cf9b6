"""Notes on stretches of time: beside the charts, in them, and the form."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import ValidationError
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from sensors import annotations
from sensors.forms import NewAnnotation
from sensors.models import Annotation, Asset
from sensors.pages import Request, act, overlapping
from sensors.wording import for_machines

MAX_MARKS = 500


@require_safe
@permission_required("sensors.view_annotation", raise_exception=True)
def marks(request: Request, pk: int) -> JsonResponse:
    """What stands about an asset, for its charts; `sensor` is null where it is about all of them."""
    asset = get_object_or_404(Asset.objects.visible_to(request.user), pk=pk)
    standing = Annotation.objects.standing().filter(asset=asset).select_related("created_by")
    rows = overlapping(standing, request.GET.dict())
    return JsonResponse({"annotations": [_mark(row) for row in rows[:MAX_MARKS]]})


def _mark(row: Annotation) -> dict[str, Any]:
    return {
        "id": row.pk,
        "sensor": row.sensor_id,
        "kind": row.kind,
        "start": for_machines(row.start),
        "end": for_machines(row.end),
        "text": row.text or row.get_kind_display(),
    }


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("sensors.add_annotation", raise_exception=True)
def annotate(request: Request, pk: int) -> HttpResponse:
    asset = get_object_or_404(Asset.objects.visible_to(request.user).select_related("site"), pk=pk)
    form = NewAnnotation(request.POST or None, asset=asset, initial=request.GET.dict())
    if form.is_valid():
        try:
            added = annotations.add(asset, request.user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            messages.success(request, "Noted.")
            return redirect(f"{asset.get_absolute_url()}?{annotations.window_around(added)}#annotations")
    status = 422 if form.is_bound else 200
    return render(request, "sensors/annotate.html", {"asset": asset, "form": form}, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("sensors.change_annotation", raise_exception=True)
def take_back(request: Request, pk: int) -> HttpResponse:
    found = get_object_or_404(Annotation.objects.visible_to(request.user).select_related("asset"), pk=pk)
    page = f"{found.asset.get_absolute_url()}#annotations"
    if request.method != "POST":
        return redirect(page)
    return act(request, lambda: annotations.take_back(found, request.user), done="Taken back.", then=page)

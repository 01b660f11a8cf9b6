"""Pages of the maintenance log, and its marks in the charts."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from maintenance import log_book
from maintenance.log_forms import LogFilter, WorkDone
from maintenance.models import MaintenanceLog
from sensors.errors import Refused
from sensors.models import Asset, Site
from sensors.pages import Request, asked_stretch, page_of
from sensors.wording import for_machines

MAX_MARKS = 500


@require_safe
@permission_required("maintenance.view_maintenancelog", raise_exception=True)
def entries(request: Request) -> HttpResponse:
    """What was done, the newest first."""
    sites = Site.objects.visible_to(request.user).order_by("name")
    form = LogFilter(request.GET, sites=sites, assets=Asset.objects.visible_to(request.user))
    context: dict[str, Any] = {"form": form, "untouched": not request.GET}
    if not form.is_valid():
        return render(request, "maintenance/log_book.html", context, status=422)
    rows = MaintenanceLog.objects.visible_to(request.user)
    rows = form.chosen(rows).select_related("asset__site", "done_by", "work_order", "failure_mode")
    return render(request, "maintenance/log_book.html", context | {"page": page_of(rows, request)})


@require_safe
@permission_required("maintenance.view_maintenancelog", raise_exception=True)
def entry(request: Request, pk: int) -> HttpResponse:
    rows = MaintenanceLog.objects.visible_to(request.user)
    rows = rows.select_related("asset__site", "done_by", "work_order", "failure_mode")
    log = get_object_or_404(rows, pk=pk)
    return render(request, "maintenance/log_entry.html", {"log": log, "verdict": log.verdicts.first()})


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("maintenance.add_maintenancelog", raise_exception=True)
def write(request: Request, pk: int) -> HttpResponse:
    """Log work that had no order."""
    asset = get_object_or_404(Asset.objects.visible_to(request.user).select_related("site"), pk=pk)
    with timezone.override(asset.site.timezone):
        form = WorkDone(request.POST or None, asset=asset)
        if not request.user.has_perm("maintenance.add_verdict"):
            del form.fields["fault_found"]
        if form.is_valid():
            try:
                log_book.write(asset, request.user, **form.cleaned_data)
            except Refused as refused:
                form.add_error(None, refused.detail)
            else:
                messages.success(request, "Logged.")
                return redirect(asset)
        status = 422 if form.is_bound else 200
        return render(request, "maintenance/write_log.html", {"asset": asset, "form": form}, status=status)


@require_safe
@permission_required("maintenance.view_maintenancelog", raise_exception=True)
def marks(request: Request, pk: int) -> JsonResponse:
    """What was done on an asset and its parts, for its charts; `from` and `to` narrow it."""
    asset = get_object_or_404(Asset.objects.visible_to(request.user), pk=pk)
    rows = MaintenanceLog.objects.filter(asset__in=log_book.below(asset.pk)).select_related("asset")
    ends = asked_stretch(request.GET.dict())
    for name, lookup in (("from", "completion_date__gte"), ("to", "completion_date__lte")):
        if name in ends:
            rows = rows.filter(**{lookup: ends[name]})
    return JsonResponse({"work": [_mark(row, asset) for row in rows[:MAX_MARKS]]})


def _mark(log: MaintenanceLog, asset: Asset) -> dict[str, Any]:
    begun = log.completion_date - timedelta(minutes=log.duration_minutes or 0)
    text = log.notes[:100] if log.asset_id == asset.pk else f"{log.asset}: {log.notes[:100]}"
    return {
        "start": for_machines(begun),
        "end": for_machines(log.completion_date),
        "kind": "work",
        "text": text,
        "sensor": None,
        "url": reverse("maintenance:log-entry", args=[log.pk]),
    }

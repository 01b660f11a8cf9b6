from datetime import datetime
from typing import Annotated

import msgspec
from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from alerts.models import Alert
from maintenance import foretelling
from maintenance import work_orders as orders
from maintenance.forms import Closing, LogEntry, NewWorkOrder
from maintenance.models import MaintenanceLog, Outcome, WorkOrder
from sensors.models import Asset
from sensors.pages import Request, act, live_page, page_of, takes_post

PANEL_ROWS = 8
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Firings(msgspec.Struct):
    """When a rule that was tried on the past would have fired between two times."""

    start: Moment
    end: Moment
    spans: Annotated[list[tuple[Moment, Moment]], msgspec.Meta(max_length=300)]


@require_safe
@permission_required("maintenance.view_workorder", raise_exception=True)
def work_orders(request: Request) -> HttpResponse:
    rows = WorkOrder.objects.visible_to(request.user).select_related("site", "asset", "assignee")
    ended = request.GET.get("show") == "closed"
    rows = rows.filter(closed_at__isnull=False).order_by("-closed_at", "-pk") if ended else rows.running().by_due()
    context = {"page": page_of(rows, request), "ended": ended, "now": timezone.now()}
    return live_page(request, "maintenance/work_orders.html", "maintenance/_work_orders.html", context)


@require_safe
@permission_required("maintenance.view_workorder", raise_exception=True)
def due_panel(request: Request) -> HttpResponse:
    """Running work orders of the overview, the next due first."""
    running = WorkOrder.objects.visible_to(request.user).running()
    now = timezone.now()
    context = {
        "orders": running.by_due().select_related("site", "asset")[:PANEL_ROWS],
        "running": running.count(),
        "overdue": running.filter(due_at__lt=now).count(),
        "now": now,
    }
    return render(request, "maintenance/_due_panel.html", context)


@require_safe
@permission_required("maintenance.view_workorder", raise_exception=True)
def for_asset(request: Request, pk: int) -> HttpResponse:
    """Running work orders of an asset and what was last done on it."""
    asset = get_object_or_404(Asset.objects.visible_to(request.user).select_related("site"), pk=pk)
    context = {
        "asset": asset,
        "orders": WorkOrder.objects.filter(asset=asset).running().by_due().select_related("site", "asset")[:PANEL_ROWS],
        "logs": MaintenanceLog.objects.filter(asset=asset).select_related("done_by", "work_order")[:PANEL_ROWS],
        "now": timezone.now(),
    }
    return render(request, "maintenance/_for_asset.html", context)


@require_POST
@permission_required("maintenance.view_verdict", raise_exception=True)
def foretold(request: Request, pk: int) -> HttpResponse:
    """Which faults that were found on an asset the firings of a rule would have come before; nothing is stored."""
    asset = get_object_or_404(Asset.objects.visible_to(request.user), pk=pk)
    try:
        sent = msgspec.json.decode(request.POST.get("firings", ""), type=Firings)
    except msgspec.DecodeError:
        return HttpResponse("The firings are not a list of times.", status=422, content_type="text/plain")
    found = foretelling.foretold(asset, sent.spans, sent.start, sent.end)
    context = {"found": found, "asset": asset, "days": foretelling.LONGEST_LEAD.days}
    return render(request, "maintenance/_foretold.html", context)


@require_safe
@permission_required("maintenance.view_workorder", raise_exception=True)
def for_alert(request: Request, pk: int) -> HttpResponse:
    """The work orders of an alert, or the button that opens one."""
    alert = get_object_or_404(Alert.objects.visible_to(request.user).select_related("site"), pk=pk)
    found = list(WorkOrder.objects.filter(alert=alert).select_related("site", "asset", "assignee"))
    can_open = alert.asset_id and not alert.is_resolved and not any(order.is_running for order in found)
    context = {"alert": alert, "orders": found, "can_open": can_open, "now": timezone.now()}
    return render(request, "maintenance/_for_alert.html", context)


@takes_post("alerts:alert")
@permission_required("maintenance.add_workorder", raise_exception=True)
def open_for_alert(request: Request, pk: int) -> HttpResponse:
    alert = get_object_or_404(Alert.objects.visible_to(request.user).select_related("asset"), pk=pk)
    opened: list[WorkOrder] = []
    answer = act(
        request,
        lambda: opened.append(orders.open_for_alert(alert, request.user)),
        done="Work order opened, alert acknowledged.",
        then=alert.get_absolute_url(),
    )
    return redirect(opened[0]) if opened else answer


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("maintenance.add_workorder", raise_exception=True)
def open_for_asset(request: Request, pk: int) -> HttpResponse:
    asset = get_object_or_404(Asset.objects.visible_to(request.user).select_related("site"), pk=pk)
    with timezone.override(asset.site.timezone):
        form = NewWorkOrder(request.POST or None)
        if form.is_valid():
            return redirect(orders.open_for_asset(asset, request.user, **form.cleaned_data))
        status = 422 if form.is_bound else 200
        return render(request, "maintenance/open_for_asset.html", {"asset": asset, "form": form}, status=status)


@require_safe
@permission_required("maintenance.view_workorder", raise_exception=True)
def work_order(request: Request, pk: int) -> HttpResponse:
    return _order_page(request, _visible_order(request, pk))


@takes_post("maintenance:work-order")
@permission_required("maintenance.change_workorder", raise_exception=True)
def start(request: Request, pk: int) -> HttpResponse:
    order = _visible_order(request, pk)
    done = "Started: readings of this asset now count as maintenance."
    return act(request, lambda: orders.start(order, request.user), done=done, then=order.get_absolute_url())


@takes_post("maintenance:work-order")
@permission_required("maintenance.add_maintenancelog", raise_exception=True)
def log(request: Request, pk: int) -> HttpResponse:
    order = _visible_order(request, pk)
    form = LogEntry(request.POST, auto_id="log_%s")
    if not form.is_valid():
        return _order_page(request, order, entry=form)
    notes, minutes = form.cleaned_data["notes"], form.cleaned_data["minutes"]
    return act(
        request,
        lambda: orders.add_log(order, request.user, notes, duration_minutes=minutes),
        done="Logged.",
        then=order.get_absolute_url(),
    )


@takes_post("maintenance:work-order")
@permission_required(["maintenance.change_workorder", "maintenance.add_verdict"], raise_exception=True)
def close(request: Request, pk: int) -> HttpResponse:
    order = _visible_order(request, pk)
    form = Closing(request.POST, judged=bool(order.alert_id), auto_id="close_%s")
    if not form.is_valid():
        return _order_page(request, order, closing=form)
    # Without an alert there is nothing to judge, and the outcome is recorded nowhere.
    outcome = Outcome(form.cleaned_data.get("outcome", Outcome.PLANNED_WORK))
    return act(
        request,
        lambda: orders.close(order, request.user, outcome, form.cleaned_data["notes"]),
        done="Closed. What you found teaches the detectors." if order.alert_id else "Closed.",
        then=order.get_absolute_url(),
    )


@takes_post("maintenance:work-order")
@permission_required("maintenance.change_workorder", raise_exception=True)
def cancel(request: Request, pk: int) -> HttpResponse:
    order = _visible_order(request, pk)
    done = "Cancelled. The alert stays as it is." if order.alert_id else "Cancelled."
    return act(request, lambda: orders.cancel(order, request.user), done=done, then=order.get_absolute_url())


def _visible_order(request: Request, pk: int) -> WorkOrder:
    rows = WorkOrder.objects.visible_to(request.user).select_related("site", "asset", "alert", "assignee", "created_by")
    order: WorkOrder = get_object_or_404(rows, pk=pk)
    return order


def _order_page(
    request: Request, order: WorkOrder, *, entry: LogEntry | None = None, closing: Closing | None = None
) -> HttpResponse:
    """The page of an order; with a form that was refused, its errors and status 422."""
    context = {
        "order": order,
        "logs": order.logs.select_related("done_by"),
        "verdict": order.verdicts.select_related("given_by").first(),
        "entry": entry or LogEntry(auto_id="log_%s"),
        "closing": closing or Closing(judged=bool(order.alert_id), auto_id="close_%s"),
        "now": timezone.now(),
    }
    answer = live_page(request, "maintenance/work_order.html", "maintenance/_work_order.html", context)
    answer.status_code = 422 if entry or closing else 200
    return answer

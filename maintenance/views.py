from datetime import datetime
from typing import Annotated, Any

import msgspec
from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from alerts.models import Alert
from maintenance import foretelling
from maintenance import work_orders as orders
from maintenance.forms import NewWorkOrder, WorkOrderFilter
from maintenance.models import MaintenanceLog, WorkOrder
from maintenance.querysets import WorkOrderQuerySet
from sensors.models import Asset, Site
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
    form = WorkOrderFilter(request.GET, sites=Site.objects.visible_to(request.user))
    chosen = form.cleaned_data if form.is_valid() else {}
    rows = _filtered(WorkOrder.objects.visible_to(request.user), chosen, request.user)
    context = {
        "form": form,
        "page": page_of(rows.select_related("site", "asset", "assignee"), request),
        "untouched": not any(chosen.values()),
        "now": timezone.now(),
    }
    return live_page(request, "maintenance/work_orders.html", "maintenance/_work_orders.html", context)


def _filtered(rows: WorkOrderQuerySet, chosen: dict[str, Any], reader: User) -> WorkOrderQuerySet:
    if chosen.get("site"):
        rows = rows.filter(site=chosen["site"])
    if chosen.get("kind"):
        rows = rows.filter(kind=chosen["kind"])
    if chosen.get("mine"):
        rows = rows.of(reader)
    if chosen.get("overdue"):
        rows = rows.overdue(timezone.now())
    if words := chosen.get("words"):
        rows = rows.matching(words, reader)
    state = chosen.get("state") or "running"
    if state == "running":
        return rows.running().by_due()
    if state == "ended":
        return rows.filter(closed_at__isnull=False).order_by("-closed_at", "-pk")
    return rows.filter(state=state).order_by("-created_at", "-pk")


@require_safe
@permission_required("maintenance.view_workorder", raise_exception=True)
def due_panel(request: Request) -> HttpResponse:
    """Running work orders of the overview, the next due first."""
    running = WorkOrder.objects.visible_to(request.user).running()
    now = timezone.now()
    context = {
        "orders": running.by_due().select_related("site", "asset")[:PANEL_ROWS],
        "running": running.count(),
        "overdue": running.overdue(now).count(),
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
    """Propose a work order because of an alert; with `start` among what was sent, approve and start it as well."""
    alert = get_object_or_404(Alert.objects.visible_to(request.user).select_related("site", "asset"), pk=pk)
    at_once = "start" in request.POST
    if at_once and not request.user.has_perms((orders.APPROVE, orders.CHANGE)):
        raise PermissionDenied
    opened: list[WorkOrder] = []

    def propose() -> None:
        order = orders.propose_for_alert(alert, request.user)
        if at_once:
            order = orders.start(orders.approve_if_proposed(order, request.user), request.user)
        opened.append(order)

    done = "Work order in progress, alert acknowledged." if at_once else "Work order proposed, alert acknowledged."
    answer = act(request, propose, done=done, then=alert.get_absolute_url())
    return redirect(opened[0]) if opened else answer


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("maintenance.add_workorder", raise_exception=True)
def open_for_asset(request: Request, pk: int) -> HttpResponse:
    """Make a job on an asset. Whoever may approve has thereby approved it."""
    asset = get_object_or_404(Asset.objects.visible_to(request.user).select_related("site"), pk=pk)
    approved = request.user.has_perm(orders.APPROVE)
    with timezone.override(asset.site.timezone):
        form = NewWorkOrder(request.POST or None)
        if form.is_valid():
            return redirect(orders.propose(asset, request.user, approved=approved, **form.cleaned_data))
        status = 422 if form.is_bound else 200
        return render(request, "maintenance/open_for_asset.html", {"asset": asset, "form": form}, status=status)

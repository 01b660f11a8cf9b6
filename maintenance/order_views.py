"""The page of one work order, and what people do on it."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_safe

from maintenance import work_orders as orders
from maintenance.forms import Closing, LogEntry, Schedule
from maintenance.models import Outcome, WorkOrder
from sensors.pages import Request, View, act, live_page, takes_post

CHANGE = "maintenance.change_workorder"


@require_safe
@permission_required("maintenance.view_workorder", raise_exception=True)
def work_order(request: Request, pk: int) -> HttpResponse:
    return _order_page(request, visible_order(request, pk))


def _step(name: str, take: Callable[[WorkOrder, User], WorkOrder], done: str) -> View:
    """The view of a step that asks nothing."""

    @takes_post("maintenance:work-order")
    @permission_required(orders.MOVES[name].permissions, raise_exception=True)
    def view(request: Request, pk: int) -> HttpResponse:
        order = visible_order(request, pk)
        return act(request, lambda: take(order, request.user), done=done, then=order.get_absolute_url())

    return view


def _step_with_reason(name: str, take: Callable[[WorkOrder, User, str], WorkOrder], done: str) -> View:
    @takes_post("maintenance:work-order")
    @permission_required(orders.MOVES[name].permissions, raise_exception=True)
    def view(request: Request, pk: int) -> HttpResponse:
        order, reason = visible_order(request, pk), request.POST.get("reason", "")
        return act(request, lambda: take(order, request.user, reason), done=done, then=order.get_absolute_url())

    return view


approve = _step("approve", orders.approve, "Approved.")
start = _step("start", orders.start, "Started: readings of this asset now count as maintenance.")
finish = _step("finish", orders.finish, "Done. Say what you found to close it.")
hold = _step_with_reason("hold", orders.hold, "On hold: the asset is watched again.")
reopen = _step_with_reason("reopen", orders.reopen, "In progress again.")
cancel = _step_with_reason("cancel", orders.cancel, "Cancelled.")


@takes_post("maintenance:work-order")
@permission_required(orders.MOVES["schedule"].permissions, raise_exception=True)
def schedule(request: Request, pk: int) -> HttpResponse:
    order = visible_order(request, pk)
    with timezone.override(order.site.timezone):
        form = Schedule(request.POST, order=order, auto_id="schedule_%s")
        if not form.is_valid():
            return _order_page(request, order, plan=form)
    return act(
        request,
        lambda: orders.schedule(order, request.user, **form.cleaned_data),
        done="Scheduled.",
        then=order.get_absolute_url(),
    )


@takes_post("maintenance:work-order")
@permission_required("maintenance.add_workorder", raise_exception=True)
def comment(request: Request, pk: int) -> HttpResponse:
    order, text = visible_order(request, pk), request.POST.get("text", "")
    return act(request, lambda: orders.comment(order, request.user, text), done="Noted.", then=order.get_absolute_url())


@takes_post("maintenance:work-order")
@permission_required("maintenance.add_maintenancelog", raise_exception=True)
def log(request: Request, pk: int) -> HttpResponse:
    order = visible_order(request, pk)
    form = LogEntry(request.POST, auto_id="log_%s")
    if not form.is_valid():
        return _order_page(request, order, entry=form)
    sent = form.cleaned_data
    return act(
        request,
        lambda: orders.add_log(order, request.user, sent["notes"], duration_minutes=sent["minutes"], key=sent["key"]),
        done="Logged.",
        then=order.get_absolute_url(),
    )


@takes_post("maintenance:work-order")
@permission_required(orders.MOVES["close"].permissions, raise_exception=True)
def close(request: Request, pk: int) -> HttpResponse:
    order = visible_order(request, pk)
    form = Closing(request.POST, order=order, auto_id="close_%s")
    # What is sent again, and names alerts that the first time settled, is answered by the order's state.
    if not form.is_valid() and (order.is_running or "outcome" in form.errors):
        return _order_page(request, order, closing=form)
    found = form.cleaned_data | {"also": form.cleaned_data.get("also", ())}
    outcome = Outcome(found.pop("outcome"))
    return act(
        request,
        lambda: orders.close(order, request.user, outcome, **found),
        done="Closed. What you found teaches the detectors." if order.alert_id else "Closed.",
        then=order.get_absolute_url(),
    )


def visible_order(request: Request, pk: int) -> WorkOrder:
    """The order, where the person may see it; otherwise 404."""
    people = ("assignee", "created_by", "failure_mode", "follows")
    rows = WorkOrder.objects.visible_to(request.user).select_related("site", "asset", "alert", *people)
    order: WorkOrder = get_object_or_404(rows, pk=pk)
    return order


def _order_page(request: Request, order: WorkOrder, **refused: forms.Form) -> HttpResponse:
    """The page of an order; with a form that was refused, its errors and status 422."""
    can = orders.moves_of(order, request.user)
    context: dict[str, Any] = {
        "order": order,
        "can": can,
        "steps": order.steps.select_related("by"),
        "logs": order.logs.select_related("done_by"),
        "verdict": order.verdicts.select_related("given_by").first(),
        "crew": order.crew.all(),
        "checklist": order.checklist.select_related("sensor", "done_by", "follow_up").prefetch_related("attachments"),
        "attachments": order.attachments.filter(item=None).select_related("by"),
        "entry": LogEntry(auto_id="log_%s"),
        "now": timezone.now(),
    }
    with timezone.override(order.site.timezone):
        if "close" in can:
            context["closing"] = Closing(order=order, auto_id="close_%s")
        if "schedule" in can:
            context["plan"] = Schedule(order=order, auto_id="schedule_%s")
        answer = live_page(request, "maintenance/work_order.html", "maintenance/_work_order.html", context | refused)
    answer.status_code = 422 if refused else 200
    return answer

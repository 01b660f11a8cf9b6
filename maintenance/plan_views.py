"""Pages of plans: the list, one with what came of it, and the form with the next dates before anything is saved."""

from itertools import islice
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.db.models import Min, Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from maintenance import plans
from maintenance.models import Plan
from maintenance.plan_days import Due, next_days
from maintenance.plan_forms import PlanForm
from sensors.errors import Refused
from sensors.models import Asset
from sensors.pages import Request, act, page_of, takes_post

PREVIEWED = 10
OCCURRENCES_SHOWN = 20


@require_safe
@permission_required("maintenance.view_plan", raise_exception=True)
def index(request: Request) -> HttpResponse:
    """The next due first; what is switched off last."""
    rows = Plan.objects.visible_to(request.user).select_related("asset__site", "assignee", "sensor")
    running = Min("occurrences__order__due_at", filter=Q(occurrences__order__closed_at=None))
    rows = rows.annotate(open_due_at=running).order_by("-enabled", "next_due_at", "title", "pk")
    return render(request, "maintenance/plans.html", {"page": page_of(rows, request), "now": timezone.now()})


@require_safe
@permission_required("maintenance.view_plan", raise_exception=True)
def plan(request: Request, pk: int) -> HttpResponse:
    found = _plan(request, pk)
    occurrences = found.occurrences.select_related("order__site", "order__asset").order_by("-created_at", "-pk")
    context = {
        "plan": found,
        "coming": _coming(found) if found.enabled else [],
        "occurrences": occurrences[:OCCURRENCES_SHOWN],
        "used_percent": min(100, max(0, round(100 * found.used / found.every))) if found.every else None,
    }
    return render(request, "maintenance/plan.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("maintenance.add_plan", raise_exception=True)
def new(request: Request) -> HttpResponse:
    """A plan of the asset and trigger that `?asset=` and `?trigger=` name; without them it asks for both."""
    assets = Asset.objects.visible_to(request.user).select_related("site")
    asked, trigger = request.GET.get("asset", ""), request.GET.get("trigger", "")
    if not (asked.isdecimal() and len(asked) < 18) or trigger not in Plan.Trigger.values:
        context = {"assets": assets.order_by("site__name", "name"), "asked": asked}
        return render(request, "maintenance/plan_new.html", context)
    asset = get_object_or_404(assets, pk=int(asked))
    approved = trigger != Plan.Trigger.CONDITION
    today = timezone.now().astimezone(asset.site.timezone).date()
    return _edit(request, Plan(asset=asset, trigger=trigger, approved=approved, starts_on=today))


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("maintenance.change_plan", raise_exception=True)
def edit(request: Request, pk: int) -> HttpResponse:
    return _edit(request, _plan(request, pk))


@takes_post("maintenance:plan")
@permission_required("maintenance.change_plan", raise_exception=True)
def switch(request: Request, pk: int) -> HttpResponse:
    found = _plan(request, pk)
    found.enabled = request.POST.get("on") == "1"
    done = "Switched on: it counts from now." if found.enabled else "Switched off: it makes no orders."
    return act(request, lambda: plans.keep(found, request.user), done=done, then=found.get_absolute_url())


def _edit(request: Request, row: Plan) -> HttpResponse:
    """The form; with `preview` it shows the next dates and stores nothing."""
    data = request.POST if request.method == "POST" else None
    form = PlanForm(data, instance=row, user=request.user)
    context: dict[str, Any] = {"plan": row, "form": form}
    if data is None:
        return render(request, "maintenance/plan_form.html", context)
    status = 422
    if form.is_valid():
        try:
            if "preview" not in data:
                plans.keep(form.save(commit=False), request.user)
                messages.success(request, "Saved.")
                return redirect(row)
            context |= {"coming": _coming(form.save(commit=False)), "previewed": True}
            status = 200
        except Refused as refusal:
            form.add_error("rule" if "rule" in form.fields else None, refusal.detail)
    return render(request, "maintenance/plan_form.html", context, status=status)


def _coming(row: Plan) -> list[Due]:
    return list(islice(next_days(row, timezone.now()), PREVIEWED))


def _plan(request: Request, pk: int) -> Plan:
    rows = Plan.objects.visible_to(request.user).select_related("asset__site", "assignee", "sensor", "created_by")
    found: Plan = get_object_or_404(rows, pk=pk)
    return found

"""Pages of rules and limits: lists, forms, and what they would have said of the past."""

import json
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from alerts.models import Condition, Firing, Rule
from alerts.rules import definition as definitions
from alerts.rules import keeping, recording
from alerts.rules.backtest import LONGEST, MOST_READINGS, Backtest, backtest
from alerts.rules.definition import Definition
from alerts.rules.forms import Conditions, PastPeriod, RuleForm, SensorLimits, definition_of, rows_of
from alerts.rules.recording import in_words, limits_in_words
from sensors.errors import Refused
from sensors.models import HAS_LIMITS, Asset, Sensor
from sensors.models.limited import lines
from sensors.pages import Request, act, page_of, takes_post
from sensors.wording import for_machines
from sensors.zones import MACHINE_CLASSES, UNIT

FIRINGS_SHOWN = 20
# So many are marked in a chart; more would only be colour.
FIRINGS_MARKED = 300
LATELY = timedelta(days=30)


@require_safe
@permission_required("alerts.view_rule", raise_exception=True)
def index(request: Request) -> HttpResponse:
    """The rules, and below them the sensors that have limits of their own."""
    rules = Rule.objects.visible_to(request.user).standing().select_related("site", "asset")
    rules = rules.prefetch_related("conditions__sensor").annotate(lately=_lately(Q(rule=OuterRef("pk"))))
    sensors = Sensor.objects.visible_to(request.user).active().filter(HAS_LIMITS).select_related("site", "asset")
    sensors = sensors.annotate(lately=_lately(Q(rule=None, sensor=OuterRef("pk")))).order_by("sensor_id")
    page, limited = page_of(rules.order_by("name", "pk"), request), page_of(sensors, request)
    for rule in page.rows:
        rule.said = in_words(rule)
    for sensor in limited.rows:
        sensor.said = limits_in_words(sensor, sensor)
    context = {"page": page, "limited": limited, "more": page.more or limited.more, "days": LATELY.days}
    return render(request, "alerts/rules.html", context)


def _lately(which: Q) -> Coalesce:
    rows = Firing.objects.filter(which, start__gte=timezone.now() - LATELY).order_by().values("rule")
    return Coalesce(Subquery(rows.annotate(count=Count("pk")).values("count")), 0)


@require_safe
@permission_required("alerts.view_rule", raise_exception=True)
def rule(request: Request, pk: int) -> HttpResponse:
    found = _rule(request, pk)
    firings = Firing.objects.filter(rule=found).select_related("sensor", "alert")[: FIRINGS_SHOWN + 1]
    context = {
        "rule": found,
        "conditions": in_words(found),
        "firings": _lasting(firings),
        "more": len(firings) > FIRINGS_SHOWN,
    }
    return render(request, "alerts/rule.html", context)


def _lasting(firings: "QuerySet[Firing]") -> list[Firing]:
    shown: list[Any] = list(firings[:FIRINGS_SHOWN])
    for firing in shown:
        firing.seconds = (firing.end - firing.start).total_seconds()
    return shown


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("alerts.add_rule", raise_exception=True)
def new(request: Request) -> HttpResponse:
    """A rule of the asset that `?asset=` names."""
    assets = Asset.objects.visible_to(request.user)
    asked = request.GET.get("asset", "")
    if not (asked.isdecimal() and len(asked) < 18):
        context = {"assets": assets.filter(sensors__status="active").distinct().select_related("site")}
        return render(request, "alerts/rule_asset.html", context)
    asset = get_object_or_404(assets.select_related("site"), pk=int(asked))
    return _edit(request, Rule(asset=asset, name=""))


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("alerts.change_rule", raise_exception=True)
def edit(request: Request, pk: int) -> HttpResponse:
    return _edit(request, _rule(request, pk))


def _edit(request: Request, row: Rule) -> HttpResponse:
    """The form; with `try` it says what it would have done in the past, and stores nothing."""
    data = request.POST if request.method == "POST" else None
    form, period = RuleForm(data, instance=row), PastPeriod(data)
    conditions = Conditions(data, instance=row, form_kwargs={"asset": row.asset})
    context: dict[str, Any] = {"rule": row, "asset": row.asset, "form": form, "conditions": conditions}
    context |= {"period": period, "bounds": _bounds()}
    status = 200
    if data is not None:
        valid = form.is_valid() and conditions.is_valid()
        if valid and "try" in data and period.is_valid():
            context |= _tried(request, definition_of(form, conditions), period)
        elif valid and "try" not in data:
            keeping.save(form.save(commit=False), rows_of(conditions), request.user)
            messages.success(request, "Saved.")
            return redirect(row)
        else:
            status = 422
    return render(request, "alerts/rule_form.html", context, status=status)


def _bounds() -> dict[str, int]:
    return {"days": LONGEST.days, "readings": MOST_READINGS}


def _tried(request: Request, definition: Definition, period: PastPeriod) -> dict[str, Any]:
    try:
        found = backtest(definition, *period.stretch(), user_id=request.user.pk)
    except Refused as refusal:
        period.add_error(None, refusal.detail)
        return {}
    return {"tried": found, "shown": _shown(definition, found), "charts": _charts(definition, found)}


def _shown(definition: Definition, found: Backtest) -> list[dict[str, Any]]:
    """The newest firings of a backtest, as the page lists them."""
    sensors = Sensor.objects.in_bulk([condition.sensor for condition in definition.conditions])
    return [
        {
            "start": recording.at(each.start),
            "seconds": each.seconds,
            "is_alarm": each.alarm_at is not None,
            "sensor": sensors[each.peak.sensor],
            "peak": each.peak.value,
        }
        for each in reversed(found.found[-FIRINGS_SHOWN:])
    ]


def _charts(definition: Definition, found: Backtest) -> dict[str, Any]:
    """Every sensor over the period, its limits, and where it would have fired."""
    spans = [(for_machines(recording.at(each.start)), for_machines(recording.at(each.end))) for each in found.found]
    sensors = Sensor.objects.in_bulk([condition.sensor for condition in definition.conditions])
    return {
        "from": for_machines(found.start),
        "to": for_machines(found.end),
        "spans": json.dumps(spans[-FIRINGS_MARKED:]),
        "firings": json.dumps({"firings": json.dumps(_marked(found, spans[-FIRINGS_MARKED:]))}),
        "sensors": [(sensors[each.sensor], json.dumps(lines(each.limits))) for each in definition.conditions],
    }


def _marked(found: Backtest, spans: list[tuple[str, str]]) -> dict[str, Any]:
    """What is asked of the faults that were found: about the time that the newest firings cover."""
    start = spans[0][0] if len(spans) < found.count else for_machines(found.start)
    return {"start": start, "end": for_machines(found.end), "spans": spans}


@takes_post("alerts:rule")
@permission_required("alerts.change_rule", raise_exception=True)
def switch(request: Request, pk: int) -> HttpResponse:
    found, on = _rule(request, pk), request.POST.get("on") == "1"
    done = "Switched on." if on else "Switched off."
    return act(request, lambda: keeping.switch(found, on, request.user), done=done, then=found.get_absolute_url())


@takes_post("alerts:rule")
@permission_required("alerts.change_rule", raise_exception=True)
def remove(request: Request, pk: int) -> HttpResponse:
    found = _rule(request, pk)
    return act(request, lambda: keeping.remove(found, request.user), done="Deleted.", then=reverse("alerts:rules"))


def _rule(request: Request, pk: int) -> Rule:
    rows = Rule.objects.visible_to(request.user).standing().select_related("site", "asset__site", "created_by")
    found: Rule = get_object_or_404(rows.prefetch_related("conditions__sensor"), pk=pk)
    return found


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("alerts.view_rule", raise_exception=True)
def limits(request: Request, pk: int) -> HttpResponse:
    """The limits of one sensor: to be read by everybody, to be changed by those who may change sensors."""
    sensor = get_object_or_404(Sensor.objects.visible_to(request.user).select_related("asset__site"), pk=pk)
    may_change = request.user.has_perm("sensors.change_sensor")
    data = request.POST if request.method == "POST" else None
    if data is not None and not may_change:
        raise PermissionDenied
    form, period = SensorLimits(data, instance=sensor), PastPeriod(data)
    firings = Firing.objects.filter(rule=None, sensor=sensor).select_related("alert")[: FIRINGS_SHOWN + 1]
    context: dict[str, Any] = {"sensor": sensor, "form": form, "period": period, "bounds": _bounds()}
    context |= {"may_change": may_change, "rules": _rules_of(sensor), "firings": _lasting(firings)}
    context |= {"classes": MACHINE_CLASSES.items() if sensor.unit == UNIT else None}
    status = 200
    if data is not None:
        valid = form.is_valid()
        if valid and "try" in data and period.is_valid():
            context |= _tried_limits(request, form.instance, period)
        elif valid and "try" not in data:
            keeping.limit(form.instance, request.user)
            messages.success(request, "Saved.")
            return redirect("alerts:limits", sensor.pk)
        else:
            status = 422
    return render(request, "alerts/limits.html", context, status=status)


def _tried_limits(request: Request, sensor: Sensor, period: PastPeriod) -> dict[str, Any]:
    return _tried(request, definitions.of_sensor(sensor), period)


def _rules_of(sensor: Sensor) -> "QuerySet[Rule]":
    with_sensor = Condition.objects.filter(sensor=sensor).values("rule")
    return Rule.objects.standing().filter(pk__in=with_sensor).select_related("asset")

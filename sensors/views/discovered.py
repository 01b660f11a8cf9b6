"""Sensors that nobody has set up: what they send, where they seem to belong, and placing them."""

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from sensors import placement
from sensors.errors import Refused
from sensors.forms import Place, PlaceSensor
from sensors.models import Asset, Sensor, Site
from sensors.pages import ROWS_PER_PAGE, Request, page_of
from sensors.querysets import SensorQuerySet


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("sensors.change_sensor", raise_exception=True)
def discovered(request: Request) -> HttpResponse:
    rows = Sensor.objects.visible_to(request.user).discovered().select_related("site").order_by("-created_at", "-pk")
    form = Place(request.POST if request.method == "POST" else None, assets=_assets(request))
    if request.method == "POST":
        answer = _see_to(request, rows, form)
        if answer:
            return answer
    page = page_of(rows, request)
    sensors: list[Any] = page.rows
    samples, suggested = placement.samples(sensors), placement.suggestions(sensors)
    for sensor in sensors:
        sensor.sample, sensor.suggested = samples[sensor.pk], suggested.get(sensor.pk)
    context = {"page": page, "form": form, "chosen": set(request.POST.getlist("sensors")), "any_suggested": suggested}
    return render(request, "sensors/discovered.html", context, status=422 if request.method == "POST" else 200)


def _assets(request: Request) -> Any:
    return placement.placeable(Site.objects.visible_to(request.user).values("pk"))


def _see_to(request: Request, rows: SensorQuerySet, form: Place) -> HttpResponse | None:
    """Do what was asked for the chosen sensors; None when something is missing first."""
    only = request.POST.get("place_suggested")
    asked = [only] if only else request.POST.getlist("sensors")
    chosen = rows.filter(pk__in=[int(pk) for pk in asked if pk.isdecimal() and len(pk) < 19])[:ROWS_PER_PAGE]
    sensors = list(chosen)
    if not sensors:
        form.full_clean()
        form.add_error(None, "Choose sensors in the list first.")
        return None
    action = "suggested" if only else request.POST.get("action")
    if action == "ignore":
        done = _each(request, sensors, lambda sensor: placement.ignore(sensor, request.user))
        messages.info(request, f"{done} ignored: their readings are refused from now on.")
        return redirect("sensors:discovered")
    if action == "suggested":
        suggested = placement.suggestions(sensors)
        _place_each(request, (sensor for sensor in sensors if sensor.pk in suggested), lambda s: suggested[s.pk])
        return redirect("sensors:discovered")
    if not form.is_valid():
        return None
    _place_each(request, sensors, lambda sensor: _target(form.cleaned_data, sensor))
    return redirect("sensors:discovered")


def _target(asked: dict[str, Any], sensor: Sensor) -> Asset:
    asset: Asset = asked["asset"] or placement.new_machine(sensor.site, asked["new_asset"], asked["parent"])
    return asset


def _place_each(request: Request, sensors: Iterable[Sensor], target: Callable[[Sensor], Asset]) -> None:
    done = _each(request, sensors, lambda sensor: placement.place(sensor, target(sensor), request.user))
    if done:
        messages.success(request, f"{done} placed.")


def _each(request: Request, sensors: Iterable[Sensor], verb: Callable[[Sensor], object]) -> int:
    """Carry out `verb` for each sensor by itself, and say which could not be done; returns how many were."""
    done = 0
    for sensor in sensors:
        try:
            with transaction.atomic():
                verb(sensor)
            done += 1
        except (Refused, ValidationError) as error:
            messages.error(request, f"{sensor.sensor_id}: {_said(error)}")
    return done


def _said(error: Refused | ValidationError) -> str:
    return error.detail if isinstance(error, Refused) else " ".join(error.messages)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("sensors.change_sensor", raise_exception=True)
def place(request: Request, pk: int) -> HttpResponse:
    rows = Sensor.objects.visible_to(request.user).select_related("site", "asset")
    sensor: Any = get_object_or_404(rows, pk=pk)
    if sensor.status != Sensor.Status.DISCOVERED:
        messages.info(request, f"{sensor.sensor_id} is on {sensor.asset}.")
        return redirect(sensor.asset)
    suggested = placement.suggestions([sensor]).get(sensor.pk)
    initial = {"name": sensor.name, "kind": sensor.kind, "unit": sensor.unit, "asset": suggested}
    form = PlaceSensor(request.POST or None, initial=initial, assets=placement.placeable([sensor.site_id]))
    if form.is_valid() and _placed(request, sensor, form):
        return redirect("sensors:connect", sensor.pk)
    sensor.sample = placement.samples([sensor])[sensor.pk]
    context = {"sensor": sensor, "form": form}
    return render(request, "sensors/place.html", context, status=422 if form.is_bound else 200)


def _placed(request: Request, sensor: Sensor, form: PlaceSensor) -> bool:
    asked = form.cleaned_data
    try:
        with transaction.atomic():
            target = _target(asked, sensor)
            placement.place(sensor, target, request.user, **{name: asked[name] for name in ("name", "kind", "unit")})
    except (Refused, ValidationError) as error:
        form.add_error(None, _said(error))
        return False
    messages.success(request, f"Placed on {target}.")
    return True

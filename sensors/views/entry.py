"""Readings that people enter by hand, and the correction of stored ones."""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from sensors import by_hand
from sensors.forms import NewValue, Round
from sensors.models import Asset, Correction, Reading, Sensor
from sensors.pages import Request, aware
from sensors.quality import CEILINGS
from sensors.wording import flags_in_words, measured


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("sensors.add_reading", raise_exception=True)
def enter(request: Request, pk: int) -> HttpResponse:
    asset = get_object_or_404(Asset.objects.visible_to(request.user).select_related("site"), pk=pk)
    sensors = list(Sensor.objects.active().filter(asset=asset))
    form = Round(request.POST or None, sensors=sensors, zone=asset.site.timezone, now=timezone.now())
    if form.is_valid() and _store(request, asset, form):
        return redirect(asset)
    asked = request.GET.get("sensor", "")
    context = {"asset": asset, "form": form, "asked": int(asked) if asked.isdecimal() and len(asked) < 19 else None}
    return render(request, "sensors/enter.html", context, status=422 if form.is_bound else 200)


def _store(request: Request, asset: Asset, form: Round) -> bool:
    """Store what was entered; False when some of it was refused, which the form then tells at its fields."""
    entered = form.entered()
    stored = by_hand.send([row for _, row in entered], source="manual", by=request.user, site_id=asset.site_id)
    for rejection in stored.rejected:
        about_time = rejection.code.startswith("timestamp")
        form.add_error("at" if about_time else f"value_{entered[rejection.index][0].pk}", rejection.detail)
    said = [f"{stored.accepted} stored"] if stored.accepted else []
    if stored.duplicates:
        said.append(f"{stored.duplicates} not: a reading of this time was there already, and stays")
    if stored.rejected and said:
        form.add_error(None, f"{', '.join(said)}. Correct the others below; what is stored is not stored twice.")
    elif said:
        level = messages.SUCCESS if stored.accepted else messages.WARNING
        messages.add_message(request, level, f"{', '.join(said)}.")
    if stored.accepted:
        _tell_doubts(request, [sensor for sensor, _ in entered], form.cleaned_data["moment"])
    return not stored.rejected


def _tell_doubts(request: Request, sensors: list[Sensor], at: datetime) -> None:
    """Ask about each reading of that time that is stored and doubted: it may be a slip of the finger."""
    doubts = sum(CEILINGS)
    for row in Reading.objects.filter(sensor__in=sensors, timestamp=at).select_related("sensor"):
        if why := flags_in_words(row.flags & doubts):
            value = measured(row.value, row.sensor.unit)
            messages.warning(request, f"{row.sensor}: stored, but doubted: {why}. Is {value} meant?")


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("sensors.change_reading", raise_exception=True)
def correct(request: Request, pk: int) -> HttpResponse:
    sensor = get_object_or_404(Sensor.objects.visible_to(request.user).select_related("asset", "site"), pk=pk)
    at = aware("at", request.GET.get("at", ""))
    reading = get_object_or_404(Reading, sensor=sensor, timestamp=at)
    form = NewValue(request.POST or None, initial={"value": reading.value})
    if form.is_valid() and _replaced(request, sensor, reading, form):
        return redirect(sensor)
    before = Correction.objects.filter(sensor=sensor, timestamp=at).select_related("by")
    context = {"sensor": sensor, "reading": reading, "form": form, "corrections": before}
    return render(request, "sensors/correct.html", context, status=422 if form.is_bound else 200)


def _replaced(request: Request, sensor: Sensor, reading: Reading, form: NewValue) -> bool:
    row: dict[str, Any] = {"sensor_id": sensor.sensor_id, "timestamp": reading.timestamp.isoformat()}
    row["value"] = form.cleaned_data["value"]
    stored = by_hand.send([row], source="correction", by=request.user, site_id=sensor.site_id, on_conflict="replace")
    for rejection in stored.rejected:
        form.add_error("value", rejection.detail)
    if stored.corrected:
        was, now = measured(reading.value, sensor.unit), measured(row["value"], sensor.unit)
        messages.success(request, f"Corrected from {was} to {now}. The old value is kept.")
        _tell_doubts(request, [sensor], reading.timestamp)
    elif not stored.rejected:
        messages.info(request, "This is the value that is stored; nothing changed.")
    return not stored.rejected

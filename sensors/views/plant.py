from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import permission_required
from django.core.exceptions import BadRequest
from django.db.models import Count, Exists, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from sensors import annotations, nameplates, quarantine
from sensors import series as stretch
from sensors.discovery import WAITING_ROOM
from sensors.errors import Refused
from sensors.forms import HealthFilter, Period
from sensors.models import Annotation, Asset, Correction, Pending, Reading, Sensor, SensorFault, Site
from sensors.pages import Request, asked_stretch, aware, live_page, page_of
from sensors.querysets import SensorQuerySet
from sensors.wording import flags_in_words, for_machines

READINGS_PER_PAGE = 100
NOTES_ON_PAGE = 20
# Beyond this the number of refused readings says no more than "very many".
MOST_COUNTED = 10_000


@require_safe
@permission_required("sensors.view_asset", raise_exception=True)
def overview(request: Request) -> HttpResponse:
    dead = 0
    if request.user.has_perm("sensors.view_pending"):
        dead = Pending.objects.visible_to(request.user).dead().count()
    has_assets = Asset.objects.visible_to(request.user).exists()
    context = {"dead_letters": dead, "has_assets": has_assets, **_waiting(request)}
    return render(request, "sensors/overview.html", context)


def _waiting(request: Request) -> dict[str, int]:
    """How many sensors and refused readings wait for somebody like the one who asks."""
    user = request.user
    sees, places = user.has_perm("sensors.view_quarantined"), user.has_perm("sensors.change_sensor")
    return {
        "quarantined": quarantine.waiting_count(user, MOST_COUNTED) if sees else 0,
        "most_counted": MOST_COUNTED,
        "discovered": Sensor.objects.visible_to(user).discovered().count() if places else 0,
    }


@require_safe
@permission_required("sensors.view_asset", raise_exception=True)
def assets(request: Request) -> HttpResponse:
    faulty = Sensor.objects.active().filter(Exists(_open_faults()), asset=OuterRef("pk")).order_by().values("asset")
    rows = (
        Asset.objects.visible_to(request.user)
        .annotate(
            sensor_count=Count("sensors", filter=Q(sensors__status=Sensor.Status.ACTIVE)),
            faulty_count=Subquery(faulty.annotate(count=Count("pk")).values("count")),
        )
        .order_by("name")
    )
    sites = list(Site.objects.visible_to(request.user))
    trees = [(site, _in_tree_order([row for row in rows if row.site_id == site.pk])) for site in sites]
    return render(request, "sensors/assets.html", {"trees": trees, **_waiting(request)})


def _open_faults() -> "QuerySet[SensorFault]":
    return SensorFault.objects.open().filter(sensor=OuterRef("pk"))


@require_safe
@permission_required("sensors.view_sensorprofile", raise_exception=True)
def health(request: Request) -> HttpResponse:
    """How far each sensor can be relied on: when it was heard, what is missing, what is wrong."""
    form = HealthFilter(request.GET, request.user)
    chosen = form.cleaned_data if form.is_valid() else {}
    rows = (
        _in_state(Sensor.objects.visible_to(request.user).active(), chosen.get("state") or "")
        .with_condition()
        .select_related("site", "asset", "profile")
        .annotate(is_faulty=Exists(_open_faults()))
        .order_by("-is_faulty", "site__name", "asset__name", "sensor_id")
    )
    if chosen.get("site"):
        rows = rows.filter(site=chosen["site"])
    context = {"form": form, "page": page_of(rows, request), "untouched": not any(chosen.values())}
    return live_page(request, "sensors/health.html", "sensors/_health.html", context)


def _in_state(sensors: SensorQuerySet, state: str) -> SensorQuerySet:
    if state == "unheard":
        return sensors.filter(profile__last_received_at__isnull=True)
    if state == "faulty":
        return sensors.filter(Exists(_open_faults()))
    return sensors.filter(Exists(_open_faults().filter(kind=state))) if state else sensors


def _in_tree_order(rows: list[Asset]) -> list[tuple[int, Asset]]:
    """Each asset after its parent, with its depth. Rows of a loop among parents come last, at depth 0."""
    children: dict[int | None, list[Asset]] = {}
    known = {row.pk for row in rows}
    for row in rows:
        children.setdefault(row.parent_id if row.parent_id in known else None, []).append(row)
    ordered: list[tuple[int, Asset]] = []
    stack = [(0, row) for row in reversed(children.get(None, []))]
    while stack:
        depth, row = stack.pop()
        ordered.append((depth, row))
        stack.extend((depth + 1, child) for child in reversed(children.get(row.pk, [])))
    placed = {row.pk for _, row in ordered}
    return ordered + [(0, row) for row in rows if row.pk not in placed]


@require_safe
@permission_required("sensors.view_asset", raise_exception=True)
def asset(request: Request, pk: int) -> HttpResponse:
    rows = (
        Asset.objects.visible_to(request.user)
        .select_related("site", "parent", "asset_class")
        .prefetch_related(
            "children", Prefetch("sensors", queryset=_with_latest(Sensor.objects.active().with_condition()))
        )
    )
    found = get_object_or_404(rows, pk=pk)
    sensors: list[Any] = list(found.sensors.all())
    newest = max((sensor.latest_at for sensor in sensors if sensor.latest_at), default=None)
    asked = request.GET.get("range", "")
    chosen = asked if asked in stretch.RANGES else stretch.fitting_range(newest, timezone.now())
    ranges = [(key, label) for key, (label, _) in stretch.RANGES.items()]
    context = {"asset": found, "sensors": sensors, "ranges": ranges, "chosen": chosen}
    context["query"] = f"range={chosen}"
    if "from" in request.GET or "to" in request.GET:
        ends = asked_stretch({name: request.GET.get(name, "") for name in ("from", "to")})
        context |= {"query": urlencode({name: for_machines(at) for name, at in ends.items()}), "chosen": None}
    if not request.htmx:
        notes = _annotations(request, found)
        context["annotations"], context["more_annotations"] = notes[:NOTES_ON_PAGE], len(notes) > NOTES_ON_PAGE
        context["discovered"] = found.name == WAITING_ROOM
        context["nameplate"] = nameplates.in_words(found)
        if request.user.has_perm("sensors.view_assetdocument"):
            context["documents"] = list(found.documents.standing())
    return live_page(request, "sensors/asset.html", "sensors/_latest.html", context)


def _annotations(request: Request, asset: Asset) -> list[Annotation]:
    if not request.user.has_perm("sensors.view_annotation"):
        return []
    rows = Annotation.objects.standing().filter(asset=asset).select_related("sensor", "created_by")
    found = list(rows[: NOTES_ON_PAGE + 1])
    for row in found:
        row.in_charts = annotations.window_around(row)
    return found


def _with_latest(sensors: "QuerySet[Sensor]") -> "QuerySet[Sensor]":
    latest = Reading.objects.filter(sensor=OuterRef("pk")).order_by("-timestamp")
    return sensors.annotate(
        latest_at=Subquery(latest.values("timestamp")[:1]), latest_value=Subquery(latest.values("value")[:1])
    )


@require_safe
@permission_required("sensors.view_reading", raise_exception=True)
def readings(request: Request, pk: int) -> HttpResponse:
    rows = Sensor.objects.visible_to(request.user).select_related("asset", "site")
    sensor = get_object_or_404(rows, pk=pk)
    with timezone.override(sensor.site.timezone):
        period = Period(request.GET)
        found: list[Reading] = []
        if period.is_valid():
            found = _newest_first(sensor, period.cleaned_data, request.GET.get("before", ""))
            _add_corrections(sensor, found)
        context = {
            "sensor": sensor,
            "period": period,
            "rows": found[:READINGS_PER_PAGE],
            "export_query": _export_query(period),
            "older": for_machines(found[READINGS_PER_PAGE - 1].timestamp) if len(found) > READINGS_PER_PAGE else None,
        }
        return render(request, "sensors/readings.html", context)


def _export_query(period: Period) -> str:
    """What to add to the address of an export so that it holds the period; nothing when it is open on both ends."""
    ends = period.cleaned_data if period.is_valid() else {}
    if not (ends.get("start") or ends.get("end")):
        return ""
    start, end = ends["start"] or datetime(1980, 1, 1, tzinfo=UTC), ends["end"] or timezone.now() + timedelta(days=1)
    return "&" + urlencode({"from": for_machines(start), "to": for_machines(end)})


def _newest_first(sensor: Sensor, period: dict[str, datetime | None], before: str) -> list[Reading]:
    """One row more than fits on a page, so that the page knows whether another follows."""
    rows = Reading.objects.filter(sensor=sensor).order_by("-timestamp")
    if period["start"]:
        rows = rows.filter(timestamp__gte=period["start"])
    if period["end"]:
        rows = rows.filter(timestamp__lte=period["end"])
    if before:
        until = aware("before", before)
        if period["start"] and until <= period["start"]:
            raise BadRequest("`before` must lie after the beginning of the period.")
        rows = rows.filter(timestamp__lt=until)
    return list(rows[: READINGS_PER_PAGE + 1])


def _add_corrections(sensor: Sensor, rows: list[Any]) -> None:
    """Say of each reading which value it had before somebody corrected it, and what is doubted about it."""
    corrections = Correction.objects.filter(sensor=sensor, timestamp__in=[row.timestamp for row in rows])
    # The newest ones come first, and last into the table.
    newest = {found.timestamp: found for found in reversed(corrections.select_related("by"))}
    for row in rows:
        row.correction = newest.get(row.timestamp)
        row.at = for_machines(row.timestamp)
        row.doubts = flags_in_words(row.flags)


@require_safe
@permission_required("sensors.view_reading", raise_exception=True)
def series(request: Request, pk: int) -> JsonResponse:
    rows = Sensor.objects.visible_to(request.user).select_related("asset", "site")
    sensor = get_object_or_404(rows, pk=pk)
    try:
        start, end = stretch.window(sensor, request.GET.dict(), timezone.now())
        found = stretch.read(sensor, start, end, user_id=request.user.pk)
    except ValueError as error:
        raise BadRequest(str(error)) from error
    except Refused as refusal:
        return JsonResponse(
            {"code": refusal.code, "detail": refusal.detail}, status=refusal.status, headers=refusal.headers
        )
    return JsonResponse(found.as_json())

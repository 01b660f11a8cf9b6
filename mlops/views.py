from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from django.contrib.auth.decorators import permission_required
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.http import HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from maintenance.models import Verdict
from mlops import deployments, mlflow_pages, pictures, precision, training_runs
from mlops.deployments import Scope
from mlops.hindsight import hindsight
from mlops.models import Anomaly, Deployment, ModelVersion, Purpose, TrainingRun
from mlops.registry import figures
from mlops.subjects import subject_of
from sensors.errors import Refused
from sensors.models import Asset, Sensor
from sensors.pages import Page, Request, act, overlapping, page_of
from sensors.wording import clock, for_machines

PANEL_ROWS = 10
MOST_VERSIONS = 20
# More names than these nobody reads.
MOST_NAMES = 8
MAX_MARKS = 500
HINDSIGHT_DAYS = 180
# More than these nobody finds in a list; `manage.py train` takes any.
MOST_CHOICES = 2_000
ASSET_PURPOSES = (Purpose.ASSET_ANOMALY, Purpose.FAILURE)


@require_safe
@permission_required("mlops.view_anomaly", raise_exception=True)
def for_asset(request: Request, pk: int) -> HttpResponse:
    asset = get_object_or_404(Asset.objects.visible_to(request.user).select_related("site"), pk=pk)
    found = list(Anomaly.objects.filter(sensor__asset=asset).select_related("sensor")[: PANEL_ROWS + 1])
    context = {"asset": asset, "anomalies": found[:PANEL_ROWS], "more": len(found) > PANEL_ROWS}
    return render(request, "mlops/_for_asset.html", context)


@require_safe
@permission_required(["mlops.view_anomaly", "maintenance.view_verdict"], raise_exception=True)
def validation(request: Request) -> HttpResponse:
    found = hindsight(request.user, timezone.now() - timedelta(days=HINDSIGHT_DAYS))
    tallies = [*found.layers.values(), found.decision]
    return render(request, "mlops/validation.html", {"found": found, "tallies": tallies, "days": HINDSIGHT_DAYS})


@require_safe
@permission_required("mlops.view_anomaly", raise_exception=True)
def marks(request: Request, pk: int) -> JsonResponse:
    """The anomalies of an asset for its charts, by sensor, newest first; `from` and `to` narrow them."""
    asset = get_object_or_404(Asset.objects.visible_to(request.user), pk=pk)
    rows = overlapping(Anomaly.objects.filter(sensor__asset=asset), request.GET.dict())
    by_sensor: dict[int, list[dict[str, Any]]] = {}
    for anomaly in rows[:MAX_MARKS]:
        by_sensor.setdefault(anomaly.sensor_id, []).append(_mark(anomaly))
    return JsonResponse({"sensors": by_sensor})


def _mark(anomaly: Anomaly) -> dict[str, Any]:
    return {
        "start": for_machines(anomaly.start),
        "end": for_machines(anomaly.end),
        "peak_at": for_machines(anomaly.peak_at),
        "peak_value": anomaly.peak_value,
        "decision": anomaly.decision,
        "label": anomaly.get_decision_display(),
        "confidence": anomaly.confidence,
        "alert": reverse("alerts:alert", args=[anomaly.alert_id]) if anomaly.alert_id else None,
    }


@require_safe
@permission_required("mlops.view_deployment", raise_exception=True)
def models(request: Request) -> HttpResponse:
    """What serves what, and how it does."""
    in_service = Deployment.objects.in_service().visible_to(request.user)
    page = page_of(in_service.select_related("version", "sensor", "asset", "site", "by"), request)
    context = {
        "page": page,
        "counted": _with_figures(page),
        "runs": _runs(request),
        "versions": _versions(request),
        "sensors": _sensors(request)[:MOST_CHOICES],
        "assets": _assets(request)[:MOST_CHOICES],
        "purposes": ASSET_PURPOSES,
        "precisions": precision.by_detector(Verdict.objects.visible_to(request.user), timezone.now()),
    }
    return render(request, "mlops/models.html", context)


@require_safe
@permission_required("mlops.view_modelversion", raise_exception=True)
def version(request: Request, pk: int) -> HttpResponse:
    """The card of a model version: what it is, what it learned from, how it did, and what it serves."""
    rows = ModelVersion.objects.visible_to(request.user).select_related("site")
    found = get_object_or_404(rows, pk=pk)
    ledger = list(
        found.deployments.visible_to(request.user).select_related("sensor", "asset", "site", "by", "ended_by")[
            :PANEL_ROWS
        ]
    )
    context = {
        "version": found,
        "serves": any(row.until is None for row in ledger),
        "subject": _subject(request, found),
        "precisions": precision.of_version(found, Verdict.objects.visible_to(request.user), timezone.now()),
        "ledger": ledger,
        "facts": _facts(found),
        "figures": [(_in_words(key), f"{value:,.4g}") for key, value in found.metrics.items() if "/" not in key],
        "pictures": pictures.of_card(found.card, found.site.timezone if found.site else UTC),
        "longest": max((each["share"] for each in found.card.get("importance", [])), default=0) or 1,
    }
    return render(request, "mlops/version.html", context)


def _facts(version: ModelVersion) -> list[tuple[str, str]]:
    card, site = version.card, version.site
    facts = [(_in_words(name), value) for name, value in card.get("parameters", {}).items()]
    if card:
        zone = site.timezone if site else UTC
        times = [datetime.fromisoformat(card[key]) for key in ("trained_from", "trained_to")]
        facts.append(("Learned from", " to ".join(clock(time, zone) for time in times)))
        facts.append(("Rows", f"{version.metrics.get('readings', 0):,.0f}"))
        names = card["features"] if card["feature_count"] <= MOST_NAMES else [f"{card['feature_count']}"]
        facts.append(("Features", ", ".join(names)))
        facts.append(("Threshold", f"{card['threshold']:.4g}"))
        facts.append(("Data fingerprint", card["data_fingerprint"][:16]))
    facts.append(("File", f"{version.size_bytes / 1024:,.0f} KB, SHA-256 {version.sha256[:16]}"))
    facts.append(("MLflow run", version.run_id or "–"))
    return facts


def _in_words(name: str) -> str:
    return name.replace("_", " ").capitalize()


@require_POST
@permission_required("mlops.change_deployment", raise_exception=True)
def deploy(request: Request, pk: int) -> HttpResponse:
    """Let a version, a challenger for instance, serve what it learned from."""
    version = get_object_or_404(ModelVersion.objects.visible_to(request.user), pk=pk)
    why = request.POST.get("why", "").strip()[:400] or "deployed by hand"
    return act(
        request,
        lambda: deployments.deploy(version, _own_scope(request, version), why=why, by=request.user),
        done=f"{version} serves now what it learned from.",
        then=reverse("mlops:version", args=[pk]),
    )


def _own_scope(request: Request, version: ModelVersion) -> Scope:
    subject = _subject(request, version)
    if subject is None:
        raise Refused("no_subject", f"{version} did not learn from one sensor or asset of yours.", 422)
    if Deployment.objects.in_service().filter(version=version).exists():
        raise Refused("serves_already", f"{version} is in service already.", 409)
    return Scope.of(subject)


def _subject(request: Request, version: ModelVersion) -> Sensor | Asset | None:
    """What a version learned from, if the user may see it."""
    found = subject_of(version)
    rows = Sensor.objects if isinstance(found, Sensor) else Asset.objects
    return found if found and rows.visible_to(request.user).filter(pk=found.pk).exists() else None


@require_safe
@permission_required("mlops.view_trainingrun", raise_exception=True)
def training(request: Request) -> HttpResponse:
    return render(request, "mlops/_training.html", {"runs": _runs(request)})


@require_POST
@permission_required("mlops.add_trainingrun", raise_exception=True)
def train(request: Request) -> HttpResponse:
    """Have a model of a sensor trained, or one of an asset for a purpose."""
    of: Sensor | Asset
    if "asset" in request.POST:
        of = get_object_or_404(_assets(request), pk=_key(request, "asset"))
        asked = request.POST.get("purpose", "")
        purpose = Purpose(asked) if asked in ASSET_PURPOSES else Purpose.ASSET_ANOMALY
    else:
        of, purpose = get_object_or_404(_sensors(request), pk=_key(request, "sensor")), Purpose.SENSOR_ANOMALY
    done = f"A model of {of} is being trained; it serves when it is worth it."
    return act(request, lambda: training_runs.ask(of, request.user, purpose), done=done, then=reverse("mlops:models"))


def _key(request: Request, field: str) -> int:
    key = request.POST.get(field, "")
    return int(key) if key.isdecimal() and len(key) < 18 else 0


def _sensors(request: Request) -> QuerySet[Sensor]:
    return Sensor.objects.active().visible_to(request.user).select_related("asset").order_by("sensor_id")


def _assets(request: Request) -> QuerySet[Asset]:
    """Those that have the sensors for a model of their own."""
    active = Count("sensors", filter=Q(sensors__status=Sensor.Status.ACTIVE))
    visible: QuerySet[Asset] = Asset.objects.visible_to(request.user)
    return visible.annotate(active=active).filter(active__gte=2).order_by("name", "pk")


def _versions(request: Request) -> list[ModelVersion]:
    """The newest, with whether they serve anything."""
    serving = Deployment.objects.in_service().filter(version=OuterRef("pk"))
    rows = ModelVersion.objects.visible_to(request.user).annotate(serves=Exists(serving))
    return list(rows.select_related("site").order_by("-created_at", "-pk")[:MOST_VERSIONS])


def _runs(request: Request) -> list[TrainingRun]:
    rows = TrainingRun.objects.visible_to(request.user)
    return list(rows.select_related("sensor__site", "asset__site", "asked_by")[:PANEL_ROWS])


def _with_figures(page: Page) -> bool:
    """Give each deployment of the page its counts and its trouble; False when Valkey cannot tell."""
    try:
        troubles = figures.troubles()
        counts = figures.of_versions([row.version_id for row in page.rows])
    except redis.RedisError:
        return False
    for row in page.rows:
        row.trouble, row.counts = troubles.get(row.pk), counts[row.version_id]
        loads = row.counts.get("loads", 0)
        row.load_ms = row.counts["load_us"] / loads / 1000 if loads else None
    return True


@require_POST
@permission_required("mlops.change_deployment", raise_exception=True)
def evict(request: Request, pk: int) -> HttpResponse:
    deployment = _in_service(request, pk)
    done = f"{deployment.version}: the workers forget their copies now, and load it again when they next need it."
    return act(request, lambda: _evict(deployment), done=done, then=reverse("mlops:models"))


def _evict(deployment: Deployment) -> None:
    try:
        figures.evict(deployment.version_id)
    except redis.RedisError:
        raise Refused("valkey_away", "The workers cannot be told just now: try again.", 503) from None


@require_POST
@permission_required("mlops.change_deployment", raise_exception=True)
def withdraw(request: Request, pk: int) -> HttpResponse:
    """The version that served before serves again, or else a wider scope or the built-in detector."""
    deployment = _in_service(request, pk)
    why = request.POST.get("why", "").strip()[:400] or "withdrawn by hand"
    done = f"{deployment.version} is withdrawn."
    return act(
        request,
        lambda: deployments.roll_back(deployment, why=why, by=request.user),
        done=done,
        then=reverse("mlops:models"),
    )


def _in_service(request: Request, pk: int) -> Deployment:
    rows = Deployment.objects.in_service().visible_to(request.user)
    if not request.user.has_perm("sensors.view_all_sites"):
        # What serves every site is not one site's to change.
        rows = rows.filter(site__isnull=False)
    found: Deployment = get_object_or_404(rows.select_related("version", "sensor", "asset", "site"), pk=pk)
    return found


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("mlops.open_mlflow", raise_exception=True)
async def mlflow(request: Request, path: str = "") -> HttpResponseBase:
    try:
        return await mlflow_pages.passed_through(request, path)
    except Refused as refusal:
        return HttpResponse(refusal.detail, status=refusal.status, content_type="text/plain; charset=utf-8")

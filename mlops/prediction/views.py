"""The page Predict: somebody asks a model by hand."""

from datetime import datetime
from typing import Any

import msgspec
from django.contrib.auth.decorators import permission_required
from django.db.models import Exists, OuterRef
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_http_methods

from mlops import explain
from mlops.models import Deployment, ModelVersion
from mlops.prediction import asking
from mlops.prediction.forms import Inputs
from mlops.prediction.questions import Question
from sensors.errors import Refused
from sensors.pages import Request

# More than these nobody finds in a list; the API takes any.
MOST_VERSIONS = 500


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("mlops.predict_modelversion", raise_exception=True)
def predict(request: Request) -> HttpResponse:
    """One row, filled in by hand, and what a version says to it."""
    versions = _versions(request)
    version = _chosen(request, versions)
    context: dict[str, Any] = {"versions": versions, "version": version}
    if version is None:
        return render(request, "mlops/predict.html", context)
    form = Inputs(request.POST if request.method == "POST" else None, version=version)
    served = context["served"] = _sensor_served(request, version)
    if form.is_valid():
        try:
            context["answer"] = _answer(_question(version, served, form, timezone.now()))
        except Refused as refusal:
            form.tell(refusal)
    context["form"] = form
    return render(request, "mlops/predict.html", context, status=422 if form.errors else 200)


def _versions(request: Request) -> list[ModelVersion]:
    """Those that serve something first."""
    serving = Deployment.objects.in_service().filter(version=OuterRef("pk"))
    rows = ModelVersion.objects.visible_to(request.user).annotate(serves=Exists(serving))
    return list(rows.order_by("-serves", "name", "-version")[:MOST_VERSIONS])


def _chosen(request: Request, versions: list[ModelVersion]) -> ModelVersion | None:
    asked = request.GET.get("model")
    if asked is None:
        return next(iter(versions), None)
    found = next((version for version in versions if str(version.pk) == asked), None)
    if found is None:
        raise Http404
    return found


def _sensor_served(request: Request, version: ModelVersion) -> Deployment | None:
    rows = Deployment.objects.in_service().visible_to(request.user)
    return rows.filter(version=version, sensor__isnull=False).first()


def _question(version: ModelVersion, served: Deployment | None, form: Inputs, now: datetime) -> Question:
    """A model that serves a sensor is asked as if the row were its next reading: it looks at those before."""
    if served and served.sensor_id:
        question = Question("sensor", deployment=served.pk, sensor=served.sensor_id, rows=form.next_reading(now))
    else:
        question = Question("version", rows=form.rows(now))
    question.version, question.explain = version.pk, True
    return question


def _answer(question: Question) -> dict[str, Any]:
    """The row of the answer, with its picture if it can be explained. Raises Refused."""
    try:
        said = asking.ask(question)
    except Refused as refusal:
        if refusal.code != "not_explainable":
            raise
        question.explain = False
        said = asking.ask(question)
    found: dict[str, Any] = msgspec.json.decode(said)
    row: dict[str, Any] = found["rows"][-1]
    if why := row.get("explanation"):
        # Made of numbers and escaped names.
        row["picture"] = mark_safe(explain.picture(why["contributions"], why["base"]))  # noqa: S308
    return row | {"percent": _percent(row.get("probability")), "threshold_percent": _percent(found["threshold"])}


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"

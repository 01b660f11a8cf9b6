"""The nameplate of an asset, its documents, and labels to stick on machines."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from sensors import labels, nameplates
from sensors.errors import Refused
from sensors.files import attachment
from sensors.forms import NameplateForm
from sensors.models import Asset, AssetDocument, Site
from sensors.pages import Request, act, takes_post

MOST_LABELS = 500


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("sensors.change_asset", raise_exception=True)
def nameplate(request: Request, pk: int) -> HttpResponse:
    asset = _asset(request, pk)
    form = NameplateForm(request.POST or None, instance=asset)
    if form.is_valid():
        form.save()
        messages.success(request, "The nameplate is saved.")
        return redirect(asset)
    status = 400 if form.is_bound else 200
    return render(request, "sensors/nameplate.html", {"asset": asset, "form": form}, status=status)


@takes_post("sensors:asset")
@permission_required("sensors.add_assetdocument", raise_exception=True)
def add_document(request: Request, pk: int) -> HttpResponse:
    asset = _asset(request, pk)
    file = request.FILES.get("file")
    if file is None:
        raise BadRequest("Choose a file.")

    def add() -> None:
        nameplates.add_document(asset, file, request.user)

    return act(request, add, done=f"{file.name} is kept with {asset}.", then=asset.get_absolute_url())


@require_safe
@permission_required("sensors.view_assetdocument", raise_exception=True)
def document(request: Request, pk: int) -> HttpResponse:
    found = _document(request, pk)
    try:
        return attachment(found.file, found.name)
    except Refused as refusal:
        return HttpResponse(refusal.detail, status=refusal.status, content_type="text/plain; charset=utf-8")


@require_http_methods(["POST"])
@permission_required("sensors.change_assetdocument", raise_exception=True)
def remove_document(request: Request, pk: int) -> HttpResponse:
    found = _document(request, pk)
    done = f"{found} is taken away."
    return act(request, lambda: nameplates.remove_document(found), done=done, then=found.asset.get_absolute_url())


@require_safe
@permission_required("sensors.view_asset", raise_exception=True)
def label(request: Request, pk: int) -> HttpResponse:
    asset = _asset(request, pk)
    return render(request, "sensors/labels.html", {"site": asset.site, "asset": asset, "labels": _labels([asset])})


@require_safe
@permission_required("sensors.view_asset", raise_exception=True)
def label_svg(request: Request, pk: int) -> HttpResponse:
    return HttpResponse(labels.svg(_asset(request, pk)), content_type="image/svg+xml")


@require_safe
@permission_required("sensors.view_asset", raise_exception=True)
def label_png(request: Request, pk: int) -> HttpResponse:
    return HttpResponse(labels.png(_asset(request, pk)), content_type="image/png")


@require_safe
@permission_required("sensors.view_asset", raise_exception=True)
def sheet(request: Request, pk: int) -> HttpResponse:
    """The labels of all assets of a site, to be printed and cut out."""
    site = get_object_or_404(Site.objects.visible_to(request.user), pk=pk)
    rows = list(site.assets.order_by("name")[:MOST_LABELS])
    return render(request, "sensors/labels.html", {"site": site, "labels": _labels(rows)})


def _labels(assets: list[Asset]) -> list[dict[str, Any]]:
    return [{"asset": row, "code": labels.inline_svg(row), "address": labels.address(row)} for row in assets]


def _asset(request: Request, pk: int) -> Asset:
    rows = Asset.objects.visible_to(request.user).select_related("site", "asset_class")
    found: Asset = get_object_or_404(rows, pk=pk)
    return found


def _document(request: Request, pk: int) -> AssetDocument:
    rows = AssetDocument.objects.visible_to(request.user).standing().select_related("asset")
    found: AssetDocument = get_object_or_404(rows, pk=pk)
    return found

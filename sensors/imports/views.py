"""Pages to upload a file of readings, say what its columns mean, see what it would bring in, and run it."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from sensors import imports
from sensors.errors import Refused
from sensors.imports.forms import Mapping, UploadForm
from sensors.imports.preview import first_rows
from sensors.models import Import, Site
from sensors.pages import Request, act, live_page, page_of, takes_post

# Wider files show so many columns of their first rows.
PREVIEW_COLUMNS = 12


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("sensors.view_import", raise_exception=True)
def index(request: Request) -> HttpResponseBase:
    if request.method == "POST":
        return _upload(request)
    return _show_index(request, UploadForm(user=request.user))


def _show_index(request: Request, form: UploadForm, status: int = 200) -> HttpResponse:
    rows = Import.objects.visible_to(request.user).select_related("site", "uploaded_by")
    has_sites = Site.objects.visible_to(request.user).exists()
    context = {"form": form, "page": page_of(rows, request), "has_sites": has_sites}
    return render(request, "sensors/imports.html", context, status=status)


@permission_required("sensors.add_import", raise_exception=True)
def _upload(request: Request) -> HttpResponse:
    form = UploadForm(request.POST, request.FILES, user=request.user)
    if form.is_valid():
        try:
            row = imports.receive(form.cleaned_data["file"], site=form.cleaned_data["site"], user=request.user)
        except Refused as refused:
            form.add_error("file", refused.detail)
        else:
            return redirect(row)
    return _show_index(request, form, 400)


def _find(request: Request, pk: int) -> Import:
    rows = Import.objects.visible_to(request.user).select_related("site", "uploaded_by", "asset")
    found: Import = get_object_or_404(rows, pk=pk)
    return found


@require_safe
@permission_required("sensors.view_import", raise_exception=True)
def show(request: Request, pk: int) -> HttpResponse:
    row = _find(request, pk)
    if request.htmx:
        response = live_page(request, "sensors/import.html", "sensors/_import.html", _status(row))
        if not row.is_at_work:
            response["HX-Refresh"] = "true"  # The whole page looks different now.
        return response
    return _show(request, row, Mapping(row) if row.can_be_changed else None)


def _status(row: Import) -> dict[str, object]:
    return {"row": row, "lines": None if row.is_at_work else list(imports.lines(row))}


def _show(request: Request, row: Import, mapping: Mapping | None, status: int = 200) -> HttpResponse:
    rows, times = first_rows(row) if mapping else ([], "")
    shown = [cells[:PREVIEW_COLUMNS] for cells in rows]
    context = _status(row) | {"mapping": mapping, "preview": shown, "times": times}
    if mapping:
        context |= {"names": mapping.names[:PREVIEW_COLUMNS], "more": max(0, len(mapping.names) - PREVIEW_COLUMNS)}
    return render(request, "sensors/import.html", context, status=status)


@takes_post("sensors:import")
@permission_required("sensors.change_import", raise_exception=True)
def start(request: Request, pk: int) -> HttpResponse:
    """Check or run the file the way the form says."""
    row = _find(request, pk)
    if not row.can_be_changed:
        messages.error(request, "This file is being read, or was read already.")
        return redirect(row)
    mapping = Mapping(row, request.POST)
    try:
        mapping.save()
        imports.run(row) if request.POST.get("do") == "run" else imports.check(row)
    except Refused as refused:
        messages.error(request, refused.detail)
        return _show(request, row, mapping, 400)
    return redirect(row)


@takes_post("sensors:import")
@permission_required("sensors.change_import", raise_exception=True)
def cancel(request: Request, pk: int) -> HttpResponse:
    row = _find(request, pk)
    done = "Cancelled. What was stored before stays." if row.stored and row.state == "running" else "Cancelled."
    return act(request, lambda: imports.cancel(row), done=done, then=row.get_absolute_url())

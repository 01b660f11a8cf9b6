"""Refused readings: what went wrong, by cause, and settling them together or one by one."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from sensors import quarantine
from sensors.errors import Refused
from sensors.forms import CauseForm, ChangeForm, QuarantinedRow
from sensors.models import AuditEntry, Quarantined, Site
from sensors.pages import Request, act, page_of, takes_post
from sensors.quarantine import ADVICE, GENERAL_ADVICE, MOST_CAUSES, Cause, Change, Outcome
from sensors.units import canonical


@require_safe
@permission_required("sensors.view_quarantined", raise_exception=True)
def causes(request: Request) -> HttpResponse:
    groups = quarantine.causes(request.user)
    context = {"sections": list(_sections(groups)), "more": len(groups) == MOST_CAUSES}
    return render(request, "sensors/quarantine.html", context)


def _sections(groups: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The groups under what they share, site and code, so that a cause with a thousand sensors is settled at once."""
    by_code: dict[tuple[int | None, str], list[dict[str, Any]]] = {}
    for group in groups:
        group["url"] = _url(Cause(group["site"], group["code"], group["sent_sensor"], group["sent_unit"]))
        by_code.setdefault((group["site"], group["code"]), []).append(group)
    for (site, code), members in by_code.items():
        yield {
            "site": members[0]["example"].site,
            "code": code,
            "title": _title(code),
            "advice": ADVICE.get(code, GENERAL_ADVICE),
            "rows": sum(group["rows"] for group in members),
            "groups": members,
            "url": _url(Cause(site, code)),
        }


def _title(code: str) -> str:
    return code.replace("_", " ").capitalize()


def _url(cause: Cause, **more: Any) -> str:
    named = {"site": cause.site_id, "code": cause.code, "sensor": cause.sensor_id, "unit": cause.unit, **more}
    query = urlencode({name: value for name, value in named.items() if value is not None})
    return f"{reverse('sensors:quarantine-group')}?{query}"


def _cause(asked: QueryDict) -> Cause:
    form = CauseForm(asked)
    if not form.is_valid():
        raise BadRequest("No such cause: go back to the quarantine and choose one.")
    named = form.cleaned_data
    sensor, unit = (named[name] if name in asked else None for name in ("sensor", "unit"))
    return Cause(named["site"], named["code"], sensor, unit)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("sensors.view_quarantined", raise_exception=True)
def group(request: Request) -> HttpResponse:
    cause = _cause(request.GET)
    site = Site.objects.visible_to(request.user).filter(pk=cause.site_id).first()
    if request.method == "POST":
        form = ChangeForm(request.POST)
        if form.is_valid():
            return _settle(request, cause, site, form.cleaned_data)
    else:
        form = ChangeForm(initial=request.GET.dict())
    rows = cause.waiting(request.user)
    context = {
        "cause": cause,
        "title": _title(cause.code),
        "site": site,
        "advice": ADVICE.get(cause.code, GENERAL_ADVICE),
        "count": rows.order_by().count(),
        "page": page_of(rows.select_related("site"), request),
        "form": form,
        "correcting": form.is_bound or any(form.initial.get(name) for name in form.fields),
    }
    return render(request, "sensors/quarantine_group.html", context, status=422 if form.is_bound else 200)


def _settle(request: Request, cause: Cause, site: Site | None, chosen: dict[str, Any]) -> HttpResponse:
    needed = ["sensors.settle_quarantined", *(["sensors.add_sensor"] if chosen["discover"] else [])]
    if not request.user.has_perms(needed):
        raise PermissionDenied
    if request.POST.get("action") == "discard":
        outcome = quarantine.discard_all(cause, request.user)
    else:
        outcome = quarantine.readmit_all(cause, request.user, _change(chosen, site))
    level = messages.SUCCESS if outcome.settled else messages.ERROR if outcome.refused else messages.INFO
    messages.add_message(request, level, _said(outcome))
    if not outcome.left:
        return redirect("sensors:quarantine")
    # The next turn needs the same corrections.
    return redirect(_url(cause, **{name: value for name, value in chosen.items() if value}))


def _change(chosen: dict[str, Any], site: Site | None) -> Change:
    return Change(
        sensor_id=chosen["to_sensor"],
        unit=chosen["to_unit"],
        shift=timedelta(hours=chosen["shift_hours"] or 0),
        zone=site.timezone if site and chosen["site_clock"] else None,
        discover=chosen["discover"],
    )


def _said(outcome: Outcome) -> str:
    counts = [
        (outcome.admitted, "admitted"),
        (outcome.duplicates, "were stored before already"),
        (outcome.discarded, "discarded"),
        (outcome.refused, "refused again"),
        (outcome.left, "of this cause still waiting"),
    ]
    said = ", ".join(f"{count:,} {what}" for count, what in counts if count) or "Somebody has settled these already"
    return f"{said}. {' '.join(outcome.reasons.values())}".strip()


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("sensors.view_quarantined", raise_exception=True)
def row(request: Request, pk: int) -> HttpResponse:
    rows = Quarantined.objects.visible_to(request.user).select_related("site", "settled_by", "sent_by", "user")
    found = get_object_or_404(rows, pk=pk)
    zone = found.site.timezone if found.site else None
    fields = quarantine.fields_of(found)
    known_unit = canonical(str(fields.get("unit", "")))
    form = QuarantinedRow(
        request.POST or None, zone=zone, initial=fields | {"unit": known_unit if "unit" in fields else ""}
    )
    refusal = None
    if form.is_bound and not request.user.has_perm("sensors.settle_quarantined"):
        raise PermissionDenied
    if form.is_valid():
        try:
            quarantine.readmit(found, request.user, form.fields_to_send())
        except Refused as error:
            refusal = error
        else:
            messages.success(request, "Admitted.")
            return redirect(_url(Cause(found.site_id, found.code)))
    history = AuditEntry.objects.visible_to(request.user).filter(subject=f"quarantined {found.pk}").select_related("by")
    context = {
        "row": found,
        "sent": sorted(found.payload.items(), key=lambda item: (*quarantine.FIELDS, item[0]).index(item[0])),
        "form": form,
        "refusal": refusal,
        "advice": ADVICE.get(found.code, GENERAL_ADVICE),
        "history": history if request.user.has_perm("sensors.view_auditentry") else [],
        "group_url": _url(Cause(found.site_id, found.code)),
    }
    return render(request, "sensors/quarantined.html", context, status=422 if form.is_bound else 200)


@takes_post("sensors:quarantined")
@permission_required("sensors.settle_quarantined", raise_exception=True)
def discard(request: Request, pk: int) -> HttpResponse:
    found = get_object_or_404(Quarantined.objects.visible_to(request.user), pk=pk)
    return act(
        request,
        lambda: quarantine.discard(found, request.user),
        done="Discarded.",
        then=_url(Cause(found.site_id, found.code)),
    )

"""The page of the figures of maintenance."""

import json
from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from maintenance import figure_lines
from maintenance.figures import ENOUGH_PAST, Figures, Period, Scope, figures
from sensors.models import Asset, Site
from sensors.pages import Request
from sensors.wall_clock import OUT_OF_TIME, in_our_time
from sensors.wording import for_machines

DAYS = timedelta(days=90)
ROWS = 50


class Choice(forms.Form):
    """Of which site or part of its tree, and of which days of the site's calendar, the last included."""

    site = forms.ModelChoiceField(Site.objects.none(), empty_label=None)
    asset = forms.ModelChoiceField(
        Asset.objects.none(), required=False, empty_label="Whole site", label="Asset and below"
    )
    first = forms.DateField(label="From", required=False, widget=forms.DateInput({"type": "date"}, "%Y-%m-%d"))
    last = forms.DateField(label="To", required=False, widget=forms.DateInput({"type": "date"}, "%Y-%m-%d"))

    def __init__(self, asked: dict[str, Any], *, sites: "QuerySet[Site]", assets: "QuerySet[Asset]") -> None:
        super().__init__(asked)
        self.fields["site"].queryset = sites  # type: ignore[attr-defined]
        self.fields["asset"].queryset = assets  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        asked = self.cleaned_data
        first, last = asked.get("first"), asked.get("last")
        for day in (first, last):
            if day and not in_our_time(datetime.combine(day, time())):
                raise ValidationError(OUT_OF_TIME, code="out_of_time")
        if first and last and first > last:
            raise ValidationError("The first day lies after the last.", code="bad_period")
        return asked

    def period(self, site: Site, now: datetime) -> Period:
        today = now.astimezone(site.timezone).date()
        last = self.cleaned_data.get("last") or today
        first = self.cleaned_data.get("first") or last - DAYS
        midnights = [datetime.combine(day, time(), site.timezone) for day in (first, last + timedelta(days=1))]
        return Period(*midnights)


@require_safe
@permission_required("maintenance.view_workorder", raise_exception=True)
def figures_page(request: Request) -> HttpResponse:
    sites = Site.objects.visible_to(request.user).order_by("name")
    site = _chosen(sites, request.GET.get("site", ""))
    if site is None:
        return render(request, "maintenance/figures.html", {"found": None})
    now = timezone.now()
    today = now.astimezone(site.timezone).date()
    asked = {"site": str(site.pk), "first": f"{today - DAYS}", "last": f"{today}"} | request.GET.dict()
    form = Choice(asked, sites=sites, assets=Asset.objects.filter(site=site).order_by("name"))
    if not form.is_valid():
        return render(request, "maintenance/figures.html", {"form": form, "found": None}, status=422)
    found = figures(Scope(site, form.cleaned_data["asset"]), form.period(site, now), now)
    return render(request, "maintenance/figures.html", {"form": form, **_context(found)})


def _chosen(sites: "QuerySet[Site]", asked: str) -> Site | None:
    if asked.isdecimal() and len(asked) < 10 and (site := sites.filter(pk=int(asked)).first()):
        return site
    return sites.first()


def _context(found: Figures) -> dict[str, Any]:
    groups: dict[str, list[figure_lines.Line]] = {}
    for line in figure_lines.lines(found):
        groups.setdefault(line.group, []).append(line)
    asked: dict[str, str | int] = {"site": found.scope.site.pk}
    if found.scope.asset:
        asked["asset"] = found.scope.asset.pk
    asked |= {"from": for_machines(found.period.start), "to": for_machines(found.period.end)}
    return {
        "found": found,
        "groups": groups,
        "by_class": found.by_class[:ROWS],
        "by_asset": found.by_asset[:ROWS],
        "more_assets": max(len(found.by_asset) - ROWS, 0),
        "charts": [(title, json.dumps(bars)) for title, bars in charts(found)],
        "export_query": f"&{urlencode(asked)}",
        "enough_past": ENOUGH_PAST,
    }


def charts(found: Figures) -> list[tuple[str, dict[str, Any]]]:
    """What the bars of the page and of the report show: names along the axis, values by series."""
    months = [f"{month.start:%b %Y}" for month in found.months]
    work = {"Planned": "planned", "Unplanned": "unplanned"}
    cost = {label: [getattr(month, name).cost for month in found.months] for label, name in work.items()}
    jobs = {label: [getattr(month, name).jobs for month in found.months] for label, name in work.items()}
    failures = {"Failures": [month.failures for month in found.months]}
    causes = found.downtime[:10]
    return [
        ("Jobs by month", {"names": months, "series": jobs, "unit": ""}),
        ("Failures by month", {"names": months, "series": failures, "unit": ""}),
        ("Cost by month", {"names": months, "series": cost, "unit": found.scope.site.currency}),
        (
            "Downtime by cause",
            {"names": [cause.name for cause in causes], "series": {"Hours": [c.hours for c in causes]}, "unit": "h"},
        ),
    ]

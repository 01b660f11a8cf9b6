"""The page that holds how much alerts ask of people against the limits that the field has for it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django import forms
from django.contrib.auth.decorators import permission_required
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from alerts import statistics
from alerts.statistics import Load, Period
from sensors.models import Site
from sensors.pages import Request
from sensors.wording import duration

SOURCE = "ANSI/ISA-18.2-2016, clause 16; EEMUA 191"


@dataclass(frozen=True)
class Limit:
    """Up to `acceptable` a figure is fine, up to `manageable` it can be borne."""

    acceptable: float
    manageable: float
    said: str


LIMITS = {
    "per_hour": Limit(6, 12, "6 very likely acceptable, 12 the most that is manageable"),
    "per_ten_minutes": Limit(1, 2, "1 very likely acceptable, 2 the most that is manageable"),
    "most_in_ten_minutes": Limit(10, 10, "10 or fewer"),
    "crowded_share": Limit(0.01, 0.01, "less than 1 %"),
    "flood_share": Limit(0.01, 0.01, "less than 1 %"),
    "top_share": Limit(0.01, 0.05, "1 % to 5 % at most; of few alarms always more"),
    "chattering": Limit(0, 0, "none"),
    "stale": Limit(4, 4, "fewer than 5 on any day"),
    "critical_share": Limit(0.01, 0.05, "less than 1 % of four severities; of few alarms always more"),
}
# Below 200 alarms ten causes are more than 5 % of them even when each comes once; below 100 one is more than 1 %.
ENOUGH_FOR_TOP, ENOUGH_FOR_CRITICAL = 200, 100
PERIODS = {1: "day", 7: "7 days", 30: "30 days", 90: "90 days", 366: "year"}


@dataclass(frozen=True)
class Figure:
    name: str
    value: str
    limit: str
    verdict: str


class StatisticsFilter(forms.Form):
    """Whose alerts, and of which days. Untouched, it is the last month of every site."""

    DAYS = [
        ("1", "Last day"),
        ("7", "Last 7 days"),
        ("30", "Last 30 days"),
        ("90", "Last 90 days"),
        ("366", "Last year"),
    ]

    site = forms.ModelChoiceField(Site.objects.none(), required=False, empty_label="All")
    days = forms.ChoiceField(label="Period", choices=DAYS, required=False, initial="30")
    historical = forms.BooleanField(label="With imported history", required=False)

    def __init__(self, *args: object, sites: "QuerySet[Site]", **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["site"].queryset = sites  # type: ignore[attr-defined]

    def period(self, now: datetime) -> Period:
        asked = self.cleaned_data if self.is_valid() else {}
        length = timedelta(days=int(asked.get("days") or 30))
        return Period(now - length, now, bool(asked.get("historical")))

    def chosen(self, sites: list[Site]) -> list[Site]:
        site = self.cleaned_data.get("site") if self.is_valid() else None
        return [site] if site else sites


@require_safe
@permission_required("alerts.view_alert", raise_exception=True)
def performance(request: Request) -> HttpResponse:
    sites = Site.objects.visible_to(request.user).order_by("name")
    asked = {"days": "30"} | request.GET.dict()
    form = StatisticsFilter(asked, sites=sites)
    period, chosen = form.period(timezone.now()), form.chosen(list(sites))
    found = statistics.loads(chosen, period)
    context = {
        "form": form,
        "loads": [(load, figures(load)) for load in found],
        "causes": statistics.top_causes(chosen, period),
        "source": SOURCE,
    }
    return render(request, "alerts/statistics.html", context)


def figures(load: Load) -> list[Figure]:
    """What the page shows of a site, each figure beside its limit."""
    top = load.top_share if load.alarms >= ENOUGH_FOR_TOP else None
    critical = load.critical_share if load.alarms >= ENOUGH_FOR_CRITICAL else None
    most = load.most_in_ten_minutes
    return [
        _figure("Alarms an hour, on average", f"{load.per_hour:.2f}", load.per_hour, "per_hour"),
        _figure("In ten minutes, on average", f"{load.per_ten_minutes:.2f}", load.per_ten_minutes, "per_ten_minutes"),
        _figure("Most alarms in ten minutes", str(most), most, "most_in_ten_minutes"),
        _figure("Hours with more than 30 alarms", _percent(load.crowded_share), load.crowded_share, "crowded_share"),
        _figure(f"Time in floods ({load.floods})", _percent(load.flood_share), load.flood_share, "flood_share"),
        _figure("Share of the ten most frequent causes", _percent(load.top_share), top, "top_share"),
        _figure("Chattering causes", str(load.chattering), load.chattering, "chattering"),
        _figure("Stale alerts, on the worst day", str(load.stale), load.stale, "stale"),
        _figure("Share of critical alerts", _percent(load.critical_share), critical, "critical_share"),
        Figure("Time to acknowledge, median", _lasting(load.acknowledged_median), "", ""),
        Figure("Time to acknowledge, 95 % within", _lasting(load.acknowledged_p95), "", ""),
    ]


def _figure(name: str, value: str, number: float | None, limit: str) -> Figure:
    known = LIMITS[limit]
    if number is None:
        return Figure(name, value, known.said, "")
    verdict = "fine" if number <= known.acceptable else "manageable" if number <= known.manageable else "over"
    return Figure(name, value, known.said, verdict)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _lasting(seconds: float | None) -> str:
    return "–" if seconds is None else duration(seconds)

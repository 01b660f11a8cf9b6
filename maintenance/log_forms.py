from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet

from maintenance import log_book
from maintenance.models import FailureMode, WorkOrder
from maintenance.querysets import MaintenanceLogQuerySet
from sensors.models import Asset, Site
from sensors.wall_clock import OUT_OF_TIME, in_our_time

KINDS = [(value, str(label).capitalize()) for value, label in WorkOrder.Kind.choices]
YEAR_MINUTES = 525_600


def _date(label: str) -> forms.DateField:
    return forms.DateField(label=label, required=False, widget=forms.DateInput({"type": "date"}, "%Y-%m-%d"))


class LogFilter(forms.Form):
    """Which entries are shown. Untouched, the newest of every site."""

    words = forms.CharField(label="Search", max_length=100, required=False, widget=forms.TextInput({"type": "search"}))
    site = forms.ModelChoiceField(Site.objects.none(), required=False, empty_label="Any")
    asset = forms.CharField(label="Asset and below", max_length=100, required=False)
    kind = forms.ChoiceField(choices=[("", "Any"), *KINDS], required=False)
    failure_mode = forms.ModelChoiceField(FailureMode.objects.all(), required=False, empty_label="Any")
    first = _date("From")
    last = _date("To")

    def __init__(self, asked: Any, *, sites: "QuerySet[Site]", assets: "QuerySet[Asset]") -> None:
        super().__init__(asked)
        self.fields["site"].queryset = sites  # type: ignore[attr-defined]
        self.assets = assets

    def clean_first(self) -> datetime | None:
        return self._midnight("first", 0)

    def clean_last(self) -> datetime | None:
        return self._midnight("last", 1)

    def _midnight(self, name: str, days_later: int) -> datetime | None:
        day = self.cleaned_data[name]
        if day is None:
            return None
        midnight = datetime.combine(day, time())
        if not in_our_time(midnight):
            raise ValidationError(OUT_OF_TIME, code="out_of_time")
        return midnight + timedelta(days=days_later)

    def chosen(self, rows: MaintenanceLogQuerySet) -> MaintenanceLogQuerySet:
        """The rows that are asked for; days are those of the chosen site, or of UTC where there is none."""
        asked: dict[str, Any] = self.cleaned_data
        site = asked["site"]
        zone: tzinfo = site.timezone if site else UTC
        if site:
            rows = rows.filter(asset__site=site)
        if asked["asset"]:
            found = self.assets.filter(name__iexact=asked["asset"].strip(), **({"site": site} if site else {}))
            rows = rows.filter(asset__in=[pk for asset in found[:20] for pk in log_book.below(asset.pk)])
        for name in ("kind", "failure_mode"):
            if asked[name]:
                rows = rows.filter(**{name: asked[name]})
        for name, lookup in (("first", "completion_date__gte"), ("last", "completion_date__lt")):
            if asked[name]:
                rows = rows.filter(**{lookup: asked[name].replace(tzinfo=zone)})
        return log_book.search(rows, asked["words"])


class WorkDone(forms.Form):
    """Work that had no order; everything but the notes is optional. Times are on the wall clock of the active zone."""

    notes = forms.CharField(
        label="What was done", max_length=5000, widget=forms.Textarea({"rows": 3, "placeholder": "Replaced the seal…"})
    )
    fault_found = forms.BooleanField(label="A fault was found", required=False)
    failure_mode = forms.ModelChoiceField(
        FailureMode.objects.none(), label="Failure mode (optional)", required=False, empty_label="–"
    )
    kind = forms.ChoiceField(label="Kind (optional)", choices=[("", "–"), *KINDS], required=False)
    completion_date = forms.DateTimeField(
        label="Finished (empty: now)",
        required=False,
        widget=forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    duration_minutes = forms.IntegerField(
        label="Minutes of work (optional)", min_value=0, max_value=YEAR_MINUTES, required=False
    )
    downtime_minutes = forms.IntegerField(
        label="Minutes of downtime (optional)", min_value=0, max_value=YEAR_MINUTES, required=False
    )
    downtime_reason = forms.CharField(label="Reason of the downtime (optional)", max_length=200, required=False)
    parts = forms.CharField(label="Parts (optional)", max_length=500, required=False)
    cost = forms.DecimalField(label="Cost (optional)", min_value=0, max_digits=12, decimal_places=2, required=False)

    def __init__(self, *args: Any, asset: Asset, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        modes = FailureMode.objects.filter(Q(asset_class=None) | Q(asset_class=asset.asset_class_id))
        self.fields["failure_mode"].queryset = modes  # type: ignore[attr-defined]

    def clean_completion_date(self) -> datetime | None:
        at: datetime | None = self.cleaned_data["completion_date"]
        if at and not in_our_time(at):
            raise ValidationError(OUT_OF_TIME, code="out_of_time")
        return at

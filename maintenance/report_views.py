"""Pages of reports: make one, fetch one, say which are made by themselves."""

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import FileResponse, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from maintenance import reports
from maintenance.figures import Period
from maintenance.models import Report, ReportSchedule
from sensors.models import Site
from sensors.pages import Request, page_of
from sensors.wall_clock import OUT_OF_TIME, in_our_time


class Wanted(forms.Form):
    """A report of a site and of days of its calendar, the last included."""

    site = forms.ModelChoiceField(Site.objects.none(), empty_label=None)
    first = forms.DateField(label="From", widget=forms.DateInput({"type": "date"}, "%Y-%m-%d"))
    last = forms.DateField(label="To", widget=forms.DateInput({"type": "date"}, "%Y-%m-%d"))

    def __init__(self, *args: Any, sites: "QuerySet[Site]", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = sites  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        first, last = self.cleaned_data.get("first"), self.cleaned_data.get("last")
        if first and last:
            if not all(in_our_time(datetime.combine(day, time())) for day in (first, last)):
                raise ValidationError(OUT_OF_TIME, code="out_of_time")
            if not first <= last <= first + timedelta(days=366 * 50):
                raise ValidationError("The first day lies before the last, by 50 years at most.", code="bad_period")
        return self.cleaned_data

    def period(self) -> Period:
        zone = self.cleaned_data["site"].timezone
        days: list[date] = [self.cleaned_data["first"], self.cleaned_data["last"] + timedelta(days=1)]
        return Period(*(datetime.combine(day, time(), zone) for day in days))


class Scheduled(forms.Form):
    """A report of each month or week, and who gets it by mail. Nobody and "off" ends it."""

    site = forms.ModelChoiceField(Site.objects.none(), empty_label=None)
    every = forms.ChoiceField(choices=[(value, f"Every {value}") for value in ReportSchedule.Every.values])
    recipients = forms.ModelMultipleChoiceField(
        User.objects.none(), label="Mail it to", required=False, help_text="Members of your sites who are active."
    )
    is_active = forms.BooleanField(label="Make it", required=False, initial=True)

    def __init__(self, *args: Any, sites: "QuerySet[Site]", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = sites  # type: ignore[attr-defined]
        people = User.objects.filter(is_active=True, sites__in=sites).distinct().order_by("username")
        self.fields["recipients"].queryset = people  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        site, people = self.cleaned_data.get("site"), self.cleaned_data.get("recipients")
        if site and people and people.exclude(sites=site).exists():
            raise ValidationError("Only members of the site get its reports.", code="not_a_member")
        return self.cleaned_data

    def save(self) -> ReportSchedule:
        about = self.cleaned_data
        schedule, _ = ReportSchedule.objects.update_or_create(
            site=about["site"], every=about["every"], defaults={"is_active": about["is_active"]}
        )
        schedule.recipients.set(about["recipients"])
        return schedule


@require_safe
@permission_required("maintenance.view_report", raise_exception=True)
def index(request: Request) -> HttpResponse:
    return _show(request)


def _show(request: Request, wanted: Wanted | None = None, scheduled: Scheduled | None = None) -> HttpResponse:
    sites = Site.objects.visible_to(request.user).order_by("name")
    rows = Report.objects.visible_to(request.user).select_related("site", "created_by", "schedule")
    schedules = ReportSchedule.objects.visible_to(request.user).select_related("site").prefetch_related("recipients")
    context = {
        "page": page_of(rows, request),
        "schedules": schedules,
        "wanted": wanted or Wanted(sites=sites, auto_id="wanted_%s"),
        "scheduled": scheduled or Scheduled(sites=sites, auto_id="scheduled_%s"),
    }
    return render(request, "maintenance/reports.html", context, status=422 if wanted or scheduled else 200)


@require_POST
@permission_required("maintenance.add_report", raise_exception=True)
def make(request: Request) -> HttpResponse:
    form = Wanted(request.POST, sites=Site.objects.visible_to(request.user), auto_id="wanted_%s")
    if not form.is_valid():
        return _show(request, wanted=form)
    report = reports.make(form.cleaned_data["site"], form.period(), request.user)
    messages.success(request, f"Report {report.pk} is made.")
    return redirect("maintenance:reports")


@require_POST
@permission_required("maintenance.change_reportschedule", raise_exception=True)
def schedule(request: Request) -> HttpResponse:
    form = Scheduled(request.POST, sites=Site.objects.visible_to(request.user), auto_id="scheduled_%s")
    if not form.is_valid():
        return _show(request, scheduled=form)
    form.save()
    messages.success(request, "Saved.")
    return redirect("maintenance:reports")


@require_safe
@permission_required("maintenance.view_report", raise_exception=True)
def report(request: Request, pk: int) -> FileResponse:
    """The PDF."""
    found = get_object_or_404(Report.objects.visible_to(request.user), pk=pk)
    return file_of(found)


def file_of(found: Report) -> FileResponse:
    name = f"maintenance-{found.start:%Y-%m-%d}-{found.pk}.pdf"
    answer = FileResponse(found.file.open("rb"), as_attachment=True, filename=name, content_type="application/pdf")
    answer["Cache-Control"] = "no-store"
    return answer

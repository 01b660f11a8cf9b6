"""Pages of the calendar: a month, a day, the workload of people, and the secret address of one's own work."""

from datetime import date, timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required, permission_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from alerts.delivery.links import absolute
from maintenance import calendars, feeds
from maintenance.models import CalendarLink
from sensors.models import Site
from sensors.pages import Request, page_of


@require_safe
@permission_required("maintenance.view_workorder", raise_exception=True)
def month(request: Request) -> HttpResponse:
    """A month of a site: `?month=2026-03`, and with `?day=2026-03-05` all orders of that day."""
    site, sites = _site(request)
    now = timezone.now()
    if site is None:
        return render(request, "maintenance/calendar.html", {"sites": sites})
    today = now.astimezone(site.timezone).date()
    context = {"site": site, "sites": sites, "today": today, "now": now}
    if day := _date(request.GET.get("day", "")):
        rows = calendars.of_day(site, day)
        return render(request, "maintenance/calendar_day.html", context | {"day": day, "page": page_of(rows, request)})
    first = _date(request.GET.get("month", "")[:7] + "-01") or today.replace(day=1)
    context |= {"first": first, "weeks": calendars.month(site, first, now)}
    context |= {"before": first - timedelta(days=1), "after": first + timedelta(days=31)}
    return render(request, "maintenance/calendar.html", context)


@require_safe
@permission_required("maintenance.view_workorder", raise_exception=True)
def workload(request: Request) -> HttpResponse:
    site, sites = _site(request)
    context: dict[str, Any] = {"site": site, "sites": sites, "capacity": calendars.CAPACITY_HOURS}
    if site:
        context["weeks"], loads = calendars.workload(site, timezone.now())
        context["loads"] = list(loads.items())
    return render(request, "maintenance/workload.html", context)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("maintenance.view_workorder", raise_exception=True)
def link(request: Request) -> HttpResponse:
    """Make, renew or end the secret address of one's own calendar; a new one is shown once, in the answer itself."""
    context: dict[str, Any] = {}
    if request.method == "POST" and "revoke" in request.POST:
        feeds.revoke_link(request.user)
        messages.success(request, "The address no longer works.")
        return redirect("maintenance:calendar-link")
    if request.method == "POST":
        path = reverse("maintenance:calendar-feed", args=[feeds.make_link(request.user)])
        context["address"] = absolute(path)
    context["link"] = CalendarLink.objects.visible_to(request.user).first()
    return render(request, "maintenance/calendar_link.html", context)


@never_cache
@login_not_required
@require_safe
def feed(request: Request, secret: str) -> HttpResponse:
    """One's work, for programs that know the secret. An unknown one is 404, as if there had never been any."""
    person = feeds.person_of(secret)
    if person is None:
        raise Http404
    return HttpResponse(feeds.calendar_of(person, timezone.now()), content_type="text/calendar; charset=utf-8")


def _site(request: Request) -> tuple[Site | None, list[Site]]:
    """The site that `?site=` names, or else the first one; and all that may be chosen."""
    sites = list(Site.objects.visible_to(request.user).order_by("name"))
    asked = request.GET.get("site", "")
    chosen = [site for site in sites if str(site.pk) == asked]
    if asked and not chosen:
        raise Http404
    return next(iter(chosen or sites), None), sites


def _date(text: str) -> date | None:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if 1980 <= found.year < 2200 else None

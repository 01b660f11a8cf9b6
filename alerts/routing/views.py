"""Pages about who is told: routes, silences, who is on call, escalation, preferences, and the messages of an alert."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from alerts import silences
from alerts.models import (
    Alert,
    Contact,
    EscalationPolicy,
    Override,
    Preference,
    RotationMember,
    Route,
    Schedule,
    Silence,
)
from alerts.routing import on_call, preview
from alerts.routing.circumstances import Terms
from alerts.routing.forms import (
    OverrideForm,
    PolicyForm,
    PreferenceForm,
    RotationForm,
    RouteForm,
    ScheduleForm,
    SilenceForm,
    StepForm,
    step_forms,
)
from alerts.routing.ladders import rotas_of
from alerts.routing.on_call import Rota
from sensors.pages import Request, act, page_of, takes_post

form_page = require_http_methods(["GET", "HEAD", "POST"])
CALENDAR = timedelta(days=14)
TO_TRY = 30


@require_safe
@permission_required("alerts.view_route", raise_exception=True)
def routes(request: Request) -> HttpResponse:
    rows = Route.objects.visible_to(request.user).select_related("site", "asset", "policy")
    page = page_of(rows.prefetch_related("channels", "roles", "people"), request)
    return render(request, "alerts/routes.html", {"page": page, "mine": _changeable(Route, request, page.rows)})


@form_page
@permission_required("alerts.add_route", raise_exception=True)
def new_route(request: Request) -> HttpResponse:
    return _route(request, Route())


@form_page
@permission_required("alerts.change_route", raise_exception=True)
def route(request: Request, pk: int) -> HttpResponse:
    return _route(request, get_object_or_404(Route.objects.changeable_by(request.user), pk=pk))


def _route(request: Request, row: Route) -> HttpResponse:
    """The form of a route; before it is saved it shows who would be told of an alert."""
    form = RouteForm(request.POST or None, instance=row, user=request.user)
    if form.is_valid() and "preview" not in request.POST:
        form.save()
        messages.success(request, "Saved.")
        return redirect("alerts:routes")
    alerts = Alert.objects.visible_to(request.user).filter(historical=False).select_related("asset", "site")
    offered = list(alerts.order_by("-opened_at")[:TO_TRY])
    tried = next((alert for alert in offered if str(alert.pk) == request.POST.get("alert")), None)
    context = {"form": form, "route": row, "alerts": offered, "tried": tried}
    if tried and form.is_valid():
        context["preview"] = preview.if_raised_now(tried, timezone.now(), _said(form))
    return render(request, "alerts/route.html", context, status=422 if form.errors else 200)


def _said(form: RouteForm) -> Terms:
    named = {name: frozenset(row.pk for row in form.cleaned_data[name]) for name in ("roles", "people", "channels")}
    return Terms.said_by(form.instance, **named)


def _changeable(model: Any, request: Request, rows: list[Any]) -> set[int]:
    own = model.objects.changeable_by(request.user).filter(pk__in=[row.pk for row in rows])
    return set(own.values_list("pk", flat=True))


@form_page
@permission_required("alerts.view_silence", raise_exception=True)
def silences_(request: Request) -> HttpResponse:
    """Silences that run or are to come, and the form to begin one, filled in for the `?alert=` in question."""
    if request.method == "POST" and not request.user.has_perm("alerts.add_silence"):
        raise PermissionDenied
    about = _about(request)
    initial = {name: getattr(about, f"{name}_id") for name in ("site", "asset", "sensor")} if about else {}
    form = SilenceForm(request.POST or None, user=request.user, sensor=about.sensor if about else None, initial=initial)
    if form.is_valid():
        silences.create(form.save(commit=False), request.user)
        messages.success(request, "Silenced. Its alerts stay in the inbox.")
        return redirect("alerts:silences")
    now = timezone.now()
    rows = Silence.objects.visible_to(request.user).filter(ends_at__gt=now)
    context = {
        "form": form,
        "page": page_of(rows.select_related("site", "asset", "sensor", "created_by").order_by("ends_at"), request),
        "now": now,
    }
    return render(request, "alerts/silences.html", context, status=422 if form.errors else 200)


def _about(request: Request) -> Alert | None:
    asked = request.GET.get("alert", "")
    if not asked.isdecimal() or len(asked) > 17:
        return None
    found: Alert | None = Alert.objects.visible_to(request.user).select_related("sensor").filter(pk=asked).first()
    return found


@require_POST
@permission_required("alerts.change_silence", raise_exception=True)
def end_silence(request: Request, pk: int) -> HttpResponse:
    found = get_object_or_404(Silence.objects.visible_to(request.user), pk=pk)
    done = "Ended: its open alerts are told now."
    return act(request, lambda: silences.end(found, request.user), done=done, then=reverse("alerts:silences"))


@require_safe
@permission_required("alerts.view_schedule", raise_exception=True)
def schedules(request: Request) -> HttpResponse:
    """Who is on call now, and who is next."""
    now = timezone.now()
    page = page_of(Schedule.objects.visible_to(request.user).select_related("site"), request)
    rotas = rotas_of((row.pk for row in page.rows), now)
    people = User.objects.in_bulk()
    for row in page.rows:
        coming = on_call.shifts(rotas[row.pk], now, now + CALENDAR)
        row.now, row.next = coming[0], coming[1] if len(coming) > 1 else None
        row.now_name = people.get(row.now.person)
        row.next_name = people.get(row.next.person) if row.next else None
    return render(request, "alerts/schedules.html", {"page": page})


@form_page
@permission_required("alerts.add_schedule", raise_exception=True)
def new_schedule(request: Request) -> HttpResponse:
    form = ScheduleForm(request.POST or None, user=request.user)
    if form.is_valid():
        return redirect("alerts:schedule", form.save().pk)
    return render(request, "alerts/schedule.html", {"form": form}, status=422 if form.errors else 200)


@require_safe
@permission_required("alerts.view_schedule", raise_exception=True)
def schedule(request: Request, pk: int) -> HttpResponse:
    found = get_object_or_404(Schedule.objects.visible_to(request.user).select_related("site"), pk=pk)
    return _schedule(request, found)


def _schedule(request: Request, found: Schedule, **bound: Any) -> HttpResponse:
    """The coming two weeks, and the forms to change them for those who may."""
    now = timezone.now()
    may_change = request.user.has_perm("alerts.change_schedule") and bool(_changeable(Schedule, request, [found]))
    forms = {
        "form": ScheduleForm(instance=found, user=request.user, prefix="schedule"),
        "rotation": RotationForm(user=request.user, prefix="rotation"),
        "override": OverrideForm(instance=Override(schedule=found), user=request.user, prefix="override"),
    } | bound
    context = {
        "schedule": found,
        "shifts": _calendar(rotas_of([found.pk], now)[found.pk], now),
        "rotations": found.rotations.prefetch_related("members__person"),
        "overrides": found.overrides.filter(end__gt=now).select_related("person"),
        "may_change": may_change,
        **forms,
    }
    return render(request, "alerts/schedule.html", context, status=422 if bound else 200)


def _calendar(rota: Rota, now: Any) -> list[tuple[on_call.Shift, User | None]]:
    found = on_call.shifts(rota, now, now + CALENDAR)
    people = User.objects.in_bulk({shift.person for shift in found if shift.person})
    return [(shift, people.get(shift.person or 0)) for shift in found]


def _own_schedule(request: Request, pk: int) -> Schedule:
    found: Schedule = get_object_or_404(Schedule.objects.changeable_by(request.user), pk=pk)
    return found


@takes_post("alerts:schedule")
@permission_required("alerts.change_schedule", raise_exception=True)
def change_schedule(request: Request, pk: int) -> HttpResponse:
    found = _own_schedule(request, pk)
    form = ScheduleForm(request.POST, instance=found, user=request.user, prefix="schedule")
    if not form.is_valid():
        return _schedule(request, _own_schedule(request, pk), form=form)
    form.save()
    messages.success(request, "Saved.")
    return redirect("alerts:schedule", pk)


@takes_post("alerts:schedule")
@permission_required("alerts.change_schedule", raise_exception=True)
def add_rotation(request: Request, pk: int) -> HttpResponse:
    found = _own_schedule(request, pk)
    form = RotationForm(request.POST, user=request.user, prefix="rotation")
    if not form.is_valid():
        return _schedule(request, found, rotation=form)
    with transaction.atomic():
        form.instance.schedule = found
        rotation = form.save()
        turns = enumerate(form.turns)
        RotationMember.objects.bulk_create(
            RotationMember(rotation=rotation, person=person, position=position) for position, person in turns
        )
    messages.success(request, f"The rotation counts from {rotation.starts_on} on.")
    return redirect("alerts:schedule", pk)


@takes_post("alerts:schedule")
@permission_required("alerts.change_schedule", raise_exception=True)
def add_override(request: Request, pk: int) -> HttpResponse:
    found = _own_schedule(request, pk)
    blank = Override(schedule=found, created_by=request.user)
    form = OverrideForm(request.POST, instance=blank, user=request.user, prefix="override")
    if not form.is_valid():
        return _schedule(request, found, override=form)
    form.save()
    messages.success(request, f"{form.instance.person} stands in.")
    return redirect("alerts:schedule", pk)


@require_safe
@permission_required("alerts.view_escalationpolicy", raise_exception=True)
def policies(request: Request) -> HttpResponse:
    used = Exists(Route.objects.filter(policy=OuterRef("pk"), enabled=True))
    rows = EscalationPolicy.objects.visible_to(request.user).select_related("site").annotate(used=used)
    steps = ("steps__people", "steps__roles", "steps__schedule", "steps__channel")
    page = page_of(rows.prefetch_related(*steps), request)
    return render(
        request, "alerts/policies.html", {"page": page, "mine": _changeable(EscalationPolicy, request, page.rows)}
    )


@form_page
@permission_required("alerts.add_escalationpolicy", raise_exception=True)
def new_policy(request: Request) -> HttpResponse:
    return _policy(request, EscalationPolicy())


@form_page
@permission_required("alerts.change_escalationpolicy", raise_exception=True)
def policy(request: Request, pk: int) -> HttpResponse:
    return _policy(request, get_object_or_404(EscalationPolicy.objects.changeable_by(request.user), pk=pk))


def _policy(request: Request, row: EscalationPolicy) -> HttpResponse:
    data = request.POST or None
    form, steps = PolicyForm(data, instance=row, user=request.user), step_forms(request.user, row, data)
    if data and form.is_valid() and all(step.is_valid() for step in steps):
        wanted = [step for step in steps if step.tells_somebody]
        if wanted:
            _save_policy(form, wanted)
            messages.success(request, "Saved.")
            return redirect("alerts:policies")
        form.add_error(None, "Say in one step at least whom it tells.")
    invalid = form.errors or any(step.errors for step in steps)
    context = {"form": form, "steps": steps, "policy": row}
    return render(request, "alerts/policy.html", context, status=422 if invalid else 200)


@transaction.atomic
def _save_policy(form: PolicyForm, steps: list[StepForm]) -> None:
    saved = form.save()
    saved.steps.all().delete()
    for position, step in enumerate(steps):
        step.instance.pk, step.instance.policy, step.instance.position = None, saved, position
        step.instance._state.adding = True
        step.save()


@form_page
@permission_required("alerts.view_alert", raise_exception=True)
def preferences(request: Request) -> HttpResponse:
    """How one wants to be told oneself."""
    row = Preference.objects.filter(person=request.user).first() or Preference(
        person=request.user, timezone=_home(request.user)
    )
    form = PreferenceForm(request.POST or None, instance=row, person=request.user)
    if form.is_valid():
        with transaction.atomic():
            form.save()
            save_contacts(request.user, form.addresses)
        messages.success(request, "Saved.")
        return redirect("alerts:preferences")
    return render(request, "alerts/preferences.html", {"form": form}, status=422 if form.errors else 200)


def save_contacts(person: User, addresses: dict[int, str]) -> None:
    """The channels by which somebody wants to be told, and their address there."""
    Contact.objects.filter(person=person).exclude(channel__in=addresses).delete()
    for channel, address in addresses.items():
        Contact.objects.update_or_create(person=person, channel_id=channel, defaults={"address": address})


def _home(person: User) -> Any:
    """The time zone of the first site somebody sees."""
    site = person.sites.order_by("pk").first()
    return site.timezone if site else "UTC"


@require_safe
@permission_required("alerts.view_delivery", raise_exception=True)
def messages_of(request: Request, pk: int) -> HttpResponse:
    """Who was told of an alert, and who will be next."""
    alert = get_object_or_404(Alert.objects.visible_to(request.user).select_related("site"), pk=pk)
    items: QuerySet[Any] = alert.items.select_related("delivery__person", "delivery__channel")
    rows = items.exclude(delivery__state="cancelled").order_by("-delivery__due_at", "-pk")[: TO_TRY + 1]
    told = list(rows)
    context = {
        "alert": alert,
        "items": told[:TO_TRY],
        "more": len(told) > TO_TRY,
        "coming": preview.coming(alert, timezone.now()),
    }
    return render(request, "alerts/_messages.html", context)

import json
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from alerts import evidence, lifecycle, silences
from alerts.forms import Assignment, Comment, InboxFilter, Resolution, Snooze
from alerts.models import Alert, Severity, State, Transition
from alerts.querysets import AlertQuerySet
from sensors.errors import Refused
from sensors.models import Asset, Sensor, Site
from sensors.pages import Request, act, live_page, page_of, takes_post
from sensors.wording import for_machines

PANEL_ROWS = 8
ATTENTION_ROWS = 12
MOST_AT_ONCE = 200


@require_safe
@permission_required("alerts.view_alert", raise_exception=True)
def inbox(request: Request) -> HttpResponse:
    form = InboxFilter(request.GET, sites=Site.objects.visible_to(request.user))
    chosen = form.cleaned_data if form.is_valid() else {}
    rows = _filtered(Alert.objects.visible_to(request.user), chosen, request.user)
    rows = rows.select_related("site", "asset", "assignee").defer("evidence")
    untouched = not any(chosen.values())
    page = page_of(rows, request)
    silences.mark(page.rows)
    context = {"form": form, "page": page, "untouched": untouched}
    return live_page(request, "alerts/inbox.html", "alerts/_inbox.html", context)


def _filtered(rows: AlertQuerySet, chosen: dict[str, Any], reader: User) -> AlertQuerySet:
    state = chosen.get("state") or "unresolved"
    historical = bool(chosen.get("historical"))
    rows = rows.filter(historical=historical)
    if chosen.get("severity"):
        rows = rows.filter(severity=chosen["severity"])
    if chosen.get("kind"):
        rows = rows.filter(kind=chosen["kind"])
    if chosen.get("site"):
        rows = rows.filter(site=chosen["site"])
    if chosen.get("mine"):
        rows = rows.filter(assignee=reader)
    if words := chosen.get("words"):
        rows = rows.filter(Q(title__icontains=words) | _of_what_is_called(words, reader))
    if state in State.values:
        rows = rows.in_state(state)
    elif state == "unresolved" and not historical:
        # Alerts of imported history are resolved from the start: for them "unresolved" would always be empty.
        rows = rows.unresolved()
    return rows.by_attention()


def _of_what_is_called(words: str, reader: User) -> Q:
    """Looked up first: few are called so, and their alerts are found by index."""
    assets = Asset.objects.visible_to(reader).filter(name__icontains=words).values_list("pk", flat=True)
    sensors = Sensor.objects.visible_to(reader).filter(sensor_id__icontains=words).values_list("pk", flat=True)
    return Q(asset__in=list(assets)) | Q(sensor__in=list(sensors))


@require_safe
@permission_required("alerts.view_alert", raise_exception=True)
def open_panel(request: Request) -> HttpResponse:
    """The unresolved alerts of the overview, the most pressing first."""
    rows = Alert.objects.visible_to(request.user)
    counts = {state.value: rows.filter(state=state).roughly() for state in lifecycle.UNRESOLVED}
    alerts = rows.unresolved().by_attention().select_related("site", "asset").defer("evidence")[:PANEL_ROWS]
    return render(request, "alerts/_open_panel.html", {"alerts": alerts, **counts})


@require_safe
@permission_required("alerts.view_alert", raise_exception=True)
def attention_panel(request: Request) -> HttpResponse:
    """Assets by attention: the worst unresolved severity, then criticality."""
    alerts = Alert.objects.unresolved().filter(asset=OuterRef("pk"))
    assets = (
        Asset.objects.visible_to(request.user)
        .annotate(worst=Subquery(alerts.order_by("-severity").values("severity")[:1]), open_alerts=_number_of(alerts))
        .filter(Q(worst__isnull=False) | Exists(Sensor.objects.active().filter(asset=OuterRef("pk"))))
        .select_related("site")
        .order_by(F("worst").desc(nulls_last=True), "-criticality", "name")
    )
    found = list(assets[: ATTENTION_ROWS + 1])
    for asset in found:
        asset.worst_label = Severity(asset.worst).label if asset.worst else ""
    context = {"assets": found[:ATTENTION_ROWS], "more": len(found) > ATTENTION_ROWS}
    return render(request, "alerts/_attention_panel.html", context)


def _number_of(alerts: AlertQuerySet) -> Subquery:
    return Subquery(alerts.order_by().values("asset").annotate(number=Count("pk")).values("number"))


@require_safe
@permission_required("alerts.view_alert", raise_exception=True)
def for_asset(request: Request, pk: int) -> HttpResponse:
    asset = get_object_or_404(Asset.objects.visible_to(request.user).select_related("site"), pk=pk)
    alerts = list(_of_asset(asset)[: PANEL_ROWS + 1])
    context = {"asset": asset, "alerts": alerts[:PANEL_ROWS], "more": len(alerts) > PANEL_ROWS}
    return render(request, "alerts/_for_asset.html", context)


def _of_asset(asset: Asset) -> "QuerySet[Alert]":
    return Alert.objects.filter(asset=asset).by_attention().select_related("site", "asset").defer("evidence")


@require_safe
@permission_required("alerts.view_alert", raise_exception=True)
def alert(request: Request, pk: int) -> HttpResponse:
    rows = Alert.objects.visible_to(request.user).select_related("site", "asset", "sensor", "assignee")
    found = get_object_or_404(rows, pk=pk)
    silences.mark([found])
    context = {
        "alert": found,
        "sentences": evidence.sentences(found.evidence, found.site.timezone),
        "verdict": evidence.verdict(found.evidence),
        "checks": evidence.checks(found.evidence),
        "chart": _chart(found),
        "transitions": found.transitions.select_related("by"),
        "resolution": Resolution(),
        "snooze": Snooze(),
        "assignment": Assignment(people=lifecycle.people_for(found), initial={"to": found.assignee_id}),
        "comment": Comment(),
    }
    return live_page(request, "alerts/alert.html", "alerts/_alert.html", context)


def _chart(found: Alert) -> dict[str, Any]:
    """The stretch of time around the event, and what to mark in it. All times are ISO 8601 in UTC."""
    start, end = evidence.period(found.evidence) or (min(found.opened_at, found.last_seen_at), found.last_seen_at)
    before, after = _margins(start, end)
    band = evidence.expected_band(found.evidence)
    return {
        "from": for_machines(start - before),
        "to": for_machines(end + after),
        "start": for_machines(start),
        "end": for_machines(end),
        "low": band[0] if band else None,
        "high": band[1] if band else None,
        "limits": json.dumps(evidence.limit_lines(found.evidence)),
    }


def _margins(start: datetime, end: datetime) -> tuple[timedelta, timedelta]:
    """Enough of the time before an event to show what normal looked like, and some of what followed."""
    length = end - start
    return max(2 * length, timedelta(minutes=30)), max(length / 2, timedelta(minutes=10))


@takes_post("alerts:alert")
@permission_required("alerts.acknowledge_alert", raise_exception=True)
def acknowledge(request: Request, pk: int) -> HttpResponse:
    found = _alert(request, pk)
    return act(
        request,
        lambda: lifecycle.acknowledge(found, _actor(request)),
        done="Acknowledged: others now see that you are on it.",
        then=found.get_absolute_url(),
    )


@require_POST
@permission_required("alerts.acknowledge_alert", raise_exception=True)
def acknowledge_many(request: Request) -> HttpResponse:
    """Acknowledge the alerts that were ticked in the inbox; what is resolved by now is left as it is."""
    keys = [int(key) for key in request.POST.getlist("alert") if key.isdecimal() and len(key) < 18][:MOST_AT_ONCE]
    rows = list(Alert.objects.visible_to(request.user).filter(pk__in=keys).unresolved().order_by("pk"))

    def verb() -> None:
        if not rows:
            raise Refused("nothing_ticked", "Tick the alerts first.", 422)
        for row in rows:
            lifecycle.acknowledge(row, _actor(request))

    done = f"{len(rows)} alert{'s' if len(rows) != 1 else ''} acknowledged."
    return act(request, verb, done=done, then=reverse("alerts:inbox"))


@takes_post("alerts:alert")
@permission_required("alerts.acknowledge_alert", raise_exception=True)
def snooze(request: Request, pk: int) -> HttpResponse:
    found = _alert(request, pk)
    form = Snooze(request.POST)

    def verb() -> None:
        lifecycle.snooze(found, _actor(request), form.until(timezone.now(), found.site), form.said("reason"))

    return act(request, verb, done="Snoozed: it opens again by itself.", then=found.get_absolute_url())


@takes_post("alerts:alert")
@permission_required("alerts.acknowledge_alert", raise_exception=True)
def assign(request: Request, pk: int) -> HttpResponse:
    found = _alert(request, pk)
    form = Assignment(request.POST, people=lifecycle.people_for(found))

    def verb() -> None:
        if not form.is_valid():
            raise Refused("cannot_take_it", "Choose somebody from the list.", 422)
        lifecycle.assign(found, _actor(request), form.cleaned_data["to"])

    return act(request, verb, done="Noted whose it is.", then=found.get_absolute_url())


@takes_post("alerts:alert")
@permission_required("alerts.acknowledge_alert", raise_exception=True)
def comment(request: Request, pk: int) -> HttpResponse:
    found = _alert(request, pk)
    form = Comment(request.POST)

    def verb() -> None:
        if not form.is_valid():
            raise Refused("bad_comment", "Write something, up to 500 characters.", 422)
        lifecycle.comment(found, _actor(request), form.cleaned_data["text"])

    return act(request, verb, done="Noted.", then=found.get_absolute_url())


@takes_post("alerts:alert")
@permission_required("alerts.resolve_alert", raise_exception=True)
def resolve(request: Request, pk: int) -> HttpResponse:
    found = _alert(request, pk)
    form = Resolution(request.POST)
    reason = form.cleaned_data["reason"] if form.is_valid() else ""
    return act(
        request,
        lambda: lifecycle.resolve(found, _actor(request), reason=reason),
        done="Resolved.",
        then=found.get_absolute_url(),
    )


def _alert(request: Request, pk: int) -> Alert:
    found: Alert = get_object_or_404(Alert.objects.visible_to(request.user).select_related("site"), pk=pk)
    return found


def _actor(request: Request) -> lifecycle.Actor:
    return lifecycle.Actor(request.user, Transition.Surface.WEB)

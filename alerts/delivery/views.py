"""The pages of channels and of the messages that went by them, and the page behind a link in a message."""

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required, permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from alerts import lifecycle
from alerts.delivery import links
from alerts.delivery.channels import send_test
from alerts.delivery.forms import ChannelForm, DeliveryFilter
from alerts.delivery.sending import redrive as send_again
from alerts.lifecycle import Actor
from alerts.models import Channel, Delivery, Transition
from sensors.errors import Refused
from sensors.pages import Request, act, live_page, page_of, takes_post

LATEST = 10


@require_safe
@permission_required("alerts.view_channel", raise_exception=True)
def channels(request: Request) -> HttpResponse:
    rows = Channel.objects.visible_to(request.user).with_condition()
    mine = set(Channel.objects.changeable_by(request.user).values_list("pk", flat=True))
    may = request.user.has_perm("alerts.change_channel")
    context = {"channels": [(row, may and row.pk in mine) for row in rows]}
    return render(request, "alerts/channels.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("alerts.add_channel", raise_exception=True)
def new_channel(request: Request) -> HttpResponse:
    return _edit(request, None)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("alerts.change_channel", raise_exception=True)
def channel(request: Request, pk: int) -> HttpResponse:
    """How a channel is, what went by it last, and its settings."""
    return _edit(request, _changeable(request, pk))


def _edit(request: Request, row: Channel | None) -> HttpResponse:
    form = ChannelForm(request.POST or None, instance=row, editor=request.user)
    if request.method == "POST" and form.is_valid():
        kept, made = form.keep()
        messages.success(request, "Saved. Send a test to see whether it works." if row is None else "Saved.")
        if made:
            messages.info(request, f"Signing key, shown only now: {made}")
        return redirect("alerts:channel", kept.pk)
    # A form that was refused may have changed its instance.
    shown = None if row is None else Channel.objects.with_condition().get(pk=row.pk)
    rows = Delivery.objects.filter(channel=shown).visible_to(request.user)
    latest = list(rows.select_related("person", "channel", "site")[:LATEST]) if shown else []
    context = {
        "form": form,
        "channel": shown,
        "latest": latest,
        "waits": any(sent.is_waited_for for sent in latest),
    }
    return live_page(request, "alerts/channel.html", "alerts/_latest_deliveries.html", context)


@takes_post("alerts:channel")
@permission_required("alerts.change_channel", raise_exception=True)
def test_channel(request: Request, pk: int) -> HttpResponse:
    row = _changeable(request, pk)
    return act(
        request,
        lambda: send_test(row, request.user),
        done="A test is on its way; its outcome shows below.",
        then=reverse("alerts:channel", args=[pk]),
    )


@takes_post("alerts:channel")
@permission_required("alerts.redrive_delivery", raise_exception=True)
def redrive_channel(request: Request, pk: int) -> HttpResponse:
    """Send all failed messages of a channel again, those of sites that the person sees."""
    rows = Delivery.objects.filter(channel=_changeable(request, pk)).visible_to(request.user)
    return act(
        request,
        lambda: send_again(rows, _actor(request)),
        done="What had failed is sent again.",
        then=reverse("alerts:channel", args=[pk]),
    )


def _changeable(request: Request, pk: int) -> Channel:
    rows = Channel.objects.changeable_by(request.user).select_related("site", "owner")
    found: Channel = get_object_or_404(rows, pk=pk)
    return found


@require_safe
@permission_required("alerts.view_delivery", raise_exception=True)
def deliveries(request: Request) -> HttpResponse:
    form = DeliveryFilter(request.GET, reader=request.user)
    rows = form.apply(Delivery.objects.visible_to(request.user)).select_related("channel", "person", "site")
    return render(request, "alerts/deliveries.html", {"form": form, "page": page_of(rows, request)})


@require_safe
@permission_required("alerts.view_delivery", raise_exception=True)
def delivery(request: Request, pk: int) -> HttpResponse:
    rows = Delivery.objects.visible_to(request.user).select_related("channel", "person", "site")
    found = get_object_or_404(rows, pk=pk)
    items = found.items.visible_to(request.user).select_related("alert__site", "alert__asset")
    return render(request, "alerts/delivery.html", {"delivery": found, "items": items})


@takes_post("alerts:delivery")
@permission_required("alerts.redrive_delivery", raise_exception=True)
def redrive(request: Request, pk: int) -> HttpResponse:
    found = get_object_or_404(Delivery.objects.visible_to(request.user), pk=pk)

    def verb() -> None:
        if not send_again(Delivery.objects.filter(pk=found.pk), _actor(request)):
            raise Refused("not_failed", "Only messages that have failed can be sent again.")

    return act(request, verb, done="It is sent again.", then=reverse("alerts:delivery", args=[pk]))


@login_not_required
@never_cache
# The signed address is all that counts here; browsers that keep it to themselves (no-referrer) send no origin either.
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def by_link(request: HttpRequest, token: str) -> HttpResponse:
    """Asks whether to acknowledge an alert, and does so when asked to: opening the address alone changes nothing,
    because programs that look for malicious links open every one.
    """
    context: dict[str, object] = {"token": token}
    status = 200
    try:
        asked = links.read(token)
        context |= {"alert": asked.alert, "person": asked.person}
        if request.method == "POST":
            lifecycle.acknowledge(asked.alert, Actor(asked.person, Transition.Surface.LINK))
            context["done"] = True
    except Refused as refusal:
        context["refusal"], status = refusal, refusal.status
    answer = render(request, "alerts/by_link.html", context, status=status)
    answer["Referrer-Policy"], answer["X-Robots-Tag"] = "no-referrer", "noindex"
    return answer


def _actor(request: Request) -> Actor:
    return Actor(request.user, Transition.Surface.WEB)

"""Answers to the checklist of a work order, and its photos and files."""

from django import forms
from django.contrib.auth.decorators import permission_required
from django.core.files.uploadedfile import UploadedFile
from django.http import FileResponse, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_safe

from maintenance import answers, attachments
from maintenance.models import Attachment, ChecklistItem, WorkOrder
from maintenance.order_views import CHANGE, visible_order
from sensors.errors import Refused
from sensors.pages import Request, act, takes_post


class Answer(forms.Form):
    value = forms.FloatField(required=False)
    choice = forms.CharField(max_length=100, required=False)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required(CHANGE, raise_exception=True)
def answer(request: Request, pk: int) -> HttpResponse:
    item = _visible_item(request, pk)
    if request.method != "POST":
        return redirect(item.order)
    form = Answer(request.POST)

    def take() -> None:
        if not form.is_valid():
            raise Refused("no_number", "Give a number.", 422)
        value = None if "latest" in request.POST else form.cleaned_data["value"]
        answers.answer(item, request.user, value=value, choice=form.cleaned_data["choice"])

    return act(request, take, done="Noted.", then=f"{item.order.get_absolute_url()}#task-{item.pk}")


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("maintenance.add_workorder", raise_exception=True)
def follow_up(request: Request, pk: int) -> HttpResponse:
    """Propose an order because of a task that failed."""
    item = _visible_item(request, pk)
    if request.method != "POST":
        return redirect(item.order)
    made: list[WorkOrder] = []
    said = act(
        request,
        lambda: made.append(answers.follow_up(item, request.user)),
        done="Work order proposed.",
        then=item.order.get_absolute_url(),
    )
    return redirect(made[0]) if made else said


@takes_post("maintenance:work-order")
@permission_required(CHANGE, raise_exception=True)
def attach(request: Request, pk: int) -> HttpResponse:
    order = visible_order(request, pk)
    named = request.POST.get("item", "")
    item = get_object_or_404(order.checklist, pk=int(named)) if named.isdecimal() and len(named) < 19 else None
    sent = request.FILES.get("file")

    def keep() -> None:
        if not isinstance(sent, UploadedFile):
            raise Refused("file_missing", "Choose a photo or a file first.", 422)
        attachments.attach(order, request.user, sent, item)

    return act(request, keep, done="Kept with the order.", then=order.get_absolute_url())


@require_safe
@permission_required("maintenance.view_workorder", raise_exception=True)
def attachment(request: Request, pk: int) -> FileResponse:
    return attachments.response(get_object_or_404(Attachment.objects.visible_to(request.user), pk=pk))


def _visible_item(request: Request, pk: int) -> ChecklistItem:
    rows = ChecklistItem.objects.visible_to(request.user).select_related("order__site", "sensor")
    item: ChecklistItem = get_object_or_404(rows, pk=pk)
    return item

"""Pages of the store: what is there, what is to be reordered, and what an order took."""

import uuid
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from maintenance import stock
from maintenance.models import Part, PartUse, WorkOrder
from sensors.models import Site
from sensors.pages import Request, act, page_of, takes_post

# A store has thousands; a list to choose from is not longer than one can look through.
CHOICES = 500
USES_SHOWN = 20
QUANTITY = {"max_digits": 12, "decimal_places": 3}


class PartForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Part
        fields = ["site", "number", "name", "unit", "place", "minimum", "unit_cost"]

    def __init__(self, *args: Any, sites: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = sites  # type: ignore[attr-defined]
        if self.instance.pk:
            del self.fields["site"]


class Taken(forms.Form):
    """What an order takes. `key` is made with the form, so that a form sent twice takes once."""

    part = forms.ModelChoiceField(Part.objects.none())
    quantity = forms.DecimalField(min_value=Decimal("0.001"), initial=1, **QUANTITY)  # type: ignore[arg-type]
    beyond_stock = forms.BooleanField(label="I hold it in hand, whatever the stock says", required=False)
    key = forms.UUIDField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, order: WorkOrder, **kwargs: Any) -> None:
        super().__init__(*args, **{"auto_id": "part_%s"} | kwargs)
        parts = Part.objects.filter(site=order.site_id)
        field: Any = self.fields["part"]
        field.queryset = parts if self.is_bound else parts[:CHOICES]
        field.label_from_instance = lambda part: f"{part} ({part.quantity.normalize():f} {part.unit})"


class Change(forms.Form):
    quantity = forms.DecimalField(min_value=0, **QUANTITY)  # type: ignore[arg-type]


@require_safe
@permission_required("maintenance.view_part", raise_exception=True)
def index(request: Request) -> HttpResponse:
    to_reorder = request.GET.get("show") == "reorder"
    asked = request.GET.get("q", "").strip()[:100]
    rows: Any = Part.objects.visible_to(request.user)
    rows = rows.to_reorder() if to_reorder else rows
    if asked:
        rows = rows.filter(Q(number__icontains=asked) | Q(name__icontains=asked) | Q(place__icontains=asked))
    page = page_of(rows.select_related("site").order_by("number", "pk"), request)
    context = {"page": page, "to_reorder": to_reorder, "asked": asked}
    return render(request, "maintenance/parts.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("maintenance.add_part", raise_exception=True)
def new(request: Request) -> HttpResponse:
    return _edit(request, Part())


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("maintenance.view_part", raise_exception=True)
def part(request: Request, pk: int) -> HttpResponse:
    """A part and who took of it; those who may change it see its form."""
    found = _part(request, pk)
    if request.user.has_perm("maintenance.change_part"):
        return _edit(request, found)
    if request.method == "POST":
        return HttpResponse(status=403)
    return render(request, "maintenance/part.html", _of_part(found))


@takes_post("maintenance:part")
@permission_required("maintenance.change_part", raise_exception=True)
def deliver(request: Request, pk: int) -> HttpResponse:
    return _change(request, pk, stock.deliver, "Added to the stock.")


@takes_post("maintenance:part")
@permission_required("maintenance.change_part", raise_exception=True)
def count(request: Request, pk: int) -> HttpResponse:
    return _change(request, pk, stock.count, "The stock is what you counted.")


@require_safe
@permission_required("maintenance.view_partuse", raise_exception=True)
def for_order(request: Request, pk: int) -> HttpResponse:
    """The panel on an order's page: what it took, and the form to take more."""
    return _panel(request, _order(request, pk))


@takes_post("maintenance:work-order")
@permission_required("maintenance.add_partuse", raise_exception=True)
def take(request: Request, pk: int) -> HttpResponse:
    order = _order(request, pk)
    form = Taken(request.POST, order=order)
    if not form.is_valid():
        messages.error(request, "Choose a part of this site and a quantity above 0.")
        return redirect(order)
    sent = form.cleaned_data
    return act(
        request,
        lambda: stock.take(
            order, sent["part"], sent["quantity"], request.user, key=sent["key"], beyond_stock=sent["beyond_stock"]
        ),
        done=f"{sent['part']} taken out of the stock.",
        then=order.get_absolute_url(),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("maintenance.change_partuse", raise_exception=True)
def put_back(request: Request, pk: int) -> HttpResponse:
    rows = PartUse.objects.visible_to(request.user).select_related("order", "part")
    use: PartUse = get_object_or_404(rows, pk=pk)
    if request.method != "POST":
        return redirect(use.order)
    then = use.order.get_absolute_url()
    return act(request, lambda: stock.put_back(use, request.user), done="Put back into the stock.", then=then)


def _edit(request: Request, row: Part) -> HttpResponse:
    form = PartForm(request.POST or None, instance=row, sites=Site.objects.visible_to(request.user))
    if form.is_valid():
        row = form.save(commit=False)
        # Somebody may have taken some meanwhile: the quantity is not written again.
        row.save(update_fields=list(form.fields) if row.pk else None)
        messages.success(request, "Saved.")
        return redirect(row)
    status = 422 if form.is_bound else 200
    return render(request, "maintenance/part.html", _of_part(row) | {"form": form}, status=status)


def _of_part(row: Part) -> dict[str, Any]:
    uses = row.uses.select_related("order__site", "by").order_by("-at", "-pk")[:USES_SHOWN] if row.pk else []
    return {"part": row, "uses": uses}


def _change(request: Request, pk: int, verb: Any, done: str) -> HttpResponse:
    found, form = _part(request, pk), Change(request.POST)
    if not form.is_valid():
        messages.error(request, "Give a quantity, 0 or more.")
        return redirect(found)
    quantity = form.cleaned_data["quantity"]
    return act(request, lambda: verb(found, quantity, request.user), done=done, then=found.get_absolute_url())


def _panel(request: Request, order: WorkOrder) -> HttpResponse:
    uses = PartUse.objects.standing().filter(order=order).select_related("part", "by")
    context = {"order": order, "uses": uses, "form": Taken(order=order, initial={"key": uuid.uuid4()})}
    context["total"] = sum((use.cost or Decimal(0) for use in uses), Decimal(0))
    return render(request, "maintenance/_parts.html", context)


def _part(request: Request, pk: int) -> Part:
    found: Part = get_object_or_404(Part.objects.visible_to(request.user).select_related("site"), pk=pk)
    return found


def _order(request: Request, pk: int) -> WorkOrder:
    found: WorkOrder = get_object_or_404(WorkOrder.objects.visible_to(request.user).select_related("site"), pk=pk)
    return found

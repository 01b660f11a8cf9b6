"""Classes of assets with their failure modes, and new assets from templates."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from maintenance import asset_templates
from maintenance.models import AssetTemplate, FailureMode
from sensors.errors import Refused
from sensors.models import Asset, AssetClass, Site
from sensors.models.plant import valid_sensor_id
from sensors.pages import Request


class NewAssetForm(forms.Form):
    """A machine that is set up from a template."""

    template = forms.ModelChoiceField(AssetTemplate.objects.none(), empty_label=None, widget=forms.RadioSelect)
    site = forms.ModelChoiceField(Site.objects.none())
    parent = forms.ModelChoiceField(
        Asset.objects.none(), required=False, label="Part of", help_text="An asset of the same site."
    )
    name = forms.CharField(max_length=100)
    key_prefix = forms.CharField(
        max_length=60,
        validators=[valid_sensor_id],
        label="Keys begin with",
        help_text="p102 makes sensors p102.vibration, p102.pressure and so on.",
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        sites = Site.objects.visible_to(user)
        fields: dict[str, Any] = self.fields
        fields["template"].queryset = AssetTemplate.objects.select_related("asset_class")
        fields["site"].queryset, fields["site"].initial = sites, sites.first()
        fields["parent"].queryset = Asset.objects.visible_to(user).order_by("name")


@require_safe
@permission_required("maintenance.view_failuremode", raise_exception=True)
def classes(request: Request) -> HttpResponse:
    """Every class with its failure modes, and what may befall any asset."""
    seen = Count("assets", filter=Q(assets__in=Asset.objects.visible_to(request.user)))
    rows = list(AssetClass.objects.annotate(asset_count=seen).order_by("name"))
    modes: dict[int | None, list[FailureMode]] = {}
    for mode in FailureMode.objects.order_by("code"):
        modes.setdefault(mode.asset_class_id, []).append(mode)
    context = {
        "classes": [(row, modes.get(row.pk, [])) for row in rows],
        "any_asset": modes.get(None, []),
        "templates": AssetTemplate.objects.select_related("asset_class"),
    }
    return render(request, "maintenance/classes.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required(["sensors.add_asset", "sensors.add_sensor"], raise_exception=True)
def new_asset(request: Request) -> HttpResponse:
    form = NewAssetForm(request.POST or None, user=request.user)
    if form.is_valid():
        try:
            chosen = form.cleaned_data | {}
            made = asset_templates.create(chosen.pop("template"), request.user, **chosen)
        except Refused as refusal:
            for each in refusal.errors or [{"field": None, "detail": refusal.detail}]:
                form.add_error(each["field"], each["detail"])
        else:
            messages.success(request, f"{made} is set up with its sensors and plans.")
            return redirect(made)
    return render(request, "maintenance/new_asset.html", {"form": form}, status=400 if form.is_bound else 200)

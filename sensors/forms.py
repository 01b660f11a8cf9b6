from typing import Any

from django import forms
from django.contrib.auth.models import User

from sensors.models import SensorFault, Site


class HealthFilter(forms.Form):
    """Which sensors the page on their health lists."""

    STATES = [("", "Any"), ("faulty", "Any fault"), *SensorFault.Kind.choices, ("unheard", "Never heard")]

    site = forms.ModelChoiceField(Site.objects.none(), required=False, empty_label="Any")
    state = forms.ChoiceField(choices=[(key, str(label).capitalize()) for key, label in STATES], required=False)

    def __init__(self, data: Any, user: User) -> None:
        super().__init__(data)
        self.fields["site"].queryset = Site.objects.visible_to(user)  # type: ignore[attr-defined]


class Period(forms.Form):
    """A stretch of time on the wall clock of the active time zone; both ends may be left open."""

    start = forms.DateTimeField(
        label="From", required=False, widget=forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
    )
    end = forms.DateTimeField(
        label="To", required=False, widget=forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        start, end = cleaned.get("start"), cleaned.get("end")
        if start and end and start > end:
            raise forms.ValidationError("“From” lies after “To”.")
        return cleaned

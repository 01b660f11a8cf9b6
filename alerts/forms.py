from django import forms

from alerts.models import Severity, State


class InboxFilter(forms.Form):
    """What the inbox shows. Untouched, it shows what still needs somebody."""

    STATES = [("unresolved", "Unresolved"), *State.choices, ("all", "All")]
    SEVERITIES = [("", "Any"), *((value, label.capitalize()) for value, label in reversed(Severity.choices))]

    state = forms.ChoiceField(choices=[(key, str(label).capitalize()) for key, label in STATES], required=False)
    severity = forms.TypedChoiceField(choices=SEVERITIES, coerce=int, empty_value=None, required=False)
    historical = forms.BooleanField(label="From imported history", required=False)


class Resolution(forms.Form):
    reason = forms.CharField(
        label="Reason (optional)",
        max_length=500,
        required=False,
        widget=forms.TextInput({"placeholder": "What settled it?"}),
    )

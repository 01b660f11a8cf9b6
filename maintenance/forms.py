from django import forms

from maintenance.models import Outcome, WorkOrder


class LogEntry(forms.Form):
    notes = forms.CharField(
        label="What was done", max_length=5000, widget=forms.Textarea({"rows": 3, "placeholder": "Replaced the seal…"})
    )
    minutes = forms.IntegerField(label="Minutes (optional)", min_value=1, max_value=100_000, required=False)


class Closing(forms.Form):
    """What was found. The outcome is asked only where an alert waits for it."""

    outcome = forms.ChoiceField(
        label="What did you find?",
        choices=Outcome.choices,
        widget=forms.RadioSelect,
        error_messages={"required": "Choose what you found."},
    )
    notes = forms.CharField(
        label="Notes (optional)", max_length=5000, required=False, widget=forms.Textarea({"rows": 2})
    )

    def __init__(self, *args: object, judged: bool, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        if not judged:
            del self.fields["outcome"]


class NewWorkOrder(forms.Form):
    """A job that no alert asked for. `due_at` is on the wall clock of the active time zone."""

    title = forms.CharField(max_length=200, widget=forms.TextInput({"placeholder": "Grease the bearings"}))
    description = forms.CharField(max_length=5000, required=False, widget=forms.Textarea({"rows": 3}))
    priority = forms.TypedChoiceField(
        choices=[(value, label.capitalize()) for value, label in WorkOrder.Priority.choices],
        coerce=int,
        initial=WorkOrder.Priority.MEDIUM,
    )
    due_at = forms.DateTimeField(
        label="Due (optional)",
        required=False,
        widget=forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )

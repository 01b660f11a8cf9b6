from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.db.models import QuerySet

from alerts.models import Alert, Severity, State
from sensors.errors import Refused
from sensors.models import Site

# The early shift finds on its list what was put off until the next day.
MORNING = time(6)


class InboxFilter(forms.Form):
    """What the inbox shows. Untouched, it shows what still needs somebody."""

    STATES = [("unresolved", "Unresolved"), *State.choices, ("all", "All")]
    SEVERITIES = [("", "Any"), *((value, label.capitalize()) for value, label in reversed(Severity.choices))]
    KINDS = [("", "Any"), *((value, label.capitalize()) for value, label in Alert.Kind.choices)]

    words = forms.CharField(label="Search", max_length=100, required=False, widget=forms.TextInput({"type": "search"}))
    state = forms.ChoiceField(choices=[(key, str(label).capitalize()) for key, label in STATES], required=False)
    severity = forms.TypedChoiceField(choices=SEVERITIES, coerce=int, empty_value=None, required=False)
    kind = forms.ChoiceField(choices=KINDS, required=False)
    site = forms.ModelChoiceField(Site.objects.none(), required=False, empty_label="Any")
    mine = forms.BooleanField(label="Assigned to me", required=False)
    historical = forms.BooleanField(label="From imported history", required=False)

    def __init__(self, *args: Any, sites: "QuerySet[Site]", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = sites.order_by("name")  # type: ignore[attr-defined]


class Resolution(forms.Form):
    reason = forms.CharField(
        label="Reason (optional)",
        max_length=500,
        required=False,
        widget=forms.TextInput({"placeholder": "What settled it?"}),
    )


class Snooze(forms.Form):
    """How long an alert may wait."""

    HOURS = {"1h": 1, "4h": 4, "12h": 12, "3d": 72, "7d": 168}
    CHOICES = [
        ("1h", "1 hour"),
        ("4h", "4 hours"),
        ("12h", "12 hours"),
        ("morning", "Until 6 in the morning"),
        ("3d", "3 days"),
        ("7d", "7 days"),
    ]

    length = forms.ChoiceField(label="For how long", choices=CHOICES, initial="4h")
    reason = forms.CharField(
        label="Why (optional)", max_length=500, required=False, widget=forms.TextInput({"placeholder": "Parts ordered"})
    )

    def until(self, now: datetime, site: Site) -> datetime:
        """The end of the snooze, on the clock of the site. Raises Refused when nothing was chosen."""
        if not self.is_valid():
            raise Refused("bad_snooze", "Choose how long it may wait.", 422)
        length = self.cleaned_data["length"]
        if length != "morning":
            # A second short: the longest choice is the longest there is.
            return now + timedelta(hours=self.HOURS[length], seconds=-1)
        here = now.astimezone(site.timezone)
        morning = here.replace(hour=MORNING.hour, minute=0, second=0, microsecond=0)
        return morning if morning > here else datetime.combine(here.date() + timedelta(days=1), MORNING, here.tzinfo)

    def said(self, name: str) -> str:
        return str(self.cleaned_data.get(name, "")) if self.is_valid() else ""


class Assignment(forms.Form):
    to = forms.ModelChoiceField(User.objects.none(), label="Whose it is", required=False, empty_label="Nobody yet")

    def __init__(self, *args: Any, people: "QuerySet[User]", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["to"].queryset = people  # type: ignore[attr-defined]


class Comment(forms.Form):
    text = forms.CharField(
        label="Comment", max_length=500, widget=forms.Textarea({"rows": 2, "placeholder": "What others should know"})
    )

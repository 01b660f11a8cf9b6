"""The form of a plan: what its trigger needs, in plain words where they suffice and as an RRULE where they do not."""

from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from alerts.models import Alert
from alerts.routing.directory import colleagues
from maintenance import recurrence
from maintenance.models import Plan
from maintenance.recurrence import Frequency
from sensors.errors import Refused
from sensors.models import Sensor

REPEATS = {"DAILY": "days", "WEEKLY": "weeks", "MONTHLY": "months", "YEARLY": "years", "RULE": "by the rule below"}
NAMES = dict(zip(recurrence.WEEKDAYS, ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"), strict=True))
ALWAYS = ("title", "description", "tasks", "priority", "assignee", "estimated_hours", "lead_days")
OF_TRIGGER = {
    Plan.Trigger.CALENDAR: (
        *("starts_on", "due_time", "interval", "repeat", "weekdays", "rule"),
        *("counts_from", "holidays_of", "on_holiday"),
    ),
    Plan.Trigger.METER: ("sensor", "meter", "every", "threshold", "counts_from"),
    Plan.Trigger.CONDITION: ("alert_kinds", "least_severity"),
}
LAST = ("approved", "enabled")


class _Ticks(forms.CheckboxSelectMultiple):
    def __init__(self) -> None:
        super().__init__({"class": "ticks"})


class PlanForm(forms.ModelForm):  # type: ignore[type-arg]
    """Offers the fields of the plan's trigger alone, and people and sensors that `user` sees at its site."""

    tasks = forms.CharField(
        label="Tasks, one per line (optional)", required=False, max_length=10_000, widget=forms.Textarea({"rows": 3})
    )
    repeat = forms.ChoiceField(label="", choices=list(REPEATS.items()))
    interval = forms.IntegerField(label="Every", min_value=1, max_value=recurrence.LONGEST_INTERVAL, initial=1)
    weekdays = forms.MultipleChoiceField(
        label="On (weeks only)", choices=list(NAMES.items()), widget=_Ticks, required=False
    )
    alert_kinds = forms.MultipleChoiceField(
        label="Alerts of", choices=[(kind.value, kind.label.capitalize()) for kind in Alert.Kind], widget=_Ticks
    )

    class Meta:
        model = Plan
        fields = [*ALWAYS[:2], *ALWAYS[3:], *(name for names in OF_TRIGGER.values() for name in names), *LAST]
        widgets = {
            "description": forms.Textarea({"rows": 3}),
            "starts_on": forms.DateInput({"type": "date"}, format="%Y-%m-%d"),
            "due_time": forms.TimeInput({"type": "time"}, format="%H:%M"),
        }
        labels = {
            "starts_on": "From this day on",
            "due_time": "Due at",
            "rule": "Rule (RRULE)",
            "counts_from": "The next one counts from",
            "holidays_of": "Public holidays of",
            "on_holiday": "On a public holiday it",
            "meter": "Read it as",
            "approved": "Its orders are approved already",
            "enabled": "Makes orders",
        }

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        trigger = Plan.Trigger(self.instance.trigger)
        wanted = (*ALWAYS, *OF_TRIGGER[trigger], *LAST)
        self.fields = {name: self.fields[name] for name in wanted}
        self.order_fields(wanted)
        asset = self.instance.asset
        people = colleagues(user)
        self.fields["assignee"].queryset = people  # type: ignore[attr-defined]
        if trigger == Plan.Trigger.METER:
            self.fields["sensor"].queryset = Sensor.objects.active().filter(asset=asset)  # type: ignore[attr-defined]
        if trigger == Plan.Trigger.CALENDAR:
            self.fields["rule"].required = False
            self.fields["rule"].help_text = "For example FREQ=MONTHLY;BYDAY=1MO: the first Monday of each month."
            self.initial.update(_in_words(self.instance.rule))
        self.initial["tasks"] = "\n".join(task["text"] for task in self.instance.checklist)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.instance.trigger == Plan.Trigger.CALENDAR and cleaned.get("repeat", "RULE") != "RULE":
            weekdays = cleaned.get("weekdays") if cleaned["repeat"] == Frequency.WEEKLY else None
            days = f";BYDAY={','.join(weekdays)}" if weekdays else ""
            cleaned["rule"] = f"FREQ={cleaned['repeat']};INTERVAL={cleaned.get('interval', 1)}{days}"
        return cleaned

    def _post_clean(self) -> None:
        # Before the model's own `clean` asks what is in it.
        self.instance.checklist = _tasks(self.cleaned_data.get("tasks", ""), self.instance.checklist)
        super()._post_clean()  # type: ignore[misc]

    def _update_errors(self, errors: ValidationError) -> None:
        """What the model says of fields that this form does not show is said of the whole."""
        if hasattr(errors, "error_dict"):
            for name in [name for name in errors.error_dict if name not in self.fields]:
                errors.error_dict.setdefault("__all__", []).extend(errors.error_dict.pop(name))
        super()._update_errors(errors)  # type: ignore[misc]


def _tasks(text: str, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A task to tick per line; what a line of the same words was before (a number, a photo) it stays."""
    known = {task["text"]: task for task in before}
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [known.get(line, {"text": line, "kind": "tick"}) for line in lines]


def _in_words(rule: str) -> dict[str, Any]:
    """What the plain fields show of a rule; one that they cannot say stays a rule."""
    try:
        parsed = recurrence.parsed(rule)
    except Refused:
        return {"repeat": "WEEKLY" if not rule else "RULE"}
    weekdays = [recurrence.WEEKDAYS[weekday.day] for weekday in parsed.weekdays]
    plain = recurrence.Rule(parsed.frequency, parsed.interval, parsed.weekdays)
    sayable = parsed == plain and not any(weekday.nth for weekday in parsed.weekdays)
    if not sayable or (weekdays and parsed.frequency != Frequency.WEEKLY):
        return {"repeat": "RULE"}
    return {"repeat": parsed.frequency.value, "interval": parsed.interval, "weekdays": weekdays, "rule": ""}

from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet

from alerts.models import Alert
from maintenance import work_orders
from maintenance.models import FailureMode, Outcome, WorkOrder
from sensors.models import Site

# A year; longer is a slip of the finger.
MAX_HOURS, MAX_MINUTES = 8_760, 525_600
CAUSES = (Alert.Kind.ANOMALY, Alert.Kind.LIMIT, Alert.Kind.FORECAST)


def _wall_clock() -> forms.DateTimeInput:
    return forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")


class WorkOrderFilter(forms.Form):
    words = forms.CharField(label="Search", max_length=100, required=False)
    state = forms.ChoiceField(
        choices=[
            ("", "Running"),
            *((value, label.capitalize()) for value, label in WorkOrder.State.choices),
            ("ended", "Closed or cancelled"),
        ],
        required=False,
    )
    kind = forms.ChoiceField(
        choices=[("", "Any"), *((value, label.capitalize()) for value, label in WorkOrder.Kind.choices)], required=False
    )
    site = forms.ModelChoiceField(Site.objects.none(), required=False, empty_label="All")
    mine = forms.BooleanField(label="Mine", required=False)
    overdue = forms.BooleanField(label="Overdue", required=False)

    def __init__(self, *args: Any, sites: QuerySet[Site], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = sites  # type: ignore[attr-defined]


class LogEntry(forms.Form):
    notes = forms.CharField(
        label="What was done", max_length=5000, widget=forms.Textarea({"rows": 3, "placeholder": "Replaced the seal…"})
    )
    minutes = forms.IntegerField(label="Minutes (optional)", min_value=1, max_value=100_000, required=False)
    # Made by the browser, so that what it sends again is one note.
    key = forms.CharField(max_length=100, required=False, widget=forms.HiddenInput)


class Closing(forms.Form):
    """What was found. Only the outcome must be said."""

    outcome = forms.ChoiceField(
        label="What did you find?",
        choices=Outcome.choices,
        widget=forms.RadioSelect,
        error_messages={"required": "Choose what you found."},
    )
    failure_mode = forms.ModelChoiceField(
        FailureMode.objects.none(), label="How it failed (optional)", required=False, empty_label="Not said"
    )
    also = forms.ModelMultipleChoiceField(
        Alert.objects.none(),
        label="Also settles",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"invalid_choice": "One of these alerts was settled meanwhile; look again."},
    )
    notes = forms.CharField(
        label="Notes (optional)", max_length=5000, required=False, widget=forms.Textarea({"rows": 2})
    )
    actual_hours = forms.FloatField(label="Hours of work", min_value=0, max_value=MAX_HOURS, required=False)
    downtime_minutes = forms.IntegerField(
        label="Minutes the machine stood still", min_value=0, max_value=MAX_MINUTES, required=False
    )
    downtime_reason = forms.CharField(label="Why it stood still", max_length=200, required=False)
    other_cost = forms.DecimalField(label="Other costs", min_value=0, max_digits=12, decimal_places=2, required=False)

    def __init__(self, *args: Any, order: WorkOrder, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["failure_mode"].queryset = failure_modes_of(order)  # type: ignore[attr-defined]
        self.fields["other_cost"].label = f"Other costs in {order.site.currency}"
        alerts = work_orders.open_alerts_of(order)
        also = self.fields["also"]
        also.queryset = Alert.objects.filter(pk__in=[alert.pk for alert in alerts])  # type: ignore[attr-defined]
        # A silent or stuck sensor, or a model that drifts, is seldom what the machine's repair settles.
        also.initial = [alert.pk for alert in alerts if alert.kind in CAUSES]
        self.fields["actual_hours"].initial = work_orders.worked_hours(order)
        for name in ("downtime_minutes", "downtime_reason", "other_cost"):
            self.fields[name].initial = getattr(order, name)


def failure_modes_of(order: WorkOrder) -> QuerySet[FailureMode]:
    """Ways in which assets of this class fail, those of any class among them."""
    rows: QuerySet[FailureMode] = FailureMode.objects.filter(
        Q(asset_class=None) | Q(asset_class=order.asset.asset_class_id)
    )
    return rows


class Schedule(forms.Form):
    """When and by whom. `planned_start` is on the wall clock of the active time zone."""

    planned_start = forms.DateTimeField(label="Begin at", widget=_wall_clock())
    assignee = forms.ModelChoiceField(User.objects.none(), required=False, empty_label="Whoever starts")
    crew = forms.ModelMultipleChoiceField(
        User.objects.none(), label="And with", required=False, widget=forms.CheckboxSelectMultiple
    )

    def __init__(self, *args: Any, order: WorkOrder, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("assignee", "crew"):
            self.fields[name].queryset = work_orders.workers_of(order.site_id)  # type: ignore[attr-defined]
        self.fields["planned_start"].initial = order.planned_start
        self.fields["assignee"].initial = order.assignee_id
        self.fields["crew"].initial = [person.pk for person in order.crew.all()]


class NewWorkOrder(forms.Form):
    """A job that no alert asked for. `due_at` is on the wall clock of the active time zone."""

    title = forms.CharField(max_length=200, widget=forms.TextInput({"placeholder": "Grease the bearings"}))
    description = forms.CharField(max_length=5000, required=False, widget=forms.Textarea({"rows": 3}))
    kind = forms.ChoiceField(
        choices=[(value, label.capitalize()) for value, label in WorkOrder.Kind.choices],
        initial=WorkOrder.Kind.CORRECTIVE,
        required=False,
    )
    priority = forms.TypedChoiceField(
        choices=[(value, label.capitalize()) for value, label in WorkOrder.Priority.choices],
        coerce=int,
        initial=WorkOrder.Priority.MEDIUM,
    )
    due_at = forms.DateTimeField(label="Due (optional)", required=False, widget=_wall_clock())
    estimated_hours = forms.FloatField(
        label="Estimated hours (optional)", min_value=0, max_value=MAX_HOURS, required=False
    )

    def clean_kind(self) -> str:
        return self.cleaned_data["kind"] or WorkOrder.Kind.CORRECTIVE

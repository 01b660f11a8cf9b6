"""Forms of rules and limits."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from alerts.models import Condition, Rule
from alerts.models.rules import WEEKDAYS
from alerts.rules import definition as definitions
from alerts.rules.backtest import USUAL
from alerts.rules.definition import Definition
from sensors.forms import Period, TypedNumber
from sensors.models import Asset, Limits, Sensor
from sensors.zones import MACHINE_CLASSES, UNIT

MOST_CONDITIONS = 6
EMPTY_CONDITIONS = 2


class PastPeriod(Period):
    """On which stretch of the past a rule is tried; by default the last 30 days."""

    def stretch(self) -> tuple[datetime, datetime]:
        end: datetime = self.cleaned_data.get("end") or timezone.now() + timedelta(minutes=1)
        return self.cleaned_data.get("start") or end - USUAL, end


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]
    weekdays = forms.TypedMultipleChoiceField(
        choices=WEEKDAYS, coerce=int, required=False, widget=forms.CheckboxSelectMultiple, label="Only on"
    )

    class Meta:
        model = Rule
        fields = [
            *("name", "combination", "severity", "duration_seconds", "hysteresis_percent"),
            *("weekdays", "from_time", "to_time", "enabled"),
        ]
        labels = {"combination": "Needed"}
        widgets = {
            "from_time": forms.TimeInput({"type": "time"}, format="%H:%M"),
            "to_time": forms.TimeInput({"type": "time"}, format="%H:%M"),
        }


class LimitFields(forms.ModelForm):  # type: ignore[type-arg]
    alarm_low = TypedNumber(label="Alarm below", required=False)
    warn_low = TypedNumber(label="Warn below", required=False)
    warn_high = TypedNumber(label="Warn above", required=False)
    alarm_high = TypedNumber(label="Alarm above", required=False)


class ConditionForm(LimitFields):
    class Meta:
        model = Condition
        fields = ["sensor", *Limits._fields]

    def __init__(self, *args: Any, asset: Asset, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        sensors: Any = self.fields["sensor"]
        sensors.queryset = asset.sensors.active()
        sensors.label_from_instance = lambda sensor: f"{sensor} ({sensor.unit})" if sensor.unit != "1" else str(sensor)
        sensors.empty_label = "none"


Conditions: Any = forms.inlineformset_factory(
    Rule,
    Condition,
    form=ConditionForm,
    extra=EMPTY_CONDITIONS,
    max_num=MOST_CONDITIONS,
    validate_max=True,
    min_num=1,
    validate_min=True,
)


class SensorLimits(LimitFields):
    """The limits of a sensor; a machine class fills in those of its zones where nothing else is said."""

    class Meta:
        model = Sensor
        fields = ["machine_class", *Limits._fields]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.unit != UNIT:
            del self.fields["machine_class"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        chosen = MACHINE_CLASSES.get(cleaned.get("machine_class", ""))
        if chosen and "machine_class" in self.changed_data:
            cleaned |= {"warn_high": chosen.b_c, "alarm_high": chosen.c_d}
        return cleaned


def definition_of(form: RuleForm, conditions: Any) -> Definition:
    """What two valid forms ask for, whether or not it is stored."""
    return definitions.of_rule(form.save(commit=False), rows_of(conditions))


def rows_of(conditions: Any) -> list[Condition]:
    """The conditions that a valid formset is left with."""
    kept = [form for form in conditions.forms if form not in conditions.deleted_forms]
    return [form.instance for form in kept if form.has_changed() or form.instance.pk]

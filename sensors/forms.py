"""Forms of the sensors' pages."""

from datetime import datetime, tzinfo
from typing import Any

from django import forms
from django.db.models import BigIntegerField

from sensors.units import UNIT_CHOICES
from sensors.wall_clock import instants


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


class CauseForm(forms.Form):
    """Which group of refused readings is meant; an absent `sensor` or `unit` means any."""

    site = forms.IntegerField(required=False, min_value=1, max_value=BigIntegerField.MAX_BIGINT)
    code = forms.CharField(max_length=40)
    sensor = forms.CharField(required=False, strip=False)
    unit = forms.CharField(required=False, strip=False)


class ChangeForm(forms.Form):
    """What to correct in every row of a group before it is admitted."""

    to_sensor = forms.CharField(
        label="Sensor key", required=False, max_length=100, widget=forms.TextInput({"placeholder": "as sent"})
    )
    to_unit = forms.ChoiceField(label="Unit", required=False, choices=[("", "as sent"), *UNIT_CHOICES])
    shift_hours = forms.FloatField(
        label="Shift times by hours",
        required=False,
        # A clock that was reset counts from 1970.
        min_value=-1_000_000,
        max_value=1_000_000,
        widget=forms.NumberInput({"placeholder": "0", "step": "any"}),
        help_text="Negative: earlier.",
    )
    site_clock = forms.BooleanField(label="Times without a zone are those of the site’s clock", required=False)


class QuarantinedRow(forms.Form):
    """The fields of one refused reading, to be corrected. A time without a zone is one of the site's clock."""

    sensor_id = forms.CharField(label="Sensor key", max_length=100)
    timestamp = forms.CharField(
        label="Time", max_length=40, widget=forms.TextInput({"placeholder": "2026-01-31T12:00:00+01:00"})
    )
    value = forms.FloatField(widget=forms.NumberInput({"step": "any"}))
    unit = forms.ChoiceField(required=False, choices=[("", "the sensor’s own"), *UNIT_CHOICES])
    quality = forms.FloatField(
        label="Quality (0 to 1)", required=False, min_value=0, max_value=1, widget=forms.NumberInput({"step": "any"})
    )

    def __init__(self, *args: Any, zone: tzinfo | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zone = zone
        if zone:
            self.fields["timestamp"].help_text = f"ISO 8601. Without a zone: as the clocks of the site show ({zone})."

    def clean_timestamp(self) -> str:
        try:
            at = datetime.fromisoformat(self.cleaned_data["timestamp"].strip())
        except ValueError as error:
            raise forms.ValidationError("Write the time like 2026-01-31T12:00:00+01:00.", code="invalid") from error
        if at.tzinfo is None:
            at = moment(at, self.zone)
        return at.isoformat()

    def fields_to_send(self) -> dict[str, Any]:
        return {name: value for name, value in self.cleaned_data.items() if value not in (None, "")}


def moment(naive: datetime, zone: tzinfo | None) -> datetime:
    """The one moment at which clocks in `zone` show `naive`. Raises ValidationError when there is none, or are two."""
    try:
        found = instants(naive, zone) if zone else []
    except OverflowError:
        found = []
    if not zone:
        raise forms.ValidationError("Name the time zone, for example with +01:00 at the end.", code="naive_timestamp")
    if not found:
        raise forms.ValidationError("Clocks were put forward over this time: it never was.", code="no_such_time")
    if len(found) > 1:
        raise forms.ValidationError(
            "Clocks were put back and showed this time twice: name the zone, for example with +01:00 at the end.",
            code="ambiguous_time",
        )
    return found[0]

"""Forms of the sensors' pages."""

from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any, ClassVar

from django import forms
from django.contrib.auth.models import User
from django.db.models import BigIntegerField, QuerySet

from sensors.models import Annotation, Asset, Sensor, SensorFault, Site
from sensors.units import CONVERSIONS, UNIT_CHOICES, Kind, conversion
from sensors.wall_clock import OUT_OF_TIME, in_our_time, instants


class TypedNumber(forms.FloatField):
    """A number as people type it, with a decimal point or a decimal comma.

    Not a number input: in some languages browsers take the comma for a separator of thousands, and 61,5 becomes 615.
    """

    widget = forms.TextInput({"inputmode": "decimal"})

    def to_python(self, value: Any) -> float | None:  # type: ignore[override]
        if isinstance(value, str) and value.count(",") + value.count(".") > 1:
            raise forms.ValidationError("Write it like 1234.5 or 1234,5, without separators of thousands.", "invalid")
        return super().to_python(value.replace(",", ".") if isinstance(value, str) else value)


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

    def clean_start(self) -> datetime | None:
        return self._in_our_time("start")

    def clean_end(self) -> datetime | None:
        return self._in_our_time("end")

    def _in_our_time(self, name: str) -> datetime | None:
        at: datetime | None = self.cleaned_data[name]
        if at and not in_our_time(at):
            raise forms.ValidationError(OUT_OF_TIME, code="out_of_time")
        return at

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
    discover = forms.BooleanField(label="Create unknown sensors; they then wait to be placed", required=False)


class QuarantinedRow(forms.Form):
    """The fields of one refused reading, to be corrected. A time without a zone is one of the site's clock."""

    sensor_id = forms.CharField(label="Sensor key", max_length=100)
    timestamp = forms.CharField(
        label="Time", max_length=40, widget=forms.TextInput({"placeholder": "2026-01-31T12:00:00+01:00"})
    )
    value = TypedNumber()
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
    if not zone:
        raise forms.ValidationError("Name the time zone, for example with +01:00 at the end.", code="naive_timestamp")
    found = _instants(naive, zone)
    if not found:
        raise forms.ValidationError("Clocks were put forward over this time: it never was.", code="no_such_time")
    if len(found) > 1:
        raise forms.ValidationError(
            "Clocks were put back and showed this time twice: name the zone, for example with +01:00 at the end.",
            code="ambiguous_time",
        )
    return found[0]


class AssetChoice(forms.ModelChoiceField):  # type: ignore[type-arg]
    """An asset with its site, as people of several sites need it."""

    def label_from_instance(self, obj: Any) -> str:
        return f"{obj} ({obj.site})"


class Place(forms.Form):
    """Where discovered sensors belong: an asset that exists, or a new machine."""

    asset = AssetChoice(Asset.objects.none(), label="Asset", required=False, empty_label="choose")
    new_asset = forms.CharField(label="or a new machine", required=False, max_length=100)
    parent = AssetChoice(Asset.objects.none(), label="which is part of", required=False, empty_label="nothing")

    def __init__(self, *args: Any, assets: "QuerySet[Asset]", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("asset", "parent"):
            self.fields[name].queryset = assets.select_related("site").order_by("site__name", "name")  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if bool(cleaned.get("asset")) == bool(cleaned.get("new_asset")) and not self.errors:
            raise forms.ValidationError("Choose an asset, or name a new machine.")
        return cleaned


class PlaceSensor(Place):
    """A discovered sensor and what it is; what was inferred may be wrong."""

    name = forms.CharField(
        required=False, max_length=100, widget=forms.TextInput({"placeholder": "Bearing, drive end"})
    )
    kind = forms.ChoiceField(choices=Kind.choices)
    unit = forms.ChoiceField(
        choices=UNIT_CHOICES,
        help_text="If you change it, the values that are stored already are taken to be in the new unit.",
    )

    field_order = ["name", "kind", "unit", "asset", "new_asset", "parent"]


class WallClockField(forms.Field):
    """What a clock on the wall shows, without a zone; a `datetime-local` input to the second."""

    widget = forms.DateTimeInput({"type": "datetime-local", "step": "1"}, format="%Y-%m-%dT%H:%M:%S")

    def to_python(self, value: Any) -> datetime | None:
        if value in self.empty_values:
            return None
        try:
            at = datetime.fromisoformat(str(value).strip())
        except ValueError:
            at = None
        if at is None or at.tzinfo is not None:
            raise forms.ValidationError("Give a date and a time.", code="invalid")
        return at


class Round(forms.Form):
    """Values read off the sensors of an asset at one time, on the site's clock; those left empty were not read."""

    at = WallClockField(label="Time")
    second_pass = forms.ChoiceField(
        label="Clocks were put back and showed this time twice. Which one is meant?",
        choices=[("", "choose"), ("0", "the first"), ("1", "the second, after they were put back")],
        required=False,
    )

    def __init__(self, *args: Any, sensors: list[Sensor], zone: tzinfo, now: datetime, **kwargs: Any) -> None:
        local = now.astimezone(zone).replace(microsecond=0)
        shown = local.replace(tzinfo=None, fold=0)
        # Answered beforehand only when it is asked: a time typed later may be another one that was shown twice.
        fold = str(local.fold) if len(_instants(shown, zone)) > 1 else ""
        kwargs["initial"] = {"at": shown, "second_pass": fold}
        super().__init__(*args, **kwargs)
        self.sensors, self.zone = sensors, zone
        for sensor in sensors:
            units = [name for name in CONVERSIONS if conversion(name, sensor.unit)]
            self.fields[f"value_{sensor.pk}"] = TypedNumber(label=str(sensor), required=False)
            self.fields[f"unit_{sensor.pk}"] = forms.ChoiceField(
                label=f"Unit of {sensor}", choices=[(name, name) for name in units], initial=sensor.unit
            )
        if not self._shown_twice():
            self.fields["second_pass"].widget = forms.HiddenInput()

    def rows(self) -> Iterator[tuple[Sensor, Any, Any]]:
        """Each sensor with its two fields, for the page."""
        for sensor in self.sensors:
            yield sensor, self[f"value_{sensor.pk}"], self[f"unit_{sensor.pk}"]

    def entered(self) -> list[tuple[Sensor, dict[str, Any]]]:
        """The readings that were typed, as the JSON format has them."""
        at = self.cleaned_data["moment"].isoformat()
        return [
            (sensor, {"sensor_id": sensor.sensor_id, "timestamp": at, "value": value, "unit": unit})
            for sensor in self.sensors
            if (value := self.cleaned_data[f"value_{sensor.pk}"]) is not None
            and (unit := self.cleaned_data[f"unit_{sensor.pk}"])
        ]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if all(cleaned.get(f"value_{sensor.pk}") is None for sensor in self.sensors) and not self.errors:
            raise forms.ValidationError("Enter at least one value.")
        if cleaned.get("at"):
            self._find_moment(cleaned)
        return cleaned

    def _find_moment(self, cleaned: dict[str, Any]) -> None:
        found = _instants(cleaned["at"], self.zone)
        chosen = cleaned.get("second_pass")
        if not found:
            self.add_error("at", "Clocks were put forward over this time: it never was.")
        elif len(found) > 1 and not chosen:
            self.add_error("second_pass", "Choose one.")
        else:
            cleaned["moment"] = found[-1] if chosen == "1" else found[0]

    def _shown_twice(self) -> bool:
        try:
            at = self.fields["at"].to_python(self["at"].value())
        except forms.ValidationError:
            return False
        return at is not None and len(_instants(at, self.zone)) > 1


def _instants(naive: datetime, zone: tzinfo) -> list[datetime]:
    try:
        return instants(naive, zone)
    except OverflowError:
        return []


class NewValue(forms.Form):
    """The right value of a reading, in the sensor's unit."""

    value = TypedNumber(label="Right value")


class NewAnnotation(forms.Form):
    """What somebody says about a stretch of time, on the site's clock.

    A time that clocks showed twice means the earlier one for the start, the later one for the end: rather too long than
    too short.
    """

    kind = forms.ChoiceField(choices=Annotation.Kind.choices, widget=forms.RadioSelect, initial=Annotation.Kind.NOTE)
    start = WallClockField(label="From")
    end = WallClockField(label="To")
    sensor = forms.ModelChoiceField(
        Sensor.objects.none(), required=False, empty_label="all of the asset", label="About"
    )
    text = forms.CharField(
        label="What happened", required=False, max_length=500, widget=forms.Textarea({"rows": 3, "maxlength": 500})
    )

    def __init__(self, *args: Any, asset: Asset, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zone = asset.site.timezone
        self.fields["sensor"].queryset = asset.sensors.all()  # type: ignore[attr-defined]

    def clean_start(self) -> datetime:
        return self._moments("start")[0]

    def clean_end(self) -> datetime:
        return self._moments("end")[-1]

    def _moments(self, name: str) -> list[datetime]:
        found = _instants(self.cleaned_data[name], self.zone)
        if not found:
            raise forms.ValidationError("Clocks were put forward over this time: it never was.", code="no_such_time")
        return found

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("kind") == Annotation.Kind.NOTE and not cleaned.get("text") and not self.errors:
            self.add_error("text", "A note needs words.")
        return cleaned


class NameplateForm(forms.ModelForm):  # type: ignore[type-arg]
    """What is known of a machine beside its measurements."""

    power_kw = TypedNumber(label="Rated power, kW", required=False, min_value=0)

    class Meta:
        model = Asset
        fields = [
            *("asset_class", "criticality", "manufacturer", "model", "serial_number", "power_kw"),
            *("commissioned_on", "warranty_until", "description"),
        ]
        labels: ClassVar = {"manufacturer": "Maker", "asset_class": "Class"}
        widgets: ClassVar = {
            "commissioned_on": forms.DateInput({"type": "date"}, format="%Y-%m-%d"),
            "warranty_until": forms.DateInput({"type": "date"}, format="%Y-%m-%d"),
            "description": forms.Textarea({"rows": 3}),
        }

"""What a person says about an uploaded file: where it belongs and what its columns mean."""

from typing import Any

import msgspec
from django import forms
from django.contrib.auth.models import User
from django.forms import formset_factory
from timezone_field import TimeZoneFormField

from sensors import units
from sensors.errors import Refused
from sensors.formats import MAX_SENSOR_ID, csv
from sensors.formats.csv.layout import ENCODINGS, MAX_COLUMNS
from sensors.models import Asset, Import, Site

ROLES = {
    csv.Role.TIMESTAMP: "time",
    csv.Role.VALUE: "values",
    csv.Role.SENSOR: "names the sensor",
    csv.Role.QUALITY: "quality",
    csv.Role.UNIT: "unit",
    csv.Role.IGNORE: "leave out",
}
TIME_FORMATS = {
    csv.TimeFormat.ISO: "2026-12-31 23:59:59 (ISO 8601)",
    csv.TimeFormat.DAY_FIRST: "31.12.2026 23:59:59, 31/12/26 (day first)",
    csv.TimeFormat.MONTH_FIRST: "12/31/2026 11:59:59 PM, 12/31/26 (month first)",
    csv.TimeFormat.EPOCH_S: "seconds since 1970",
    csv.TimeFormat.EPOCH_MS: "milliseconds since 1970",
    csv.TimeFormat.EPOCH_US: "microseconds since 1970",
    csv.TimeFormat.EPOCH_NS: "nanoseconds since 1970",
}


class UploadForm(forms.Form):
    site = forms.ModelChoiceField(Site.objects.none(), empty_label=None)
    file = forms.FileField(help_text="CSV or TSV, also gzipped (.gz): a column of times, and values beside it.")

    def __init__(self, *args: Any, user: User, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["site"].queryset = Site.objects.visible_to(user)  # type: ignore[attr-defined]


class LayoutForm(forms.Form):
    """How the file is written, and where sensors that are new belong."""

    asset = forms.ModelChoiceField(
        Asset.objects.none(),
        required=False,
        label="New sensors belong to",
        empty_label="decide later (they wait to be placed)",
    )
    timezone = TimeZoneFormField(label="Zone of times without one", required=False)
    time_format = forms.ChoiceField(label="Times are written as", choices=[*TIME_FORMATS.items()])
    delimiter = forms.ChoiceField(label="Columns are parted by")
    decimal = forms.ChoiceField(label="Decimal sign", choices=[(".", "point 1.5"), (",", "comma 1,5")])
    encoding = forms.ChoiceField(choices=[(name, name) for name in ENCODINGS])
    header = forms.BooleanField(label="The first line names the columns", required=False)
    skip_lines = forms.IntegerField(label="Lines before the table", min_value=0, max_value=1000)

    def __init__(self, *args: Any, row: Import, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["asset"].queryset = Asset.objects.filter(site=row.site_id)  # type: ignore[attr-defined]
        sign = row.layout["delimiter"]
        own = [] if sign in csv.DELIMITERS else [(sign, sign)]
        self.fields["delimiter"].choices = [*csv.DELIMITERS.items(), *own]  # type: ignore[attr-defined]


class ColumnForm(forms.Form):
    role = forms.ChoiceField(choices=[*ROLES.items()], label="Meaning")
    sensor_id = forms.CharField(max_length=MAX_SENSOR_ID, required=False, label="Sensor")
    unit = forms.ChoiceField(
        choices=[("", "its own"), *((name, name) for name in units.CONVERSIONS)], required=False, label="Unit"
    )


ColumnForms = formset_factory(ColumnForm, extra=0, max_num=MAX_COLUMNS, absolute_max=MAX_COLUMNS)


class Mapping:
    """The two forms of a file's layout, filled with what is known, or with what a person sent."""

    def __init__(self, row: Import, data: Any = None) -> None:
        self.row = row
        layout = msgspec.convert(row.layout, csv.Layout)
        self.names = [column.name for column in layout.columns]
        initial: dict[str, Any] = msgspec.to_builtins(layout)
        self.form = LayoutForm(data, row=row, initial=initial | {"asset": row.asset_id})
        self.columns = ColumnForms(data, initial=initial["columns"], prefix="columns")
        unknown = map(csv.unknown_unit, self.names)
        self.rows = list(zip(self.names, self.columns.forms, unknown, strict=False))

    def save(self) -> None:
        """Put what was sent into the import. Raises Refused when the file cannot be read that way."""
        if not self.form.is_valid() or not self.columns.is_valid() or len(self.columns.forms) != len(self.names):
            raise Refused("invalid_mapping", f"The mapping is not complete. {self._first_error()}", 400)
        said = dict(self.form.cleaned_data)
        self.row.asset = said.pop("asset")
        said["timezone"] = str(said["timezone"] or "")
        columns = [
            {"name": name, **form.cleaned_data} for name, form in zip(self.names, self.columns.forms, strict=True)
        ]
        layout = csv.parse_layout({**said, "columns": columns})
        self.row.layout = msgspec.to_builtins(layout)

    def _first_error(self) -> str:
        for form in (self.form, *self.columns.forms):
            for name, errors in form.errors.items():
                return f"{form.fields[name].label or name}: {errors[0]}"
        return ""

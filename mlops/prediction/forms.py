"""The form in which people ask a model."""

from datetime import datetime, timedelta
from typing import Any

from django import forms

from mlops.models import ModelVersion, Purpose
from mlops.prediction.questions import Row
from sensors.errors import Refused
from sensors.forms import TypedNumber
from sensors.wording import for_machines

# Detectors of an asset look at the last 30 rows (mlops.detectors.channels).
STEADY_MINUTES = 60


class NumberOrWord(forms.CharField):
    """A number where it is one; which columns take words only the model knows."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        try:
            return TypedNumber(required=False).to_python(text)
        except forms.ValidationError:
            return text


class Inputs(forms.Form):
    """One row for a version, filled in with what is usual. What is left empty is unknown."""

    def __init__(self, *args: Any, version: ModelVersion, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.version = version
        # By place: names of features may be anything.
        for place, name in enumerate(version.features):
            usual = version.example.get(name)
            kind = NumberOrWord if usual is None else TypedNumber
            initial = None if usual is None else f"{usual:.6g}"
            self.fields[f"feature_{place}"] = kind(label=name, required=False, initial=initial)

    def row(self) -> Row:
        """What was entered."""
        values = {name: self.cleaned_data[f"feature_{place}"] for place, name in enumerate(self.version.features)}
        return {name: None if value == "" else value for name, value in values.items()}

    def rows(self, now: datetime) -> list[Row]:
        """What was entered, as a classifier wants it, or as a detector does that looks at the rows before as well: as
        if it had been so for a while.
        """
        if self.version.purpose == Purpose.FAILURE:
            return [self.row()]
        times = (now - timedelta(minutes=minutes) for minutes in reversed(range(STEADY_MINUTES)))
        return [{"timestamp": for_machines(at), **self.row()} for at in times]

    def next_reading(self, now: datetime) -> list[Row]:
        return [{"timestamp": for_machines(now), **self.row()}]

    def tell(self, refusal: Refused) -> None:
        """Show what was refused, at its field where it is about one."""
        places = {f"rows.0.{name}": f"feature_{place}" for place, name in enumerate(self.version.features)}
        # Further rows are the same.
        about_fields = [error for error in refusal.errors if error["field"] in places]
        for error in about_fields:
            self.add_error(places[error["field"]], error["detail"])
        if not about_fields:
            self.add_error(None, refusal.detail)

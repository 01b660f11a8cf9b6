"""What a registered model is of: its name in the registry says so."""

import re

from mlops.models import ModelVersion, Purpose
from sensors.models import Asset, Sensor

FAILURES = "-failures"
_NAME = re.compile(rf"(sensor|asset)-(\d{{1,18}})(?:{FAILURES})?")


def name_of(subject: Sensor | Asset, purpose: Purpose) -> str:
    """What the registry calls models of a sensor or an asset for this purpose."""
    if isinstance(subject, Sensor):
        return f"sensor-{subject.pk}"
    return f"asset-{subject.pk}" + (FAILURES if purpose == Purpose.FAILURE else "")


def subject_of(version: ModelVersion) -> Sensor | Asset | None:
    """What a version learned from; None when that is neither one sensor nor one asset, or is no more."""
    named = _NAME.fullmatch(version.name)
    if not named:
        return None
    rows = Sensor.objects if named[1] == "sensor" else Asset.objects
    found: Sensor | Asset | None = rows.filter(pk=int(named[2])).select_related("site").first()
    return found

"""Assets made from a template: sensors with limits, failure modes of the class and plans, all in one go or not at all.

    {"sensors": [{"key": "temperature", "name": "Bearing temperature", "kind": "temperature", "unit": "°C",
                  "cadence_seconds": 10, "warn_high": 80, "alarm_high": 95}],
     "failure_modes": [{"code": "VIB", "name": "Abnormal vibration"}],
     "plans": [{"title": "Grease the bearings", "rule": "FREQ=MONTHLY;INTERVAL=3", "estimated_hours": 0.5}]}

A sensor may have every field of a sensor but its asset and its key, which is the new asset's prefix, a point and `key`.
A plan begins on the day the asset is made; where it reads a meter, `sensor` is the `key` of one of the sensors.
"""

from datetime import date
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from maintenance import plans
from maintenance.models import AssetTemplate, FailureMode, Plan
from sensors.errors import Refused
from sensors.models import Asset, Sensor, Site

PARTS = ("sensors", "failure_modes", "plans")
OF_A_SENSOR = (
    *("name", "kind", "unit", "cadence_seconds", "range_low", "range_high", "max_rate"),
    *("alarm_low", "warn_low", "warn_high", "alarm_high", "machine_class"),
)
OF_A_PLAN = (
    *("title", "description", "trigger", "priority", "estimated_hours", "checklist", "approved", "counts_from"),
    *("lead_days", "rule", "holidays_of", "on_holiday", "meter", "every", "threshold", "alert_kinds", "least_severity"),
)
MOST_SENSORS = 100


def problems_of(content: Any) -> list[str]:
    """Why a template with this content could not be carried out; nothing when it can."""
    if not isinstance(content, dict) or any(not isinstance(content.get(part, []), list) for part in PARTS):
        return [f"Give an object with the lists {', '.join(PARTS)}."]
    found = [f"There is no part called {name}." for name in content if name not in PARTS]
    for part in PARTS:
        rows = content.get(part, [])
        found += [f"{part}: each is an object." for row in rows if not isinstance(row, dict)][:1]
    if found:
        return found
    sensors = content.get("sensors", [])
    if len(sensors) > MOST_SENSORS:
        return [f"{len(sensors)} sensors are too many; {MOST_SENSORS} are allowed."]
    keys = [row.get("key") for row in sensors]
    found += [f"Two sensors have the key {key}." for key in {str(key) for key in keys if keys.count(key) > 1}]
    for row in sensors:
        found += [f"{row.get('key') or 'A sensor'}: {problem}" for problem in _problems_of_sensor(row)]
    found += [problem for row in content.get("plans", []) for problem in _problems_of_plan(row, set(map(str, keys)))]
    return found + [problem for row in content.get("failure_modes", []) for problem in _problems_of_mode(row)]


def create(
    template: AssetTemplate, by: User, *, site: Site, name: str, key_prefix: str, parent: Asset | None = None
) -> Asset:
    """A new machine with everything the template holds; the keys of its sensors begin with `key_prefix`.

    Raises Refused, with what is wrong by field (name, parent, key_prefix), when it cannot be made; then nothing is.
    """
    content = template.content
    try:
        with transaction.atomic():
            asset = Asset(site=site, parent=parent, name=name, asset_class=template.asset_class)
            _save(asset, {"name": "name", "parent": "parent", "__all__": "name"})
            sensors = {}
            for row in content.get("sensors", []):
                about = {field: row[field] for field in OF_A_SENSOR if row.get(field) is not None}
                sensor = Sensor(asset=asset, site=site, sensor_id=f"{key_prefix}.{row['key']}", **about)
                _save(sensor, {"sensor_id": "key_prefix"})
                sensors[row["key"]] = sensor
            for row in content.get("failure_modes", []):
                FailureMode.objects.get_or_create(
                    asset_class=template.asset_class, code=row["code"], defaults={"name": row["name"]}
                )
            for row in content.get("plans", []):
                plan = _plan(row, timezone.localdate(timezone=site.timezone))
                plan.asset, plan.sensor = asset, sensors.get(row.get("sensor"))
                plans.keep(plan, by)
    except IntegrityError:
        raise Refused("duplicate", "Somebody has just made an asset or sensor of this name; look again.") from None
    return asset


def _save(row: Asset | Sensor, fields: dict[str, str]) -> None:
    """Raises Refused when the model objects, with the field of the form that can mend it."""
    try:
        row.full_clean(exclude=["site"] if isinstance(row, Sensor) else [])
    except ValidationError as error:
        errors = [
            {"field": fields.get(field, "template"), "code": each.code or "invalid", "detail": " ".join(each.messages)}
            for field, group in error.error_dict.items()
            for each in group
        ]
        raise Refused("not_created", f"{row}: {errors[0]['detail']}", 422, errors=errors) from error
    row.save()


def _problems_of_sensor(row: dict[str, Any]) -> list[str]:
    found = [f"sensors have no {name}." for name in row if name not in (*OF_A_SENSOR, "key")]
    sensor = Sensor(sensor_id=f"x.{row.get('key') or ''}", **{name: row[name] for name in OF_A_SENSOR if name in row})
    if not row.get("key"):
        found.append("give it a key.")
    try:
        sensor.clean_fields(exclude=["asset", "site"])
        sensor.clean()
    except ValidationError as error:
        found += error.messages
    except TypeError:
        found.append("its numbers must be numbers.")
    return found


def _plan(row: dict[str, Any], starts_on: date) -> Plan:
    return Plan(starts_on=starts_on, **{name: row[name] for name in OF_A_PLAN if name in row})


def _problems_of_plan(row: dict[str, Any], keys: set[str]) -> list[str]:
    title = row.get("title") or "A plan"
    found = [f"{title}: plans have no {name}." for name in row if name not in (*OF_A_PLAN, "sensor")]
    plan = _plan(row, date(2026, 1, 1))
    try:
        plan.clean_fields(exclude=["asset", "sensor", "created_by"])
        if plan.trigger != Plan.Trigger.METER:
            plan.clean()
        elif row.get("sensor") not in keys or not plan.meter or not plan.every:
            found.append(f"{title}: give it the key of a sensor, how that is read, and after how much of it.")
    except ValidationError as error:
        found += [f"{title}: {message}" for message in error.messages]
    return found


def _problems_of_mode(row: dict[str, Any]) -> list[str]:
    try:
        FailureMode(code=row.get("code", ""), name=row.get("name", "")).clean_fields(exclude=["asset_class"])
    except ValidationError as error:
        return [f"Failure mode {row.get('code') or ''}: {message}" for message in error.messages]
    return []

"""What people do with rules and limits. Each step is written into the audit log."""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from alerts import lifecycle
from alerts.models import Alert, Condition, Rule
from alerts.rules.recording import in_words, limits_in_words
from sensors import audit
from sensors.models import Sensor

CHANGED = "The rule was changed; what it says now raises alerts of its own."
OFF = "The rule was switched off."
DELETED = "The rule was deleted."
NEW_LIMITS = "The sensor’s limits were changed; what is beyond them now raises an alert of its own."


def save(rule: Rule, conditions: Sequence[Condition], by: User) -> Rule:
    """Store a rule, new or changed, with exactly these conditions. What is open of it was asked differently."""
    with transaction.atomic():
        is_new = rule._state.adding
        rule.created_by = by if is_new else rule.created_by
        rule.save()
        if not is_new:
            rule.conditions.all().delete()
        for row in conditions:
            row.pk, row.rule = None, rule
            row._state.adding = True
        Condition.objects.bulk_create(conditions)
        _settle(f"limit:rule:{rule.pk}", CHANGED)
        _note("rule created" if is_new else "rule changed", rule, by)
    return rule


def switch(rule: Rule, on: bool, by: User) -> None:
    with transaction.atomic():
        rule.enabled = on
        rule.save(update_fields=["enabled"])
        if not on:
            _settle(f"limit:rule:{rule.pk}", OFF)
        _note("rule switched on" if on else "rule switched off", rule, by)


def remove(rule: Rule, by: User) -> None:
    """Nobody sees it any more, but alerts that it raised can still say what it was."""
    with transaction.atomic():
        rule.removed_at = timezone.now()
        rule.save(update_fields=["removed_at"])
        _settle(f"limit:rule:{rule.pk}", DELETED)
        _note("rule deleted", rule, by)


def limit(sensor: Sensor, by: User) -> None:
    """Store the limits that a sensor has been given."""
    with transaction.atomic():
        fields = [*sensor.limits._fields, "machine_class"]
        before = Sensor.objects.values(*fields).get(pk=sensor.pk)
        sensor.save(update_fields=fields)
        _settle(f"limit:sensor:{sensor.pk}", NEW_LIMITS)
        detail = {"was": before, "is": limits_in_words(sensor, sensor)}
        audit.record("limits changed", f"sensor {sensor.sensor_id}", by=by, site_id=sensor.site_id, detail=detail)


def _settle(dedup_key: str, reason: str) -> None:
    for alert in Alert.objects.unresolved().filter(dedup_key=dedup_key):
        lifecycle.resolve(alert, reason=reason)


def _note(action: str, rule: Rule, by: User) -> None:
    detail: dict[str, Any] = {
        "asset": str(rule.asset),
        "conditions": in_words(rule),
        "combination": rule.combination,
        "severity": rule.get_severity_display(),
        "duration_seconds": rule.duration_seconds,
        "hysteresis_percent": rule.hysteresis_percent,
        "enabled": rule.enabled,
    }
    audit.record(action, f"rule {rule.pk} {rule}", by=by, site_id=rule.site_id, detail=detail)

"""Stretches in which a limit or rule held, written down, and the alerts that people get of them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import ProtectedError

from alerts import lifecycle
from alerts.models import Alert, Firing, Rule, Severity
from alerts.rules.definition import Condition, Definition
from alerts.rules.evaluation import Held
from sensors.arrays import Bigints, Doubles, Timestamps, numpy_cursor
from sensors.models import Asset, Sensor
from sensors.wording import measured
from sensors.zones import MACHINE_CLASSES

# While a limit goes on being exceeded its alert is brought up to date so often in the sensor's time: a row written at
# every reading of a thousand sensors would tell nobody more.
TOLD_EVERY = timedelta(minutes=1)
DISPROVED = "Readings that came in later, or were corrected, show that the limit was not exceeded."
KIND = Alert.Kind.LIMIT


def replace(
    of: Sensor | Rule,
    definition: Definition,
    before: Sequence[Firing],
    found: Sequence[Held],
    historical: bool,
    went_on: list[Firing],
) -> list[Firing]:
    """Write down the stretches that were `found` in place of those `before`, and tell of what is new.

    `historical` when the readings that show it are of the past: nobody is told of that. Those that only went on are
    added to `went_on`, to be saved together (`save_ends`).
    """
    left = sorted(before, key=lambda firing: (firing.historical, firing.start))
    written = []
    for held in found:
        same = [firing for firing in left if us(firing.start) <= held.end and us(firing.end) >= held.start]
        left = [firing for firing in left if firing not in same]
        firing = same[0] if same else Firing(rule=of if isinstance(of, Rule) else None, definition=definition.digest)
        for other in same[1:]:
            _absorb(other, firing)
        if _write(firing, of, definition, held, historical):
            went_on.append(firing)
        written.append(firing)
    for firing in left:
        _withdraw(firing)
    return written


def save_ends(firings: Sequence[Firing]) -> None:
    """Save how long these went on for and how far, in one statement."""
    if not firings:
        return
    columns = zip(
        *((row.pk, row.sensor_id, us(row.end), us(row.peak_at), row.peak_value) for row in firings), strict=True
    )
    keys, sensors, ends, peaks_at, peaks = (np.array(column) for column in columns)
    with numpy_cursor() as cursor:
        cursor.execute(
            """
            UPDATE alerts_firing f SET sensor_id = n.sensor, "end" = n.end, peak_at = n.peak_at, peak_value = n.peak
            FROM unnest(%s, %s, %s, %s, %s) AS n(id, sensor, "end", peak_at, peak) WHERE f.id = n.id
            """,
            [Bigints(keys), Bigints(sensors), Timestamps(ends), Timestamps(peaks_at), Doubles(peaks)],
        )


def us(at: datetime) -> int:
    return round(at.timestamp() * 1e6)


def at(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)


def _write(firing: Firing, of: Sensor | Rule, definition: Definition, held: Held, historical: bool) -> bool:
    """Returns whether its end and peak are left to be saved."""
    is_new = firing._state.adding
    went_on = is_new or held.end > us(firing.end)
    was = _fields(firing)
    firing.sensor_id = held.peak.sensor
    firing.start, firing.end = at(held.start), at(held.end)
    firing.alarm_at = at(held.alarm_at) if held.alarm_at is not None else None
    firing.peak_at, firing.peak_value = at(held.peak.at), held.peak.value
    if is_new:
        firing.historical = historical
    if went_on and not historical and (firing.historical or firing.alert is None):
        # What was of the past goes on now.
        firing.historical, past = False, firing.alert
        firing.alert = _told(firing, of, definition, lifecycle.raise_alert)
        if past and past != firing.alert:
            lifecycle.absorb(past, into=firing.alert)
    elif firing.alert is None:
        firing.alert = _told(firing, of, definition, lifecycle.record_historical)
    elif _is_news(firing, held, was):
        # What came in late makes it longer; it goes on telling of the newest firing.
        is_newest = firing.end >= firing.alert.last_seen_at
        about = _about(firing, of, definition) if is_newest else _as_it_is(firing.alert)
        lifecycle.update(firing.alert, start=firing.start, end=firing.end, **about)
        firing.alert.last_seen_at = max(firing.alert.last_seen_at, firing.end)
    now = _fields(firing)
    if is_new or was[:4] != now[:4]:
        firing.save()
        return False
    return was != now


def _fields(firing: Firing) -> tuple[Any, ...]:
    names = ("start", "alarm_at", "historical", "alert_id", "end", "sensor_id", "peak_at", "peak_value")
    return tuple(getattr(firing, name) for name in names) if not firing._state.adding else ()


def _is_news(firing: Firing, held: Held, was: tuple[Any, ...]) -> bool:
    """Whether its alert should say so now: it is worse, it is over, or some time has passed."""
    assert firing.alert is not None
    start, alarm_at, *_ = was
    if (firing.start, firing.alarm_at) != (start, alarm_at):
        return True
    ahead = firing.end - firing.alert.last_seen_at
    return ahead >= TOLD_EVERY or (not held.goes_on and ahead != timedelta(0))


def _told(firing: Firing, of: Sensor | Rule, definition: Definition, verb: Any) -> Alert:
    alert: Alert = verb(
        asset=of.asset,
        sensor=Sensor.objects.get(pk=firing.sensor_id),
        kind=KIND,
        dedup_key=f"limit:{'rule' if isinstance(of, Rule) else 'sensor'}:{of.pk}",
        began_at=firing.start,
        last_seen_at=firing.end,
        **_about(firing, of, definition),
    )
    return alert


def _absorb(firing: Firing, into: Firing) -> None:
    """What was written down as two stretches is one."""
    if firing.alert and into.alert and firing.alert != into.alert and not _others(firing):
        lifecycle.absorb(firing.alert, into=into.alert)
    into.alert = into.alert or firing.alert
    firing.delete()


def _withdraw(firing: Firing) -> None:
    """Nothing held there, as far as is known now."""
    alert, has_others = firing.alert, _others(firing)
    firing.delete()
    if alert is None or has_others:
        return
    if not alert.historical:
        lifecycle.resolve(alert, reason=DISPROVED)
        return
    try:
        with transaction.atomic():
            alert.delete()
    except ProtectedError:
        pass  # A work order or verdict hangs on it.


def _others(firing: Firing) -> bool:
    return firing.alert_id is not None and Firing.objects.filter(alert=firing.alert_id).exclude(pk=firing.pk).exists()


def _about(firing: Firing, of: Sensor | Rule, definition: Definition) -> dict[str, Any]:
    """Title, severity and evidence of an alert."""
    severity, reasons = _severity(of, firing)
    sensor = of if isinstance(of, Sensor) else Sensor.objects.get(pk=firing.sensor_id)
    conditions = {condition.sensor: condition for condition in definition.conditions}
    side, limit = _passed(conditions[firing.sensor_id], firing)
    evidence = {
        "limit": "alarm" if firing.alarm_at else "warning",
        "side": side,
        "limit_value": limit,
        "sensor_id": sensor.sensor_id,
        "unit": sensor.unit,
        "peak_value": firing.peak_value,
        "peak_at": firing.peak_at.isoformat(),
        "start": firing.start.isoformat(),
        "end": firing.end.isoformat(),
        "alarm_at": firing.alarm_at.isoformat() if firing.alarm_at else None,
        "duration_seconds": definition.duration_us / 1e6,
        "limits": conditions[firing.sensor_id].limits._asdict(),
        "severity": reasons,
    }
    if isinstance(of, Rule):
        evidence["rule"] = {"id": of.pk, "name": of.name, "conditions": in_words(of)}
    elif zone := _zone(sensor, firing.peak_value):
        evidence["zone"] = zone
    return {"title": _title(of, sensor, side, limit, firing.peak_value), "severity": severity, "evidence": evidence}


def _as_it_is(alert: Alert) -> dict[str, Any]:
    return {"title": alert.title, "severity": Severity(alert.severity), "evidence": alert.evidence}


def _passed(condition: Condition, firing: Firing) -> tuple[str, float]:
    """Which limit the peak lies beyond: the one to alarm at, once it is an alarm."""
    limits, above = condition.limits, firing.peak_value > condition.high
    alarm, first = (limits.alarm_high, condition.high) if above else (limits.alarm_low, condition.low)
    return "above" if above else "below", alarm if firing.alarm_at and alarm is not None else first


def _zone(sensor: Sensor, value: float) -> str:
    row = MACHINE_CLASSES.get(sensor.machine_class)
    return f"zone {row.zone(value)} of {row.name}, after {row.source}" if row else ""


def _title(of: Sensor | Rule, sensor: Sensor, side: str, limit: float, value: float) -> str:
    name = sensor.name or sensor.get_kind_display().capitalize()
    said = f"{name} {side} {measured(limit, sensor.unit)}: {measured(value, sensor.unit)}"
    return f"{of.name} ({of.asset}): {said}" if isinstance(of, Rule) else f"{of.asset}: {said}"


def _severity(of: Sensor | Rule, firing: Firing) -> tuple[Severity, list[str]]:
    """How severe it is, and every reason for that."""
    if isinstance(of, Rule):
        level, reasons = Severity(of.severity), [f"{Severity(of.severity).label}, as the rule says"]
        steps = {"up, as it is beyond a limit to alarm at": firing.alarm_at is not None}
        back: dict[str, bool] = {}
    else:
        level = Severity.HIGH if firing.alarm_at else Severity.MEDIUM
        reasons = [f"{level.label}, as it is beyond the limit to {'alarm' if firing.alarm_at else 'warn'} at"]
        steps = {"up, as the asset is critical": of.asset.criticality == Asset.Criticality.HIGH}
        back = {"down, as the asset is not critical": of.asset.criticality == Asset.Criticality.LOW}
    reasons += [why for why, holds in {**steps, **back}.items() if holds]
    wanted = level + sum(steps.values()) - sum(back.values())
    return Severity(min(max(wanted, Severity.LOW), Severity.CRITICAL)), reasons


def in_words(rule: Rule) -> list[str]:
    """The conditions of a rule, each as a sentence without its end."""
    return [limits_in_words(row.sensor, row) for row in rule.conditions.all()]


def limits_in_words(sensor: Sensor, limited: Any) -> str:
    said = [
        f"{name.replace('_low', ' below').replace('_high', ' above')} {measured(limit, sensor.unit)}"
        for name, limit in limited.limits._asdict().items()
        if limit is not None
    ]
    return f"{sensor}: {', '.join(said)}"

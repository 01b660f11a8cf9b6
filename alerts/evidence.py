"""The evidence of an alert, in words. What a detector did not say is left out; old evidence must not fail a page."""

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from django.utils.dateparse import parse_datetime

from sensors.wording import clock, measured


@dataclass(frozen=True)
class Check:
    """One layer of validation and what it said."""

    name: str
    passed: bool
    detail: str


def sentences(evidence: dict[str, Any], zone: tzinfo) -> list[str]:
    """What was seen, how far from normal it is, for how long, and what "normal" rests on."""
    if isinstance(evidence.get("fault"), str):
        return _fault(evidence, zone)
    if isinstance(evidence.get("limit"), str):
        return _limit(evidence, zone)
    told = (
        _seen(evidence, zone),
        _distance(evidence),
        _duration(evidence, zone),
        _basis(evidence),
        _severity(evidence),
    )
    return [sentence for sentence in told if sentence]


def verdict(evidence: dict[str, Any]) -> str:
    """What validation decided, e.g. "Credible anomaly, confidence 87 %"."""
    decision, confidence = evidence.get("decision"), _number(evidence, "confidence")
    if not isinstance(decision, str) or not decision:
        return ""
    words = decision.replace("_", " ").capitalize()
    return words if confidence is None else f"{words}, confidence {confidence:.0%}".replace("%", " %")


def checks(evidence: dict[str, Any]) -> list[Check]:
    layers = evidence.get("layers")
    return [
        Check(str(layer.get("name", "")).replace("_", " "), bool(layer.get("passed")), str(layer.get("detail", "")))
        for layer in (layers if isinstance(layers, list) else [])
        if isinstance(layer, dict)
    ]


def period(evidence: dict[str, Any]) -> tuple[datetime, datetime] | None:
    """When the event began and ended, if the evidence says so."""
    start, end = _time(evidence, "start"), _time(evidence, "end")
    return (start, end) if start and end and start <= end else None


def expected_band(evidence: dict[str, Any]) -> tuple[float, float] | None:
    """Between which values a reading would have been normal, in the sensor's unit."""
    expected, spread, threshold = (_number(evidence, key) for key in ("expected", "spread", "threshold"))
    if expected is None or spread is None or threshold is None:
        return None
    return expected - threshold * spread, expected + threshold * spread


def _seen(evidence: dict[str, Any], zone: tzinfo) -> str:
    if shares := _shares(evidence):
        return f"Its sensors together are not as they usually are: {shares}."
    value, expected, at = _number(evidence, "peak_value"), _number(evidence, "expected"), _time(evidence, "peak_at")
    if value is None:
        return ""
    unit = str(evidence.get("unit", "1"))
    text = f"The value reached {measured(value, unit)}"
    if at:
        text += f" on {clock(at, zone)}"
    return f"{text}; about {measured(expected, unit)} was expected." if expected is not None else f"{text}."


def _shares(evidence: dict[str, Any]) -> str:
    """What each sensor has to do with it, as far as that rounds to a percent."""
    shares = evidence.get("shares")
    told = []
    for each in shares if isinstance(shares, list) else []:
        match each:
            case [str(sensor), float(share)] if share >= 0.005:
                told.append(f"{sensor} makes up {100 * share:.0f} %")
    return ", ".join(told)


def _fault(evidence: dict[str, Any], zone: tzinfo) -> list[str]:
    """A fault of an instrument: nothing is known of the machine, so nothing is said of it."""
    silent = evidence["fault"] == "silent"
    since, detail = _time(evidence, "start"), evidence.get("detail")
    told = []
    if since:
        told.append(f"No reading has come since {clock(since, zone)}." if silent else f"Since {clock(since, zone)}.")
    if isinstance(detail, str) and detail:
        told.append(detail)
    if named := _named(evidence):
        told.append(named)
    told.append(
        "This tells nothing about the machine: look at the sensor, its cable, its power and its gateway."
        if silent
        else "This is about the sensor, not the machine: its readings are kept, but neither scored nor learned from."
    )
    return told


def _limit(evidence: dict[str, Any], zone: tzinfo) -> list[str]:
    """A limit that somebody has set; what is normal has no part in it."""
    value, limit = _number(evidence, "peak_value"), _number(evidence, "limit_value")
    unit, at = str(evidence.get("unit", "1")), _time(evidence, "peak_at")
    told = []
    if value is not None and limit is not None and at:
        told.append(f"The value reached {measured(value, unit)} on {clock(at, zone)}.")
        side, name = evidence.get("side"), "alarm" if evidence["limit"] == "alarm" else "warn"
        told.append(f"That is {side} the limit to {name} at, {measured(limit, unit)}.")
    if isinstance(named := evidence.get("zone"), str):
        told.append(f"It lies in {named}. The standard itself is the authority.")
    if lasted := period(evidence):
        told.append(f"Beyond its limits from {clock(lasted[0], zone)} to {clock(lasted[1], zone)}.")
    return [*told, *_rule(evidence), *filter(None, [_severity(evidence)])]


def _rule(evidence: dict[str, Any]) -> list[str]:
    match evidence.get("rule"):
        case {"name": str(name), "conditions": list(conditions)}:
            return [f"The rule {name} asks for {'; '.join(map(str, conditions))}."]
    return []


def limit_lines(evidence: dict[str, Any]) -> list[tuple[str, float]]:
    """The limits of the sensor that it is about, each with its name, to be drawn into a chart."""
    limits = evidence.get("limits")
    named = limits.items() if isinstance(limits, dict) else ()
    return [(name.split("_")[0], float(at)) for name, at in named if isinstance(at, int | float)]


def _named(evidence: dict[str, Any]) -> str:
    sensors, count = evidence.get("sensors"), _number(evidence, "sensor_count")
    if not isinstance(sensors, list) or not sensors:
        return ""
    more = f" and {count - len(sensors):.0f} more" if count and count > len(sensors) else ""
    return f"Sensors: {', '.join(map(str, sensors))}{more}."


def _distance(evidence: dict[str, Any]) -> str:
    score, threshold = _number(evidence, "peak_score"), _number(evidence, "threshold")
    if score is None:
        return ""
    if isinstance(model := evidence.get("model"), str) and threshold:
        return f"The model {model} puts it {abs(score) / threshold:,.1f} times as far from normal as its limit."
    text = f"That is {abs(score):,.1f} times the usual spread away"
    return f"{text}; the limit is {threshold:g} times." if threshold is not None else f"{text}."


def _duration(evidence: dict[str, Any], zone: tzinfo) -> str:
    lasted, hits, window = period(evidence), _number(evidence, "hits"), _number(evidence, "window")
    counted = f"{hits:.0f} of {window:.0f} consecutive readings were beyond it" if hits and window else ""
    if not lasted:
        return f"{counted}." if counted else ""
    text = f"Seen from {clock(lasted[0], zone)} to {clock(lasted[1], zone)}"
    return f"{text}; {counted}." if counted else f"{text}."


def _basis(evidence: dict[str, Any]) -> str:
    readings, days = _number(evidence, "baseline_readings"), _number(evidence, "baseline_days")
    if readings is None:
        return ""
    text = f"Normal was learned from {readings:,.0f} readings"
    if days is None:
        return f"{text}."
    return f"{text} over {_span(days)}."


def _severity(evidence: dict[str, Any]) -> str:
    reasons = evidence.get("severity")
    if not isinstance(reasons, list) or not reasons:
        return ""
    return f"Severity: {'; '.join(map(str, reasons))}."


def _span(days: float) -> str:
    if days >= 2:
        return f"{days:.0f} days"
    return f"{days * 24:.0f} hours" if days >= 1 / 12 else f"{days * 1440:.0f} minutes"


def _number(evidence: dict[str, Any], key: str) -> float | None:
    value = evidence.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _time(evidence: dict[str, Any], key: str) -> datetime | None:
    try:
        at = parse_datetime(str(evidence.get(key, "")))
    except ValueError:
        return None
    return at if at and at.tzinfo else None

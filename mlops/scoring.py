"""Stored batches -> scores -> anomalies -> alerts, for many sensors at once.

A score depends on stored readings and kept baselines alone (see `mlops.baselines`), so a batch may be scored twice or
together with any others. One sensor is scored by one worker at a time, which keeps its anomalies from being recorded
twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
from django.conf import settings
from django.db.models import Max, Q
from django.utils import timezone
from numpy.typing import NDArray

from alerts import lifecycle
from alerts.models import Alert, Severity, State
from maintenance import work_orders
from mlops import baselines, validation, withdrawal
from mlops.detectors import robust
from mlops.detectors.robust import Profile
from mlops.models import Anomaly
from mlops.querysets import AnomalyQuerySet
from sensors import faults, history, outbox
from sensors.arrays import any_of
from sensors.checks import SPAN_GAP_US
from sensors.history import Span
from sensors.models import Asset, ReadingBatch, Sensor

# Robust standard deviations from normal at which a reading is anomalous.
LIMIT = 4.0
# Until a baseline has seen a whole day it knows nothing of the daily cycle: the limit is this many times higher. A slow
# swing that has just turned looks flat; when the history has doubled, it has moved by about 12 of the spreads seen so
# far.
SHORT_HISTORY_FACTOR = 3.0
# A single reading this many times beyond the limit is recorded even if nothing follows.
EXTREME_FACTOR = 3.0
# Anomalous readings with smaller gaps between them belong to one event: machines come back slowly, alerts should not
# flap.
EVENT_GAP = timedelta(hours=6)
# After an alert was resolved the machine gets this long to come back to normal before the sensor may alert again.
SETTLING = timedelta(minutes=1)
CORRECTED = "Values it rested on were corrected."
DOUBTED = "Values it rested on proved to be wrong."


@dataclass(frozen=True)
class Event:
    """A stretch of anomalous readings of one sensor, as found in the readings at hand."""

    start: datetime
    confirmed_at: datetime
    end: datetime
    peak_at: datetime
    peak_value: float
    peak_score: float
    expected: float
    hits: int
    limit: float
    profile: Profile


def score_batches(batches: list[ReadingBatch]) -> None:
    """Score what these batches stored, all of one mode, and raise or record the alerts that follow.

    Sensors that nobody has placed yet are not scored.
    """
    spans = _spans(batches)
    sensors = _locked({span.sensor for span in spans})
    spans = [span for span in spans if span.sensor in sensors]
    _weigh_again(_found_in([batch for batch in batches if batch.corrected]), CORRECTED)
    _weigh_again(withdrawal.doubted(sensors), DOUBTED)
    historical = batches[0].mode == ReadingBatch.Mode.HISTORY
    events = list(_events(spans, {} if historical else _settled_after(sensors)))
    found_in = Sensor.objects.select_related("asset__site").in_bulk({sensor for sensor, _ in events})
    for sensor, event in events:
        _record(found_in[sensor], event, historical)


def _locked(wanted: set[int]) -> set[int]:
    """These sensors, but for those that wait to be placed; nobody else scores or changes them now."""
    # In one order everywhere, or two workers could wait for each other.
    locked = Sensor.objects.select_for_update(no_key=True).filter(pk__in=any_of(wanted)).order_by("pk")
    # A row that changed while we waited for its lock is read as it is now.
    return {pk for pk, status in locked.values_list("pk", "status") if status != Sensor.Status.DISCOVERED}


def _found_in(batches: list[ReadingBatch]) -> AnomalyQuerySet:
    if not batches:
        return Anomaly.objects.none()
    overlapping = (
        Q(sensor=span.sensor, start__lte=_datetime(span.last), end__gte=_datetime(span.first))
        for span in _spans(batches)
    )
    return Anomaly.objects.filter(reduce(or_, overlapping, Q(pk=None))).exclude(
        decision=Anomaly.Decision.FALSE_POSITIVE
    )


def _weigh_again(found: AnomalyQuerySet, reason: str) -> None:
    """Readings were replaced or are doubted now: set aside what is no longer there, keep the rest as it is now."""
    for anomaly in found.select_related("sensor__asset", "alert"):
        [first], [last] = _us([anomaly.start]), _us([anomaly.end])
        events = [event for _, event in _events([Span(anomaly.sensor_id, first, last)], {})]
        if not events:
            withdrawal.withdraw(anomaly, "values stand", reason)
            continue
        strongest = max(events, key=lambda event: abs(event.peak_score))
        _restate(anomaly, strongest, events[0].start, events[-1].end)
        withdrawal.resolve_unfounded(anomaly.alert, reason)


def _restate(anomaly: Anomaly, event: Event, start: datetime, end: datetime) -> None:
    """Say of a recorded anomaly what its readings say now."""
    now = _as_anomaly(anomaly.sensor, event, _validate(anomaly.sensor, event), anomaly.historical)
    for field in ("peak_at", "peak_value", "peak_score", "decision", "confidence", "evidence"):
        setattr(anomaly, field, getattr(now, field))
    anomaly.start, anomaly.end = start, end
    anomaly.evidence |= {"start": start.isoformat(), "end": end.isoformat()}
    _alert(anomaly.sensor, anomaly)
    anomaly.save()


def _spans(batches: list[ReadingBatch]) -> list[Span]:
    """Where the batches hold readings; spans of one sensor that touch are one."""
    _, *columns = outbox.spans(batches)
    parts = sorted(map(Span, *(column.tolist() for column in columns)))
    spans: list[Span] = []
    for part in parts:
        if spans and spans[-1].sensor == part.sensor and part.first <= spans[-1].last + SPAN_GAP_US:
            spans[-1] = Span(part.sensor, spans[-1].first, max(spans[-1].last, part.last))
        else:
            spans.append(part)
    return spans


def _settled_after(sensors: set[int]) -> dict[int, int]:
    """For sensors whose alert was just resolved: from when on (microseconds UTC) readings may open a new event."""
    recently = timezone.now() - timedelta(seconds=settings.LATE_AFTER_SECONDS) - SETTLING
    resolved = (
        Alert.objects.filter(
            sensor__in=any_of(sensors), kind=Alert.Kind.ANOMALY, historical=False, resolved_at__gt=recently
        )
        .values_list("sensor")
        .annotate(last=Max("resolved_at"))
    )
    return {sensor: _us([last + SETTLING])[0] for sensor, last in resolved}


def _events(spans: list[Span], settled: dict[int, int]) -> Iterator[tuple[int, Event]]:
    series = history.spans(spans, context=validation.N - 1)
    firsts = history.firsts([span.sensor for span in spans])
    blocks_of = []
    for number, span in enumerate(spans):
        timestamps, values = series[number]
        if span.sensor in settled:
            # Nothing before the resolution counts, neither as an anomaly nor as the beginning of one.
            keep = timestamps > settled[span.sensor]
            series[number] = timestamps, values = timestamps[keep], values[keep]
        blocks_of.append(baselines.block_starts(timestamps, span.sensor, firsts.get(span.sensor, 0)))
    wanted = {
        (span.sensor, int(start)) for span, starts in zip(spans, blocks_of, strict=True) for start in np.unique(starts)
    }
    profiles = baselines.profiles_of(wanted, firsts)
    for span, (timestamps, values), starts in zip(spans, series, blocks_of, strict=True):
        blocks, which = np.unique(starts, return_inverse=True)
        found = [profiles[span.sensor, int(start)] for start in blocks]
        for event in find_events(timestamps, values, found, which, span.first):
            yield span.sensor, event


def find_events(
    timestamps: NDArray[np.int64],
    values: NDArray[np.float64],
    profiles: list[Profile | None],
    which: NDArray[np.int64],
    since: int,
) -> list[Event]:
    """The anomalous stretches among readings in time order; those before `since` (microseconds UTC) are context only.

    `profiles[which[i]]` is the baseline of reading i; readings without one cannot be judged.
    """
    judged = np.array([profile is not None for profile in profiles], bool)[which]
    if not judged.any():
        return []
    timestamps, values, which = timestamps[judged], values[judged], which[judged]
    known = [profile or _NOTHING for profile in profiles]
    scores = robust.score(known, which, timestamps, values)
    limits = np.array([LIMIT * (1 if p.spans_a_day else SHORT_HISTORY_FACTOR) for p in known])[which]
    anomalous = np.abs(scores) >= limits
    hits = np.convolve(anomalous, np.ones(validation.N, int))[: len(anomalous)]
    extreme = np.abs(scores) >= EXTREME_FACTOR * limits
    notable = np.flatnonzero(anomalous & ((hits >= validation.K) | extreme) & (timestamps >= since))
    if not len(notable):
        return []
    expected = robust.expected(known, which, timestamps)
    gaps = np.flatnonzero(np.diff(timestamps[notable]) > EVENT_GAP / timedelta(microseconds=1)) + 1
    events = []
    for part in np.split(notable, gaps):
        # The event began with the first of the readings that confirmed it.
        window = np.arange(max(0, part[0] - validation.N + 1), part[0] + 1)
        peak = part[np.argmax(np.abs(scores[part]))]
        events.append(
            Event(
                start=_datetime(timestamps[window[anomalous[window]][0]]),
                confirmed_at=_datetime(timestamps[part[0]]),
                end=_datetime(timestamps[part[-1]]),
                peak_at=_datetime(timestamps[peak]),
                peak_value=float(values[peak]),
                peak_score=float(scores[peak]),
                expected=float(expected[peak]),
                hits=int(hits[part].max()),
                limit=float(limits[peak]),
                profile=known[which[peak]],
            )
        )
    return events


_NOTHING = Profile(readings=0, span_seconds=0.0, median=0.0, spread=1.0)


def _record(sensor: Sensor, event: Event, historical: bool) -> None:
    """Write the event down, joined with what is known of it already, and alert as validation decides."""
    anomaly = _join(_as_anomaly(sensor, event, _validate(sensor, event), historical))
    _alert(sensor, anomaly)
    anomaly.save()


def _validate(sensor: Sensor, event: Event) -> validation.Decision:
    return validation.validate(
        validation.Candidate(
            peak=abs(event.peak_score),
            limit=event.limit,
            hits=event.hits,
            baseline_readings=event.profile.readings,
            in_maintenance=work_orders.was_in_progress(sensor.asset, event.confirmed_at, event.end),
            sensor_faulty=faults.was_distrusted(sensor, event.confirmed_at, event.end),
        )
    )


def _join(fresh: Anomaly) -> Anomaly:
    """The recorded anomaly that this one continues, widened by it; itself if there is none."""
    anomaly, *others = _near(fresh) or [fresh]
    if anomaly is fresh:
        return fresh
    for other in (*others, fresh):
        anomaly.start, anomaly.end = min(anomaly.start, other.start), max(anomaly.end, other.end)
        hits = max(anomaly.evidence["hits"], other.evidence["hits"])
        # On a tie the earlier peak stays, so that scoring again changes nothing.
        if (other.confidence, abs(other.peak_score)) > (anomaly.confidence, abs(anomaly.peak_score)):
            for field in ("peak_at", "peak_value", "peak_score", "decision", "confidence", "evidence"):
                setattr(anomaly, field, getattr(other, field))
        anomaly.evidence |= {"hits": hits, "start": anomaly.start.isoformat(), "end": anomaly.end.isoformat()}
    for other in others:
        # The event closed the gap between two recorded ones.
        alert, absorbed = anomaly.alert or other.alert, other.alert
        other.delete()
        if alert and absorbed and absorbed != alert:
            lifecycle.absorb(absorbed, into=alert)
        anomaly.alert = alert
    return anomaly


def _near(fresh: Anomaly) -> list[Anomaly]:
    """Recorded anomalies of the same event, live ones first: close in time, and judged alike.

    What happened during maintenance, or before the sensor was known, must not swallow what comes after it.
    """
    alike = [Anomaly.Decision.CREDIBLE, Anomaly.Decision.FURTHER]
    if fresh.decision not in alike:
        alike = [Anomaly.Decision(fresh.decision)]
    near = Anomaly.objects.filter(
        sensor=fresh.sensor,
        decision__in=alike,
        end__gte=fresh.start - EVENT_GAP,
        start__lte=fresh.end + EVENT_GAP,
    )
    if not fresh.historical:
        # Live events continue live ones; readings of the past may also belong to what was live then.
        near = near.filter(historical=False)
    # An alert that a person has resolved is over; what goes on after it is new.
    over = Q(historical=False, alert__state=State.RESOLVED, alert__resolved_at__lt=fresh.end)
    known: list[Anomaly] = list(near.exclude(over).select_related("alert").order_by("historical", "start"))
    return known


def _as_anomaly(sensor: Sensor, event: Event, decision: validation.Decision, historical: bool) -> Anomaly:
    evidence: dict[str, Any] = {
        "sensor_id": sensor.sensor_id,
        "unit": sensor.unit,
        "peak_value": event.peak_value,
        "peak_score": event.peak_score,
        "peak_at": event.peak_at.isoformat(),
        "expected": event.expected,
        "spread": event.profile.spread,
        "threshold": event.limit,
        "start": event.start.isoformat(),
        "end": event.end.isoformat(),
        "hits": event.hits,
        "window": validation.N,
        "baseline_readings": event.profile.readings,
        "baseline_days": round(event.profile.span_seconds / 86_400, 2),
    }
    return Anomaly(
        sensor=sensor,
        start=event.start,
        end=event.end,
        peak_at=event.peak_at,
        peak_value=event.peak_value,
        peak_score=event.peak_score,
        historical=historical,
        decision=decision.decision,
        confidence=decision.confidence,
        evidence=evidence | decision.evidence(),
    )


def _alert(sensor: Sensor, anomaly: Anomaly) -> None:
    if anomaly.decision == Anomaly.Decision.CREDIBLE:
        severity = _severity(anomaly, sensor.asset)
    elif anomaly.decision == Anomaly.Decision.FURTHER:
        severity = Severity.LOW
    else:
        return
    about = {"title": _title(sensor, anomaly), "severity": severity, "evidence": anomaly.evidence}
    if anomaly.alert is not None:
        lifecycle.update(anomaly.alert, start=anomaly.start, end=anomaly.end, **about)
        return
    record = lifecycle.record_historical if anomaly.historical else lifecycle.raise_alert
    anomaly.alert = record(
        asset=sensor.asset,
        sensor=sensor,
        dedup_key=_dedup_key(sensor),
        began_at=anomaly.start,
        last_seen_at=anomaly.end,
        **about,
    )


def _dedup_key(sensor: Sensor) -> str:
    return f"anomaly:sensor:{sensor.pk}"


def _severity(anomaly: Anomaly, asset: Asset) -> Severity:
    """Medium; one step up when twice beyond the limit, one more on an asset of high criticality."""
    far = abs(anomaly.peak_score) >= 2 * anomaly.evidence["threshold"]
    steps = far + (asset.criticality == Asset.Criticality.HIGH)
    return Severity(Severity.MEDIUM + steps)


def _title(sensor: Sensor, anomaly: Anomaly) -> str:
    side = "above" if anomaly.peak_score > 0 else "below"
    expected = anomaly.evidence["expected"]
    name = sensor.name or sensor.get_kind_display().capitalize()
    return f"{name} of {sensor.asset} {side} normal: {anomaly.peak_value:.4g} {sensor.unit}, usually {expected:.4g}"


def _us(times: Sequence[datetime]) -> list[int]:
    return [round(at.timestamp() * 1e6) for at in times]


def _datetime(us: np.int64 | int) -> datetime:
    return datetime.fromtimestamp(int(us) / 1e6, UTC)

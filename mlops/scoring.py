"""Stored batches -> scores -> anomalies -> alerts, for many sensors at once.

A score depends on stored readings alone (see `mlops.baselines`), so a batch may be scored twice, late, or together with
any others. One sensor is scored by one worker at a time, which keeps its anomalies from being recorded twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from django.conf import settings
from django.db.models import Max
from numpy.typing import NDArray

from alerts import lifecycle
from alerts.models import Alert, Severity, State
from maintenance import work_orders
from mlops import baselines, validation
from mlops.detectors import robust
from mlops.detectors.robust import Profile
from mlops.models import Anomaly
from sensors import history
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


@dataclass(frozen=True)
class Event:
    """A stretch of anomalous readings of one sensor, as found in the readings at hand."""

    start: datetime
    end: datetime
    peak_at: datetime
    peak_value: float
    peak_score: float
    expected: float
    hits: int
    limit: float
    profile: Profile


def score_batches(batches: list[ReadingBatch]) -> None:
    """Score what these batches stored, all of one mode, and raise or record the alerts that follow."""
    spans = _spans(batches)
    # In one order everywhere, or two workers could wait for each other.
    locked = Sensor.objects.select_for_update(of=("self",), no_key=True).filter(pk__in=spans).order_by("pk")
    sensors = {sensor.pk: sensor for sensor in locked.select_related("asset__site")}
    settled = _settled_after(list(sensors))
    received_at = min(batch.received_at for batch in batches)
    is_history = batches[0].mode == ReadingBatch.Mode.HISTORY
    for pk, event in _events(spans, settled):
        late = event.end < received_at - timedelta(seconds=settings.LATE_AFTER_SECONDS)
        _record(sensors[pk], event, historical=is_history or late, since=settled.get(pk))


def _spans(batches: list[ReadingBatch]) -> dict[int, tuple[datetime, datetime]]:
    """From when to when the batches hold readings of each sensor."""
    spans: dict[int, tuple[datetime, datetime]] = {}
    for batch in batches:
        for sensor, first, last in zip(batch.sensors, batch.firsts, batch.lasts, strict=True):
            known = spans.get(sensor, (first, last))
            spans[sensor] = (min(known[0], first), max(known[1], last))
    return spans


def _settled_after(sensors: list[int]) -> dict[int, datetime]:
    """For sensors with a resolved alert: from when on their readings may open a new event."""
    resolved = (
        Alert.objects.filter(sensor__in=sensors, kind=Alert.Kind.ANOMALY, historical=False, state=State.RESOLVED)
        .values_list("sensor")
        .annotate(last=Max("resolved_at"))
    )
    return {sensor: last + SETTLING for sensor, last in resolved}


def _events(spans: dict[int, tuple[datetime, datetime]], settled: dict[int, datetime]) -> Iterator[tuple[int, Event]]:
    starts, ends = zip(*spans.values(), strict=True)
    series = history.spans(list(spans), [_us(at) for at in starts], [_us(at) for at in ends], context=validation.N - 1)
    firsts = history.firsts(list(series))
    blocks_of = {}
    for sensor, (timestamps, values) in series.items():
        if sensor in settled:
            # Nothing before the resolution counts, neither as an anomaly nor as the beginning of one.
            keep = timestamps > _us(settled[sensor])
            series[sensor] = timestamps, values = timestamps[keep], values[keep]
        blocks_of[sensor] = baselines.block_starts(timestamps, firsts[sensor])
    wanted = {(sensor, int(start)) for sensor, starts_ in blocks_of.items() for start in np.unique(starts_)}
    profiles = baselines.profiles_of(wanted, firsts)
    for sensor, (timestamps, values) in series.items():
        blocks, which = np.unique(blocks_of[sensor], return_inverse=True)
        found = [profiles[sensor, int(start)] for start in blocks]
        for event in find_events(timestamps, values, found, which, _us(spans[sensor][0])):
            yield sensor, event


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


def _record(sensor: Sensor, event: Event, *, historical: bool, since: datetime | None) -> None:
    """Write the event down, joined with what is known of it already, and alert as validation decides."""
    anomaly = _join(sensor, event, historical, since)
    candidate = validation.Candidate(
        peak=abs(anomaly.peak_score),
        limit=anomaly.evidence["threshold"],
        hits=anomaly.evidence["hits"],
        baseline_readings=anomaly.evidence["baseline_readings"],
        in_maintenance=work_orders.was_in_progress(sensor.asset, anomaly.start, anomaly.end),
    )
    decision = validation.validate(candidate)
    anomaly.decision, anomaly.confidence = decision.decision, decision.confidence
    anomaly.evidence |= decision.evidence()
    _alert(sensor, anomaly, candidate)
    anomaly.save()


def _join(sensor: Sensor, event: Event, historical: bool, since: datetime | None) -> Anomaly:
    """The recorded anomaly that this event continues, widened by it; a new one if there is none."""
    near = Anomaly.objects.filter(
        sensor=sensor,
        historical=historical,
        end__gte=max(event.start - EVENT_GAP, since or event.start - EVENT_GAP),
        start__lte=event.end + EVENT_GAP,
    )
    known: list[Anomaly] = list(near.select_related("alert").order_by("start"))
    fresh = _as_anomaly(sensor, event, historical)
    if not known:
        return fresh
    anomaly, *others = known
    hits = fresh.evidence["hits"]
    for other in (*others, fresh):
        hits = max(hits, other.evidence["hits"], anomaly.evidence["hits"])
        anomaly.start, anomaly.end = min(anomaly.start, other.start), max(anomaly.end, other.end)
        # On a tie the earlier peak stays, so that scoring again changes nothing.
        if abs(other.peak_score) > abs(anomaly.peak_score):
            anomaly.peak_at, anomaly.peak_value, anomaly.peak_score = other.peak_at, other.peak_value, other.peak_score
            anomaly.evidence = other.evidence
    for other in others:
        # The event closed the gap between two recorded ones.
        if other.alert and anomaly.alert:
            lifecycle.resolve(other.alert, None, reason=f"The same event as alert {anomaly.alert.pk}.")
        anomaly.alert = anomaly.alert or other.alert
        other.delete()
    anomaly.evidence |= {"hits": hits, "start": anomaly.start.isoformat(), "end": anomaly.end.isoformat()}
    return anomaly


def _as_anomaly(sensor: Sensor, event: Event, historical: bool) -> Anomaly:
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
        evidence=evidence,
    )


def _alert(sensor: Sensor, anomaly: Anomaly, candidate: validation.Candidate) -> None:
    if anomaly.decision == Anomaly.Decision.CREDIBLE:
        severity = _severity(candidate, sensor.asset)
    elif anomaly.decision == Anomaly.Decision.FURTHER:
        severity = Severity.LOW
    else:
        return
    about = {"title": _title(sensor, anomaly), "severity": severity, "evidence": anomaly.evidence}
    if anomaly.alert is not None:
        lifecycle.update(anomaly.alert, start=anomaly.start, end=anomaly.end, **about)
    elif anomaly.historical:
        anomaly.alert = lifecycle.record_historical(
            asset=sensor.asset,
            sensor=sensor,
            dedup_key=_dedup_key(sensor),
            start=anomaly.start,
            end=anomaly.end,
            **about,
        )
    else:
        anomaly.alert = lifecycle.raise_alert(
            asset=sensor.asset, sensor=sensor, dedup_key=_dedup_key(sensor), at=anomaly.end, **about
        )


def _dedup_key(sensor: Sensor) -> str:
    return f"anomaly:sensor:{sensor.pk}"


def _severity(candidate: validation.Candidate, asset: Asset) -> Severity:
    """Medium; one step up when twice beyond the limit, one more on an asset of high criticality."""
    steps = (candidate.peak >= 2 * candidate.limit) + (asset.criticality == Asset.Criticality.HIGH)
    return Severity(Severity.MEDIUM + steps)


def _title(sensor: Sensor, anomaly: Anomaly) -> str:
    side = "above" if anomaly.peak_score > 0 else "below"
    expected = anomaly.evidence["expected"]
    name = sensor.name or sensor.get_kind_display().capitalize()
    return f"{name} of {sensor.asset} {side} normal: {anomaly.peak_value:.4g} {sensor.unit}, usually {expected:.4g}"


def _us(at: datetime) -> int:
    return round(at.timestamp() * 1e6)


def _datetime(us: np.int64) -> datetime:
    return datetime.fromtimestamp(int(us) / 1e6, UTC)

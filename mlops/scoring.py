"""Stored batches -> scores -> anomalies -> alerts, for many sensors at once.

A score depends on stored readings and kept baselines alone (see `mlops.baselines`), so a batch may be scored twice or
together with any others. One sensor is scored by one worker at a time, which keeps its anomalies from being recorded
twice.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial, reduce
from operator import or_
from typing import Any

import numpy as np
from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import Max, Q
from django.utils import timezone
from numpy.typing import NDArray

from alerts import lifecycle
from alerts.models import Alert, Severity, State
from mlops import baselines, capsule, deployments, validation, withdrawal
from mlops.context import candidate_of, circumstances_of, parameters_for
from mlops.events import EVENT_GAP, Circumstances, Event, find_events, joined
from mlops.measures import ByBaseline, ByModel, Measure, N, is_of_a_sensor
from mlops.models import Anomaly, ModelVersion
from mlops.querysets import AnomalyQuerySet
from mlops.registry import figures, loading
from mlops.registry.loading import Served
from sensors import history, outbox
from sensors.arrays import any_of
from sensors.checks import SPAN_GAP_US
from sensors.history import Span
from sensors.models import Asset, ReadingBatch, Sensor

logger = logging.getLogger(__name__)

# After an alert was resolved the machine gets this long to come back to normal before the sensor may alert again.
SETTLING = timedelta(minutes=1)
CORRECTED = "Values it rested on were corrected."
DOUBTED = "Values it rested on proved to be wrong."


def score_batches(batches: list[ReadingBatch]) -> None:
    """Score what these batches stored, all of one mode, and raise or record the alerts that follow.

    Sensors that nobody has placed yet are not scored.
    """
    spans = _spans(batches)
    sensors = _locked({span.sensor for span in spans})
    spans = [span for span in spans if span.sensor in sensors]
    historical = batches[0].mode == ReadingBatch.Mode.HISTORY
    _weigh_again(_found_in([batch for batch in batches if batch.corrected]), CORRECTED, historical)
    if spans:
        since = _datetime(min(span.first for span in spans)) - EVENT_GAP
        until = _datetime(max(span.last for span in spans))
        _weigh_again(withdrawal.doubted(sensors, since, until), DOUBTED, historical)
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
    return Anomaly.objects.filter(reduce(or_, overlapping, Q(pk=None))).exclude(circumstances=Circumstances.WITHDRAWN)


def _weigh_again(found: AnomalyQuerySet, reason: str, historical: bool) -> None:
    """Readings were replaced or are doubted now: set aside what is no longer there, keep the rest as it is now."""
    for anomaly in found.select_related("sensor__asset", "alert"):
        [first], [last] = _us([anomaly.start]), _us([anomaly.end])
        spans, recorded = [Span(anomaly.sensor_id, first, last)], Circumstances(anomaly.circumstances)
        same = [event for _, event in _events(spans, {}) if event.circumstances == recorded]
        if not same:
            # Work counts from a little before it began, a fault from its first sign: what they cover by now is not gone
            # for that.
            same = [event for _, event in _events(spans, {}, partial(_always, recorded))]
        if not same:
            withdrawal.withdraw(anomaly, "values stand", reason)
            continue
        _state(anomaly, replace(joined(same), circumstances=recorded))
        _alert(anomaly.sensor, anomaly, historical)
        anomaly.save()
        withdrawal.resolve_unfounded(anomaly.alert, reason)


def _always(circumstances: Circumstances, _: int, timestamps: NDArray[np.int64]) -> list[Circumstances]:
    return [circumstances] * len(timestamps)


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


def _events(
    spans: list[Span],
    settled: dict[int, int],
    look: Callable[[int, NDArray[np.int64]], list[Circumstances]] = circumstances_of,
) -> Iterator[tuple[int, Event]]:
    served = _served({span.sensor for span in spans})
    modelled = [span for span in spans if span.sensor in served]
    plain = [span for span in spans if span.sensor not in served]
    for span, measure in (*_by_baseline(plain), *_by_model(modelled, served)):
        # Nothing before the resolution of an alert counts, neither as an anomaly nor as the beginning of one.
        measure.scores[measure.timestamps <= settled.get(span.sensor, 0)] = np.nan
        for event in find_events(measure, span.first, partial(look, span.sensor)):
            yield span.sensor, event


def _served(sensors: set[int]) -> dict[int, Served]:
    """The models that serve these sensors and can be had now; the built-in detector serves the others."""
    found = {}
    for sensor, deployment in deployments.serving_sensors(sensors).items():
        served = loading.load(deployment)
        if served and is_of_a_sensor(served.artifact):
            found[sensor] = served
        elif served:
            logger.error("%s is no model of a sensor; %s serves instead", deployment, loading.BUILT_IN)
            figures.trouble(deployment.pk, "it is no model of a sensor", loading.BUILT_IN)
    return found


def _by_baseline(spans: list[Span]) -> Iterator[tuple[Span, Measure]]:
    series = history.spans(spans, context=N - 1)
    firsts = history.firsts([span.sensor for span in spans])
    blocks_of = [
        baselines.block_starts(timestamps, span.sensor, firsts.get(span.sensor, 0))
        for span, (timestamps, _) in zip(spans, series, strict=True)
    ]
    wanted = {
        (span.sensor, int(start)) for span, starts in zip(spans, blocks_of, strict=True) for start in np.unique(starts)
    }
    profiles = baselines.profiles_of(wanted, firsts)
    for span, (timestamps, values), starts in zip(spans, series, blocks_of, strict=True):
        blocks, which = np.unique(starts, return_inverse=True)
        found = [profiles[span.sensor, int(start)] for start in blocks]
        if len(timestamps):
            yield span, ByBaseline(timestamps, values, found, which)


def _by_model(spans: list[Span], served: dict[int, Served]) -> Iterator[tuple[Span, Measure]]:
    """The rows that a score rests on lie before it, and a late reading changes the scores of as many after it."""
    if not spans:
        return
    context = max(served[span.sensor].artifact.model.context for span in spans) + N - 1
    for span, (timestamps, values) in zip(spans, history.spans(spans, context), strict=True):
        if not len(timestamps):
            continue
        model = served[span.sensor]
        try:
            measure = ByModel(timestamps, values, model.artifact, model.version.pk)
        except Exception:
            # What a model cannot bear costs its sensor the model, not the batch its scores.
            logger.exception("%s failed; %s serves instead", model.version, loading.BUILT_IN)
            yield from _by_baseline([span])
        else:
            yield span, measure


def _record(sensor: Sensor, event: Event, historical: bool) -> None:
    """Write the event down, joined with what is known of it already, and alert as validation decides."""
    anomaly, *others = _near(sensor, event, historical) or [Anomaly(sensor=sensor, historical=historical)]
    known = [capsule.event_of(row) for row in (anomaly, *others) if row.pk]
    _state(anomaly, joined([event, *known]))
    for other in others:
        # The event closed the gap between two recorded ones.
        alert, absorbed = anomaly.alert or other.alert, other.alert
        other.delete()
        if alert and absorbed and absorbed != alert:
            lifecycle.absorb(absorbed, into=alert)
        anomaly.alert = alert
    _alert(sensor, anomaly, historical)
    anomaly.save()


def _near(sensor: Sensor, event: Event, historical: bool) -> list[Anomaly]:
    """Recorded anomalies of the same event, live ones first: close in time, under the same circumstances."""
    near = Anomaly.objects.filter(
        sensor=sensor,
        circumstances=event.circumstances,
        end__gte=_datetime(event.start) - EVENT_GAP,
        start__lte=_datetime(event.end) + EVENT_GAP,
        evidence__has_key="capsule",
    )
    if not historical:
        # Live events continue live ones; readings of the past may also belong to what was live then.
        near = near.filter(historical=False)
    # An alert that a person has resolved is over; what goes on after it is new.
    over = Q(historical=False, alert__state=State.RESOLVED, alert__resolved_at__lt=_datetime(event.end))
    if historical:
        over &= Q(alert__historical=False)
    known = list(near.exclude(over).select_related("alert").order_by("historical", "start"))
    for row in known:
        row.sensor = sensor  # With its asset and site, which are asked for again and again.
    # Nor does what came before a resolution, and is only found now, join it to what came after.
    alerts = [row.alert for row in known if row.alert]
    resolutions = [alert.resolved_at for alert in alerts if alert.resolved_at and not alert.historical]
    return [row for row in known if all(row.start <= at for at in resolutions)]


def _state(anomaly: Anomaly, event: Event) -> None:
    """Say of an anomaly what is known of its event, and what validation makes of that."""
    sensor, peak = anomaly.sensor, event.peak
    anomaly.circumstances = event.circumstances
    anomaly.start, anomaly.end = _datetime(event.start), _datetime(event.end)
    anomaly.peak_at, anomaly.peak_value, anomaly.peak_score = _datetime(peak.at), peak.value, peak.score
    decision, frozen = _decide(sensor, event)
    anomaly.decision, anomaly.confidence = decision.decision, decision.confidence
    anomaly.evidence = {
        "sensor_id": sensor.sensor_id,
        "unit": sensor.unit,
        "peak_value": peak.value,
        "peak_score": peak.score,
        "peak_at": anomaly.peak_at.isoformat(),
        "expected": peak.basis.expected,
        "spread": peak.basis.spread,
        "threshold": peak.limit,
        "start": anomaly.start.isoformat(),
        "end": anomaly.end.isoformat(),
        "hits": event.hits,
        "window": N,
        "baseline_readings": peak.basis.readings,
        "baseline_days": round(peak.basis.span_seconds / 86_400, 2),
        "capsule": frozen,
    }
    if peak.basis.model is not None:
        anomaly.evidence["model"] = str(ModelVersion.objects.get(pk=peak.basis.model))
    anomaly.evidence |= decision.evidence()


def _decide(sensor: Sensor, event: Event) -> tuple[validation.Decision, dict[str, Any]]:
    """What validation decides, and the capsule of that. A failure of it costs the decision, never the anomaly."""
    try:
        with transaction.atomic():
            parameters = parameters_for(sensor)
            candidate = candidate_of(sensor, event, parameters)
            return validation.validate(candidate, parameters), capsule.freeze(event, candidate, parameters)
    except OperationalError:
        raise  # The database: the batch is tried again.
    except Exception as error:
        logger.exception("an anomaly could not be validated", extra={"sensor": sensor.pk})
        lifecycle.raise_alert(
            dedup_key=f"validation:site:{sensor.site_id}",
            kind=Alert.Kind.SYSTEM,
            title="Anomalies cannot be validated; each of them is shown as one to look at",
            severity=Severity.MEDIUM,
            evidence={"detail": f"{type(error).__name__}; the log has more.", "sensor_id": sensor.sensor_id},
            site=sensor.asset.site,
            began_at=_datetime(event.start),
            last_seen_at=_datetime(event.end),
        )
        return validation.Decision(Anomaly.Decision.ERROR, 0.0, ()), {"event": event.as_json()}


def _alert(sensor: Sensor, anomaly: Anomaly, historical: bool) -> None:
    """Raise, record or bring up to date the alert of an anomaly; `historical` when what shows it now is of the past."""
    if anomaly.decision == Anomaly.Decision.CREDIBLE:
        severity = _severity(anomaly, sensor.asset)
    elif anomaly.decision in (Anomaly.Decision.FURTHER, Anomaly.Decision.ERROR):
        severity = Severity.LOW
    elif anomaly.alert is not None:
        # It was believed at first. Its alert stays with the people who have it, and says what is thought now.
        severity = Severity.LOW
    else:
        return
    about = {"title": _title(sensor, anomaly), "severity": severity, "evidence": anomaly.evidence}
    if anomaly.alert is not None:
        lifecycle.update(anomaly.alert, start=anomaly.start, end=anomaly.end, **about)
        return
    # The past may join an event that was live without an alert: nobody is told of that now.
    record = lifecycle.record_historical if historical or anomaly.historical else lifecycle.raise_alert
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

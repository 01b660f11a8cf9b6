"""Stored batches -> scores -> anomalies -> alerts, for many sensors at once.

A score depends on stored readings and kept baselines alone (see `mlops.baselines`), so a batch may be scored twice or
together with any others. One sensor is scored by one worker at a time, which keeps its anomalies from being recorded
twice.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial, reduce
from operator import or_

import numpy as np
from django.conf import settings
from django.db.models import Max, Q
from django.utils import timezone
from numpy.typing import NDArray

from alerts.models import Alert
from mlops import asset_scoring, baselines, deployments, late, recording, withdrawal
from mlops.context import circumstances_of
from mlops.detectors.robust import Profiles
from mlops.events import EVENT_GAP, Circumstances, Event, find_events
from mlops.measures import ByBaseline, ByModel, Measure, N, at_their_limits, is_of_a_sensor
from mlops.models import Anomaly
from mlops.querysets import AnomalyQuerySet
from mlops.registry import figures, loading
from mlops.registry.loading import Served
from sensors import history, outbox
from sensors.arrays import Bigints, any_of, numpy_cursor
from sensors.history import Rows, Span
from sensors.models import ReadingBatch, Sensor

logger = logging.getLogger(__name__)

# After an alert was resolved the machine gets this long to come back to normal before the sensor may alert again.
SETTLING = timedelta(minutes=1)
# With fewer readings in a span than these, on average, it costs less to read spans with a reading at its limit, by
# chance one in some 15,000, twice than to read the neighbours of all.
FEW = 500
CORRECTED = "Values it rested on were corrected."
DOUBTED = "Values it rested on proved to be wrong."
LATE = "Readings that came in later show that it was none."


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
    recorded = late.recorded_after(spans)
    # Readings that were corrected may have kept others apart.
    are_few = sum(batch.accepted for batch in batches) < FEW * len(spans) and not any(b.corrected for b in batches)
    by_baseline = partial(_by_few_readings, recorded) if are_few else _by_baseline
    events = list(_events(spans, {} if historical else _settled_after(sensors), by_baseline=by_baseline))
    _weigh_again(late.overtaken(spans, recorded, events, _context), LATE, historical)
    found_in = Sensor.objects.select_related("asset__site").in_bulk({sensor for sensor, _ in events})
    for sensor, event in events:
        recording.record(found_in[sensor], event, historical)
    asset_scoring.note(spans, historical)


def _locked(wanted: set[int]) -> set[int]:
    """These sensors, but for those that wait to be placed; nobody else scores or changes them now."""
    with numpy_cursor() as cursor:
        # In one order everywhere, or two workers could wait for each other. A row that changed while we waited for its
        # lock is read as it is now.
        cursor.execute(
            """
            SELECT coalesce(array_agg(id) FILTER (WHERE status <> %s), '{}') FROM (
                SELECT id, status FROM sensors_sensor WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE
            ) AS locked
            """,
            [str(Sensor.Status.DISCOVERED), Bigints(np.array(list(wanted), np.int64))],
        )
        [(sensors,)] = cursor.fetchall()
    return set(sensors.tolist())


def _found_in(batches: list[ReadingBatch]) -> AnomalyQuerySet:
    if not batches:
        return Anomaly.objects.none()
    overlapping = (
        Q(sensor=span.sensor, start__lte=_datetime(span.last), end__gte=_datetime(span.first))
        for span in _spans(batches)
    )
    rows = Anomaly.objects.filter(reduce(or_, overlapping, Q(pk=None)), asset=None)
    return rows.exclude(circumstances=Circumstances.WITHDRAWN)


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
        same = [replace(event, circumstances=recorded) for event in same]
        recording.weigh_again(anomaly, same, reason, historical)


def _always(circumstances: Circumstances, _: int, timestamps: NDArray[np.int64]) -> list[Circumstances]:
    return [circumstances] * len(timestamps)


def _spans(batches: list[ReadingBatch]) -> list[Span]:
    return list(map(Span, *(column.tolist() for column in outbox.stretches(batches))))


def _settled_after(sensors: set[int]) -> dict[int, int]:
    """For sensors whose alert was just resolved: from when on (microseconds UTC) readings may open a new event."""
    recently = timezone.now() - timedelta(seconds=settings.LATE_AFTER_SECONDS) - SETTLING
    resolved = (
        Alert.objects.filter(
            withdrawal.still_founded(),
            sensor__in=any_of(sensors),
            dedup_key__startswith="anomaly:sensor:",
            historical=False,
            resolved_at__gt=recently,
            normal_since=None,
        )
        .values_list("sensor")
        .annotate(last=Max("resolved_at"))
    )
    return {sensor: _us([last + SETTLING])[0] for sensor, last in resolved}


def _events(
    spans: list[Span],
    settled: dict[int, int],
    look: Callable[[int, NDArray[np.int64]], list[Circumstances]] = circumstances_of,
    by_baseline: Callable[[list[Span]], Iterator[tuple[Span, Measure]]] | None = None,
) -> Iterator[tuple[int, Event]]:
    served = _served({span.sensor for span in spans})
    modelled = [span for span in spans if span.sensor in served]
    plain = [span for span in spans if span.sensor not in served]
    for span, measure in (*(by_baseline or _by_baseline)(plain), *_by_model(modelled, served)):
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


def _context(sensors: set[int]) -> int:
    """So many readings have a say in a score of these sensors and in whether it counts."""
    return max((served.artifact.model.context for served in _served(sensors).values()), default=0) + N - 1


def _by_few_readings(recorded: Collection[int], spans: list[Span]) -> Iterator[tuple[Span, Measure]]:
    """As `_by_baseline`, where a sensor has so few readings that their neighbours would cost more than they do: those
    are read only where they matter, beside a reading at its limit and before what is `recorded` of a sensor.
    """
    closely = [span for span in spans if span.sensor in recorded]
    others = [span for span in spans if span.sensor not in recorded]
    numbers, *_ = _remarkable(others, context=0)
    yield from _by_baseline(closely + [others[number] for number in numbers.tolist()])


def _by_baseline(spans: list[Span]) -> Iterator[tuple[Span, Measure]]:
    """Only spans in which a reading reaches its limit: to all others nothing is done one by one."""
    numbers, rows, profiles, which = _remarkable(spans, context=N - 1)
    for number in numbers.tolist():
        part = slice(rows.edges[number], rows.edges[number + 1])
        used, own = np.unique(which[part], return_inverse=True)
        known = [profiles.row(row) for row in used.tolist()]
        yield spans[number], ByBaseline(rows.timestamps[part], rows.values[part], known, own)


def _remarkable(spans: list[Span], context: int) -> tuple[NDArray[np.int64], Rows, Profiles, NDArray[np.int64]]:
    """Which spans hold a reading at its limit, or have one among `context` readings on either side; with the rows of
    all spans, and the profiles that `which` says row by row.
    """
    rows = history.spans(spans, context)
    of_span = np.repeat(np.arange(len(spans)), np.diff(rows.edges))
    sensors = np.array([span.sensor for span in spans], np.int64)[of_span]
    profiles, which = baselines.profiles_at(rows.timestamps, sensors)
    remarkable = at_their_limits(profiles, which, rows.timestamps, rows.values)
    return np.unique(of_span[remarkable]), rows, profiles, which


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


def _us(times: Sequence[datetime]) -> list[int]:
    return [round(at.timestamp() * 1e6) for at in times]


def _datetime(us: np.int64 | int) -> datetime:
    return datetime.fromtimestamp(int(us) / 1e6, UTC)

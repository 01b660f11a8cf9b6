"""Recorded anomalies that readings which came in after them have changed: each must be what it would be if all readings
had come in together.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from mlops import capsule
from mlops.events import EVENT_GAP_US, Event, joined
from mlops.models import Anomaly
from mlops.querysets import AnomalyQuerySet
from sensors import history
from sensors.arrays import any_of
from sensors.history import Span

# So many readings before an event may have a say in whether it is believed (ValidationPolicy.stability_window).
SURROUNDINGS = 100


class Recorded(NamedTuple):
    """A recorded anomaly; times in microseconds UTC."""

    key: int
    start: int
    end: int


def overtaken(
    spans: list[Span],
    recorded: Mapping[int, Sequence[Recorded]],
    events: list[tuple[int, Event]],
    context_of: Callable[[set[int]], int],
) -> AnomalyQuerySet:
    """Those of the `recorded` anomalies that are not what the readings of these spans make of them.

    `events` are those found in the spans just now, by sensor; `context_of` tells how many readings have a say in a
    score of these sensors and in whether it counts. In a stream that comes in order nothing is recorded after a span.
    """
    late = [
        span
        for span in spans
        if span.sensor in recorded and any(one.end >= span.first for one in recorded[span.sensor])
    ]
    if not late:
        return Anomaly.objects.none()
    begins, reaches = history.reaches(late, context_of({span.sensor for span in late}))
    _, surroundings = history.reaches(late, SURROUNDINGS)
    doubtful: set[int] = set()
    for number, span in enumerate(late):
        found = [event for sensor, event in events if sensor == span.sensor]
        for key, start, end in recorded[span.sensor]:
            if span.first < start <= surroundings[number]:
                doubtful.add(key)
            elif start <= reaches[number] and end >= begins[number]:
                recorded_event = capsule.event_of(Anomaly.objects.get(pk=key))
                if not _stands(recorded_event, found, int(begins[number]), int(reaches[number])):
                    doubtful.add(key)
    return Anomaly.objects.filter(pk__in=doubtful)


def recorded_after(spans: list[Span]) -> dict[int, list[Recorded]]:
    """By sensor, the anomalies that end after the first of the spans begins."""
    if not spans:
        return {}
    since = _datetime(min(span.first for span in spans))
    rows = Anomaly.objects.filter(sensor__in=any_of({span.sensor for span in spans}), asset=None, end__gte=since)
    rows = rows.filter(evidence__has_key="capsule").exclude(circumstances=Anomaly.Circumstances.WITHDRAWN)
    found: dict[int, list[Recorded]] = {}
    for key, sensor, start, end in rows.values_list("pk", "sensor", "start", "end"):
        found.setdefault(sensor, []).append(Recorded(key, _us(start), _us(end)))
    return found


def _stands(event: Event, found: list[Event], begin: int, reach: int) -> bool:
    """Whether all that is known of an event from `begin` to `reach` is said again, or surpassed, by what was found.

    If so, joining the two gives what looking at the whole event again would give, at the price of a few readings. If
    nothing was found the event may have fallen apart.
    """
    near = [
        other
        for other in found
        if other.circumstances == event.circumstances
        and other.start <= event.end + EVENT_GAP_US
        and other.end >= event.start - EVENT_GAP_US
    ]
    if not near:
        return False
    now = joined(near)
    window, now_window = (-event.hits, event.window[-1].at), (-now.hits, now.window[-1].at)
    peak, now_peak = (-abs(event.peak.score), event.peak.at), (-abs(now.peak.score), now.peak.at)
    claims = (
        (event.start, now.start <= event.start),
        (event.end, now.end >= event.end),
        (event.window[-1].at, now_window <= window),
        (event.peak.at, now_peak <= peak),
    )
    return all(holds for at, holds in claims if begin <= at <= reach)


def _us(at: datetime) -> int:
    return round(at.timestamp() * 1e6)


def _datetime(us: np.int64 | int) -> datetime:
    return datetime.fromtimestamp(int(us) / 1e6, UTC)

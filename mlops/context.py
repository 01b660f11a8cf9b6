"""What validation has to know about a sensor and its surroundings, looked up when there is something to validate."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from django.db.models import Count, Max, Min, Q
from numpy.typing import NDArray

from maintenance import work_orders
from maintenance.models import Outcome
from mlops import surroundings
from mlops.events import Event
from mlops.models import Anomaly, ValidationPolicy
from mlops.querysets import AnomalyQuerySet
from mlops.surroundings import Change
from mlops.validation import Candidate, Circumstances, Parameters, measured, parameters_of
from sensors import faults, history
from sensors.models import Asset, Reading, Sensor, SensorProfile
from sensors.quality import REPEATS_ARE_NORMAL

Period = tuple[datetime, datetime | None]

# Whether the neighbours moved is seen in the last hour of an event; in fewer readings than these nobody can tell.
NEIGHBOURS_US = 3_600_000_000
ENOUGH_TO_MOVE = 5
# An event of the past is like this one when it was on the same side of normal and at most so many times as strong or
# as weak.
ALIKE_FACTOR = 2.0
# What people found of the newest so many events of such sensors makes the detector's reputation.
REPUTATION_VERDICTS = 200


def circumstances_of(sensor: int, timestamps: NDArray[np.int64]) -> list[Circumstances]:
    """What else was going on with the sensor at these times (microseconds UTC, ascending)."""
    first, last = _datetime(timestamps[0]), _datetime(timestamps[-1])
    faulty, work = faults.distrusted(sensor, first, last), work_orders.periods(sensor, first, last)
    return _marked(timestamps, {Circumstances.FAULTY: faulty, Circumstances.WORK: work})


def circumstances_of_asset(sensor: int, timestamps: NDArray[np.int64]) -> list[Circumstances]:
    """The same for the asset of a sensor, whose model does not see the readings of faulty sensors."""
    first, last = _datetime(timestamps[0]), _datetime(timestamps[-1])
    return _marked(timestamps, {Circumstances.WORK: work_orders.periods(sensor, first, last)})


def _marked(timestamps: NDArray[np.int64], periods: Mapping[Circumstances, list[Period]]) -> list[Circumstances]:
    found = np.full(len(timestamps), Circumstances.NORMAL, dtype=object)
    for kind, each in periods.items():
        for start, end in each:
            found[(timestamps >= _us(start)) & (timestamps <= (_us(end) if end else timestamps[-1]))] = kind
    return list(found)


def parameters_for(sensor: Sensor) -> Parameters:
    return parameters_of(ValidationPolicy.objects.filter(site=sensor.site_id).first())


def candidate_of(sensor: Sensor, event: Event, parameters: Parameters) -> Candidate:
    """The event with everything that was stored about its surroundings up to its end."""
    own = Anomaly.objects.filter(sensor=sensor, asset=None)
    such = Anomaly.objects.filter(sensor__kind=sensor.kind, sensor__site=sensor.site_id, asset=None)
    flat, lively, still = _movement(sensor, event)
    return Candidate(
        **measured(event),
        **_found_behind(own, such, event, parameters.history_limit),
        **_around(sensor, event),
        volatility=_volatility(sensor, event, parameters.stability_window),
        flat=flat,
        lively=lively,
        still=still,
    )


def candidate_of_asset(asset: Asset, event: Event, parameters: Parameters) -> Candidate:
    """The same for an event that the sensors of an asset show together: no single one of them is asked about."""
    own, such = Anomaly.objects.filter(asset=asset), Anomaly.objects.filter(asset__site=asset.site_id)
    change = surroundings.change_of_state(asset.pk, event) if _is_open(event) else Change()
    found = _found_behind(own, such, event, parameters.history_limit)
    return Candidate(**measured(event), **found, change=change.done, shown_by=change.shown_by)


def _is_open(event: Event) -> bool:
    """Whether what else was seen can matter: under other circumstances these decide alone."""
    return event.circumstances == Circumstances.NORMAL


def _around(sensor: Sensor, event: Event) -> dict[str, Any]:
    if not _is_open(event):
        return {}
    change = surroundings.change_of_state(sensor.asset_id, event, but=sensor.pk)
    together, apart = surroundings.neighbours(sensor, event)
    return {
        "closer_days": surroundings.share_of_closer_days(sensor, event),
        "change": change.done,
        "shown_by": change.shown_by,
        "together": together,
        "apart": apart,
    }


def _found_behind(own: AnomalyQuerySet, such: AnomalyQuerySet, event: Event, limit: int) -> dict[str, Any]:
    """What people found behind earlier events like this one, and behind those of such sensors."""
    judged = _judged_before(own, event, limit)
    alike = [founded for score, founded in judged if is_alike(score, event.peak.score)]
    outcomes = _outcomes(such, event)
    return {
        "judged": len(judged),
        "alike_unfounded": alike.count(False),
        "alike_founded": alike.count(True),
        "verdicts": len(outcomes),
        "founded": sum(outcomes),
    }


def _volatility(sensor: Sensor, event: Event, count: int) -> float | None:
    [(timestamps, values)] = history.spans([history.Span(sensor.pk, event.start, event.start)], context=count)
    before = values[timestamps < event.start]
    return float(np.std(before)) / event.peak.basis.spread if len(before) == count else None


def _movement(sensor: Sensor, event: Event) -> tuple[bool, int, int]:
    """Whether the sensor stood still at a value other than 0 (at which machines rest), and if so, how many of the other
    sensors of its asset moved meanwhile, and how many did not.

    One that usually repeats itself (a coarse display), or of which that is not known yet, is not called still.
    """
    period = (_datetime(max(event.start, event.end - NEIGHBOURS_US)), _datetime(event.end))
    if not _is_still(sensor, period):
        # An hour of all readings of an asset can be millions: they are looked at only where it matters.
        return False, 0, 0
    others = Sensor.objects.filter(asset=sensor.asset_id).exclude(pk=sensor.pk)
    rows = (
        Reading.objects.filter(sensor__in=others, timestamp__range=period)
        .values_list("sensor")
        .annotate(count=Count("value"), low=Min("value"), high=Max("value"))
    )
    moved = [low < high for _, count, low, high in rows if count >= ENOUGH_TO_MOVE]
    return True, moved.count(True), moved.count(False)


def _is_still(sensor: Sensor, period: tuple[datetime, datetime]) -> bool:
    readings = Reading.objects.filter(sensor=sensor, timestamp__range=period).order_by("timestamp")
    first = list(readings.values_list("value", flat=True)[:ENOUGH_TO_MOVE])
    if len(first) < ENOUGH_TO_MOVE or first[0] == 0 or len(set(first)) > 1:
        return False
    usually = SensorProfile.objects.filter(sensor=sensor, repeat_share__lt=REPEATS_ARE_NORMAL)
    return usually.exists() and not readings.exclude(value=first[0]).exists()


def _judged_before(rows: AnomalyQuerySet, event: Event, limit: int) -> list[tuple[float, bool]]:
    """Peak score, and whether people found a fault behind it, of the latest judged ones before this event."""
    before = rows.filter(end__lt=_datetime(event.start), alert__verdicts__isnull=False)
    found = before.annotate(founded=_FOUNDED).order_by("-end", "-pk").values_list("peak_score", "founded")
    return [(score, founded > 0) for score, founded in found[:limit]]


def _outcomes(rows: AnomalyQuerySet, event: Event) -> list[bool]:
    """Whether people found a fault behind the latest judged live ones before this event."""
    before = rows.filter(historical=False, end__lt=_datetime(event.start), alert__verdicts__isnull=False)
    found = before.annotate(founded=_FOUNDED).order_by("-end", "-pk").values_list("founded", flat=True)
    return [founded > 0 for founded in found[:REPUTATION_VERDICTS]]


_FOUNDED = Count("alert__verdicts", filter=Q(alert__verdicts__outcome=Outcome.FAULT_FOUND))


def is_alike(score: float, other: float) -> bool:
    """Whether two events lie on the same side of normal and are about as strong, by their peaks."""
    ratio = abs(score) / abs(other) if other else float("inf")
    return score * other > 0 and 1 / ALIKE_FACTOR <= ratio <= ALIKE_FACTOR


def _us(at: datetime) -> int:
    return round(at.timestamp() * 1e6)


def _datetime(us: np.int64 | int) -> datetime:
    return datetime.fromtimestamp(int(us) / 1e6, UTC)

"""The failures of an asset, as people told of them, and what they say of the time before them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from maintenance.models import Outcome, Verdict
from mlops.training import us
from sensors.models import Annotation, Asset

# Labels of rows. Of a row that is left out nobody knows, or the machine was not at work.
FINE, FAILS, LEFT_OUT = 0, 1, -1


@dataclass(frozen=True)
class Failure:
    """The machine failed at `at` and was well again at `until`; it showed from `shown_from` on (microseconds UTC)."""

    shown_from: int
    at: int
    until: int


def of_asset(asset: Asset, since: datetime, now: datetime) -> list[Failure]:
    """Its failures in time order: stretches annotated as a past failure, and alerts behind which a fault was found.

    Such an alert's failure showed as long as its anomalies lasted. What overlaps is one failure that several people or
    sensors told of.
    """
    told = sorted((*_annotated(asset, since, now), *_found(asset, since, now)), key=lambda each: each.shown_from)
    merged: list[Failure] = []
    for failure in told:
        if merged and failure.shown_from <= merged[-1].until:
            last = merged[-1]
            merged[-1] = Failure(last.shown_from, min(last.at, failure.at), max(last.until, failure.until))
        else:
            merged.append(failure)
    return merged


def labels(times: NDArray[np.int64], failures: Sequence[Failure], horizon_us: int, until_us: int) -> NDArray[np.int64]:
    """For each time FAILS when a failure follows within the horizon or shows already, otherwise FINE.

    Left out are the times while the machine had failed, and those whose horizon ends after `until_us`, up to which
    failures are known.
    """
    found = np.where(times > until_us - horizon_us, LEFT_OUT, FINE)
    for failure in failures:
        found[before(failure, times, horizon_us)] = FAILS
    for failure in failures:
        found[(times >= failure.at) & (times <= failure.until)] = LEFT_OUT
    return found


def before(failure: Failure, times: NDArray[np.int64], horizon_us: int) -> NDArray[np.bool_]:
    """Which times a warning of this failure belongs to."""
    begin = min(failure.shown_from, failure.at - horizon_us)
    return (times >= begin) & (times < failure.at)


def _annotated(asset: Asset, since: datetime, now: datetime) -> Iterator[Failure]:
    rows = Annotation.objects.standing().filter(asset=asset, kind=Annotation.Kind.FAILURE)
    for start, end in rows.filter(end__gte=since, start__lte=now).values_list("start", "end"):
        yield Failure(us(start), us(start), us(end))


def _found(asset: Asset, since: datetime, now: datetime) -> Iterator[Failure]:
    verdicts = Verdict.objects.filter(asset=asset, outcome=Outcome.FAULT_FOUND)
    within = verdicts.filter(window_end__gte=since, window_start__lte=now)
    for verdict in within.select_related("alert").prefetch_related("alert__anomalies"):
        anomalies = verdict.alert.anomalies.all() if verdict.alert else []
        starts = [anomaly.start for anomaly in anomalies] or [verdict.window_start]
        ends = [anomaly.end for anomaly in anomalies] or [verdict.window_start]
        over = max(verdict.window_end, *ends)
        yield Failure(us(min(starts)), us(max(ends)), us(over))

"""Stretches of anomalous readings of one sensor, found piece by piece and joined to the same whole whatever the pieces
were.

Readings under other circumstances (somebody works on the machine, the sensor is faulty, too little is known of it) make
events of their own: what happens during maintenance must neither excuse nor swallow what comes after it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops.measures import Judged, Measure, N
from mlops.models import Anomaly

# A single reading this many times beyond the limit is recorded even if nothing follows.
EXTREME_FACTOR = 3.0
# Anomalous readings with smaller gaps between them belong to one event: machines come back slowly, alerts should not
# flap.
EVENT_GAP = timedelta(hours=6)
EVENT_GAP_US = EVENT_GAP // timedelta(microseconds=1)
# An anomaly is confirmed when this many of a sensor's last N readings were anomalous: a single spike is rarely a
# machine.
K = 3
# An event is lasting when as many of its readings were confirmed as are when two windows of N are anomalous throughout.
LASTING = 2 * N - K + 1

Circumstances = Anomaly.Circumstances
# The circumstances of each of these times (microseconds UTC).
Look = Callable[[NDArray[np.int64]], Sequence[Circumstances]]


@dataclass(frozen=True)
class Event:
    """A stretch from `start` to `end` (microseconds UTC) with its strongest reading, and the up to N consecutive
    readings of which the most were anomalous. What the window's scores rest on is with its last reading.

    `confirmed` are the times of its first confirmed readings, LASTING of them at most; None where an event was written
    down before they were noted.
    """

    circumstances: Circumstances
    start: int
    end: int
    peak: Judged
    window: tuple[Judged, ...]
    confirmed: tuple[int, ...] | None = None

    @property
    def hits(self) -> int:
        return sum(reading.is_hit for reading in self.window)

    @property
    def confirmed_readings(self) -> int | None:
        """How many of its readings were confirmed, counted up to LASTING."""
        return None if self.confirmed is None else len(self.confirmed)

    @property
    def unusual(self) -> float | None:
        """How far the reading at the peak itself lies from what is usual, in spreads; None where that is not known."""
        basis = self.peak.basis
        if self.confirmed is None or not basis.spread:
            return None
        return abs(self.peak.value - basis.expected) / basis.spread

    def as_json(self) -> dict[str, Any]:
        return {
            "circumstances": self.circumstances,
            "start": self.start,
            "end": self.end,
            "peak": self.peak.as_json(),
            "window": [reading.as_json() for reading in self.window],
            "confirmed": self.confirmed,
        }

    @classmethod
    def from_json(cls, sent: dict[str, Any]) -> "Event":
        """Raises KeyError, TypeError or ValueError when it is none."""
        window = tuple(Judged.from_json(reading) for reading in sent["window"])
        circumstances = Circumstances(sent["circumstances"])
        confirmed = sent.get("confirmed")
        return cls(
            circumstances,
            sent["start"],
            sent["end"],
            Judged.from_json(sent["peak"]),
            window,
            None if confirmed is None else tuple(confirmed),
        )


def normal(timestamps: NDArray[np.int64]) -> list[Circumstances]:
    return [Circumstances.NORMAL] * len(timestamps)


def find_events(measure: Measure, since: int, look: Look = normal, gap_us: int = EVENT_GAP_US) -> list[Event]:
    """The events among readings in time order; readings before `since` (microseconds UTC) are context only.

    `look` is asked only when something is anomalous. With N - 1 readings of context on both sides whose scores are
    right, the events of the pieces of a series, joined, are those of the series.
    """
    # What cannot be judged keeps its place: left out, the readings around it would be neighbours in the whole of a
    # series and not in its pieces.
    judged = np.isfinite(measure.scores)
    timestamps, scores, limits = measure.timestamps, np.abs(measure.scores), measure.limits
    anomalous = judged & (scores >= limits)
    if not anomalous.any():
        return []
    circumstances = np.where(measure.new, Circumstances.NEW, np.array(look(timestamps), dtype=object))
    events = []
    for kind in dict.fromkeys(circumstances[anomalous].tolist()):
        counts = judged & (circumstances == kind)
        hits = np.convolve(anomalous & counts, np.ones(N, int))[: len(counts)]
        confirmed = (hits >= K) | (scores >= EXTREME_FACTOR * limits)
        notable = np.flatnonzero(anomalous & counts & confirmed & (timestamps >= since))
        # An event begins with the first of the readings that confirm it.
        begins = timestamps[_first_of_window(anomalous & counts)[notable]]
        gaps = np.flatnonzero(begins[1:] - timestamps[notable[:-1]] > gap_us) + 1
        for part in np.split(np.arange(len(notable)), gaps) if len(notable) else []:
            strongest, fullest = (int(notable[part[np.argmax(of[notable[part]])]]) for of in (scores, hits))
            first = max(0, fullest - N + 1)
            before = [_judged(measure, row, bool(counts[row]), None) for row in range(first, fullest)]
            event = Event(
                kind,
                int(begins[part].min()),
                int(timestamps[notable[part[-1]]]),
                _judged(measure, strongest, True, strongest),
                (*before, _judged(measure, fullest, True, first)),
                tuple(timestamps[notable[part[:LASTING]]].tolist()),
            )
            events.append(event)
    return events


def joined(events: Sequence[Event]) -> Event:
    """One event of several under the same circumstances, in any order."""
    peak = min((event.peak for event in events), key=lambda peak: (-abs(peak.score), peak.at))
    fullest = min(events, key=lambda event: (-event.hits, event.window[-1].at))
    return replace(
        fullest,
        start=min(event.start for event in events),
        end=max(event.end for event in events),
        peak=peak,
        confirmed=_first_confirmed(events),
    )


def _first_confirmed(events: Sequence[Event]) -> tuple[int, ...] | None:
    known = [event.confirmed for event in events if event.confirmed is not None]
    return tuple(sorted(set().union(*known))[:LASTING]) if len(known) == len(events) else None


def _first_of_window(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each element the first marked one among it and the N - 1 before it; itself if there is none."""
    first = np.arange(len(marked))
    for offset in range(1, min(N, len(marked))):
        first[offset:] = np.where(marked[:-offset], np.arange(len(marked) - offset), first[offset:])
    return first


def _judged(measure: Measure, row: int, counts: bool, first: int | None) -> Judged:
    """A row as it is frozen, with what the scores of the rows from `first` to it rest on."""
    score, limit = float(measure.scores[row]), float(measure.limits[row])
    at, value = int(measure.timestamps[row]), float(measure.values[row])
    return Judged(at, value, score if math.isfinite(score) else 0.0, limit, measure.basis(row, first), counts)

"""Stretches of anomalous readings of one sensor, found piece by piece and joined to the same whole whatever the pieces
were.

Readings under other circumstances (somebody works on the machine, the sensor is faulty, too little is known of it) make
events of their own: what happens during maintenance must neither excuse nor swallow what comes after it.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops.detectors import robust
from mlops.detectors.robust import Profile
from mlops.models import Anomaly

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
EVENT_GAP_US = EVENT_GAP // timedelta(microseconds=1)
# An anomaly is confirmed when this many of a sensor's last readings were anomalous: a single spike is rarely a machine.
K, N = 3, 5
# Fewer readings than these are no baseline to measure anything against: the spread of 20 normal readings lies within
# about a third of the true one, which the wide limit of a sensor's first day bears.
ENOUGH_READINGS = 20

Circumstances = Anomaly.Circumstances
# The circumstances of each of these times (microseconds UTC).
Look = Callable[[NDArray[np.int64]], Sequence[Circumstances]]


@dataclass(frozen=True)
class Judged:
    """A reading and what it was measured against. `counts` is false for one under other circumstances."""

    at: int
    value: float
    profile: Profile
    counts: bool = True

    @property
    def score(self) -> float:
        """Distance from normal in spreads."""
        return float(robust.score([self.profile], _FIRST, np.array([self.at]), np.array([self.value]))[0])

    @property
    def expected(self) -> float:
        return float(robust.expected([self.profile], _FIRST, np.array([self.at]))[0])

    @property
    def limit(self) -> float:
        return limit_of(self.profile)


@dataclass(frozen=True)
class Event:
    """A stretch from `start` to `end` (microseconds UTC) with its strongest reading, and the up to N consecutive
    readings of which the most were anomalous.
    """

    circumstances: Circumstances
    start: int
    end: int
    peak: Judged
    window: tuple[Judged, ...]

    @property
    def hits(self) -> int:
        return sum(reading.counts and abs(reading.score) >= reading.limit for reading in self.window)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, sent: dict[str, Any]) -> "Event":
        """Raises KeyError, TypeError or ValueError when it is none."""
        window = tuple(_judged(reading) for reading in sent["window"])
        circumstances = Circumstances(sent["circumstances"])
        return cls(circumstances, sent["start"], sent["end"], _judged(sent["peak"]), window)


_FIRST = np.zeros(1, np.int64)
_NOTHING = Profile(readings=0, span_seconds=0.0, median=0.0, spread=1.0)


def limit_of(profile: Profile) -> float:
    return LIMIT * (1 if profile.spans_a_day else SHORT_HISTORY_FACTOR)


def normal(timestamps: NDArray[np.int64]) -> list[Circumstances]:
    return [Circumstances.NORMAL] * len(timestamps)


def find_events(
    timestamps: NDArray[np.int64],
    values: NDArray[np.float64],
    profiles: list[Profile | None],
    which: NDArray[np.int64],
    since: int,
    look: Look = normal,
) -> list[Event]:
    """The events among readings in time order; readings before `since` (microseconds UTC) are context only.

    `profiles[which[i]]` is the baseline of reading i; readings without one cannot be judged. `look` is asked only when
    something is anomalous. With N - 1 readings of context on both sides, the events of the pieces of a series, joined,
    are those of the series.
    """
    judged = np.array([profile is not None for profile in profiles], bool)[which]
    if not judged.any():
        return []
    timestamps, values, which = timestamps[judged], values[judged], which[judged]
    known = [profile or _NOTHING for profile in profiles]
    scores = np.abs(robust.score(known, which, timestamps, values))
    limits = np.array([limit_of(profile) for profile in known])[which]
    anomalous = scores >= limits
    if not anomalous.any():
        return []
    new = np.array([profile.readings < ENOUGH_READINGS for profile in known])[which]
    circumstances = np.where(new, Circumstances.NEW, np.array(look(timestamps), dtype=object))
    events = []
    for kind in dict.fromkeys(circumstances[anomalous].tolist()):
        counts = circumstances == kind
        hits = np.convolve(anomalous & counts, np.ones(N, int))[: len(counts)]
        confirmed = (hits >= K) | (scores >= EXTREME_FACTOR * limits)
        notable = np.flatnonzero(anomalous & counts & confirmed & (timestamps >= since))
        # An event begins with the first of the readings that confirm it.
        begins = timestamps[_first_of_window(anomalous & counts)[notable]]
        gaps = np.flatnonzero(begins[1:] - timestamps[notable[:-1]] > EVENT_GAP_US) + 1
        for part in np.split(np.arange(len(notable)), gaps) if len(notable) else []:
            strongest, fullest = (notable[part[np.argmax(of[notable[part]])]] for of in (scores, hits))
            readings = [
                Judged(int(timestamps[i]), float(values[i]), known[which[i]], bool(counts[i]))
                for i in (strongest, *range(max(0, fullest - N + 1), fullest + 1))
            ]
            start, end = int(begins[part].min()), int(timestamps[notable[part[-1]]])
            events.append(Event(kind, start, end, readings[0], tuple(readings[1:])))
    return events


def joined(events: Sequence[Event]) -> Event:
    """One event of several under the same circumstances, in any order."""
    peak = min((event.peak for event in events), key=lambda peak: (-abs(peak.score), peak.at))
    fullest = min(events, key=lambda event: (-event.hits, event.window[-1].at))
    return replace(
        fullest, start=min(event.start for event in events), end=max(event.end for event in events), peak=peak
    )


def _first_of_window(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each element the first marked one among it and the N - 1 before it; itself if there is none."""
    first = np.arange(len(marked))
    for offset in range(1, min(N, len(marked))):
        first[offset:] = np.where(marked[:-offset], np.arange(len(marked) - offset), first[offset:])
    return first


def _judged(sent: dict[str, Any]) -> Judged:
    profile = Profile(**(sent["profile"] | {"hour_offsets": tuple(sent["profile"]["hour_offsets"])}))
    return Judged(**(sent | {"profile": profile}))

"""Events are the same whatever pieces a series is judged in, and decide the same when they are replayed."""

import json
import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops import capsule
from mlops.detectors.robust import Profile
from mlops.events import LASTING, Circumstances, Event, find_events, joined
from mlops.measures import ByBaseline, N
from mlops.validation import PRESETS, Candidate, measured, validate

MINUTE_US = 60_000_000
LONG = Profile(readings=4000, span_seconds=1e6, median=2.0, spread=0.1)
SHORT = Profile(readings=400, span_seconds=3600.0, median=2.0, spread=0.1)
NEW = Profile(readings=12, span_seconds=60.0, median=2.0, spread=0.1)
HOURLY = Profile(readings=900, span_seconds=1e6, median=2.0, spread=0.2, hour_offsets=tuple(i / 50 for i in range(24)))
PROFILES: list[Profile | None] = [LONG, SHORT, NEW, HOURLY, None]


class Series:
    """Readings with long and short gaps, calm and disturbed stretches, and a baseline for each."""

    def __init__(self, seed: int, count: int) -> None:
        rng = np.random.default_rng(seed)
        steps = rng.choice([1, 10, 200, 400], count, p=[0.7, 0.2, 0.05, 0.05])
        self.at = np.cumsum(steps) * MINUTE_US
        off = np.repeat(rng.choice([0.0, 0.5, 1.2, -4.0], count // 4 + 1, p=[0.6, 0.2, 0.1, 0.1]), 4)[:count]
        self.values = (2.0 + off + rng.normal(0, 0.05, count)).round(2)
        # A machine that rested for two weeks has no baseline for a while, so such readings come anywhere.
        self.which = np.repeat(rng.integers(0, 5, count // 3 + 1), 3)[:count]
        self.kinds = np.repeat(
            rng.choice(
                [Circumstances.NORMAL, Circumstances.WORK, Circumstances.FAULTY], count // 5 + 1, p=[0.7, 0.2, 0.1]
            ),
            5,
        )[:count]

    def look(self, timestamps: Any) -> list[Circumstances]:
        return [Circumstances(kind) for kind in self.kinds[np.searchsorted(self.at, timestamps)]]

    def events(self, first: int = 0, last: int | None = None) -> list[Event]:
        """Those of readings `first` to `last`, with the context that scoring gives them."""
        last = len(self.at) - 1 if last is None else last
        part = slice(max(0, first - N + 1), last + N)
        since = int(self.at[first])
        return find_events(ByBaseline(self.at[part], self.values[part], PROFILES, self.which[part]), since, self.look)


def gathered(pieces: list[list[Event]]) -> list[Event]:
    """Joined as they come, as scoring does with what it has written down."""
    known: list[Event] = []
    for event in (event for piece in pieces for event in piece):
        gap = 6 * 60 * MINUTE_US
        near = [
            other
            for other in known
            if other.circumstances == event.circumstances
            and other.end >= event.start - gap
            and other.start <= event.end + gap
        ]
        known = [other for other in known if other not in near] + [joined([event, *near])]
    return sorted(known, key=lambda event: (event.start, event.circumstances))


@given(seed=st.integers(0, 10**6), count=st.integers(1, 120), pieces=st.integers(1, 30), order=st.randoms())
@settings(max_examples=150)
def test_the_pieces_of_a_series_in_any_order_make_the_events_of_the_whole(
    seed: int, count: int, pieces: int, order: random.Random
) -> None:
    series = Series(seed, count)
    cuts = sorted({0, *(order.randrange(count) for _ in range(pieces)), count})
    parts = [series.events(first, end - 1) for first, end in pairwise(cuts)]
    order.shuffle(parts)
    whole = sorted(series.events(), key=lambda event: (event.start, event.circumstances))
    assert gathered(parts) == whole
    assert gathered([*parts, *parts]) == whole


def test_a_thousand_events_replay_to_the_same_decision() -> None:
    replayed = 0
    seed = 0
    while replayed < 1000:
        seed += 1
        for event in Series(seed, 300).events():
            rng = random.Random(replayed)
            candidate = Candidate(
                **measured(event),
                volatility=rng.choice([None, 0.5, 4.0]),
                judged=rng.randrange(9),
                alike_unfounded=rng.randrange(5),
                verdicts=rng.randrange(20),
                founded=rng.randrange(5),
            )
            parameters = rng.choice(list(PRESETS.values()))
            decision = validate(candidate, parameters)
            evidence = {"capsule": capsule.freeze(event, candidate, parameters)} | decision.evidence()
            again = capsule.replay(json.loads(json.dumps(evidence)))
            assert again.decision == decision
            assert not again.differences
            replayed += 1


def test_a_changed_reading_is_found_out() -> None:
    event = Event(Circumstances.NORMAL, 0, MINUTE_US, *_peak_and_window())
    candidate = Candidate(**measured(event))
    decision = validate(candidate)
    evidence = {"capsule": capsule.freeze(event, candidate, PRESETS["standard"])} | decision.evidence()  # type: ignore[index]
    evidence["capsule"]["event"]["peak"]["value"] = 2.1
    assert any(line.startswith("peak:") for line in capsule.replay(evidence).differences)


def _peak_and_window() -> tuple[Any, Any]:
    values = np.array([2.0, 3.0, 3.0, 3.0, 2.0])
    [event] = find_events(ByBaseline(np.arange(5) * MINUTE_US, values, [LONG], np.zeros(5, np.int64)), 0)
    return event.peak, event.window


@pytest.mark.parametrize("evidence", [{}, {"capsule": {}}, {"capsule": {"event": {"window": []}}}])
def test_evidence_without_a_capsule_is_refused(evidence: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        capsule.replay(evidence)


def test_what_was_decided_before_confirmed_readings_were_noted_replays_as_it_was() -> None:
    event = replace(Event(Circumstances.NORMAL, 0, MINUTE_US, *_peak_and_window()), confirmed=None)
    candidate = Candidate(**measured(event))
    decision = validate(candidate)
    evidence = {"capsule": capsule.freeze(event, candidate, PRESETS["standard"])} | decision.evidence()  # type: ignore[index]
    then = json.loads(json.dumps(evidence))
    del then["capsule"]["event"]["confirmed"], then["capsule"]["candidate"]["confirmed"]
    then["layers"] = [layer for layer in then["layers"] if layer["name"] not in ("lasting", "steady state")]
    again = capsule.replay(then)
    assert again.decision == decision
    assert not again.differences


def test_confirmed_readings_are_counted_once_and_up_to_a_lasting_event() -> None:
    values = np.array([2.0, 2.0, 2.0, 2.0, *[3.0] * 9, 2.0, 2.0])
    measure = ByBaseline(np.arange(len(values)) * MINUTE_US, values, [LONG], np.zeros(len(values), np.int64))
    [event] = find_events(measure, 0)
    # The third of those in a row is the first that three of five confirm.
    assert event.confirmed == tuple(k * MINUTE_US for k in range(6, 13))
    assert joined([event, event]).confirmed_readings == 7
    later = replace(event, confirmed=tuple(k * MINUTE_US for k in range(8, 16)))
    assert joined([later, event]).confirmed_readings == LASTING
    assert joined([event, replace(event, confirmed=None)]).confirmed_readings is None

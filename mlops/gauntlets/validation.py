"""Validation on streams with labels: how many of the false events of the detectors gated on NAB and SKAB it takes away,
and how many of the true ones.

Events are the platform's own. An event is true when it overlaps a labelled window. Validation knows what was read up to
the event's end, and what people would have found behind the events of the other files.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from mlops import calibration, detectors, earlier_days
from mlops.context import REPUTATION_VERDICTS, is_alike
from mlops.detectors.asset_ensemble import AssetEnsemble
from mlops.detectors.base import Frame
from mlops.detectors.robust import MAD_TO_SIGMA
from mlops.events import EVENT_GAP_US, Event, find_events
from mlops.gauntlets import Gate, Number, Result, fingerprints, nab, skab
from mlops.gauntlets.nab_score import probation
from mlops.measures import Basis
from mlops.models import Anomaly
from mlops.validation import PRESETS, Candidate, Decision, Preset, measured, validate
from sensors.history import Series, Window

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

# At six hours each of SKAB's runs of twenty minutes would be one event.
SKAB_GAP_US = 60_000_000
OTHER_GAPS_US = (30_000_000, 120_000_000)
# One rule to compare with: what lies only a little beyond the threshold is left out.
STRONG = 1.5
SHOWN = (Anomaly.Decision.CREDIBLE, Anomaly.Decision.FURTHER)


@dataclass
class Rows:
    """Scored rows in limits of their detector, as `mlops.measures.Measure` has them; `expected` and `spread` belong to
    the channel whose value it is.
    """

    timestamps: Times
    values: Floats
    scores: Floats
    expected: Floats
    spread: Floats
    learned: Times

    def __post_init__(self) -> None:
        self.limits = np.ones(len(self.scores))
        self.new = np.zeros(len(self.scores), bool)

    def basis(self, row: int, first: int | None) -> Basis:
        span = (self.learned[-1] - self.learned[0]) / 1e6
        return Basis(float(self.expected[row]), float(self.spread[row]), len(self.learned), span)


@dataclass(frozen=True)
class Stream:
    """A file as the platform would have seen it. `sensor` holds the readings of a stream of a single one, `windows` the
    first and last moment of what is labelled (microseconds UTC).
    """

    rows: Rows
    windows: list[tuple[int, int]]
    gap_us: int
    sensor: Series | None = None

    def is_true(self, first: int, last: int) -> bool:
        return any(first <= end and last >= begin for begin, end in self.windows)


@dataclass(frozen=True)
class Judged:
    """An event of a stream and what people would find: a fault, or nothing."""

    event: Event
    founded: bool


@dataclass(frozen=True)
class Decided:
    """The events of a stream with what validation makes of them."""

    stream: Stream
    events: list[tuple[Judged, Decision]]


# Which events are left: all, or those that a decision lets pass.
Passes = Callable[[Judged, Decision], bool]


def run(data: Path) -> Result:
    """Raises FileNotFoundError when one of the two sets is missing."""
    sets = {"NAB": nab_streams(data / "nab"), "SKAB": skab_streams(data / "skab", SKAB_GAP_US)}
    decided = {name: decide_all(streams) for name, streams in sets.items()}
    metrics: dict[str, dict[str, Number]] = {}
    for name, streams in sets.items():
        metrics[f"{name}, any reading beyond the threshold"] = alone(streams)
        metrics[f"{name}, confirmed events"] = counts(decided[name], everything)
        metrics[f"{name}, an alert is raised"] = left(decided[name], is_shown)
        metrics[f"{name}, people are told"] = left(decided[name], is_believed)
        metrics[f"{name}, an alert is raised, no verdicts"] = left(decide_all(streams, learn=False), is_shown)
    for gap_us in OTHER_GAPS_US:
        row = left(decide_all(skab_streams(data / "skab", gap_us)), is_shown)
        metrics[f"SKAB, an alert is raised, {gap_us // 1_000_000} s apart"] = row
    metrics["both, an alert is raised"] = left([each for name in sets for each in decided[name]], is_shown)
    baselines = {f"{name}, {STRONG} times beyond the threshold": left(decided[name], is_strong) for name in sets}
    gates = [gate for name in sets for gate in _gates(name, metrics[f"{name}, an alert is raised"])]
    return Result("validation", _fingerprints(data), metrics, baselines, gates, NOTES)


def everything(judged: Judged, decision: Decision) -> bool:
    return True


def is_shown(judged: Judged, decision: Decision) -> bool:
    """Somebody will see it: people are told, or it is in the list of what engineers look at."""
    return decision.decision in SHOWN


def is_believed(judged: Judged, decision: Decision) -> bool:
    return decision.decision == Anomaly.Decision.CREDIBLE


def is_strong(judged: Judged, decision: Decision) -> bool:
    return judged.event.peak.score >= STRONG * judged.event.peak.limit


def alone(streams: list[Stream]) -> dict[str, Number]:
    """The events of the detectors as they are, without waiting for a second reading."""
    found = [(stream, span) for stream in streams for span in _exceedances(stream)]
    true = sum(stream.is_true(*span) for stream, span in found)
    windows = sum(_found(stream, _exceedances(stream)) for stream in streams)
    return {"true events": true, "false events": len(found) - true, "windows found": windows}


def counts(decided: list[Decided], passes: Passes) -> dict[str, Number]:
    """The confirmed events that pass, and the labelled windows they lie in."""
    row: dict[str, Number] = {"true events": 0, "false events": 0, "windows found": 0}
    for one in decided:
        passed = [judged for judged, decision in one.events if passes(judged, decision)]
        row["true events"] += sum(judged.founded for judged in passed)
        row["false events"] += sum(not judged.founded for judged in passed)
        row["windows found"] += _found(one.stream, [(judged.event.start, judged.event.end) for judged in passed])
    return row


def left(decided: list[Decided], passes: Passes) -> dict[str, Number]:
    """What is left of the confirmed events, and in per cent what is not, with 95 % Wilson intervals (Wilson, 1927)."""
    before, row = counts(decided, everything), counts(decided, passes)
    for name, events in (("false removed", "false events"), ("true lost", "true events")):
        if before[events]:
            gone = binomtest(int(before[events] - row[events]), int(before[events]))
            low, high = gone.proportion_ci(method="wilson")
            row |= {f"{name} %": 100 * gone.statistic, f"{name}, low": 100 * low, f"{name}, high": 100 * high}
    return row


def _gates(name: str, row: dict[str, Number]) -> list[Gate]:
    return [
        Gate(f"{name}: {column}", row[column], goal)
        for column, goal in (("false removed %", ">= 50"), ("true lost %", "<= 5"))
        if column in row
    ]


def _exceedances(stream: Stream) -> list[tuple[int, int]]:
    rows = stream.rows
    spans = calibration.events(rows.timestamps, np.nan_to_num(rows.scores), 1.0, stream.gap_us / 1e6)
    return [(int(rows.timestamps[span.start]), int(rows.timestamps[span.stop - 1])) for span in spans]


def _found(stream: Stream, spans: list[tuple[int, int]]) -> int:
    """How many labelled windows one of the spans overlaps."""
    return sum(any(first <= end and last >= begin for first, last in spans) for begin, end in stream.windows)


def nab_streams(folder: Path) -> list[Stream]:
    """The files of NAB, scored by the detector and with the threshold that are gated there."""
    streams = []
    for file in nab.read(folder):
        stamps, values = file.frame.timestamps, file.frame.values[:, 0]
        scores = nab.comparable(file.frame, nab.watch(file.frame, detectors.detector_class(nab.DEFAULT)))
        learned = slice(probation(len(values)))
        median, spread = _usual(values[learned])
        rows = Rows(stamps, values, scores, np.full(len(values), median), np.full(len(values), spread), stamps[learned])
        windows = [(int(stamps[first]), int(stamps[last])) for first, last in file.windows]
        streams.append(Stream(rows, windows, EVENT_GAP_US, (stamps, values)))
    return streams


def skab_streams(folder: Path, gap_us: int) -> list[Stream]:
    """The labelled runs of SKAB, the same way. A row's value is that of the channel that contributes most."""
    files = [skab.read(path) for path in sorted(folder.glob("*/*.csv*"))]
    return [_run(frame, faulty, gap_us) for frame, faulty in files if faulty is not None]


def _run(frame: Frame, faulty: NDArray[np.bool_], gap_us: int) -> Stream:
    trained, tested = slice(skab.TRAINING_ROWS), slice(skab.TRAINING_ROWS, None)
    detector = AssetEnsemble()
    scores = skab.scores(detector, skab.Run(frame, faulty)) / skab.LIMIT
    leading = np.argmax(np.nan_to_num(detector.contributions(frame)[tested]), axis=1)
    usual = np.array([_usual(channel) for channel in frame.values[trained].T])[leading]
    values = frame.values[tested][np.arange(len(leading)), leading]
    stamps = frame.timestamps[tested]
    rows = Rows(stamps, values, scores, usual[:, 0], usual[:, 1], frame.timestamps[trained])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], faulty[tested], [False]]).astype(int)))
    windows = [(int(stamps[first]), int(stamps[last - 1])) for first, last in edges.reshape(-1, 2)]
    return Stream(rows, windows, gap_us)


def _usual(values: Floats) -> tuple[float, float]:
    median = float(np.median(values))
    return median, MAD_TO_SIGMA * float(np.median(np.abs(values - median))) or float(np.std(values)) or 1.0


def decide_all(streams: list[Stream], learn: bool = True) -> list[Decided]:
    """Every event with what validation makes of it, given the verdicts on the other files, or none."""
    found = [events_of(stream) for stream in streams]
    decided = []
    for number, (stream, events) in enumerate(zip(streams, found, strict=True)):
        others = [each for i, part in enumerate(found) if learn and i != number for each in part]
        decided.append(Decided(stream, [(each, decide(stream, each.event, others)) for each in events]))
    return decided


def events_of(stream: Stream) -> list[Judged]:
    events = find_events(stream.rows, int(stream.rows.timestamps[0]), gap_us=stream.gap_us)
    return [Judged(event, stream.is_true(event.start, event.end)) for event in events]


def decide(stream: Stream, event: Event, others: Iterable[Judged]) -> Decision:
    """What validation makes of an event, given what was found behind the events of other files."""
    parameters = PRESETS[Preset.STANDARD]
    latest = sorted(others, key=lambda judged: -judged.event.end)
    # SKAB's runs are of one asset; each of NAB's series is of another sensor.
    own = [] if stream.sensor else latest[: parameters.history_limit]
    alike = [judged.founded for judged in own if is_alike(judged.event.peak.score, event.peak.score)]
    outcomes = [judged.founded for judged in latest[:REPUTATION_VERDICTS]]
    candidate = Candidate(
        **measured(event),
        volatility=_volatility(stream, event, parameters.stability_window),
        judged=len(own),
        alike_unfounded=alike.count(False),
        alike_founded=alike.count(True),
        verdicts=len(outcomes),
        founded=sum(outcomes),
        closer_days=_closer_days(stream, event),
    )
    return validate(candidate, parameters)


def _volatility(stream: Stream, event: Event, count: int) -> float | None:
    if stream.sensor is None:
        return None
    timestamps, values = stream.sensor
    row = int(np.searchsorted(timestamps, event.start))
    return float(np.std(values[row - count : row])) / event.peak.basis.spread if row >= count else None


def _closer_days(stream: Stream, event: Event) -> float | None:
    if stream.sensor is None:
        return None
    first = min(event.start, event.window[0].at)
    asked = earlier_days.windows(0, first, event.end)
    return earlier_days.share_of_closer_days(asked, [_looked_at(stream.sensor, window) for window in asked], first)


def _looked_at(series: Series, window: Window) -> Series:
    """The first reading of every step, as `sensors.history.samples` finds them."""
    part = slice(*np.searchsorted(series[0], [window.start, window.stop]))
    timestamps, values = series[0][part], series[1][part]
    _, firsts = np.unique((timestamps - window.start) // window.step, return_index=True)
    return timestamps[firsts], values[firsts]


def _fingerprints(data: Path) -> dict[str, str]:
    """Several folders of SKAB hold files of the same name."""
    paths = [*(data / "nab" / "realKnownCause").glob("*.csv.gz"), data / "nab" / "combined_windows.json"]
    runs = sorted((data / "skab").glob("*/*.csv*"))
    named = {f"{path.parent.name}/{name}": digest for path in runs for name, digest in fingerprints([path]).items()}
    return fingerprints(paths) | named


NOTES = [
    "Events are the platform's own: three of five consecutive rows beyond the threshold that the gauntlets of NAB and "
    "SKAB gate, or one three times beyond. Six hours without any end one, as in service; in SKAB, whose runs last "
    "twenty minutes, one minute (half and twice as much are shown). An event is true when it overlaps a labelled "
    "window. Validation is that of the standard preset.",
    "Removed and lost are counted on the confirmed events, by whether an alert is left for anybody to see. The row of "
    "any reading beyond the threshold is the detector without confirmation: what it finds besides are rows here and "
    "there in windows that are found anyway.",
    "Verdicts come from the other files alone: in SKAB, whose runs are of one asset, they are its earlier events; "
    "NAB's series are different sensors, for which only the reputation counts. All else was read by the event's end.",
    "Choices that have seen these labels: that a day is ordinary when one ordinary day in three is as odd (two false "
    "events more would go at one in five, no true one before one in twelve), that a lasting event has eight "
    "confirmed readings, and that verdicts on like events weigh by how one-sided they are, up to 0.6 (0.4 for any "
    "pattern before; 0.5 and 0.8, and events within 1.5 and 1.25 instead of 2 times as strong, were tried as well). "
    "Days of 6, 12 and 24 hours, shorter stretches at any hour, the closest to the fourth closest day, and levels "
    "that other days reached were looked at for every event before one was taken.",
    "There are few events: the intervals say how little that proves.",
]

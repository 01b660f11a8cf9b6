"""Which detector suits a normal past: each learns from its first half, gets its limit from the next quarter, and shows
on the last quarter what it is worth.

No label is asked for, so none can leak: faults of known kinds are put into the last quarter, and on its unchanged rows
every event is a false one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops import calibration, detectors
from mlops.detectors.base import Detector, Frame, NotEnoughData
from mlops.detectors.robust import MAD_TO_SIGMA

Values = NDArray[np.float64]

# In time order: what is learned from, what sets the limit, and what shows how well it does.
LEARNED, HELD_BACK = 0.5, 0.75
# False events that a model may cost people: one in a month.
PER_DAY = 1 / 30
# So many false events are taken for chance when that many or more come by chance this often.
BY_CHANCE = 0.05
FAULT_ROWS = 60
# Each kind of fault is put into each channel at so many places.
PLACES = 5
# In spreads of the channel.
SIZE = 4.0
KINDS = ("offset", "drift", "noise", "standstill")
# Between channels: every value stays within what is usual for its channel.
RELATION = "reversed relation"


@dataclass(frozen=True)
class Trial:
    """What a detector learned from the first half, and how it did.

    `found`: by kind of fault, the share that it found. `timestamps`, `scores`, `false_events`: of the last quarter as
    it is; `days`: how long that watched.
    """

    detector: str
    model: Detector
    limit: float
    found: dict[str, float]
    timestamps: NDArray[np.int64]
    scores: Values
    false_events: list[slice]
    days: float

    @property
    def share_found(self) -> float:
        return float(np.mean(list(self.found.values())))

    @property
    def false_per_day(self) -> float:
        return len(self.false_events) / self.days

    @property
    def is_quiet(self) -> bool:
        """Whether so many false events are no sign that there are more than PER_DAY (Poisson's distribution)."""
        expected = PER_DAY * self.days
        fewer = (expected**k / math.factorial(k) for k in range(len(self.false_events)))
        return 1 - math.exp(-expected) * sum(fewer) >= BY_CHANCE

    @property
    def rank(self) -> tuple[bool, float, float]:
        """The smallest is the best: who keeps within the false events, then who finds more, then the quieter."""
        return not self.is_quiet, -round(self.share_found, 2), round(self.false_per_day, 2)


def run(frame: Frame, candidates: Sequence[str], tell: Callable[[str], None]) -> list[Trial]:
    """The candidates that can learn from these normal readings, the best first (`Trial.rank`), equals in the order of
    `candidates`. `tell` hears of every one.

    Raises NotEnoughData when none can.
    """
    done = []
    for number, name in enumerate(candidates, 1):
        tell(f"trying {name.replace('_', ' ')}, {number} of {len(candidates)}")
        try:
            done.append(_trial(name, frame))
        except NotEnoughData:
            continue
    if not done:
        raise NotEnoughData("None of the detectors can learn from what is stored.")
    return sorted(done, key=lambda trial: trial.rank)


def spreads(frame: Frame) -> Values:
    """Shape (channels,): robust standard deviations; the plain one where more than half of the values are the same."""
    deviations = np.abs(frame.values - np.nanmedian(frame.values, axis=0))
    robust, plain = MAD_TO_SIGMA * np.nanmedian(deviations, axis=0), np.nanstd(frame.values, axis=0)
    return np.where(robust > 0, robust, np.where(plain > 0, plain, 1.0))


def _trial(name: str, frame: Frame) -> Trial:
    first, second = (round(share * len(frame)) for share in (LEARNED, HELD_BACK))
    model: Detector = detectors.detector_class(name)().fit(frame.part(slice(first)))
    begin = max(0, first - model.context)
    scores = model.score(frame.part(slice(begin, len(frame))))[first - begin :]
    held_back = slice(0, second - first)
    limit = calibration.calibrate(frame.timestamps[first:second], scores[held_back], PER_DAY).threshold
    timestamps, last = frame.timestamps[second:], np.nan_to_num(scores[second - first :])
    return Trial(
        detector=name,
        model=model,
        limit=limit,
        found=_found(model, limit, frame, second),
        timestamps=timestamps,
        scores=last,
        false_events=calibration.events(timestamps, last, limit),
        days=max(calibration.watched_days(timestamps), 1e-9),
    )


def _found(model: Detector, limit: float, frame: Frame, second: int) -> dict[str, float]:
    """By kind, the share of the faults put in from row `second` on that the model finds."""
    places = np.linspace(second, len(frame) - FAULT_ROWS - 1, PLACES).astype(int).tolist()
    medians, sizes = np.nanmedian(frame.values, axis=0), SIZE * spreads(frame)
    found: dict[str, list[bool]] = {}
    for kind in (*KINDS, *([RELATION] if len(frame.channels) > 1 else [])):
        for channel in range(len(frame.channels)):
            for at in places:
                part = frame.part(slice(max(0, at - model.context), at + FAULT_ROWS))
                faulty = part.values.copy()
                column = faulty[-FAULT_ROWS:, channel]
                column[:] = _with_fault(column, kind, medians[channel], sizes[channel])
                scores = model.score(Frame(part.timestamps, faulty, part.channels))[-FAULT_ROWS:]
                found.setdefault(kind, []).append(bool((np.nan_to_num(scores) >= limit).any()))
    return {kind: float(np.mean(each)) for kind, each in found.items()}


def _with_fault(column: Values, kind: str, median: float, size: float) -> Values:
    if kind == "offset":
        return column + size
    if kind == "drift":
        return column + np.linspace(0, 2 * size, len(column))
    if kind == "noise":
        return column + np.random.default_rng(KINDS.index(kind)).normal(0, size, len(column))
    if kind == "standstill":
        known = column[~np.isnan(column)]
        return np.full_like(column, known[0]) if len(known) else column
    return 2 * median - column

"""How far readings lie from normal, by the baselines of a sensor, by the model that serves it, or by that of a whole
asset: what events are found in.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlops.detectors import robust
from mlops.detectors.base import Detector, Frame
from mlops.detectors.channels import STRETCH
from mlops.detectors.robust import Profile, Profiles
from mlops.grid import Grid
from mlops.registry.artifact import ModelArtifact

Times = NDArray[np.int64]
Floats = NDArray[np.float64]

# Robust standard deviations from normal at which a reading is anomalous.
LIMIT = 4.0
# Until a baseline has seen a whole day it knows nothing of the daily cycle: the limit is this many times higher. A slow
# swing that has just turned looks flat; when the history has doubled, it has moved by about 12 of the spreads seen so
# far.
SHORT_HISTORY_FACTOR = 3.0
# What a model of a sensor has to say of the readings it learned from, among its metrics.
LEARNED = {"median", "spread", "readings", "span_seconds"}
# A model's scores are the same to so many decimals, whatever the piece that was scored: products of matrices are not.
SCORE_DECIMALS = 6
# A reading is judged by the consecutive ones it belongs to; so many.
N = 5


@dataclass(frozen=True)
class Basis:
    """What a score rests on, enough to compute it again: a baseline, or a model and the rows up to the reading.

    `expected` and `spread` are in the sensor's unit; `readings` over `span_seconds` were learned from. Of an asset's
    model, `values` holds a tuple for each row, None where nothing is known, and `shares` what each channel has to do
    with the score: they sum to 1, the largest comes first.
    """

    expected: float
    spread: float
    readings: int
    span_seconds: float
    profile: Profile | None = None
    model: int | None = None
    timestamps: tuple[int, ...] = ()
    values: tuple[float, ...] | tuple[tuple[float | None, ...], ...] = ()
    shares: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Judged:
    """A reading, its distance from normal (negative below it), and the limit from which that is anomalous.

    Distance and limit are in spreads of the baseline, or in thresholds of the model. `counts` is false for a reading
    under other circumstances than its event's, and for one that nothing is known to measure by.
    """

    at: int
    value: float
    score: float
    limit: float
    basis: Basis
    counts: bool = True

    @property
    def is_hit(self) -> bool:
        return self.counts and abs(self.score) >= self.limit

    @classmethod
    def from_json(cls, sent: dict[str, Any]) -> "Judged":
        basis = dict(sent["basis"])
        if basis["profile"] is not None:
            offsets = tuple(basis["profile"]["hour_offsets"])
            basis["profile"] = Profile(**(basis["profile"] | {"hour_offsets": offsets}))
        values = tuple(tuple(row) if isinstance(row, list) else row for row in basis["values"])
        shares = tuple((channel, share) for channel, share in basis.get("shares", ()))
        rows = {"timestamps": tuple(basis["timestamps"]), "values": values, "shares": shares}
        return cls(**(sent | {"basis": Basis(**(basis | rows))}))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Measure(Protocol):
    """Readings in time order with their signed scores and limits; NaN scores cannot be judged. `new` marks readings
    measured by too little history.
    """

    timestamps: Times
    values: Floats
    scores: Floats
    limits: Floats
    new: NDArray[np.bool_]

    def basis(self, row: int, first: int | None) -> Basis:
        """What the scores of the rows from `first` to this one rest on; without `first`, the row's own in short."""
        ...


@dataclass
class ByBaseline:
    """`profiles[which[i]]` is the baseline of reading i; None where there is none."""

    timestamps: Times
    values: Floats
    profiles: list[Profile | None]
    which: NDArray[np.int64]
    scores: Floats = field(init=False)
    limits: Floats = field(init=False)
    new: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        profiles = Profiles.of(self.profiles)
        self.scores = robust.score(profiles, self.which, self.timestamps, self.values)
        self.limits = _limits(profiles)[self.which]
        self.new = (profiles.readings < robust.ENOUGH_READINGS)[self.which]

    def basis(self, row: int, first: int | None) -> Basis:
        profile = self.profiles[self.which[row]]
        if profile is None:
            return Basis(0.0, 0.0, 0, 0.0)
        expected = robust.expected(Profiles.of([profile]), _FIRST, self.timestamps[row : row + 1])
        return Basis(float(expected[0]), profile.spread, profile.readings, profile.span_seconds, profile)


@dataclass
class ByModel:
    """By a model of one sensor, the version with the key `model`. Scores are in thresholds: from 1 on is anomalous."""

    timestamps: Times
    values: Floats
    artifact: ModelArtifact
    model: int
    scores: Floats = field(init=False)
    limits: Floats = field(init=False)
    new: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.limits = np.ones(len(self.values))
        self.new = np.zeros(len(self.values), bool)
        self.scores = model_scores(self.artifact, self.timestamps, self.values)

    def basis(self, row: int, first: int | None) -> Basis:
        learned = self.artifact.metrics
        part = slice(0) if first is None else slice(max(0, first - self.artifact.model.context), row + 1)
        return Basis(
            learned["median"],
            learned["spread"],
            int(learned["readings"]),
            learned["span_seconds"],
            None,
            self.model,
            tuple(self.timestamps[part].tolist()),
            tuple(self.values[part].tolist()),
        )


@dataclass
class ByAsset:
    """By a model of a whole asset, the version with the key `model`, on rows of the asset's grid. Scores are in
    thresholds, never negative; `values` are those of the channel that contributes most, in rows that are anomalous.
    """

    frame: Frame
    artifact: ModelArtifact
    model: int
    timestamps: Times = field(init=False)
    values: Floats = field(init=False)
    scores: Floats = field(init=False)
    limits: Floats = field(init=False)
    new: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.timestamps, rows = self.frame.timestamps, len(self.frame)
        self.limits, self.new = np.ones(rows), np.zeros(rows, bool)
        self.scores = asset_scores(self.artifact, self.frame)
        self.values, self._shares = np.zeros(rows), np.zeros((rows, len(self.frame.channels)))
        if (self.scores >= 1).any():
            self._shares = np.nan_to_num(self.artifact.model.contributions(self.frame))
            # A mean may still know of a sensor that has just fallen silent.
            known = np.where(np.isnan(self.frame.values), -1.0, self._shares)
            self.values = np.nan_to_num(self.frame.values[np.arange(rows), np.argmax(known, axis=1)])

    def basis(self, row: int, first: int | None) -> Basis:
        learned, shares = self.artifact.metrics, self._shares[row]
        order = np.argsort(-shares, kind="stable")
        leading = self.frame.channels[order[0]]
        part = slice(0)
        if first is not None:
            begin = self.timestamps[first] - memory_us(self.artifact)
            part = slice(int(np.searchsorted(self.timestamps, begin)), row + 1)
        return Basis(
            learned[f"median/{leading}"],
            learned[f"spread/{leading}"],
            int(learned["readings"]),
            learned["span_seconds"],
            None,
            self.model,
            tuple(self.timestamps[part].tolist()),
            # JSON has no NaN.
            tuple(
                tuple(None if value != value else value for value in each) for each in self.frame.values[part].tolist()
            ),
            tuple((self.frame.channels[i], float(shares[i])) for i in order),
        )


_FIRST = np.zeros(1, np.int64)


def at_their_limits(
    profiles: Profiles, which: NDArray[np.int64], timestamps: Times, values: Floats
) -> NDArray[np.bool_]:
    """Which readings reach their limit, for any number of sensors at once; `profiles[which[i]]` is that of reading i.

    Where none does there is no event to look for.
    """
    scores = robust.score(profiles, which, timestamps, values)
    return np.abs(scores) >= _limits(profiles)[which]


def _limits(profiles: Profiles) -> Floats:
    return np.where(profiles.span_seconds >= robust.DAY_US / 1e6, LIMIT, LIMIT * SHORT_HISTORY_FACTOR)


def is_of_a_sensor(artifact: ModelArtifact) -> bool:
    """Whether an artifact holds what scoring a single sensor needs: a detector, one input, and what it learned from."""
    is_detector = hasattr(artifact.model, "score") and hasattr(artifact.model, "context")
    return is_detector and len(artifact.features) == 1 and artifact.metrics.keys() >= LEARNED


def is_of_an_asset(artifact: ModelArtifact) -> bool:
    """Whether an artifact holds what scoring an asset needs: a detector, the asset's grid, and what it learned from."""
    is_detector = hasattr(artifact.model, "contributions") and hasattr(artifact.model, "context")
    needed = {f"{of}/{channel}" for of in ("median", "spread") for channel in artifact.features}
    grid = artifact.preprocessing
    has_grid = isinstance(grid, Grid) and tuple(grid.tolerances_us) == artifact.features
    return is_detector and has_grid and artifact.metrics.keys() >= needed | {"readings", "span_seconds"}


def memory_us(artifact: ModelArtifact) -> int:
    """How far back the rows lie that the score of a row of an asset rests on, microseconds."""
    detector: Detector = artifact.model
    grid: Grid = artifact.preprocessing
    return STRETCH * (detector.context + 1) * grid.step_us


def asset_scores(artifact: ModelArtifact, frame: Frame) -> Floats:
    """Scores in thresholds of the model, shape (n,)."""
    detector: Detector = artifact.model
    # Sums over pieces of different lengths differ in their last bits.
    scores: Floats = np.round(detector.score(frame) / artifact.threshold, SCORE_DECIMALS)
    return scores


def model_scores(artifact: ModelArtifact, timestamps: Times, values: Floats) -> Floats:
    """Scores in thresholds of the model, negative where the value lies below what was usual in training."""
    detector: Detector = artifact.model
    found = detector.score(Frame(timestamps, values[:, None], artifact.features))
    scores = np.round(found / artifact.threshold, SCORE_DECIMALS)
    return np.where(values < artifact.metrics["median"], -scores, scores)

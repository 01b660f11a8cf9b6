"""A model of one sensor, learned from its own past: which detector, from where on it alarms, and how well that went."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maintenance import verdicts, work_orders
from mlops import cards, trials
from mlops.detectors.base import Frame, NotEnoughData
from mlops.registry.artifact import ModelArtifact
from mlops.trials import Trial
from sensors import faults, history
from sensors.history import Series, Span
from sensors.models import Sensor

# How far back to look, and how many of the newest readings to learn from: shapes repeat, and more cost more.
DAYS = 30
MOST_READINGS = 20_000
FEWEST_READINGS = 500
# Which of these serves is decided on each sensor's own past.
BUILT_IN = "robust"
CANDIDATES = (BUILT_IN, "ensemble", "sub_pca", "autoregressive", "isolation_forest")


@dataclass(frozen=True)
class Trained:
    """What training hands over to the registry.

    `example`: rows of the model's inputs, shape (n, features). `serves` says whether it is worth serving, `said` why,
    and `card` what the page of the version shows (mlops.cards). `tags` say what it was learned from.
    """

    artifact: ModelArtifact
    example: NDArray[np.float64]
    card: dict[str, Any]
    serves: bool
    said: str
    tags: dict[str, str] = field(default_factory=dict)


def train(frame: Frame, tell: Callable[[str], None] = lambda _: None) -> Trained:
    """The best trained model for a sensor with these normal readings; `tell` hears of every step. It is worth serving
    when it ranks before the built-in detector (mlops.trials).

    Raises NotEnoughData when the readings are too few.
    """
    if len(frame) < FEWEST_READINGS:
        raise NotEnoughData(f"{len(frame)} normal readings are too few; {FEWEST_READINGS} are needed.")
    tried = trials.run(frame, CANDIDATES, tell)
    best = next((trial for trial in tried if trial.detector != BUILT_IN), None)
    if best is None:
        raise NotEnoughData("None of the detectors can learn from what is stored.")
    values = frame.values[:, 0]
    described = {"median": float(np.median(values)), "spread": float(trials.spreads(frame)[0])}
    serves = tried[0] is best
    said = in_words(tried)
    return Trained(
        artifact=artifact_of(best, tried, frame, described),
        example=frame.values,
        card=cards.of_detector(best, tried, BUILT_IN),
        serves=serves,
        said=said if serves else f"Nothing is better than what serves: {said}",
    )


def artifact_of(
    best: Trial, tried: Sequence[Trial], frame: Frame, described: dict[str, float], preprocessing: Any = None
) -> ModelArtifact:
    """What a trial learned from a frame, as it is kept; `described` are figures of its channels."""
    metrics = {"found": best.share_found, "false_per_day": best.false_per_day} | described
    metrics |= {"readings": float(len(frame)), "span_seconds": float(frame.timestamps[-1] - frame.timestamps[0]) / 1e6}
    metrics |= {f"found_{trial.detector}": trial.share_found for trial in tried if trial is not best}
    return ModelArtifact(
        model=best.model,
        features=frame.channels,
        threshold=best.limit,
        data_fingerprint=hashlib.sha256(frame.timestamps.tobytes() + frame.values.tobytes()).hexdigest(),
        trained_from=at(frame.timestamps[0]),
        trained_to=at(frame.timestamps[-1]),
        preprocessing=preprocessing,
        metrics=metrics,
        parameters={"detector": best.detector, "events_per_day": f"{trials.PER_DAY:.4f}"},
    )


def in_words(tried: Sequence[Trial]) -> str:
    """How the best of them did, and the share of faults that each of the others found."""
    best, *others = tried
    said = f"{_name(best)} finds {100 * best.share_found:.0f} % of the injected faults"
    shares = ", ".join(f"{_name(trial)} {100 * trial.share_found:.0f} %" for trial in others)
    return f"{said} at {best.false_per_day:.2f} false events a day" + (f" ({shares})" if shares else "")


def normal_readings(sensor: Sensor, now: datetime, days: int = DAYS) -> Frame:
    """The newest normal readings of a sensor, as `normal_series` finds them."""
    timestamps, values = normal_series(sensor, now, days)
    return Frame(timestamps[-MOST_READINGS:], values[-MOST_READINGS:, None], (sensor.kind,))


def normal_series(sensor: Sensor, now: datetime, days: int) -> Series:
    """The good readings of a sensor, without stretches that people excluded or in which they found a failure, without
    work on the asset and without faults of the sensor.
    """
    since = now - timedelta(days=days)
    [(timestamps, values)] = history.spans([Span(sensor.pk, us(since), us(now))], context=0)
    stretches = list(history.unlearnable([sensor.pk]).get(sensor.pk, []))
    for start, end in (
        *work_orders.periods(sensor.pk, since, now),
        *faults.distrusted(sensor.pk, since, now),
        *verdicts.of_faults(sensor.asset_id, since, now),
    ):
        stretches.append((us(start), us(end or now)))
    return without(timestamps, values, stretches)


def without(timestamps: NDArray[np.int64], values: NDArray[np.float64], stretches: Iterable[tuple[int, int]]) -> Series:
    """What lies in none of the stretches (first and last microsecond UTC)."""
    keep = np.ones(len(timestamps), bool)
    for first, last in stretches:
        keep &= (timestamps < first) | (timestamps > last)
    return timestamps[keep], values[keep]


def us(time: datetime) -> int:
    return round(time.timestamp() * 1e6)


def at(time_us: np.int64) -> datetime:
    return datetime.fromtimestamp(int(time_us) / 1e6, UTC)


def _name(trial: Trial) -> str:
    return cards.in_words(trial.detector, BUILT_IN)

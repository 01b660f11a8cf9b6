"""A model of one sensor, learned from its own past: which detector, from where on it alarms, and how well that went."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from maintenance import work_orders
from mlops import calibration, detectors
from mlops.detectors.base import Detector, Frame, NotEnoughData
from mlops.detectors.robust import MAD_TO_SIGMA
from mlops.registry.artifact import ModelArtifact
from sensors import faults, history
from sensors.history import Span
from sensors.models import Sensor

# How far back to look, and how many of the newest readings to learn from: shapes repeat, and more cost more.
DAYS = 30
MOST_READINGS = 20_000
FEWEST_READINGS = 500
# In time order: what is learned from, what sets the limit, and what shows how well it does.
LEARNED, HELD_BACK = 0.5, 0.75
# False events that a sensor may cost people: one in a month.
PER_DAY = 1 / 30
# Which of these serves is decided on each sensor's own past.
BUILT_IN = "robust"
CANDIDATES = (BUILT_IN, "ensemble", "sub_pca", "autoregressive", "isolation_forest")
# Faults that are put into the last quarter, in spreads of the signal: an offset, a drift, a noisier signal, a signal
# that stands still.
FAULT_READINGS = 60
FAULTS_EACH = 5


@dataclass(frozen=True)
class Trained:
    """`found` is the share of the injected faults that the model found, `false_per_day` its events on the unchanged
    readings of the last quarter; `others` the share that each other candidate found.
    """

    artifact: ModelArtifact
    detector: str
    found: float
    false_per_day: float
    others: dict[str, float]


def train(frame: Frame, tell: Callable[[str], None] = lambda _: None) -> Trained:
    """The best candidate for a sensor with these normal readings; `tell` hears of every step.

    Raises NotEnoughData when they are too few.
    """
    if len(frame) < FEWEST_READINGS:
        raise NotEnoughData(f"{len(frame)} normal readings are too few; {FEWEST_READINGS} are needed.")
    first, second = (round(share * len(frame)) for share in (LEARNED, HELD_BACK))
    tried: dict[str, tuple[float, float, Detector, float]] = {}
    for number, name in enumerate(CANDIDATES, 1):
        tell(f"trying {name.replace('_', ' ')}, {number} of {len(CANDIDATES)}")
        try:
            model: Detector = detectors.detector_class(name)().fit(frame.part(slice(first)))
            held_back = model.score(frame.part(slice(second)))[first:]
            limit = calibration.calibrate(frame.timestamps[first:second], held_back, PER_DAY).threshold
        except NotEnoughData:
            continue
        tried[name] = (*_quality(model, limit, frame, second), model, limit)
    if not tried:
        raise NotEnoughData("None of the detectors can learn from what is stored.")
    # Of equally good ones the quieter, then the earlier candidate.
    best = max(tried, key=lambda name: (round(tried[name][0], 2), -round(tried[name][1], 2)))
    found, false_per_day, model, limit = tried[best]
    others = {name: quality[0] for name, quality in tried.items() if name != best}
    metrics = {"found": found, "false_per_day": false_per_day} | _described(frame)
    metrics |= {f"found_{name}": share for name, share in others.items()}
    artifact = ModelArtifact(
        model=model,
        features=frame.channels,
        threshold=limit,
        data_fingerprint=_fingerprint(frame),
        trained_from=_datetime(frame.timestamps[0]),
        trained_to=_datetime(frame.timestamps[-1]),
        metrics=metrics,
        parameters={"detector": best, "events_per_day": f"{PER_DAY:.4f}"},
    )
    return Trained(artifact, best, found, false_per_day, others)


def normal_readings(sensor: Sensor, now: datetime, days: int = DAYS) -> Frame:
    """The newest good readings of a sensor, without stretches that people excluded or marked as failures, without work
    on the asset and without faults of the sensor.
    """
    since = now - timedelta(days=days)
    [(timestamps, values)] = history.spans([Span(sensor.pk, _us(since), _us(now))], context=0)
    keep = np.ones(len(timestamps), bool)
    stretches = [(start, end) for start, end in history.unlearnable([sensor.pk]).get(sensor.pk, [])]
    for start, end in (*work_orders.periods(sensor.pk, since, now), *faults.distrusted(sensor.pk, since, now)):
        stretches.append((_us(start), _us(end or now)))
    for first, last in stretches:
        keep &= (timestamps < first) | (timestamps > last)
    timestamps, values = timestamps[keep][-MOST_READINGS:], values[keep][-MOST_READINGS:]
    return Frame(timestamps, values[:, None], (sensor.kind,))


def _quality(model: Detector, limit: float, frame: Frame, second: int) -> tuple[float, float]:
    """The share of injected faults found in the last quarter, and the events a day in it as it is."""
    test = slice(max(0, second - model.context), len(frame))
    begin = second - test.start
    timestamps = frame.timestamps[second:]
    plain = model.score(frame.part(test))[begin:]
    days = max(calibration.watched_days(timestamps), 1e-9)
    false = len(calibration.events(timestamps, np.nan_to_num(plain), limit))
    found = [
        bool((np.nan_to_num(model.score(_with_fault(frame.part(test), begin + at, kind))[begin + at :]) >= limit).any())
        for kind in range(4)
        for at in np.linspace(0, len(timestamps) - FAULT_READINGS - 1, FAULTS_EACH).astype(int).tolist()
    ]
    return float(np.mean(found)), false / days


def _with_fault(frame: Frame, at: int, kind: int) -> Frame:
    """The frame up to the end of a fault that begins at row `at`."""
    values = frame.values[: at + FAULT_READINGS].copy()
    fault = values[at:, 0]
    spread = _spread(frame.values[:, 0])
    rng = np.random.default_rng(kind)
    if kind == 0:
        fault += 4 * spread
    elif kind == 1:
        fault += np.linspace(0, 8 * spread, len(fault))
    elif kind == 2:
        fault += rng.normal(0, 4 * spread, len(fault))
    else:
        fault[:] = fault[0]
    return Frame(frame.timestamps[: len(values)], values, frame.channels)


def _described(frame: Frame) -> dict[str, float]:
    values = frame.values[:, 0]
    return {
        "median": float(np.median(values)),
        "spread": _spread(values),
        "readings": float(len(values)),
        "span_seconds": (frame.timestamps[-1] - frame.timestamps[0]) / 1e6,
    }


def _spread(values: NDArray[np.float64]) -> float:
    return MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values)))) or float(np.std(values)) or 1.0


def _fingerprint(frame: Frame) -> str:
    return hashlib.sha256(frame.timestamps.tobytes() + frame.values.tobytes()).hexdigest()


def _us(at: datetime) -> int:
    return round(at.timestamp() * 1e6)


def _datetime(us: np.int64) -> datetime:
    return datetime.fromtimestamp(int(us) / 1e6, UTC)

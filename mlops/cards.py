"""What the page of a model version shows, as JSON that is written down when the model is made: the page needs neither
MLflow nor the model itself.

Every card: `parameters`, `features`, `threshold`, `data_fingerprint`, `trained_from`, `trained_to`. A detector's,
besides: `candidates` (name, share found, false events a day, whether it was chosen), `found` by kind of fault,
`scores` of the held-back quarter against the limit, and `importance`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops.registry.artifact import ModelArtifact
from mlops.trials import Trial

# A picture is no wider than this many points, and names no more features than this.
POINTS = 300
FEATURES = 20


def of_artifact(artifact: ModelArtifact) -> dict[str, Any]:
    return {
        "parameters": artifact.parameters,
        "features": list(artifact.features[:FEATURES]),
        "feature_count": len(artifact.features),
        "threshold": artifact.threshold,
        "data_fingerprint": artifact.data_fingerprint,
        "trained_from": artifact.trained_from.isoformat(),
        "trained_to": artifact.trained_to.isoformat(),
    }


def of_detector(best: Trial, tried: Sequence[Trial], built_in: str = "") -> dict[str, Any]:
    return {
        "candidates": [
            {
                "name": in_words(trial.detector, built_in),
                "found": rounded(trial.share_found),
                "false_per_day": rounded(trial.false_per_day),
                "chosen": trial is best,
            }
            for trial in tried
        ],
        "found": {kind: rounded(share) for kind, share in best.found.items()},
        "days": rounded(best.days),
        "scores": _scores(best),
    }


def in_words(detector: str, built_in: str = "") -> str:
    return "the built-in detector" if detector == built_in else detector.replace("_", " ")


def importance(shares: Mapping[str, float]) -> list[dict[str, Any]]:
    """The features that matter most, the largest first; `shares` in any unit."""
    ordered = sorted(shares.items(), key=lambda item: -item[1])[:FEATURES]
    return [{"feature": name, "share": rounded(share)} for name, share in ordered]


def rounded(number: float) -> float:
    """Four figures: nobody sees more in a picture."""
    return float(f"{number:.4g}")


def _scores(trial: Trial) -> dict[str, Any]:
    """The largest score of each of so many equal stretches of rows, in limits; `false` has first and last time of each
    false event. Times are seconds since 1970.
    """
    starts = np.unique(np.linspace(0, len(trial.scores), min(POINTS, len(trial.scores)), endpoint=False).astype(int))
    largest = np.maximum.reduceat(trial.scores, starts) / trial.limit
    return {
        "times": _seconds(trial.timestamps[starts]),
        "scores": [rounded(score) for score in largest.tolist()],
        "until": _seconds(trial.timestamps[-1:])[0],
        "false": [_seconds(trial.timestamps[[event.start, event.stop - 1]]) for event in trial.false_events[:POINTS]],
    }


def _seconds(timestamps_us: NDArray[np.int64]) -> list[int]:
    return [int(each) for each in (timestamps_us // 1_000_000).tolist()]

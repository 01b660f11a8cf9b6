"""Models to ask, good and bad, as a pool finds them: rows in the database and copies of their files.

The pool is a process of its own and unpickles by import, so they are classes of this module.
"""

import os
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from mlops.classifiers import FailureClassifier
from mlops.detectors.base import Frame
from mlops.detectors.isolation_forest import IsolationForest
from mlops.models import ModelVersion, Purpose
from mlops.registry import copies
from mlops.registry.artifact import ModelArtifact, digest, packed
from sensors.models import Site

FEATURES = ("torque", "speed", "wear")


class Bad:
    """A model that does something else than answer."""

    def __init__(self, how: str) -> None:
        self.how = how

    def predict_proba(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        match self.how:
            case "hangs":
                time.sleep(3600)
            case "crashes":
                os.abort()
            case "leaves":
                os._exit(0)
            case "eats memory":
                held = [np.ones(2**27) for _ in range(64)]
                return held[0]
        raise ZeroDivisionError("It cannot bear what it is given.")


def an_artifact(model: Any, features: tuple[str, ...] = FEATURES, **more: Any) -> ModelArtifact:
    return ModelArtifact(
        model=model,
        features=features,
        data_fingerprint="of the test",
        trained_from=datetime(2026, 1, 1, tzinfo=UTC),
        trained_to=datetime(2026, 2, 1, tzinfo=UTC),
        **({"threshold": 0.5} | more),
    )


def shift(rows: int, seed: int = 1) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """A spindle that fails under much torque when it is worn."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(rows, 3)), columns=list(FEATURES))
    return frame, (frame["torque"] + frame["wear"] > 1.5).to_numpy(np.int64)


def a_classifier(algorithm: str = "lightgbm") -> ModelArtifact:
    model = FailureClassifier(algorithm, trees=20).fit(*shift(600))
    return an_artifact(model, threshold=model.threshold_)


def a_line() -> ModelArtifact:
    """A model that can be explained by sampling only."""
    frame, labels = shift(600)
    return an_artifact(LogisticRegression().fit(frame.to_numpy(), labels), background=frame.to_numpy()[:50])


def a_detector() -> ModelArtifact:
    rng = np.random.default_rng(1)
    times = np.arange(300, dtype=np.int64) * 60_000_000
    return an_artifact(IsolationForest().fit(Frame(times, rng.normal(size=(300, 2)), ("a", "b"))), ("a", "b"))


def registered(
    artifact: ModelArtifact,
    name: str = "spindle",
    number: int = 1,
    site: Site | None = None,
    purpose: Purpose = Purpose.FAILURE,
) -> ModelVersion:
    """A version of which the pool has a copy, as after its first load from MLflow."""
    content = packed(artifact)
    version = ModelVersion.objects.create(
        name=name, version=number, purpose=purpose, site=site, sha256=digest(content), size_bytes=len(content),
        features=list(artifact.features),
    )  # fmt: skip
    copies.write(version, content)
    return version

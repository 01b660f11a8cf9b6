"""A trained model and everything it needs to be used, as one file."""

import hashlib
import hmac
import pickle
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Pickles of different protocols differ; this one is read by every Python we support.
PROTOCOL = 5


@dataclass(frozen=True)
class ModelArtifact:
    """One version of a model: what is fitted, what goes in, and where its scores begin to mean something.

    `model` is a fitted Detector or classifier; `preprocessing` a fitted transformer applied before it, if any.
    `features`: its inputs by name, in order. `threshold`: the score from which a reading is anomalous, or the
    probability from which a failure is predicted. `data_fingerprint`: of the readings it was fitted on, which lie
    between `trained_from` and `trained_to`. `background`: some of the rows it was fitted on, shape (n, features), from
    which models that cannot explain themselves are explained.
    """

    model: Any
    features: tuple[str, ...]
    threshold: float
    data_fingerprint: str
    trained_from: datetime
    trained_to: datetime
    preprocessing: Any = None
    metrics: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    background: NDArray[np.float64] | None = field(default=None, compare=False)


class Corrupt(Exception):
    """Bytes that are not the artifact they should be: damaged, replaced, or of code we do not have."""


def packed(artifact: ModelArtifact) -> bytes:
    return pickle.dumps(artifact, protocol=PROTOCOL)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def unpacked(content: bytes, sha256: str) -> ModelArtifact:
    """The artifact in `content`, which is looked into only if its SHA-256 is the one that the database knows.

    Unpickling runs code: whoever can write to the bucket must not be able to run theirs. Raises Corrupt.
    """
    if not hmac.compare_digest(digest(content), sha256):
        raise Corrupt(f"its SHA-256 is not {sha256[:12]}…")
    try:
        artifact = pickle.loads(content)  # noqa: S301
    except Exception as error:
        raise Corrupt(f"it cannot be unpickled: {error}") from error
    if not isinstance(artifact, ModelArtifact):
        raise Corrupt(f"it holds a {type(artifact).__name__}")
    return artifact

"""The model that serves a deployment: from memory, from disk, or from MLflow; whatever fails, something serves.

What cannot be loaded is tried again after 30 seconds. Until then the version that served before does, if the worker has
a copy of it, or else the built-in detector; both are counted, logged and shown on the page and in /health.
"""

import logging
import time
from dataclasses import dataclass

from mlops import deployments
from mlops.models import Deployment, ModelVersion
from mlops.registry import copies, figures, mlflow_api
from mlops.registry.artifact import Corrupt, ModelArtifact, unpacked

logger = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
BUILT_IN = "the built-in detector"


@dataclass(frozen=True)
class Served:
    """A model and the version it is, which with trouble is not the deployed one."""

    version: ModelVersion
    artifact: ModelArtifact


@dataclass(frozen=True)
class _Failure:
    retry_at: float
    reason: str
    instead: Served | None


class NotLoaded(Exception):
    """This version cannot be had now; the message says why."""


memory = copies.Memory()
_failures: dict[int, _Failure] = {}  # by deployment
_mlflow_asked_again_at = 0.0
_evicted: dict[int, float] = {}


def load(deployment: Deployment) -> Served | None:
    """The model that serves a deployment; None means that the built-in detector has to.

    Never raises for anything that the registry does. `deployment.version` should be loaded.
    """
    keep_up()
    version = deployment.version
    artifact = memory.get(version.pk)
    if artifact is not None:
        figures.count(version.pk, "hits")
        return Served(version, artifact)
    failure = _failures.get(deployment.pk)
    if failure is None or time.monotonic() >= failure.retry_at:
        try:
            served = Served(version, load_version(version))
        except NotLoaded as error:
            failure = _fall_back(deployment, str(error))
        else:
            if _failures.pop(deployment.pk, None):
                logger.warning("%s serves again", deployment)
            figures.recovered(deployment.pk)
            return served
    figures.count(version.pk, "fallbacks")
    return failure.instead


def keep_up() -> None:
    """Pass on what was counted, and forget what was evicted: once a second, whoever calls it how often."""
    if figures.is_due():
        _forget_evicted(figures.pass_on())


def load_version(version: ModelVersion) -> ModelArtifact:
    """A version from memory, disk or MLflow, deployed or not. Raises NotLoaded."""
    started = time.perf_counter()
    artifact = memory.get(version.pk)
    if artifact is not None:
        figures.count(version.pk, "hits")
        return artifact
    artifact = copies.read(version)
    if artifact is not None:
        figures.count(version.pk, "disk")
    else:
        artifact = _download(version)
        figures.count(version.pk, "downloads")
    memory.keep(version, artifact, time.time())
    figures.count(version.pk, "loads")
    figures.count(version.pk, "load_us", round((time.perf_counter() - started) * 1e6))
    return artifact


def _download(version: ModelVersion) -> ModelArtifact:
    global _mlflow_asked_again_at
    if time.monotonic() < _mlflow_asked_again_at:
        raise NotLoaded("MLflow did not answer just now")
    try:
        content = mlflow_api.read_artifact(version.path, version.size_bytes)
        artifact = unpacked(content, version.sha256)
    except mlflow_api.NotFound:
        raise NotLoaded("its file is missing") from None
    except Corrupt as error:
        raise NotLoaded(f"its file is damaged or was tampered with: {error}") from None
    except mlflow_api.Unavailable as error:
        if isinstance(error, mlflow_api.NoAnswer):
            # A worker waits for it once, and not once for every model.
            _mlflow_asked_again_at = time.monotonic() + RETRY_SECONDS
        raise NotLoaded(str(error)) from None
    copies.write(version, content)
    return artifact


def _fall_back(deployment: Deployment, reason: str) -> _Failure:
    instead = next(filter(None, (_copy_of(version) for version in deployments.predecessors(deployment))), None)
    served_by = str(instead.version) if instead else BUILT_IN
    logger.error("%s cannot be loaded: %s; %s serves instead", deployment, reason, served_by)
    figures.trouble(deployment.pk, reason, served_by)
    failure = _Failure(time.monotonic() + RETRY_SECONDS, reason, instead)
    _failures[deployment.pk] = failure
    return failure


def _copy_of(version: ModelVersion) -> Served | None:
    artifact = memory.get(version.pk) or copies.read(version)
    return Served(version, artifact) if artifact else None


def _forget_evicted(evicted: dict[int, float]) -> None:
    for version, at in evicted.items() - _evicted.items():
        _evicted[version] = at
        memory.forget(version, before=at)
        copies.remove(version, before=at)

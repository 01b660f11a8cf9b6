"""Making versions, and finding them by alias. Training does this; scoring never."""

import json
import logging
import re
import time
from posixpath import normpath
from typing import Any

import numpy as np
from django.db.models import Max
from numpy.typing import NDArray

from mlops import cards
from mlops.models import Deployment, ModelVersion, Purpose
from mlops.registry import mlflow_api
from mlops.registry.artifact import ModelArtifact, digest, packed
from sensors.models import Site

logger = logging.getLogger(__name__)

CHAMPION, CHALLENGER = "champion", "challenger"
ALIAS_SECONDS = 3600.0
FOLDER = "model"
FILE = "artifact.pickle"
CARD = "card.json"
EXAMPLE_ROWS = 5

_aliases: dict[tuple[str, str], tuple[float, ModelVersion]] = {}


def log_model(
    artifact: ModelArtifact,
    *,
    name: str,
    purpose: Purpose,
    example: NDArray[np.float64],
    site: Site | None = None,
    tags: dict[str, str] | None = None,
    card: dict[str, Any] | None = None,
) -> ModelVersion:
    """Register a new version of the model `name`: a run of MLflow with metrics, signature, example and the artifact.

    `example`: rows of its inputs, shape (n, features); the first few are kept as they are, and the median of each
    feature as what it usually is. `site`: where its readings came from, if from one. `tags` say what it is for
    (sensor_kind, asset_class). `card`: what its page shows besides the artifact's own facts (mlops.cards). Raises
    mlflow_api.Unavailable; nothing is registered then.
    """
    content = packed(artifact)
    tags = {"purpose": purpose.value, "sha256": digest(content), **(tags or {})}
    run = _begin_run(artifact, purpose, name, tags)
    root = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    folder = f"{root}/{FOLDER}"
    whole_card = {**cards.of_artifact(artifact), **(card or {})}
    files = {**_description(artifact, example[:EXAMPLE_ROWS], run["run_id"]), FILE: content}
    for file, data in {**files, CARD: json.dumps(whole_card).encode()}.items():
        mlflow_api.write_artifact(f"{folder}/{file}", data)
    version = _register(name, f"{run['artifact_uri']}/{FOLDER}", run["run_id"], tags)
    mlflow_api.call("POST", "runs/update", run_id=run["run_id"], status="FINISHED", end_time=_now_ms())
    return ModelVersion.objects.create(
        name=name,
        version=version,
        purpose=purpose,
        site=site,
        run_id=run["run_id"],
        path=f"{folder}/{FILE}",
        sha256=tags["sha256"],
        size_bytes=len(content),
        metrics=artifact.metrics,
        tags=tags,
        card=whole_card,
        features=list(artifact.features),
        example=_typical(artifact.features, example),
    )


def set_alias(version: ModelVersion, alias: str) -> None:
    """Let "champion" or "challenger" of this model mean this version. Raises mlflow_api.Unavailable."""
    mlflow_api.call("POST", "registered-models/alias", name=version.name, alias=alias, version=str(version.version))
    _aliases[version.name, alias] = time.monotonic() + ALIAS_SECONDS, version


def name_champion(name: str) -> None:
    """Let "champion" of this model mean the version that serves, of several the one put into service last; nothing when
    none does. Raises mlflow_api.Unavailable.
    """
    serving = Deployment.objects.in_service().filter(version__name=name).select_related("version").first()
    try:
        if serving:
            set_alias(serving.version, CHAMPION)
            return
        _aliases.pop((name, CHAMPION), None)
        mlflow_api.call("DELETE", "registered-models/alias", name=name, alias=CHAMPION)
    except mlflow_api.NotFound as error:
        logger.warning("a registry that was lost knows no champion of %s: %s", name, error)


def by_alias(name: str, alias: str) -> ModelVersion | None:
    """The version that an alias means: asked once an hour; with MLflow away, what it meant last. None if none is known.

    Another process that sets an alias is heard of after an hour at the latest.
    """
    expires, known = _aliases.get((name, alias), (0.0, None))
    if known and time.monotonic() < expires:
        return known
    try:
        found = mlflow_api.call("GET", "registered-models/alias", name=name, alias=alias)["model_version"]
    except mlflow_api.NotFound:
        _aliases.pop((name, alias), None)
        return None
    except mlflow_api.Unavailable as error:
        logger.warning("what %s@%s means is not known for certain: %s", name, alias, error)
        return known
    version = ModelVersion.objects.filter(name=name, version=found["version"]).first()
    if version:
        _aliases[name, alias] = time.monotonic() + ALIAS_SECONDS, version
    return version


def _begin_run(artifact: ModelArtifact, purpose: Purpose, name: str, tags: dict[str, str]) -> dict[str, Any]:
    now = _now_ms()
    # "mlflow.runName" and the like are MLflow's own tags.
    run = mlflow_api.call(
        "POST",
        "runs/create",
        experiment_id=experiment(purpose.value),
        run_name=name,
        start_time=now,
        tags=[{"key": key, "value": value} for key, value in tags.items()],
    )["run"]["info"]
    parameters = {
        **artifact.parameters,
        "threshold": str(artifact.threshold),
        "features": ", ".join(artifact.features)[:5000],
        "data_fingerprint": artifact.data_fingerprint,
        "trained_from": artifact.trained_from.isoformat(),
        "trained_to": artifact.trained_to.isoformat(),
    }
    mlflow_api.call(
        "POST",
        "runs/log-batch",
        run_id=run["run_id"],
        metrics=[
            {"key": metric_name(key), "value": value, "timestamp": now, "step": 0}
            for key, value in artifact.metrics.items()
        ],
        params=[{"key": key, "value": value} for key, value in parameters.items()],
    )
    assert isinstance(run, dict)
    return run


def metric_name(key: str) -> str:
    """MLflow takes names of metrics for paths, and only some characters."""
    return normpath(re.sub(r"[^\w\-. :/]", "_", key))


def experiment(name: str) -> str:
    """The key of MLflow's experiment of this name, made where there is none. Raises mlflow_api.Unavailable."""
    try:
        return str(
            mlflow_api.call("GET", "experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"]
        )
    except mlflow_api.NotFound:
        return str(mlflow_api.call("POST", "experiments/create", name=name)["experiment_id"])


def _register(name: str, source: str, run_id: str, tags: dict[str, str]) -> int:
    """The number of the new version, always higher than those we know: a registry that was lost starts at 1 again."""
    try:
        mlflow_api.call("GET", "registered-models/get", name=name)
    except mlflow_api.NotFound:
        mlflow_api.call("POST", "registered-models/create", name=name)
    newest = ModelVersion.objects.filter(name=name).aggregate(newest=Max("version"))["newest"] or 0
    pairs = [{"key": key, "value": value} for key, value in tags.items()]
    version = 0
    while version <= newest:
        made = mlflow_api.call("POST", "model-versions/create", name=name, source=source, run_id=run_id, tags=pairs)
        version = int(made["model_version"]["version"])
    return version


def _description(artifact: ModelArtifact, example: NDArray[np.float64], run_id: str) -> dict[str, bytes]:
    """MLflow's own files beside the artifact: MLmodel with the signature, and the input example it names."""
    # Seconds to import, and only training needs them.
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    inputs = Schema([ColSpec("double", name) for name in artifact.features])
    model = Model(
        artifact_path=FOLDER,
        run_id=run_id,
        signature=ModelSignature(inputs, Schema([ColSpec("double")])),
        saved_input_example_info={
            "artifact_path": "input_example.json",
            "type": "dataframe",
            "pandas_orient": "split",
        },
    )
    model.add_flavor("smart_maintenance", data=FILE)
    # JSON has no NaN.
    data = [[x if np.isfinite(x) else None for x in row] for row in example.tolist()]
    rows = {"columns": list(artifact.features), "data": data}
    return {"MLmodel": model.to_yaml().encode(), "input_example.json": json.dumps(rows).encode()}


def _typical(features: tuple[str, ...], example: NDArray[np.float64]) -> dict[str, float]:
    """The median of each feature of which anything is known."""
    known = {name: column[np.isfinite(column)] for name, column in zip(features, example.T, strict=True)}
    return {name: float(np.median(column)) for name, column in known.items() if len(column)}


def _now_ms() -> int:
    return int(time.time() * 1000)

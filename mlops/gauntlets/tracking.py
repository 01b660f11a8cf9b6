"""Runs of gauntlets in MLflow, beside those of trainings."""

import json
import math
import time

from mlops.gauntlets import Result, versions
from mlops.registry import mlflow_api
from mlops.registry.versions import experiment, metric_name

EXPERIMENT = "gauntlets"
FILE = "result.json"
# MLflow takes so many metrics at once.
MOST_AT_ONCE = 1000


def register(result: Result) -> str:
    """Keep a result as a run of the experiment `gauntlets`: versions, data and seeds as parameters, every figure as a
    metric, the whole as an artifact. Gives a sentence that says so, or why it could not be done.
    """
    try:
        key = _register(result)
    except (mlflow_api.Unavailable, mlflow_api.NotFound) as error:
        return f"{result.name} is not registered: {error}."
    return f"{result.name} is registered in MLflow as run {key} of the experiment {EXPERIMENT}."


def _register(result: Result) -> str:
    now = round(time.time() * 1000)
    missed = [gate.name for gate in result.gates if not gate.holds]
    tags = {"gates": f"missed: {', '.join(missed)}" if missed else "hold"}
    made = mlflow_api.call(
        "POST",
        "runs/create",
        experiment_id=experiment(EXPERIMENT),
        run_name=result.name,
        start_time=now,
        tags=[{"key": name, "value": value} for name, value in tags.items()],
    )
    run = made["run"]["info"]
    key = str(run["run_id"])
    metrics = [{"key": name, "value": value, "timestamp": now, "step": 0} for name, value in _figures(result).items()]
    params = [{"key": name, "value": value} for name, value in _parameters(result).items()]
    for first in range(0, max(len(metrics), 1), MOST_AT_ONCE):
        part = metrics[first : first + MOST_AT_ONCE]
        mlflow_api.call("POST", "runs/log-batch", run_id=key, metrics=part, params=[] if first else params)
    folder = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    mlflow_api.write_artifact(f"{folder}/{FILE}", json.dumps(result.as_json(), indent=2).encode())
    mlflow_api.call("POST", "runs/update", run_id=key, status="FINISHED", end_time=round(time.time() * 1000))
    return key


def _parameters(result: Result) -> dict[str, str]:
    """`data_sha256` stands for all files; their own are in the artifact."""
    about = {"gauntlet": result.name, "data_sha256": result.data_sha256, "files": str(len(result.data))}
    return about | {"seeds": ", ".join(map(str, result.seeds))} | versions()


def _figures(result: Result) -> dict[str, float]:
    rows = {"ours": result.metrics, "baselines": result.baselines}
    named = {
        f"{kind}/{row}/{column}": value
        for kind, table in rows.items()
        for row, figures in table.items()
        for column, value in figures.items()
    }
    named |= {f"gates/{gate.name}": gate.value for gate in result.gates}
    return {
        metric_name(name.replace("%", "percent")): float(value) for name, value in named.items() if math.isfinite(value)
    }

"""Runs of gauntlets in a real MLflow."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from mlops.gauntlets import Gate, Result, tracking
from mlops.registry import mlflow_api
from tests.mlops.gauntlets import test_pump_table
from tests.mlops.mlflow_server import Server

RESULT = Result(
    "press",
    {"a.csv": "1234"},
    {"ours, 3 x 5-fold": {"F1": 0.9, "FAR %": 12}, "first 70 % / last 30 %": {"+-": float("nan")}},
    {"all ones": {"F1": 0.1}},
    [Gate("CV F1", 0.9, ">= 0.8"), Gate("false, %", 12, "<= 5")],
    ["A note."],
    (0, 1, 2),
)


def test_a_run_holds_figures_versions_data_and_seeds(mlflow: Server, settings: LazySettings) -> None:
    settings.MLFLOW_TRACKING_URI = mlflow.uri
    said = tracking.register(RESULT)
    assert said.startswith("press is registered in MLflow as run ")
    key = said.split(" run ")[1].split()[0]
    run = mlflow_api.call("GET", "runs/get", run_id=key)["run"]
    metrics = {each["key"]: each["value"] for each in run["data"]["metrics"]}
    assert metrics["ours/ours_ 3 x 5-fold/FAR percent"] == 12
    assert metrics["gates/CV F1"] == 0.9
    assert not [name for name in metrics if "last 30" in name], "what is not a number is left out"
    params = {each["key"]: each["value"] for each in run["data"]["params"]}
    assert params["seeds"] == "0, 1, 2"
    assert params["data_sha256"] == RESULT.data_sha256
    assert {"Python", "numpy", "lightgbm"} <= params.keys()
    assert {"key": "gates", "value": "missed: false, %"} in run["data"]["tags"]
    path = run["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/")
    kept = json.loads(mlflow_api.read_artifact(f"{path}/{tracking.FILE}", 100_000))
    assert kept["gates"][0] == {"name": "CV F1", "value": 0.9, "goal": ">= 0.8", "holds": True}


def test_without_mlflow_the_reason_is_said(settings: LazySettings) -> None:
    settings.MLFLOW_TRACKING_URI = "http://127.0.0.1:9/mlflow"
    assert tracking.register(RESULT).startswith("press is not registered: MLflow does not answer")


def test_json_is_nothing_but_json_whatever_becomes_of_the_run(settings: LazySettings, tmp_path: Path) -> None:
    settings.MLFLOW_TRACKING_URI = ""
    test_pump_table.write(tmp_path / "pump_maintenance_table" / "counters.csv")
    out, err = StringIO(), StringIO()
    call_command("gauntlet", "pump_table", "--json", data=tmp_path, stdout=out, stderr=err)
    assert json.loads(out.getvalue())["name"] == "pump_table"
    assert "pump_table is not registered: there is no registry" in err.getvalue()


def test_a_folder_without_the_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="pump_maintenance_table"):
        call_command("gauntlet", "pump_table", data=tmp_path)

"""MLflow's server as containers run it: on a TCP port."""

from pathlib import Path

import httpx

from tests.mlops import mlflow_server
from tests.platform import free_port


def test_in_a_container_it_answers_to_its_own_names_only(tmp_path: Path) -> None:
    with mlflow_server.running(tmp_path, free_port()) as server:
        search = f"{server.uri}/api/2.0/mlflow/registered-models/search"
        answers = {name: httpx.get(search, headers={"Host": name}).status_code for name in ("mlflow:5000", "elsewhere")}
    assert answers == {"mlflow:5000": 200, "elsewhere": 403}

"""Model versions in a real MLflow over a real S3 server: made, found, loaded, and done without."""

import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import psycopg
import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from moto.server import ThreadedMotoServer

from config import health
from mlops import deployments
from mlops.deployments import Scope
from mlops.detectors import robust
from mlops.models import Deployment, ModelVersion, Purpose
from mlops.registry import copies, figures, loading, mlflow_api, versions
from mlops.registry.artifact import ModelArtifact
from sensors import valkey
from tests.conftest import Plant
from tests.mlops import mlflow_server
from tests.mlops.mlflow_server import Server
from tests.platform import BASE_DIR, child_environment, free_port

pytestmark = pytest.mark.django_db
BUCKET = "models"


class Store:
    """A real S3 server that can refuse connections for a while and then has its files still."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.start()
        self.client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.client.create_bucket(Bucket=BUCKET)

    def start(self) -> None:
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.server.start()

    def stop(self) -> None:
        self.server.stop()

    def key(self, version: ModelVersion) -> dict[str, str]:
        return {"Bucket": BUCKET, "Key": f"plant/{version.path}"}


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    store = Store(free_port())
    yield store
    store.stop()


@pytest.fixture(scope="module")
def mlflow(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {
        "MLFLOW_ARTIFACT_ROOT": f"s3://{BUCKET}/plant",
        "MLFLOW_S3_ENDPOINT_URL": store.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with mlflow_server.running(tmp_path_factory.mktemp("mlflow"), **environment) as server:
        yield server


@pytest.fixture(autouse=True)
def worker(mlflow: Server, settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has just started: nothing in memory, nothing on its disk, nothing counted."""
    settings.MLFLOW_TRACKING_URI = mlflow.uri
    settings.MODEL_CACHE = tmp_path / "models"
    monkeypatch.setattr(loading, "RETRY_SECONDS", 0.0)
    valkey.client().delete(figures.TROUBLE, figures.EVICTED)
    figures._waiting.clear()
    forget_memory(monkeypatch)


def forget_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "memory", copies.Memory())
    monkeypatch.setattr(loading, "_failures", {})
    monkeypatch.setattr(loading, "_mlflow_asked_again_at", 0.0)
    monkeypatch.setattr(versions, "_aliases", {})


def an_artifact(level: float = 20.0) -> ModelArtifact:
    """A real model of a sensor that stands at `level`."""
    timestamps = np.arange(100, dtype=np.int64) * 60_000_000
    profile = robust.learn(timestamps, level + np.sin(np.arange(100.0)))
    return ModelArtifact(
        model=profile,
        features=("temperature",),
        threshold=4.0,
        data_fingerprint="of the test",
        trained_from=datetime(2026, 1, 1, tzinfo=UTC),
        trained_to=datetime(2026, 2, 1, tzinfo=UTC),
        metrics={"false_alarms_per_day": 0.1},
    )


def register(level: float = 20.0, name: str = "pump", **extra: Any) -> ModelVersion:
    rows = np.array([[level], [np.nan]])
    return versions.log_model(an_artifact(level), name=name, purpose=Purpose.SENSOR_ANOMALY, example=rows, **extra)


def deploy(plant: Plant, version: ModelVersion) -> Deployment:
    return deployments.deploy(version, Scope(sensor=plant.temperature), why="test")


def served(deployment: Deployment) -> str | None:
    found = loading.load(deployment)
    return str(found.version) if found else None


def level_of(deployment: Deployment) -> float:
    found = loading.load(deployment)
    assert found is not None
    median: float = found.artifact.model.median
    return round(median)


def counts(version: ModelVersion) -> dict[str, int]:
    figures.pass_on()
    return figures.of_versions([version.pk])[version.pk]


def test_a_version_comes_back_as_it_was_made(north: Plant) -> None:
    version = register(40.0, site=north.site, tags={"sensor_kind": "temperature"})
    found = loading.load(deploy(north, version))
    assert found is not None
    assert found.artifact == an_artifact(40.0)


def test_mlflow_shows_metrics_parameters_tags_signature_and_example(mlflow: Server, tmp_path: Path) -> None:
    from mlflow.models import Model

    version = register(tags={"sensor_kind": "temperature"})
    run = mlflow_api.call("GET", "runs/get", run_id=version.run_id)["run"]
    data = {kind: {row["key"]: row["value"] for row in run["data"][kind]} for kind in ("metrics", "params", "tags")}
    assert run["info"]["status"] == "FINISHED"
    assert data["metrics"] == {"false_alarms_per_day": 0.1}
    assert (data["params"]["features"], data["params"]["threshold"]) == ("temperature", "4.0")
    assert data["tags"]["sensor_kind"] == "temperature"
    for name in ("MLmodel", "input_example.json"):
        content = mlflow_api.read_artifact(version.path.replace(versions.FILE, name), 10_000)
        (tmp_path / name).write_bytes(content)
    model = Model.load(str(tmp_path))
    assert model.signature.inputs.input_names() == ["temperature"]
    assert model.load_input_example(str(tmp_path))["temperature"][0] == 20.0


def test_versions_are_numbered_and_aliases_say_which_one_is_champion() -> None:
    first, second = register(name="fan"), register(name="fan")
    assert second.version == first.version + 1
    assert versions.by_alias("fan", versions.CHAMPION) is None
    versions.set_alias(first, versions.CHAMPION)
    assert versions.by_alias("fan", versions.CHAMPION) == first
    versions.set_alias(second, versions.CHAMPION)
    assert versions.by_alias("fan", versions.CHAMPION) == second


def test_champion_follows_what_serves_when_a_version_is_withdrawn_or_rolled_back(
    north: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = register(name="crane"), register(name="crane")

    def champion() -> ModelVersion | None:
        versions.name_champion("crane")
        monkeypatch.setattr(versions, "_aliases", {})
        return versions.by_alias("crane", versions.CHAMPION)

    assert champion() is None
    deploy(north, first)
    assert champion() == first
    deployment = deploy(north, second)
    assert champion() == second
    again = deployments.roll_back(deployment, why="It cries wolf.")
    assert champion() == first
    assert again
    deployments.withdraw(again, why="So does this one.")
    assert champion() is None


def test_an_alias_means_what_it_meant_while_mlflow_is_away(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register(name="alias")
    versions.set_alias(version, versions.CHAMPION)
    monkeypatch.setitem(versions._aliases, ("alias", versions.CHAMPION), (0.0, version))
    settings.MLFLOW_TRACKING_URI = "http://127.0.0.1:1"
    assert versions.by_alias("alias", versions.CHAMPION) == version
    assert versions.by_alias("never asked", versions.CHAMPION) is None


def test_it_is_downloaded_once_then_read_from_disk_by_the_next_worker_and_from_memory_by_this_one(
    north: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register()
    deployment = deploy(north, version)
    for _ in range(3):
        loading.load(deployment)
    forget_memory(monkeypatch)
    loading.load(deployment)
    found = counts(version)
    assert (found["downloads"], found["disk"], found["hits"], found["loads"]) == (1, 1, 2, 2)
    assert found["load_us"] > 0


def test_with_mlflow_stopped_copies_serve_and_what_has_none_recovers_without_a_restart(
    mlflow: Server, north: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, unknown = register(20.0), register(30.0, name="new")
    deployment = deploy(north, known)
    other = deployments.deploy(unknown, Scope(sensor=north.vibration), why="test")
    assert served(deployment) == str(known)
    mlflow.stop()
    forget_memory(monkeypatch)
    assert served(deployment) == str(known)
    assert served(other) is None
    assert "does not answer" in figures.troubles()[other.pk]["reason"]
    with pytest.raises(mlflow_api.Unavailable):
        register()
    mlflow.start()
    assert served(other) == str(unknown)
    assert figures.troubles() == {}
    assert counts(unknown)["fallbacks"] == 1


def drop_mlflows_database() -> None:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
        database.execute("DROP DATABASE mlflow WITH (FORCE)")


def test_with_mlflows_database_dropped_all_registered_versions_are_still_loaded(mlflow: Server, north: Plant) -> None:
    version = register(name="survivor")
    drop_mlflows_database()
    try:
        assert served(deploy(north, version)) == str(version)
        assert health.report()["checks"]["mlflow"]["state"] == "failed"
        with pytest.raises(mlflow_api.Unavailable):
            register(name="survivor")
        assert mlflow.process is not None
        mlflow.process.wait(60)  # It ends by itself, for its supervisor to start it again.
    finally:
        mlflow.start()
    deadline = time.monotonic() + 20
    while health.report()["checks"]["mlflow"]["state"] != "ok":  # Its tables take a moment.
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert register(name="survivor").version == version.version + 1


def test_with_s3_refusing_the_version_before_serves_and_recovery_needs_no_restart(store: Store, north: Plant) -> None:
    old, new = register(20.0), register(30.0)
    assert served(deploy(north, old)) == str(old)
    deployment = deploy(north, new)
    store.stop()
    try:
        assert served(deployment) == str(old)
        assert figures.troubles()[deployment.pk]["served_by"] == str(old)
    finally:
        store.start()
    assert level_of(deployment) == 30


def test_a_version_that_was_taken_back_serves_in_nobodys_place(store: Store, north: Plant) -> None:
    bad = deploy(north, register(20.0))
    assert served(bad) is not None
    deployments.withdraw(bad, why="It cries wolf.")
    version = register(30.0)
    store.client.delete_object(**store.key(version))
    assert served(deploy(north, version)) is None


class Bomb:
    def __reduce__(self) -> Any:
        return exec, ("import builtins; builtins.exploded = True",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickle.dumps(Bomb()), "tampered"),
        (b"", "damaged"),
        (b"x" * 100_000, "damaged"),
        (None, "404"),
    ],
    ids=["tampered", "empty", "too long", "missing"],
)
def test_what_is_not_the_registered_file_is_never_unpickled(
    store: Store, north: Plant, content: bytes | None, reason: str
) -> None:
    import builtins

    version = register()
    deployment = deploy(north, version)
    whole = store.client.get_object(**store.key(version))["Body"].read()
    if content is None:
        store.client.delete_object(**store.key(version))
    else:
        store.client.put_object(**store.key(version), Body=content)
    assert served(deployment) is None
    assert reason in figures.troubles()[deployment.pk]["reason"]
    assert not hasattr(builtins, "exploded")
    store.client.put_object(**store.key(version), Body=whole)
    assert served(deployment) == str(version)


def test_a_copy_damaged_on_disk_is_downloaded_again(north: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    version = register()
    deployment = deploy(north, version)
    loading.load(deployment)
    copies.path_of(version).write_bytes(pickle.dumps(Bomb()))
    forget_memory(monkeypatch)
    assert served(deployment) == str(version)
    assert counts(version)["downloads"] == 2


def test_an_evicted_version_is_downloaded_again(north: Plant) -> None:
    version = register()
    deployment = deploy(north, version)
    loading.load(deployment)
    figures.evict(version.pk)
    loading._forget_evicted(figures.pass_on())
    assert not copies.path_of(version).exists()
    assert served(deployment) == str(version)
    loading._forget_evicted(figures.pass_on())
    loading.load(deployment)
    assert (counts(version)["downloads"], counts(version)["hits"]) == (2, 1)


def test_many_threads_that_load_at_once_all_serve(north: Plant) -> None:
    version = register()
    found: list[ModelArtifact] = []
    threads = [threading.Thread(target=lambda: found.append(loading._download(version))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [an_artifact()] * 8
    assert [path.suffix for path in copies.path_of(version).parent.iterdir()] == [".pickle"]


WORKER = """
import django
django.setup()
from mlops.models import ModelVersion
from mlops.registry import loading
version = ModelVersion(pk={pk}, path={path!r}, sha256={sha256!r}, size_bytes={size_bytes})
input()
for _ in range(50):
    loading.memory.forget(version.pk)
    loading.copies.path_of(version).unlink(missing_ok=True)
    print(round(loading.load_version(version).model.median))
"""


def test_two_workers_that_load_and_lose_the_same_copy_at_once_both_serve(
    mlflow: Server, north: Plant, settings: LazySettings
) -> None:
    version = register(40.0)
    code = WORKER.format(**{name: getattr(version, name) for name in ("pk", "path", "sha256", "size_bytes")})
    mine = {"MLFLOW_TRACKING_URI": mlflow.uri, "MODEL_CACHE": str(settings.MODEL_CACHE)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=child_environment() | mine,
            cwd=BASE_DIR,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("now\n")
        worker.stdin.flush()
    assert [worker.communicate(timeout=60)[0].split() for worker in workers] == [["40"] * 50] * 2
    assert [path.suffix for path in copies.path_of(version).parent.iterdir()] == [".pickle"]


def test_a_copy_that_cannot_be_kept_leaves_nothing_behind(north: Plant, settings: LazySettings) -> None:
    version = register()
    copies.path_of(version).mkdir(parents=True)  # Nothing can be put in its place.
    assert served(deploy(north, version)) == str(version)
    assert [path.name for path in settings.MODEL_CACHE.iterdir()] == [copies.path_of(version).name]


def test_while_a_failure_is_fresh_nobody_waits_for_mlflow_again(
    store: Store, north: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "RETRY_SECONDS", 60.0)
    version = register()
    deployment = deploy(north, version)
    whole = store.client.get_object(**store.key(version))["Body"].read()
    store.client.delete_object(**store.key(version))
    assert served(deployment) is None
    store.client.put_object(**store.key(version), Body=whole)
    assert served(deployment) is None
    assert counts(version)["fallbacks"] == 2


def test_without_valkey_models_are_served_uncounted(north: Plant, settings: LazySettings) -> None:
    deployment = deploy(north, register())
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    valkey.client.cache_clear()
    try:
        assert served(deployment) is not None
        figures.pass_on()
    finally:
        valkey.client.cache_clear()


def test_memory_keeps_what_was_used_last() -> None:
    memory = copies.Memory(size_bytes=250)
    made = [ModelVersion(pk=number, size_bytes=100) for number in (1, 2, 3)]
    memory.keep(made[0], an_artifact(), 0)
    memory.keep(made[1], an_artifact(), 0)
    memory.get(1)
    memory.keep(made[2], an_artifact(), 0)
    assert [memory.get(number) is not None for number in (1, 2, 3)] == [True, False, True]


def test_an_installation_without_mlflow_says_so(north: Plant, settings: LazySettings) -> None:
    settings.MLFLOW_TRACKING_URI = ""
    with pytest.raises(mlflow_api.Unavailable, match="none"):
        register()


def test_the_server_describes_itself() -> None:
    with pytest.raises(SystemExit):
        call_command("mlflow_server", "--help")


def test_the_example_is_json_that_other_programs_read() -> None:
    version = register()
    content = mlflow_api.read_artifact(version.path.replace(versions.FILE, "input_example.json"), 10_000)
    assert json.loads(content) == {"columns": ["temperature"], "data": [[20.0], [None]]}


def body_of(answer: Any) -> bytes:
    async def read() -> bytes:
        return b"".join([chunk async for chunk in answer.streaming_content])

    return async_to_sync(read)()


API = "/models/mlflow/ajax-api/2.0/mlflow"


@pytest.fixture
def admin(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["admin"])
    return client


def test_admins_read_mlflows_pages(admin: Client, settings: LazySettings) -> None:
    page = admin.get("/models/mlflow/")
    assert page.status_code == 200
    assert b"<title>MLflow</title>" in body_of(page)
    asked = admin.post(f"{API}/experiments/search", {"max_results": 5}, "application/json")
    assert asked.status_code == 200
    assert b"experiments" in body_of(asked)
    settings.MLFLOW_TRACKING_URI = "http://127.0.0.1:1"
    assert admin.get("/models/mlflow/").status_code == 503


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", f"{API}/experiments/create"),
        ("post", f"{API}/runs/delete"),
        ("post", f"{API}/upload-artifact"),
        ("post", "/models/mlflow/gateway/mlflow/v1/chat/completions"),
        ("get", "/models/mlflow/ajax-api/3.0/mlflow/assistant/config"),
        ("get", f"{API}/webhooks"),
        ("get", f"{API}/runs/../webhooks"),
        ("get", "/models/mlflow/api/2.0/mlflow-artifacts/artifacts"),
    ],
)
def test_what_changes_or_acts_is_not_passed_through_to_mlflow(admin: Client, method: str, path: str) -> None:
    answer = admin.generic(method.upper(), path, b"{}", "application/json")
    assert (answer.status_code, answer.content) == (404, b"This part of MLflow is not passed through.")


def test_health_names_mlflow(settings: LazySettings) -> None:
    assert health.report()["checks"]["mlflow"]["state"] == "ok"

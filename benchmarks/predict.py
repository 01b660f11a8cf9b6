"""How long a question to a model takes over HTTP, through the web process and the pool, with ten callers at once.

Two models of 200 trees on 30 features, gradient boosting and a forest, answer single rows with and without an
explanation; nearest neighbours, which only sampling explains, answer one caller. The baseline of the answers a second
is the same model asked in this process, row by row.
"""

import asyncio
import json
import os
import time
from typing import Any

import numpy as np

from benchmarks.ingest import row
from benchmarks.plant import Plant, plant_with
from benchmarks.sender import Connection

CALLERS = 10
SECONDS = float(os.environ.get("SECONDS", "8"))
WARM_SECONDS = 3.0
FEATURES = tuple(f"feature_{number}" for number in range(30))
PLAIN_MS, EXPLAINED_MS, SAMPLED_MS = 50, 200, 2000


def labelled(rows: int) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    rng = np.random.default_rng(1)
    values = rng.normal(size=(rows, len(FEATURES)))
    labels = values[:, 0] + values[:, 1] * values[:, 2] + rng.normal(0, 0.5, rows) > 1.5
    return values, labels.astype(np.int64)


def models() -> dict[str, Any]:
    """By name: artifacts as training makes them."""
    import pandas as pd
    from sklearn.neighbors import KNeighborsClassifier

    from mlops.classifiers import FailureClassifier

    values, labels = labelled(3000)
    table = pd.DataFrame(values, columns=list(FEATURES))
    found: dict[str, Any] = {
        name: FailureClassifier(name, trees=200, threads=2).fit(table, labels) for name in ("lightgbm", "random_forest")
    }
    return found | {"neighbours": KNeighborsClassifier(25, n_jobs=1).fit(values, labels)}


def register(plant: Plant, found: dict[str, Any]) -> None:
    """Versions of which the pool finds a copy, as after their first load from MLflow."""
    from datetime import UTC, datetime

    from mlops.models import ModelVersion, Purpose
    from mlops.registry import copies
    from mlops.registry.artifact import ModelArtifact, digest, packed

    day = datetime(2026, 1, 1, tzinfo=UTC)
    for name, model in found.items():
        artifact = ModelArtifact(model, FEATURES, 0.5, "-", day, day, background=labelled(100)[0])
        content = packed(artifact)
        version = ModelVersion.objects.create(
            name=name, version=1, purpose=Purpose.FAILURE, site=plant.site, sha256=digest(content),
            size_bytes=len(content), features=list(FEATURES),
        )  # fmt: skip
        copies.write(version, content)


async def ask(plant: Plant, model: str, explain: bool, callers: int, seconds: float) -> list[float]:
    """The milliseconds of each answer."""
    port = int(plant.platform.url.rsplit(":", 1)[1])
    connections = [Connection({"path": "/api/v1/predict/", "key": plant.key, "port": port}) for _ in range(callers)]
    values = labelled(500)[0].round(4).tolist()
    bodies = [
        json.dumps({"model": model, "rows": [dict(zip(FEATURES, each, strict=True))], "explain": explain}).encode()
        for each in values
    ]
    numbers = iter(range(10**9))
    took: list[float] = []
    deadline = time.monotonic() + seconds

    async def run(connection: Connection) -> None:
        await connection.open()
        while time.monotonic() < deadline:
            body = bodies[next(numbers) % len(bodies)]
            begin = time.perf_counter()
            status, answer = await connection.post(body)
            took.append((time.perf_counter() - begin) * 1000)
            if status != 200:
                raise RuntimeError(f"{status} {answer[:300]!r}")
        connection.writer.close()

    await asyncio.gather(*map(run, connections))
    return took


def alone_ms(model: Any, explain: bool) -> float:
    """The median of the same answers from the model in this process, one after the other."""
    import pandas as pd

    from mlops.explain import explain as explained

    table = pd.DataFrame(labelled(50)[0], columns=list(FEATURES))
    took = []
    for number in range(len(table)):
        begin = time.perf_counter()
        explained(model, table[number : number + 1]) if explain else model.predict_proba(table[number : number + 1])
        took.append((time.perf_counter() - begin) * 1000)
    return float(np.median(took))


def wait_for_pool(plant: Plant) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            asyncio.run(ask(plant, "lightgbm", False, 1, 0.01))
            return
        except RuntimeError:
            time.sleep(0.5)
    raise TimeoutError("The pool does not answer.")


def run() -> list[dict[str, Any]]:
    import uvloop

    results = []
    with plant_with(1, MLFLOW_TRACKING_URI="none", PREDICT_PROCESSES="2") as plant:
        from sensors.models import ApiKey

        ApiKey.objects.update(scopes=["read"])
        found = models()
        register(plant, found)
        wait_for_pool(plant)
        for name in ("lightgbm", "random_forest"):
            for explain, goal in ((False, PLAIN_MS), (True, EXPLAINED_MS)):
                uvloop.run(ask(plant, name, explain, CALLERS, WARM_SECONDS))
                took = uvloop.run(ask(plant, name, explain, CALLERS, SECONDS))
                p50, p95 = np.quantile(took, [0.5, 0.95]).tolist()
                what = f"{name.replace('_', ' ')}{', explained' if explain else ''}"
                alone = 1000 / alone_ms(found[name], explain)
                results += [
                    row(f"{what}, 95th percentile", p95, "ms", goal, p95 <= goal),
                    row("  median", p50, "ms", None, True),
                    row("  answers", len(took) / SECONDS, "a second", None, True, alone),
                ]
        took = uvloop.run(ask(plant, "neighbours", True, 1, SECONDS))
        results.append(row("explained by sampling, slowest", max(took), "ms", SAMPLED_MS, max(took) <= SAMPLED_MS))
    return results

"""A real pool of two processes, asked through Valkey as the web process does, by good models and bad ones."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse

from mlops.models import ModelVersion, Purpose
from mlops.prediction import asking
from mlops.prediction.questions import Question
from sensors import valkey
from sensors.errors import Refused
from tests.conftest import Plant, make_user
from tests.mlops.prediction.models import Bad, a_classifier, a_detector, a_line, an_artifact, registered
from tests.platform import BASE_DIR, child_environment

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


@dataclass(frozen=True)
class Pool:
    directory: Path
    parent: psutil.Process

    def children(self) -> dict[int, psutil.Process]:
        return {child.pid: child for child in self.parent.children()}


ROW: dict[str, float | str | None] = {"torque": 2.0, "speed": 0.0, "wear": 1.0}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None) -> Iterator[Pool]:
    """`manage.py predict_pool`, once it listens."""
    directory = tmp_path_factory.mktemp("models")
    environment = child_environment() | {"MODEL_CACHE": str(directory), "PREDICT_MEMORY_MB": "512"}
    forget()
    with (directory / "pool.log").open("ab") as log:
        command = [sys.executable, str(BASE_DIR / "manage.py"), "predict_pool"]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: bool(valkey.client().exists(asking.ALIVE)), 60)
        yield Pool(directory, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(autouse=True)
def listening(pool: Pool, settings: LazySettings, empty_cache: None) -> None:
    """It says so once a second, which an emptied cache has forgotten."""
    settings.MODEL_CACHE = pool.directory
    wait_until(lambda: bool(valkey.client().exists(asking.ALIVE)))


def forget() -> None:
    keys = valkey.client().keys("sm:predict:*")
    if keys:
        valkey.client().delete(*keys)


def wait_until(done: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ask(version: ModelVersion, *, explain: bool = False) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(asking.ask(Question("version", version=version.pk, rows=[ROW], explain=explain)))
    return said


def refusal(version: ModelVersion) -> str:
    with pytest.raises(Refused) as caught:
        ask(version)
    return caught.value.code


def test_answers_come_from_processes_that_hold_the_libraries(pool: Pool) -> None:
    artifact = a_classifier()
    version = registered(artifact)
    assert ask(version)["rows"][0]["probability"] == pytest.approx(artifact.model.predict_proba(a_table())[0, 1])
    explained = ask(version, explain=True)["rows"][0]
    assert set(explained["explanation"]["contributions"]) == set(ROW)
    assert len(pool.children()) == 2
    begun = time.monotonic()
    ask(registered(a_line(), number=2), explain=True)
    assert time.monotonic() - begun < 2.5


def a_table() -> Any:
    import pandas as pd

    return pd.DataFrame([ROW])


@pytest.mark.parametrize(
    ("how", "code"), [("crashes", "model_crashed"), ("leaves", "model_crashed"), ("eats memory", "model_failed")]
)
def test_a_model_that_ends_its_process_is_soon_left_alone_and_others_are_answered(
    pool: Pool, how: str, code: str
) -> None:
    good, bad = registered(a_classifier()), registered(an_artifact(Bad(how)), "bad")
    before = set(pool.children())
    assert [refusal(bad) for _ in range(3)] == [code, code, "model_failing"]
    assert ask(good)["version"] == 1
    wait_until(lambda: len(pool.children()) == 2)
    assert set(pool.children()) != before


def test_while_a_model_hangs_others_are_answered_and_then_it_is_left_alone(pool: Pool) -> None:
    good, bad = registered(a_classifier()), registered(an_artifact(Bad("hangs")), "bad")
    ask(good)
    with ThreadPoolExecutor(8) as threads:
        # More than there are processes: the other ones wait in the queue.
        hanging: list[Future[str]] = [threads.submit(refusal, bad) for _ in range(2)]
        time.sleep(0.5)
        begun = time.monotonic()
        assert threads.submit(ask, good).result()["version"] == 1
        assert time.monotonic() - begun < 6
        assert [each.result() for each in hanging] == ["model_timeout"] * 2
    begun = time.monotonic()
    assert refusal(bad) == "model_failing"
    assert time.monotonic() - begun < 0.5


def test_a_model_that_cannot_bear_a_row_says_so_and_goes_on_being_asked(pool: Pool) -> None:
    before = set(pool.children())
    bad = registered(an_artifact(Bad("raises")), "bad")
    assert [refusal(bad) for _ in range(4)] == ["model_failed"] * 4
    assert set(pool.children()) == before


def test_a_question_that_nobody_waits_for_any_more_is_passed_over(pool: Pool) -> None:
    version = registered(a_classifier())
    late = Question("version", version=version.pk, rows=[ROW], until=time.time() - 1)
    valkey.client().rpush(asking.QUESTIONS, json.dumps({"kind": "version", "id": late.id, "until": late.until}))
    ask(version)
    assert not valkey.client().exists(asking.answer_key(late.id))


def test_people_and_programs_ask_at_the_same_address(pool: Pool, client: Client, north: Plant) -> None:
    registered(a_classifier(), site=north.site)
    client.force_login(make_user("operator", north.site))
    body = {"model": "spindle", "rows": [ROW], "explain": True}
    answer = client.post(reverse("api:predict"), body, content_type="application/json")
    assert answer.status_code == 200
    assert answer.json()["rows"][0]["failure_predicted"] is True
    wrong = client.post(reverse("api:predict"), body | {"rows": [{"torque": 1}]}, content_type="application/json")
    assert (wrong.status_code, wrong.json()["code"]) == (422, "feature_mismatch")
    form = client.post(reverse("api:predict"), {"model": "spindle"})
    assert (form.status_code, form.json()["code"]) == (415, "unsupported_media_type")
    scores = client.get(reverse("api:sensor-scores", args=[north.temperature.pk]))
    assert (scores.status_code, scores.json()["rows"]) == (200, [])


def test_the_page_shows_an_answer_with_its_picture(pool: Pool, client: Client, north: Plant) -> None:
    version = registered(a_classifier(), site=north.site)
    client.force_login(make_user("operator", north.site))
    page = f"{reverse('mlops:predict')}?model={version.pk}"
    answer = client.post(page, {"feature_0": "2.0", "feature_1": "", "feature_2": "1,0"})
    assert answer.status_code == 200
    for words in ("Failure predicted", "<svg", "torque"):
        assert words in answer.content.decode()
    wrong = client.post(page, {"feature_0": "much"})
    assert (wrong.status_code, list(wrong.context["form"].errors)) == (422, ["feature_0"])


def test_the_page_asks_a_detector_as_if_the_values_had_been_so_for_a_while(
    pool: Pool, client: Client, north: Plant
) -> None:
    version = registered(a_detector(), site=north.site, purpose=Purpose.ASSET_ANOMALY)
    client.force_login(make_user("operator", north.site))
    answer = client.post(f"{reverse('mlops:predict')}?model={version.pk}", {"feature_0": "9", "feature_1": "0"})
    assert answer.context["answer"]["anomalous"] is True
    assert "distance from normal" in answer.content.decode()


def test_a_killed_process_is_replaced_and_a_killed_pool_leaves_none_behind(pool: Pool) -> None:
    version = registered(a_classifier())
    killed = next(iter(pool.children().values()))
    killed.kill()
    wait_until(lambda: len(pool.children()) == 2 and killed.pid not in set(pool.children()))
    assert ask(version)["version"] == 1
    children = list(pool.children().values())
    pool.parent.kill()
    wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))
    wait_until(lambda: not valkey.client().exists(asking.ALIVE))
    begun = time.monotonic()
    assert refusal(version) == "predict_unavailable"
    assert time.monotonic() - begun < 0.5

"""The card of a model version: what its page shows, without MLflow and without the model."""

import json
import re
from datetime import UTC
from functools import cache
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from mlops import asset_training, cards, deployments, pictures
from mlops.deployments import Scope
from mlops.grid import Grid
from mlops.models import Deployment, ModelVersion, Purpose
from mlops.subjects import name_of
from mlops.training import Trained
from tests.alerts.test_views import text
from tests.conftest import Plant
from tests.mlops.test_asset_training import together
from tests.mlops.test_failure_training import trained as failures_trained
from tests.mlops.test_model_scoring import trained as sensor_trained

pytestmark = pytest.mark.django_db
MOST_BYTES = 30_000


@cache
def asset_trained() -> Trained:
    times = np.arange(2400, dtype=np.int64) * 60_000_000 + 1_760_000_040_000_000
    names = ("north.p101.vibration", "north.p101.temperature")
    series = {name: (times, values) for name, values in zip(names, together(2400), strict=True)}
    grid = Grid.learn(series)
    return asset_training.train(grid, grid.frame(series))


def registered(plant: Plant, trained: Trained, purpose: Purpose, **about: Any) -> ModelVersion:
    card = json.loads(json.dumps(cards.of_artifact(trained.artifact) | trained.card))
    number = ModelVersion.objects.count() + 1
    return ModelVersion.objects.create(
        name="pump", version=number, purpose=purpose, site=plant.site, sha256="ab" * 32, size_bytes=2048, card=card,
        metrics=trained.artifact.metrics, **about
    )  # fmt: skip


def page_of(client: Client, people: dict[str, User], version: ModelVersion) -> str:
    client.force_login(people["engineer"])
    return text(client, reverse("mlops:version", args=[version.pk]))


def test_a_detectors_card_shows_it_beside_the_others(client: Client, north: Plant, people: dict[str, User]) -> None:
    version = registered(north, sensor_trained(), Purpose.SENSOR_ANOMALY, tags={"sensor_id": "north.p101.vibration"})
    page = page_of(client, people, version)
    for words in ("The built-in detector", "this one", "False events a day", "north.p101.vibration", "Not in service"):
        assert words in page
    assert "in the 0.4 days that were held back" in page
    assert "Score of the held-back readings" in page
    assert version.card["data_fingerprint"][:16] in page
    assert "It never served anything" in page


def test_an_assets_card_shows_what_each_sensor_has_to_do_with_it(
    client: Client, north: Plant, people: dict[str, User]
) -> None:
    version = registered(north, asset_trained(), Purpose.ASSET_ANOMALY, tags={"asset": "Pump P-101"})
    deployed = deployments.deploy(version, Scope(asset=north.pump), why="finds most")
    page = page_of(client, people, version)
    for words in ("What it looks at", "north.p101.temperature", "reversed relation", "finds most", "In service"):
        assert words in page
    deployments.withdraw(deployed, why="It cries wolf.")
    page = page_of(client, people, version)
    assert "It cries wolf." in page
    assert "Not in service" in page


def test_a_classifiers_card_shows_curve_reliability_and_counts(
    client: Client, north: Plant, people: dict[str, User]
) -> None:
    version = registered(north, failures_trained(), Purpose.FAILURE, tags={"data": "simulated"})
    page = page_of(client, people, version)
    for words in ("Simulated data", "Precision (up) by recall (right)", "What came true (up)", "Warned", "Was silent"):
        assert words in page
    cells = version.card["confusion"]
    assert f"{cells['not_said_and_not_so']:,}" in page


@pytest.mark.parametrize("made", [sensor_trained, asset_trained, failures_trained])
def test_a_card_is_small(made: Any) -> None:
    card = cards.of_artifact(made().artifact) | made().card
    assert len(json.dumps(card)) < MOST_BYTES


def test_what_is_drawn_stays_within_the_picture_and_shows_false_events() -> None:
    told = {"times": [0, 100, 200, 300], "until": 400, "scores": [0.2, 0.9, 80.0, 0.1], "false": [[200, 200]]}
    [(words, drawn)] = pictures.of_card({"scores": told, "days": 2.0}, UTC)
    assert words == "1 false event in the 2.0 days that were held back"
    assert 'class="false"' in drawn
    points = [float(y) for line in re.findall(r'points="([^"]+)"', drawn) for y in re.findall(r",([-\d.]+)", line)]
    assert len(points) == 10
    assert all(0 <= y <= pictures.HEIGHT for y in points)


def test_a_version_from_before_there_were_cards_is_shown_as_far_as_it_is_known(
    client: Client, north: Plant, people: dict[str, User]
) -> None:
    old = ModelVersion.objects.create(
        name="old", version=1, purpose=Purpose.SENSOR_ANOMALY, site=north.site, sha256="cd" * 32, size_bytes=2048
    )
    assert "2 KB, SHA-256 cdcdcdcd" in page_of(client, people, old)


def test_whoever_may_ask_models_sees_their_cards_without_the_ledger(
    client: Client, north: Plant, people: dict[str, User]
) -> None:
    version = registered(north, sensor_trained(), Purpose.SENSOR_ANOMALY)
    client.force_login(people["operator"])
    page = text(client, reverse("mlops:version", args=[version.pk]))
    assert "Beside the others" in page
    assert "What it serves and served" not in page


def test_versions_of_another_site_are_not_shown(
    client: Client, north: Plant, south: Plant, people: dict[str, User]
) -> None:
    theirs = registered(south, sensor_trained(), Purpose.SENSOR_ANOMALY, tags={"sensor_id": "south.p101.vibration"})
    client.force_login(people["engineer"])
    assert client.get(reverse("mlops:version", args=[theirs.pk])).status_code == 404
    assert "south.p101" not in text(client, reverse("mlops:models"))


def test_the_models_page_lists_versions_and_leads_to_their_cards(
    client: Client, north: Plant, people: dict[str, User]
) -> None:
    version = registered(north, sensor_trained(), Purpose.SENSOR_ANOMALY, tags={"sensor_id": "north.p101.vibration"})
    client.force_login(people["engineer"])
    page = text(client, reverse("mlops:models"))
    assert reverse("mlops:version", args=[version.pk]) in page
    assert "Registered" in page


def challenger(plant: Plant, name: str, purpose: Purpose = Purpose.SENSOR_ANOMALY) -> ModelVersion:
    return ModelVersion.objects.create(
        name=name, version=2, purpose=purpose, site=plant.site, sha256="ab" * 32, size_bytes=2048
    )


@pytest.mark.parametrize("purpose", list(Purpose))
def test_an_engineer_lets_a_challenger_serve_what_it_learned_from(
    client: Client, north: Plant, people: dict[str, User], purpose: Purpose
) -> None:
    of = north.temperature if purpose == Purpose.SENSOR_ANOMALY else north.pump
    version = challenger(north, name_of(of, purpose), purpose)
    assert f"Let it serve {of}" in page_of(client, people, version)
    answer = client.post(reverse("mlops:deploy", args=[version.pk]), {"why": "It saw the last fault."}, follow=True)
    assert f"{version} serves now what it learned from." in answer.content.decode()
    row = Deployment.objects.in_service().get()
    assert (row.version, row.sensor or row.asset, row.by, row.why) == (
        version, of, people["engineer"], "It saw the last fault."
    )  # fmt: skip
    answer = client.post(reverse("mlops:deploy", args=[version.pk]), {"why": "Again."}, follow=True)
    assert f"{version} is in service already." in answer.content.decode()


def test_what_learned_from_no_one_thing_or_from_another_site_is_not_deployed(
    client: Client, north: Plant, south: Plant, people: dict[str, User]
) -> None:
    of_many = challenger(north, "temperatures")
    theirs = challenger(south, name_of(south.temperature, Purpose.SENSOR_ANOMALY))
    foreign = ModelVersion.objects.create(name=theirs.name, version=3, purpose=theirs.purpose, sha256="0", size_bytes=1)
    for version in (of_many, foreign):
        assert "Let it serve" not in page_of(client, people, version)
        answer = client.post(reverse("mlops:deploy", args=[version.pk]), {"why": "test"}, follow=True)
        assert "did not learn from one sensor or asset of yours" in answer.content.decode()
    assert client.post(reverse("mlops:deploy", args=[theirs.pk])).status_code == 404
    assert not Deployment.objects.exists()

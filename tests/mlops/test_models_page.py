"""The page "Models", and what /health says of models."""

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from config import health
from mlops import deployments
from mlops.deployments import Scope
from mlops.models import Deployment
from mlops.prediction import asking
from mlops.registry import figures
from sensors import valkey
from tests.alerts.test_views import text
from tests.conftest import Plant
from tests.mlops.test_deployments import a_version

pytestmark = pytest.mark.django_db
MODELS = "/models/"


@pytest.fixture
def engineer(client: Client, people: dict[str, User]) -> Client:
    valkey.client().delete(figures.TROUBLE, figures.EVICTED)
    client.force_login(people["engineer"])
    return client


@pytest.fixture
def deployed(north: Plant) -> Deployment:
    version = a_version(site=north.site)
    valkey.client().delete(figures._key(version.pk))
    return deployments.deploy(version, Scope(sensor=north.temperature), why="lowest error")


def test_without_models_the_page_says_what_serves_instead(engineer: Client) -> None:
    assert "The built-in detector serves every sensor" in text(engineer, MODELS)


def test_it_lists_what_serves_what_and_how_it_does(engineer: Client, deployed: Deployment) -> None:
    page = text(engineer, MODELS)
    for words in ("north.p101.temperature", "pump v1", "platform: lowest error", "Not used yet"):
        assert words in page
    for what, number in (("hits", 1200), ("downloads", 2), ("loads", 2), ("load_us", 30_000)):
        figures.count(deployed.version_id, what, number)
    figures.pass_on()
    page = text(engineer, MODELS)
    for words in ("1,200", "0 + 2", "15.0&nbsp;ms", "In service"):
        assert words in page


def test_a_model_that_cannot_be_loaded_is_seen_on_the_page_and_in_health(
    engineer: Client, deployed: Deployment
) -> None:
    figures.trouble(deployed.pk, "its file is missing", "the built-in detector")
    page = text(engineer, MODELS)
    assert "Not serving" in page
    assert "its file is missing; the built-in detector serves instead" in page
    for program in (health.WORKER, health.BACKGROUND, health.MESSAGES):
        health.record_heartbeat(program)
    valkey.client().set(asking.ALIVE, "1", ex=asking.ALIVE_SECONDS)
    answer = health.report()
    assert (answer["status"], answer["checks"]["models"]) == ("degraded", {"state": "degraded", "not_loaded": 1})
    figures.recovered(deployed.pk)
    assert health.report()["status"] == "ok"
    cache.clear()


def test_models_of_another_site_are_not_shown(engineer: Client, south: Plant) -> None:
    theirs = deployments.deploy(a_version(site=south.site), Scope(sensor=south.temperature), why="theirs")
    assert "south" not in text(engineer, MODELS)
    assert engineer.post(reverse("mlops:withdraw", args=[theirs.pk])).status_code == 404


def test_what_serves_every_site_is_withdrawn_by_admins_only(
    engineer: Client, north: Plant, people: dict[str, User]
) -> None:
    common = deployments.deploy(a_version(), Scope(kind="temperature"), why="all")
    assert "every temperature sensor" in text(engineer, MODELS)
    assert engineer.post(reverse("mlops:withdraw", args=[common.pk])).status_code == 404
    engineer.force_login(people["admin"])
    assert engineer.post(reverse("mlops:withdraw", args=[common.pk])).status_code == 302
    assert not Deployment.objects.in_service().exists()


def test_an_engineer_withdraws_a_model_and_the_one_before_serves_again(
    engineer: Client, deployed: Deployment, north: Plant, people: dict[str, User]
) -> None:
    newer = deployments.deploy(a_version(2), Scope(sensor=north.temperature), why="newer")
    answer = engineer.post(reverse("mlops:withdraw", args=[newer.pk]), {"why": "It cries wolf."}, follow=True)
    assert "pump v2 is withdrawn" in answer.content.decode()
    back = Deployment.objects.in_service().get()
    assert (back.version, back.by) == (deployed.version, people["engineer"])
    assert "It cries wolf." in back.why


@pytest.mark.django_db(transaction=True)
def test_the_trouble_of_a_withdrawn_model_is_over(deployed: Deployment) -> None:
    figures.trouble(deployed.pk, "its file is missing", "the built-in detector")
    deployments.withdraw(deployed, why="It cannot be loaded.")
    assert deployed.pk not in figures.troubles()


def test_an_engineer_evicts_a_model(engineer: Client, deployed: Deployment) -> None:
    engineer.post(reverse("mlops:evict", args=[deployed.pk]))
    assert set(figures.pass_on()) == {deployed.version_id}


def test_the_page_costs_the_same_queries_whatever_is_listed(engineer: Client, north: Plant) -> None:
    counts = []
    for numbers, scopes in (((1,), [Scope(sensor=north.temperature)]), ((2, 3), [Scope(asset=north.pump)] * 2)):
        for number, scope in zip(numbers, scopes, strict=True):
            deployments.deploy(a_version(number), scope, why="test")
        deployments.deploy(a_version(numbers[0] + 10), Scope(sensor=north.vibration), why="test")
        with CaptureQueriesContext(connection) as queries:
            text(engineer, MODELS)
        counts.append(len(queries))
    assert counts[0] == counts[1]

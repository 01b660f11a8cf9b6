"""The page Predict, without a pool; test_pool sees an answer on it."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from mlops import deployments
from mlops.deployments import Scope
from mlops.models import ModelVersion, Purpose
from mlops.prediction.forms import Inputs
from sensors.errors import Refused
from tests.alerts.test_views import text
from tests.conftest import Plant

pytestmark = pytest.mark.django_db
PAGE = "/models/predict/"


def a_version(name: str = "spindle", number: int = 1, **more: object) -> ModelVersion:
    about = {"purpose": Purpose.FAILURE, "features": ["torque", "grade"], "example": {"torque": 41.123456789}}
    return ModelVersion.objects.create(name=name, version=number, sha256=name, size_bytes=1, **(about | more))


@pytest.fixture
def operator(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["operator"])
    return client


def test_without_models_the_page_says_so(operator: Client) -> None:
    assert "There is no model yet" in text(operator, PAGE)


def test_the_form_has_the_features_with_what_is_usual(operator: Client) -> None:
    a_version()
    page = text(operator, PAGE)
    assert "torque" in page
    assert 'value="41.1235"' in page


def test_what_serves_comes_first_and_others_can_be_chosen(operator: Client, north: Plant) -> None:
    idle, serving = a_version("a"), a_version("b")
    deployments.deploy(serving, Scope(asset=north.pump), why="test")
    assert operator.get(PAGE).context["version"] == serving
    assert operator.get(PAGE, {"model": idle.pk}).context["version"] == idle


def test_models_of_another_site_cannot_be_chosen(operator: Client, south: Plant) -> None:
    theirs = a_version(site=south.site)
    assert operator.get(PAGE, {"model": theirs.pk}).status_code == 404
    assert "There is no model yet" in text(operator, PAGE)


@pytest.mark.parametrize("wrong", ["much", "nan", "inf", "1,000.5"])
def test_a_wrong_input_is_said_next_to_its_field(operator: Client, wrong: str) -> None:
    version = a_version()
    answer = operator.post(f"{PAGE}?model={version.pk}", {"feature_0": wrong, "feature_1": "good"})
    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == ["feature_0"]


def test_without_a_pool_the_page_says_that_nobody_answers(operator: Client) -> None:
    a_version()
    answer = operator.post(PAGE, {"feature_0": "1,5", "feature_1": ""})
    assert answer.status_code == 422
    assert "No process answers for models just now" in answer.content.decode()


def test_numbers_are_numbers_words_are_words_and_nothing_is_unknown(operator: Client) -> None:
    version = a_version(features=["torque", "grade", "wear"], example={"torque": 1.0})
    form = Inputs({"feature_0": "1,5", "feature_1": "good", "feature_2": "7.5"}, version=version)
    assert form.is_valid()
    assert form.row() == {"torque": 1.5, "grade": "good", "wear": 7.5}
    empty = Inputs({"feature_0": ""}, version=version)
    assert empty.is_valid()
    assert empty.row() == {"torque": None, "grade": None, "wear": None}


def test_what_the_pool_refuses_is_said_next_to_its_field() -> None:
    form = Inputs({"feature_0": "1", "feature_1": "x"}, version=a_version())
    assert form.is_valid()
    form.tell(Refused("invalid_values", "", 422, [{"field": "rows.0.grade", "code": "", "detail": "grade is wrong"}]))
    assert form.errors == {"feature_1": ["grade is wrong"]}


def test_engineers_find_it_among_the_models_and_operators_in_the_menu(
    operator: Client, people: dict[str, User]
) -> None:
    assert f'href="{PAGE}"' in text(operator, reverse("sensors:overview"))
    operator.force_login(people["engineer"])
    assert f'href="{PAGE}"' in text(operator, "/models/")

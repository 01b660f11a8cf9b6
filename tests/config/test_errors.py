import pytest
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest
from django.test import Client, RequestFactory
from django.urls import reverse

from config import errors


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (lambda request: errors.bad_request(request, BadRequest("x")), 400, "bad_request"),
        (lambda request: errors.permission_denied(request, PermissionError()), 403, "permission_denied"),
        (lambda request: errors.not_found(request, LookupError()), 404, "not_found"),
        (errors.server_error, 500, "server_error"),
        (errors.csrf_failure, 403, "csrf_failed"),
    ],
)
def test_a_program_gets_json_and_a_person_a_page(answer, status: int, code: str, rf: RequestFactory) -> None:  # type: ignore[no-untyped-def]
    body = answer(rf.get("/api/v1/anything/"))
    assert body.status_code == status
    assert body.headers["Content-Type"] == "application/json"
    assert f'"code": "{code}"' in body.content.decode()
    page = answer(rf.get("/anything/"))
    assert page.status_code == status
    assert "<!doctype html>" in page.content.decode()


def test_an_error_of_the_api_names_the_request(client: Client, db: None) -> None:
    answer = client.get("/api/v1/nothing-like-that/")
    assert answer.status_code == 404
    body = answer.json()
    assert body.keys() == {"code", "detail", "errors", "request_id"}
    assert body["request_id"] == answer.headers["X-Request-ID"]


def test_an_unknown_page_is_a_page_and_names_the_request(client: Client, people: dict[str, User]) -> None:
    client.force_login(people["viewer"])
    answer = client.get("/nothing-like-that/")
    assert answer.status_code == 404
    assert "Nothing here" in answer.content.decode()
    assert answer.headers["X-Request-ID"] in answer.content.decode()


def test_a_form_without_a_token_is_explained(people: dict[str, User]) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(people["viewer"])
    answer = strict.post(reverse("account_logout"))
    assert answer.status_code == 403
    assert "This form is out of date" in answer.content.decode()

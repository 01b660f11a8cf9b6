"""What all endpoints share: the shape of errors and the way through long lists."""

import base64
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.exceptions import ErrorDetail, Throttled, ValidationError
from rest_framework.test import APIRequestFactory

from config.api import error_response
from sensors.errors import Refused
from sensors.models import Asset
from tests.conftest import Plant


@pytest.fixture
def engineer(client: Client, people: dict[str, User]) -> Client:
    client.force_login(people["engineer"])
    return client


def test_every_error_has_one_shape_and_the_id_of_its_request(engineer: Client) -> None:
    answer = engineer.get("/api/v1/assets/999/", headers={"X-Request-ID": "0123456789abcdef0123456789abcdef"})
    assert answer.status_code == 404
    assert answer.json() == {
        "code": "not_found",
        "detail": "No Asset matches the given query.",
        "errors": [],
        "request_id": "0123456789abcdef0123456789abcdef",
    }


@pytest.mark.parametrize(
    ("method", "path", "content_type", "body", "status", "code"),
    [
        ("get", "/api/v1/nothing/", "", "", 404, "not_found"),
        ("get", "/api/v1/assets/abc/", "", "", 404, "not_found"),
        ("get", f"/api/v1/assets/{10**30}/", "", "", 404, "not_found"),
        ("delete", "/api/v1/readings/", "", "", 405, "method_not_allowed"),
        ("post", "/api/v1/assets/", "text/csv", "a,b", 415, "unsupported_media_type"),
        ("post", "/api/v1/assets/", "application/json", "{", 400, "parse_error"),
        ("post", "/api/v1/assets/", "application/json", "[" * 100_000, 400, "parse_error"),
        ("post", "/api/v1/assets/", "application/json", "[]", 400, "invalid"),
        ("post", "/api/v1/assets/", "application/json", "null", 400, "invalid"),
        ("get", "/api/v1/assets/?level=planet", "", "", 400, "invalid"),
        ("get", "/api/v1/assets/?site=x", "", "", 400, "invalid"),
        ("get", "/api/v1/assets/?cursor=nonsense", "", "", 404, "not_found"),
        ("get", "/api/v1/sensors/?sensor_id=%00", "", "", 400, "invalid"),
    ],
)
def test_a_bad_request_gets_a_stable_code(
    engineer: Client, method: str, path: str, content_type: str, body: str, status: int, code: str
) -> None:
    options = {"data": body, "content_type": content_type} if content_type else {}
    answer = getattr(engineer, method)(path, **options)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert set(answer.json()) == {"code", "detail", "errors", "request_id"}


@pytest.mark.parametrize("position", ["abc", "9" * 40, "\x00", "2026-13-01T00:00:00Z"])
def test_a_made_up_cursor_is_no_server_error(engineer: Client, north: Plant, position: str) -> None:
    cursor = base64.b64encode(f"p={position}".encode()).decode()
    for path in ("/api/v1/assets/", f"/api/v1/sensors/{north.temperature.pk}/readings/"):
        assert engineer.get(path, {"cursor": cursor}).status_code in (200, 404)


def test_each_wrong_field_is_named(engineer: Client) -> None:
    answer = engineer.post("/api/v1/assets/", {"level": "planet"}, content_type="application/json")
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [
        ("site", "required"),
        ("name", "required"),
        ("level", "invalid_choice"),
    ]


def body_of(error: Exception) -> tuple[int, Any]:
    request = APIRequestFactory().get("/api/v1/")
    answer = error_response(error, {"request": request, "view": None})
    return answer.status_code, answer.data


def test_nested_complaints_keep_their_way() -> None:
    error = ValidationError(
        {"rows": [{}, {"value": [ErrorDetail("No number.", "invalid")]}], "non_field_errors": ["No."]}
    )
    status, body = body_of(error)
    assert status == 400
    assert body["errors"] == [
        {"field": "rows.1.value", "code": "invalid", "detail": "No number."},
        {"field": "", "code": "invalid", "detail": "No."},
    ]


def test_a_refusal_keeps_its_code_status_and_reasons() -> None:
    status, body = body_of(Refused("too_hot", "Let it cool down.", 409, [{"code": "a"}]))
    assert (status, body["code"], body["detail"], body["errors"]) == (
        409,
        "too_hot",
        "Let it cool down.",
        [{"code": "a"}],
    )


def test_too_many_requests_say_when_to_come_back() -> None:
    answer = error_response(Throttled(wait=30), {"request": None, "view": None})
    assert (answer.status_code, answer.data["code"], answer.headers["Retry-After"]) == (429, "throttled", "30")


def test_an_unexpected_failure_tells_the_log_and_not_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    status, body = body_of(RuntimeError("the password is secret"))
    assert (status, body["code"]) == (500, "server_error")
    assert "secret" not in str(body)
    assert "the password is secret" in caplog.text


def test_pages_lead_through_all_rows_newest_first(engineer: Client, north: Plant) -> None:
    Asset.objects.bulk_create(Asset(site=north.site, name=f"Fan {number}") for number in range(24))
    seen, path = [], "/api/v1/assets/?page_size=10"
    while path:
        page = engineer.get(path).json()
        seen.append([row["id"] for row in page["results"]])
        path = page["next"]
    assert [len(page) for page in seen] == [10, 10, 5]
    assert [pk for page in seen for pk in page] == list(Asset.objects.order_by("-pk").values_list("pk", flat=True))


def test_a_page_has_a_hundred_rows_and_never_more_than_a_thousand(engineer: Client, north: Plant) -> None:
    Asset.objects.bulk_create(Asset(site=north.site, name=f"Fan {number}") for number in range(1100))
    lengths = [len(engineer.get(f"/api/v1/assets/{query}").json()["results"]) for query in ("", "?page_size=5000")]
    assert lengths == [100, 1000]

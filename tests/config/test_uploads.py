"""Who may send a whole file is asked before it is taken."""

import shutil
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError
from django.test import Client

from config.uploads import may_upload
from sensors.models import ApiKey
from tests.config.test_asgi import post
from tests.conftest import Plant

# It gives its connection back, as outside of a request nobody else does; so there is no transaction around a test.
pytestmark = pytest.mark.django_db(transaction=True)


def asks(*headers: tuple[bytes, bytes]) -> bool:
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/imports/", "headers": list(headers)}
    return async_to_sync(may_upload)(scope | {"query_string": b""})


def cookie_of(user: User) -> tuple[bytes, bytes]:
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    return b"cookie", f"{name}={client.cookies[name].value}".encode()


def test_only_who_may_import_may_send_a_file(people: dict[str, User], north: Plant) -> None:
    allowed = {role for role, user in people.items() if asks(cookie_of(user))}
    assert allowed == {"engineer", "admin"}
    keys = {role: ApiKey.issue(people[role], "test", ["write"])[1] for role in ("engineer", "integration")}
    assert asks((b"x-api-key", keys["engineer"].encode()))
    assert asks((b"authorization", f"Token {keys['engineer']}".encode()))
    assert asks((b"authorization", f"Bearer {keys['engineer']}".encode()))
    assert not asks((b"x-api-key", keys["integration"].encode()))
    reads = ApiKey.issue(people["engineer"], "reads", ["read"])[1]
    assert not asks((b"x-api-key", reads.encode()))


@pytest.mark.parametrize(
    "header",
    [(b"cookie", b"sessionid=invented"), (b"cookie", b"\xff"), (b"x-api-key", b"sm_invented"), (b"x-api-key", b"\xff")],
)
def test_a_stranger_may_not(header: tuple[bytes, bytes]) -> None:
    assert not asks(header)
    assert not asks()


@pytest.mark.parametrize("path", ["/imports/", "/api/v1/imports/"])
def test_a_large_file_of_a_stranger_is_refused_before_it_is_taken(path: str) -> None:
    status, _, body, _ = post((b"content-length", b"900000000"), (b"expect", b"100-continue"), path=path)
    assert (status, body["code"]) == (413, "body_too_large")


def test_a_file_of_an_engineer_may_be_as_large_as_the_settings_say(people: dict[str, User]) -> None:
    length = str(settings.MAX_UPLOAD_BYTES + 1).encode()
    cookie = cookie_of(people["engineer"])
    status, _, body, _ = post(cookie, (b"content-length", length), (b"expect", b"x"), path="/imports/")
    assert (status, str(settings.MAX_UPLOAD_BYTES) in body["detail"]) == (413, True)
    status, _, body, _ = post(cookie, (b"content-length", b"9000000"), chunks=9, path="/api/v1/imports/")
    # Taken whole, and only then found to carry no token of a form of ours.
    assert (status, body["code"]) == (403, "permission_denied")


def test_a_file_that_has_no_room_is_refused_before_it_is_taken(
    people: dict[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(settings.UPLOAD_DIR).free
    monkeypatch.setattr("sensors.imports.upload.FREE_BYTES", free - 15_000_000)
    cookie, form = cookie_of(people["engineer"]), (b"expect", b"100-continue")
    status, _, body, _ = post(cookie, form, (b"content-length", b"9000000"), path="/imports/")
    assert (status, body["code"]) == (507, "disk_full")
    status, _, body, _ = post(cookie, (b"content-length", b"1000000"), path="/api/v1/imports/", chunks=1)
    assert (status, body["code"]) == (403, "permission_denied")


def test_a_file_of_unknown_length_is_refused_as_soon_as_its_rest_has_no_room(
    people: dict[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(settings.UPLOAD_DIR).free
    monkeypatch.setattr("sensors.imports.upload.FREE_BYTES", free - 15_000_000)
    monkeypatch.setattr("config.body_limit.ROOM_STEP_BYTES", 1_000_000)
    before = set(settings.UPLOAD_DIR.iterdir())
    status, _, body, taken = post(cookie_of(people["engineer"]), path="/imports/", chunks=30)
    assert (status, body["code"], taken) == (507, "disk_full", 30)
    assert set(settings.UPLOAD_DIR.iterdir()) == before


@pytest.mark.parametrize("trouble", [OperationalError, InterfaceError])
def test_an_upload_while_the_database_is_gone_is_to_be_sent_again(
    monkeypatch: pytest.MonkeyPatch, trouble: type[Exception]
) -> None:
    def fail(key: str) -> None:
        raise trouble

    monkeypatch.setattr("config.uploads.authenticate_key", fail)
    status, _, body, _ = post((b"x-api-key", b"sm_1"), (b"content-length", b"9"), path="/api/v1/imports/", chunks=1)
    assert (status, body["code"]) == (503, "database_busy")

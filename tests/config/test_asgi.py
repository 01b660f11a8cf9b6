"""The body limit, through the whole application."""

import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.urls import reverse

from config import body_limit
from config.asgi import application

CHUNK = bytes(1024 * 1024)


def post(
    *headers: tuple[bytes, bytes], chunks: int = 0, path: str = "/api/v1/readings/", complete: bool = True
) -> tuple[int, dict[str, str], dict[str, Any], int]:
    """Send that many chunks of 1 MiB; returns status, headers, body and how many chunks were taken."""

    async def exchange() -> tuple[int, dict[str, str], dict[str, Any], int]:
        communicator = ApplicationCommunicator(
            application,
            {
                "type": "http",
                "http_version": "1.1",
                "method": "POST",
                "path": path,
                "query_string": b"",
                "headers": [(b"host", b"localhost"), *headers],
            },
        )
        for number in range(chunks):
            await communicator.send_input(
                {"type": "http.request", "body": CHUNK, "more_body": number < chunks - complete}
            )
        start = await communicator.receive_output(10)
        body = await communicator.receive_output(10)
        if body.get("more_body"):
            await communicator.receive_output(10)
        taken = chunks - communicator.input_queue.qsize()
        await communicator.wait()
        headers_sent = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return start["status"], headers_sent, json.loads(body["body"]), taken

    return async_to_sync(exchange)()


def test_an_announced_large_body_is_refused_at_once_in_the_shape_of_every_error() -> None:
    length = str(settings.MAX_BODY_BYTES + 1).encode()
    status, headers, body, _ = post((b"content-length", length), (b"expect", b"100-continue"))
    assert (status, body["code"], body["errors"]) == (413, "body_too_large", [])
    assert str(settings.MAX_BODY_BYTES) in body["detail"]
    assert body["request_id"] == headers["x-request-id"]


def test_an_unannounced_large_body_is_refused_when_it_grows_too_large_and_the_rest_is_discarded() -> None:
    chunks = settings.MAX_BODY_BYTES // len(CHUNK) + 10
    status, _, body, taken = post((b"transfer-encoding", b"chunked"), chunks=chunks)
    assert (status, body["code"], taken) == (413, "body_too_large", chunks)


@pytest.mark.parametrize("headers", [(), ((b"content-length", b"not a number"),)])
@pytest.mark.django_db
def test_a_body_within_the_limit_reaches_the_application(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    status, _, body, _ = post(*headers, chunks=1)
    assert status in (400, 401, 403)
    assert body["code"] != "body_too_large"


def test_forms_and_everything_else_take_small_bodies_only() -> None:
    status, _, body, _ = post((b"content-length", b"2000000"), (b"expect", b"100-continue"), path="/accounts/login/")
    assert (status, body["code"]) == (413, "body_too_large")


def test_a_body_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "RECEIVE_SECONDS", 0.1)
    status, _, body, _ = post((b"transfer-encoding", b"chunked"), chunks=1, complete=False)
    assert (status, body["code"]) == (408, "body_too_slow")


def test_photos_may_be_larger_than_forms() -> None:
    assert body_limit.DOCUMENT_PATHS.fullmatch(reverse("maintenance:attach", args=[12]))
    assert body_limit.DOCUMENT_PATHS.fullmatch(reverse("api:attachment-list"))
    assert not body_limit.DOCUMENT_PATHS.fullmatch(reverse("maintenance:close", args=[12]))

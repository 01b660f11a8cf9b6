"""MLflow's own pages, passed through to admins for reading: MLflow itself knows no users, and only we reach it."""

import re
from collections.abc import AsyncIterator
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from sensors.errors import Refused

if TYPE_CHECKING:
    # Imported by the first admin who opens the pages, not by every web process.
    import httpx

SECONDS = 15.0
# What shows experiments, runs and models. Not its assistant, its gateway, its jobs and its webhooks, which act in the
# server's name; and nothing that changes anything: an experiment can be told to lie in any directory of the server.
READ = re.compile(
    r"|static-files/.+|version|(model-versions/)?get-artifact|ajax-api/3\.0/mlflow/server-info"
    r"|ajax-api/[23]\.0/mlflow/(experiments|runs|registered-models|model-versions|logged-models|metrics|artifacts)/.+"
)
ASKED_BY_POST = re.compile(
    r"graphql|ajax-api/[23]\.0/mlflow/(experiments|runs|registered-models|model-versions|logged-models)/search[\w-]*"
)
PASSED_ON = ("Accept", "Accept-Language", "Content-Type", "If-None-Match", "Range")
PASSED_BACK = (
    *("Content-Type", "Content-Encoding", "Content-Disposition", "Content-Range", "Cache-Control", "ETag"),
    "Location",
)


async def passed_through(request: HttpRequest, path: str) -> HttpResponseBase:
    """MLflow's answer to the same request, as it comes in.

    Raises Refused for what is not passed through, and when MLflow does not answer.
    """
    import httpx

    allowed = ASKED_BY_POST if request.method == "POST" else READ
    if not allowed.fullmatch(path) or {".", ".."} & set(path.split("/")):
        raise Refused("path", "This part of MLflow is not passed through.", 404)
    target = httpx.URL(f"/{quote(path)}", query=request.META["QUERY_STRING"].encode())
    headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
    client = _client(settings.MLFLOW_TRACKING_URI)
    asked = client.build_request(str(request.method), target, headers=headers, content=request.body)
    try:
        answer = await client.send(asked, stream=True)
    except httpx.HTTPError:
        raise Refused("mlflow_away", "MLflow does not answer. Models in service go on without it.", 503) from None
    back = {name: answer.headers[name] for name in PASSED_BACK if name in answer.headers}
    if request.method == "HEAD":
        await answer.aclose()
        return HttpResponse(status=answer.status_code, headers=back)
    return StreamingHttpResponse(_body(answer), status=answer.status_code, headers=back)


async def _body(answer: "httpx.Response") -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()


@cache
def _client(uri: str) -> "httpx.AsyncClient":
    import httpx

    from mlops.registry.address import address

    if not uri:
        raise Refused("no_mlflow", "This installation has no MLflow (MLFLOW_TRACKING_URI=none).", 503)
    base, socket = address(uri)
    # No connection is kept: a page is opened now and then, and event loops of tests come and go.
    limits = httpx.Limits(max_keepalive_connections=0)
    transport = httpx.AsyncHTTPTransport(uds=socket, limits=limits)
    return httpx.AsyncClient(base_url=base, timeout=SECONDS, transport=transport)

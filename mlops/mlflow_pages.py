"""MLflow's own pages, passed through to admins: MLflow itself knows no users, and nothing but us reaches it."""

from collections.abc import AsyncIterator
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from sensors.errors import Refused

if TYPE_CHECKING:
    # Imported by the first admin who opens the pages, not by every web process.
    import httpx

SECONDS = 15.0
PASSED_ON = ("Accept", "Accept-Language", "Content-Type", "If-None-Match", "Range")
PASSED_BACK = (
    *("Content-Type", "Content-Encoding", "Content-Disposition", "Content-Range", "Cache-Control", "ETag"),
    "Location",
)


async def passed_through(request: HttpRequest, path: str) -> HttpResponseBase:
    """MLflow's answer to the same request, as it comes in.

    Raises Refused when MLflow does not answer, and for changes that were not asked for by one of these pages: they
    carry no token of ours, so the browser's word for where they come from stands in for it.
    """
    import httpx

    if request.method != "GET" and not _is_from_here(request):
        raise Refused("origin", "Only MLflow's own pages may ask for this.", 403)
    if {".", ".."} & set(path.split("/")):
        raise Refused("path", "There is nothing of MLflow's there.", 404)
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


def _is_from_here(request: HttpRequest) -> bool:
    origin = urlsplit(request.headers.get("Origin", ""))
    return origin.netloc == request.get_host() and origin.scheme == request.scheme


@cache
def _client(uri: str) -> "httpx.AsyncClient":
    import httpx

    from mlops.registry.mlflow_api import address

    if not uri:
        raise Refused("no_mlflow", "This installation has no MLflow (MLFLOW_TRACKING_URI=none).", 503)
    base, socket = address(uri)
    # No connection is kept: a page is opened now and then, and event loops of tests come and go.
    limits = httpx.Limits(max_keepalive_connections=0)
    transport = httpx.AsyncHTTPTransport(uds=socket, limits=limits)
    return httpx.AsyncClient(base_url=base, timeout=SECONDS, transport=transport)

"""MLflow's REST interface (https://mlflow.org/docs/latest/rest-api.html), as far as the registry needs it.

MLflow's own client costs seconds and 250 MB to import and tries again for minutes; straight at its database it waits
100 s for a server that is gone. Here a call ends within seconds, and who only reads imports nothing of MLflow.
"""

import time
from functools import cache
from typing import Any

import httpx
from django.conf import settings

from mlops.registry.address import PREFIX, address

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 3.0
# Writing a version or reading a large file, from the first byte to the last.
TRANSFER_SECONDS = 10.0
MESSAGE = 500


class Unavailable(Exception):
    """MLflow, or the store behind it, does not do what it is asked; trying again later may help."""


class NoAnswer(Unavailable):
    """MLflow itself is silent: whatever else it could be asked for now would wait as long."""


class NotFound(Exception):
    """MLflow answers that there is no such thing."""


def is_configured() -> bool:
    return bool(settings.MLFLOW_TRACKING_URI)


@cache
def _client(uri: str) -> httpx.Client:
    base, socket = address(uri)
    timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    # No connection is kept: calls are rare, and one that the server closes meanwhile would make the next call fail.
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(base_url=base, timeout=timeout, transport=httpx.HTTPTransport(uds=socket, limits=limits))


def _file(path: str) -> str:
    """The address of a file below the root of artifacts."""
    base, _ = address(settings.MLFLOW_TRACKING_URI)
    # Our own server has the files at its root as well, from where they come five times faster: below the prefix they
    # pass through Flask.
    return f"{base.removesuffix(PREFIX)}/api/2.0/mlflow-artifacts/artifacts/{path}"


def _send(method: str, path: str, **how: Any) -> httpx.Response:
    if not is_configured():
        raise Unavailable("there is no registry (MLFLOW_TRACKING_URI=none)")
    try:
        answer = _client(settings.MLFLOW_TRACKING_URI).request(method, path, **how)
    except httpx.HTTPError as error:
        raise NoAnswer(f"MLflow does not answer: {error or type(error).__name__}") from error
    return _checked(answer)


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        said = str(answer.json()["message"])
    except (ValueError, LookupError, TypeError):
        said = answer.text
    if answer.status_code == 404:
        raise NotFound(said[:MESSAGE])
    raise Unavailable(f"MLflow answers {answer.status_code}: {said[:MESSAGE]}")


def call(method: str, endpoint: str, **fields: Any) -> dict[str, Any]:
    """Ask an endpoint such as "runs/create"; the fields are the query of GET and the body of everything else.

    Raises NotFound and Unavailable.
    """
    how = {"params": fields} if method == "GET" else {"json": fields, "timeout": TRANSFER_SECONDS}
    answer: dict[str, Any] = _send(method, f"/api/2.0/mlflow/{endpoint}", **how).json()
    return answer


def write_artifact(path: str, content: bytes) -> None:
    """Raises Unavailable."""
    _send("PUT", _file(path), content=content, timeout=TRANSFER_SECONDS)


def read_artifact(path: str, size_bytes: int) -> bytes:
    """The file below the root of artifacts; not read on when it proves to be larger than it should be.

    Raises NotFound and Unavailable.
    """
    if not is_configured():
        raise Unavailable("there is no registry (MLFLOW_TRACKING_URI=none)")
    deadline = time.monotonic() + TRANSFER_SECONDS
    content = bytearray()
    try:
        with _client(settings.MLFLOW_TRACKING_URI).stream("GET", _file(path)) as answer:
            if not answer.is_success:
                answer.read()
            for chunk in _checked(answer).iter_bytes():
                content += chunk
                if len(content) > size_bytes:
                    break
                if time.monotonic() > deadline:
                    raise NoAnswer(f"MLflow takes longer than {TRANSFER_SECONDS:.0f} s")
    except httpx.HTTPError as error:
        raise NoAnswer(f"MLflow does not answer: {error or type(error).__name__}") from error
    return bytes(content)

"""The fast way to ask models: programs with an API key are served by this bare ASGI application, not by Django's.

Django's request cycle costs more than most models take to answer (measured: 4.5 ms, against 0.7).
"""

from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from mlops.prediction import asking
from sensors.access import require_rate
from sensors.doors.bare import (
    Application,
    Keys,
    Receive,
    Scope,
    Send,
    body_of,
    headers_of,
    in_thread,
    key_of,
    new_request_id,
    respond,
    respond_refused,
)
from sensors.doors.requests import require_json
from sensors.errors import Refused

PATH = "/api/v1/predict/"
SCOPE, PERMISSION = "read", "mlops.predict_modelversion"
# Each waits in a thread of its own; more than these are turned away.
MOST_AT_ONCE = 64


class PredictDoor:
    """Takes questions to models that show an API key; everything else goes on to `django`."""

    def __init__(self, django: Application) -> None:
        self.django = django
        self.threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="predict")
        self.keys = Keys(ThreadPoolExecutor(1, thread_name_prefix="predict-keys"))
        self.under_way = 0

    async def __call__(self, scope: Scope, receive_message: Receive, send: Send) -> None:
        headers = headers_of(scope) if scope["path"] == PATH and scope["method"] == "POST" else {}
        key = key_of(headers)
        if key is None:
            await self.django(scope, receive_message, send)
            return
        request_id = new_request_id()
        try:
            answer = await self._serve(headers, key, receive_message)
            await respond(send, HTTPStatus.OK, answer, {}, request_id)
        except Refused as refused:
            await respond_refused(send, PATH, refused, request_id)

    async def _serve(self, headers: dict[str, str], key: str, receive_message: Receive) -> bytes:
        principal = await self.keys.principal(key, SCOPE, PERMISSION)
        require_rate(principal)
        require_json(headers)
        body = await body_of(receive_message)
        if self.under_way >= MOST_AT_ONCE:
            raise asking.refusal("predict_busy")
        self.under_way += 1
        try:
            return await in_thread(self.threads, asking.predict, body, principal.user, principal.site_id)
        finally:
            self.under_way -= 1

"""What a request that holds readings means, whichever way it came."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils import timezone

from sensors.access import Sender
from sensors.columns import Columns
from sensors.doors.intake import Answer, Delivery
from sensors.errors import Refused
from sensors.formats import json, line_protocol
from sensors.formats.gzip import inflate

JSON_PATH = "/api/v1/readings/"
LINE_PROTOCOL_PATH = "/api/v2/write"
PATHS = (JSON_PATH, LINE_PROTOCOL_PATH)


@dataclass(frozen=True)
class Incoming:
    """A request; header names are in lower case."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    sender: Sender

    def delivery(self) -> Delivery:
        """Raises Refused (415) for a media type or encoding that the door does not take."""
        source, parse = self._format()
        return Delivery(
            sender=self.sender,
            source=source,
            parse=parse,
            body=self.body,
            address=f"{self.path}?{sorted(self.query.items())}",
            idempotency_key=self.headers.get("idempotency-key"),
            on_conflict=self.query.get("on_conflict", "keep"),
        )

    def _format(self) -> tuple[str, Callable[[], Columns]]:
        if self.path == LINE_PROTOCOL_PATH:
            precision = self.query.get("precision", "ns")
            return "line", lambda: line_protocol.parse(self._plain_body(), precision, timezone.now())
        require_json(self.headers)
        return "api", lambda: json.parse(self._plain_body())

    def _plain_body(self) -> bytes:
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        if encoding == "gzip":
            return inflate(self.body, settings.MAX_BODY_BYTES)
        if encoding not in ("identity", ""):
            raise Refused("unsupported_encoding", f"Content-Encoding may be gzip; this is {encoding[:40]!r}.", 415)
        return self.body


def require_json(headers: Mapping[str, str]) -> None:
    """Raises Refused (415) when a body says that it is something else."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        detail = f"Send application/json; this is {media_type or 'of no type'!r}."
        raise Refused("unsupported_media_type", detail, 415)


def error_of(path: str, refused: Refused, request_id: str) -> dict[str, Any]:
    """The body of an error, in the one shape of the API; InfluxDB's clients look for `message`."""
    body = {
        "code": refused.code,
        "detail": refused.detail,
        "errors": list(refused.errors),
        "request_id": request_id,
    }
    return body | ({"message": refused.detail} if path == LINE_PROTOCOL_PATH else {})


def require_good(answer: Answer) -> None:
    """Raises Refused (422) when no row of the request was good."""
    if answer.status == 422:
        rejected = answer.stored["rejected"]
        refused = Refused("readings_rejected", "No reading was stored; see errors.", 422, rejected)
        refused.headers |= answer.headers
        raise refused

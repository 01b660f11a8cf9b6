"""What the site says when a request cannot be served: JSON to programs (paths under /api/), a page to people."""

from dataclasses import dataclass, replace

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django_guid import get_guid


@dataclass(frozen=True)
class Failure:
    status: int
    code: str
    title: str
    detail: str


BAD_REQUEST = Failure(400, "bad_request", "That request makes no sense here", "Check the address or go back and retry.")
DENIED = Failure(403, "permission_denied", "Not allowed", "Your role does not allow this. Ask an admin if it should.")
NOT_FOUND = Failure(
    404, "not_found", "Nothing here", "It does not exist, or it belongs to a site you are no member of."
)
SERVER_ERROR = Failure(500, "server_error", "Something broke on our side", "It has been logged. Try again in a moment.")
CSRF = Failure(403, "csrf_failed", "This form is out of date", "Go back, reload the page and send the form again.")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    # What our own pages say of an address; what Django says of hosts and forms is for the log.
    said = str(exception) if isinstance(exception, BadRequest) else ""
    return _answer(request, replace(BAD_REQUEST, detail=said or BAD_REQUEST.detail))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, DENIED)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, NOT_FOUND)


def server_error(request: HttpRequest) -> HttpResponse:
    return _answer(request, SERVER_ERROR)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _answer(request, CSRF)


def _answer(request: HttpRequest, failure: Failure) -> HttpResponse:
    if request.path.startswith("/api/"):
        body = {"code": failure.code, "detail": failure.detail, "errors": [], "request_id": get_guid()}
        return JsonResponse(body, status=failure.status)
    # Rendered without the request: whatever broke (session, database) must not break this page as well.
    html = render_to_string("errors/error.html", {"failure": failure, "request_id": get_guid()})
    return HttpResponse(html, status=failure.status)

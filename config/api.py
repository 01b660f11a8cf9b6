"""What every endpoint of the API shares: one shape of errors, one way through long lists."""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
from django.core.exceptions import RequestDataTooBig
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import OperationalError
from django.db.models import QuerySet
from django_guid import get_guid
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.exceptions import APIException, NotFound, ParseError, ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler

from sensors.errors import Refused

logger = logging.getLogger(__name__)


def error_body(code: str, detail: str, errors: Iterable[dict[str, Any]] = ()) -> dict[str, Any]:
    """The one shape of every error: a stable `code`, a `detail` for people, the single `errors`, the log's id."""
    return {"code": code, "detail": detail, "errors": list(errors), "request_id": get_guid()}


def error_response(exc: Exception, context: dict[str, Any]) -> Response:
    """Answer every exception of an API view in the one shape; what nobody expected is logged and answered 500."""
    if isinstance(exc, Refused):
        return Response(error_body(exc.code, exc.detail, exc.errors), exc.status, headers=exc.headers)
    if isinstance(exc, RequestDataTooBig):
        return Response(error_body("body_too_large", "The body is larger than this server accepts."), 413)
    if isinstance(exc, RecursionError):
        exc = ParseError("The JSON is nested too deeply.")
    if isinstance(exc, OperationalError | psycopg.OperationalError):
        # Nothing was acknowledged, so the sender still has its readings and can send them again.
        logger.error("the database did not answer in time", exc_info=exc)
        busy = error_body("database_busy", "The database does not answer in time; send the request again.")
        return Response(busy, 503, headers={"Retry-After": "5"})
    response = exception_handler(exc, context)  # Knows Http404, PermissionDenied and the headers that belong to them.
    if response is None:
        logger.error("unexpected failure of the API", exc_info=exc, extra={"path": context["request"].path})
        return Response(error_body("server_error", "The server failed; its log has more under the request id."), 500)
    response.data = _body_of(exc, response)
    return response


def _body_of(exc: Exception, response: Response) -> dict[str, Any]:
    if isinstance(exc, ValidationError):
        return error_body("invalid", "Some values are missing or wrong; see errors.", _flat(exc.get_full_details()))
    if isinstance(exc, APIException):
        code = exc.get_codes()
        return error_body(code if isinstance(code, str) else exc.default_code, str(exc.detail))
    codes = {403: "permission_denied", 404: "not_found"}
    return error_body(codes.get(response.status_code, "error"), str(response.data["detail"]))


def _flat(details: Any, field: str = "") -> Iterator[dict[str, str]]:
    """One entry per complaint, however deep: `field` is the way to it (`rows.3.value`), empty for the whole."""
    if isinstance(details, dict) and details.keys() == {"message", "code"} and isinstance(details["code"], str):
        yield {"field": field, "code": details["code"], "detail": str(details["message"])}
    elif isinstance(details, dict):
        for name, inner in details.items():
            own = "" if name == "non_field_errors" else str(name)
            yield from _flat(inner, ".".join(part for part in (field, own) if part))
    else:
        leaf = all(isinstance(inner, dict) and inner.keys() == {"message", "code"} for inner in details)
        for index, inner in enumerate(details):
            yield from _flat(inner, field if leaf else f"{field}.{index}" if field else str(index))


class NewestFirst(CursorPagination):
    """Pages of a list, newest first. The links stay right while rows are added; no page costs more than the first.

    A view may name its own `ordering`; its first field must be (nearly) unique and not empty.
    """

    page_size_query_param = "page_size"
    page_size_query_description = "Rows per page, at most 1000."
    max_page_size = 1000

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: APIView | None) -> tuple[str, ...]:
        ordering: tuple[str, ...] = getattr(view, "ordering", ("-pk",))
        return ordering

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any] | None:
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValueError, TypeError, DjangoValidationError) as error:
            # A cursor that someone made up decodes to a position that the column cannot be compared with.
            if self.cursor_query_param not in request.query_params:
                raise
            raise NotFound(self.invalid_cursor_message) from error


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes API keys in the OpenAPI document; drf-spectacular finds it by `target_class`."""

    target_class = "sensors.access.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "header", "name": "X-API-Key"}

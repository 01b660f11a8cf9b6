"""Exports through the API: any list of rows, and a sensor's readings."""

import json
from collections.abc import Iterator
from typing import Any, cast

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request

from sensors import export
from sensors.api.scoped import ErrorSerializer, KnownRequest, SiteScopedViewSet
from sensors.export import Kind, Table

ROWS_AT_ONCE = 1000
KINDS: list[tuple[type[serializers.Field[Any, Any, Any, Any]], Kind]] = [
    (serializers.BooleanField, "flag"),
    (serializers.IntegerField, "integer"),
    (serializers.PrimaryKeyRelatedField, "integer"),
    (serializers.FloatField, "number"),
    (serializers.DateTimeField, "time"),
]
FORMAT = OpenApiParameter("format", str, enum=list(export.WRITERS), default="csv")
FILE = {(200, content_type): OpenApiTypes.BINARY for content_type, _ in export.WRITERS.values()} | {
    400: OpenApiResponse(ErrorSerializer, description="`unknown_format`"),
    422: OpenApiResponse(ErrorSerializer, description="`too_many_rows`: XLSX holds fewer rows than the others."),
    429: OpenApiResponse(ErrorSerializer, description="`too_many_at_once`: others of yours are still running."),
}


class FileNegotiation(DefaultContentNegotiation):
    """`format` names the file's format here, not a renderer; only errors are rendered."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class ExportableViewSet(SiteScopedViewSet):
    """A list whose rows, as it shows and filters them, can be had as a file."""

    # What `export` and `list` show; other actions may show more.
    lists = ("list", "export")

    @extend_schema(parameters=[FORMAT], responses=FILE)
    @action(detail=False, methods=["get"], content_negotiation_class=FileNegotiation)
    def export(self, request: KnownRequest) -> StreamingHttpResponse:
        """The list as a file, oldest rows first."""
        file_format = request.query_params.get("format", "csv")
        return export.download(self._table(), file_format, user_id=request.user.pk)

    def _table(self) -> Table:
        rows = self.filter_queryset(self.get_queryset()).order_by("pk")
        fields = cast(Any, self.get_serializer()).fields
        name = str(rows.model._meta.verbose_name_plural).replace(" ", "-")

        def pieces() -> Iterator[list[list[Any]]]:
            last = 0
            while found := list(rows.filter(pk__gt=last)[:ROWS_AT_ONCE]):
                yield [[_cell(field, row) for row in found] for field in fields.values()]
                last = found[-1].pk

        columns = {name: _kind(field) for name, field in fields.items()}
        return Table(name, columns, pieces, rows.count)


def _kind(field: Any) -> Kind:
    if isinstance(field, serializers.ChoiceField):
        return "integer" if all(isinstance(key, int) for key in field.choices) else "text"
    return next((kind for cls, kind in KINDS if isinstance(field, cls)), "text")


def _cell(field: Any, row: Any) -> Any:
    """What the list shows, as a value of the column's kind."""
    value = field.get_attribute(row)
    if value is None or isinstance(field, serializers.DateTimeField):
        return value
    shown = field.to_representation(value)
    return json.dumps(shown, ensure_ascii=False) if isinstance(shown, dict | list) else shown

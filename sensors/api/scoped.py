"""What the endpoints of every app are built from: rows of visible sites only, and filters that keep to one meaning."""

import math
from datetime import datetime
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import BigIntegerField, Model, QuerySet
from django.utils.dateparse import parse_datetime
from django_filters.rest_framework import FilterSet, IsoDateTimeFilter, NumberFilter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.viewsets import GenericViewSet


class KnownRequest(Request):
    """A request that has passed ModelPermissions: somebody is asking."""

    user: User


class SiteScopedViewSet(GenericViewSet[Any]):
    """Rows of sites that the caller sees; those of other sites are 404, as if they did not exist."""

    lookup_value_converter = "int"
    # Declared here because an action may only set what its class knows (sensors.access.ModelPermissions reads them).
    required_permissions: tuple[str, ...] | None = None
    required_scope: str | None = None

    def get_queryset(self) -> QuerySet[Any]:
        queryset: Any = super().get_queryset()
        rows: QuerySet[Any] = queryset.visible_to(self.request.user)
        return rows


class ErrorSerializer(serializers.Serializer[Any]):
    """The one shape of errors (config.api.error_body), for the documentation."""

    code = serializers.CharField()
    detail = serializers.CharField()
    errors = serializers.ListField(child=serializers.DictField())  # type: ignore[assignment]
    request_id = serializers.CharField()


class FiniteFloatField(serializers.FloatField):
    """A number that PostgreSQL and JSON can both hold: neither NaN nor infinity, which Python reads from text."""

    def to_internal_value(self, data: Any) -> float:
        value = super().to_internal_value(data)
        if not math.isfinite(value):
            self.fail("invalid")
        return value


class VisibleRelatedField(serializers.PrimaryKeyRelatedField[Model]):
    """A foreign key that may only point at what the caller sees."""

    def to_internal_value(self, data: Any) -> Model:
        try:
            row: Model = super().to_internal_value(data)
        except OverflowError:
            self.fail("does_not_exist", pk_value=data)
        return row

    def get_queryset(self) -> QuerySet[Any]:
        queryset: Any = super().get_queryset()
        rows: QuerySet[Any] = queryset.visible_to(self.context["request"].user)
        return rows


class AwareDateTimeField(forms.DateTimeField):
    """A time with its zone; one without could be meant in any."""

    def to_python(self, value: Any) -> datetime | None:
        if value in self.empty_values:
            return None
        try:
            parsed = parse_datetime(str(value).strip())
        except ValueError:
            parsed = None
        if parsed is None:
            raise ValidationError("Give an ISO 8601 time, e.g. 2026-01-31T12:00:00Z.", code="invalid")
        if parsed.tzinfo is None:
            raise ValidationError("Name the time zone, e.g. 2026-01-31T12:00:00Z.", code="naive_timestamp")
        return parsed


class AwareDateTimeFilter(IsoDateTimeFilter):  # type: ignore[misc]
    field_class = AwareDateTimeField


class IdFilter(NumberFilter):  # type: ignore[misc]
    """Rows that point at this id. An id that does not exist, or is not visible, matches nothing and tells nothing."""

    # Not a decimal: turning 1e-9999999 into a whole number takes the interpreter minutes.
    field_class = forms.IntegerField

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, min_value=0, max_value=BigIntegerField.MAX_BIGINT, **options)

    def get_max_validator(self) -> None:
        """The field has its own limits."""


class PeriodFilterSet(FilterSet):  # type: ignore[misc]
    """Adds `from` (inclusive) and `to` (exclusive) on `period_field`."""

    period_field = ""

    @classmethod
    def get_filters(cls) -> dict[str, Any]:
        # As class attributes they could not be called `from` and `to`: the one is a keyword.
        filters: dict[str, Any] = super().get_filters()
        return filters | {
            "from": AwareDateTimeFilter(field_name=cls.period_field, lookup_expr="gte", label="Not before, ISO 8601."),
            "to": AwareDateTimeFilter(field_name=cls.period_field, lookup_expr="lt", label="Before, ISO 8601."),
        }

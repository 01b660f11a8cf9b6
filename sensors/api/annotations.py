"""The API's view of what people say about stretches of time, and of the readings they corrected."""

from datetime import datetime
from typing import Any

from django_filters.rest_framework import BooleanFilter
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from sensors import annotations
from sensors.api.plant import CheckedSerializer
from sensors.api.scoped import IdFilter, KnownRequest, PeriodFilterSet, SiteScopedViewSet
from sensors.models import Annotation, Correction


class AwareDateTimeField(serializers.DateTimeField):
    """A time with its zone; one without could be meant in any."""

    default_error_messages = {"naive_timestamp": "Name the time zone, e.g. 2026-01-31T12:00:00Z."}

    def enforce_timezone(self, value: datetime) -> datetime:
        if value.tzinfo is None:
            self.fail("naive_timestamp")
        return super().enforce_timezone(value)


class AnnotationSerializer(CheckedSerializer):
    start = AwareDateTimeField()
    end = AwareDateTimeField()
    created_by: Any = serializers.SlugRelatedField(slug_field="username", read_only=True)
    removed_by: Any = serializers.SlugRelatedField(slug_field="username", read_only=True)

    class Meta:
        model = Annotation
        fields = [
            *("id", "asset", "sensor", "kind", "start", "end", "text"),
            *("created_at", "created_by", "removed_at", "removed_by"),
        ]
        read_only_fields = ["created_at", "removed_at"]


class AnnotationFilter(PeriodFilterSet):
    asset = IdFilter()
    sensor = IdFilter()
    removed = BooleanFilter(field_name="removed_at", lookup_expr="isnull", exclude=True, label="Was it taken back?")
    period_field = "start"

    class Meta:
        model = Annotation
        fields = ["asset", "sensor", "kind"]


class AnnotationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.CreateModelMixin, SiteScopedViewSet):
    """Notes, stretches kept out of training, past failures: newest first."""

    queryset = Annotation.objects.select_related("created_by", "removed_by")
    serializer_class = AnnotationSerializer
    filterset_class = AnnotationFilter

    def perform_create(self, serializer: Any) -> None:
        about = dict(serializer.validated_data)
        serializer.instance = annotations.add(about.pop("asset"), self.request.user, **about)  # type: ignore[arg-type]

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], required_permissions=("sensors.change_annotation",))
    def remove(self, request: KnownRequest, pk: int | None = None) -> Response:
        """Take it back; it is kept, and marked so."""
        row = self.get_object()
        annotations.take_back(row, request.user)
        return Response(self.get_serializer(self.get_queryset().get(pk=row.pk)).data)


class CorrectionSerializer(serializers.ModelSerializer[Correction]):
    by: Any = serializers.SlugRelatedField(slug_field="username", read_only=True)

    class Meta:
        model = Correction
        fields = ["id", "sensor", "timestamp", "old_value", "old_quality", "new_value", "at", "by"]


class CorrectionFilter(PeriodFilterSet):
    sensor = IdFilter()
    period_field = "at"

    class Meta:
        model = Correction
        fields = ["sensor"]


class CorrectionViewSet(mixins.ListModelMixin, SiteScopedViewSet):
    """Readings whose value was replaced, newest first; values are in the sensor's unit."""

    queryset = Correction.objects.select_related("by")
    serializer_class = CorrectionSerializer
    filterset_class = CorrectionFilter

"""The API's view of sites, assets, sensors and readings, and the door that readings come in through."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import FloatField, QuerySet
from django.shortcuts import get_object_or_404
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
    extend_schema_view,
)
from rest_framework import mixins, serializers
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sensors.access import Sender
from sensors.errors import Refused
from sensors.formats import json as json_format
from sensors.ingest import store_batch
from sensors.models import Asset, Pending, Reading, ReadingBatch, Sensor, Site
from sensors.scoped import (
    ErrorSerializer,
    FiniteFloatField,
    IdFilter,
    PeriodFilterSet,
    SiteScopedViewSet,
    VisibleRelatedField,
)


class SiteSerializer(serializers.ModelSerializer[Site]):
    timezone = serializers.CharField(read_only=True)

    class Meta:
        model = Site
        fields = ["id", "name", "timezone"]


class CheckedSerializer(serializers.ModelSerializer[Any]):
    """A serializer that asks the model's own `clean`, as the admin's forms do."""

    serializer_related_field = VisibleRelatedField
    serializer_field_mapping = {**serializers.ModelSerializer.serializer_field_mapping, FloatField: FiniteFloatField}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        model: Any = self.Meta.model
        kept = {field.name: getattr(self.instance, field.name) for field in model._meta.fields} if self.instance else {}
        try:
            model(**kept | attrs).clean()
        except DjangoValidationError as error:
            raise serializers.ValidationError(serializers.as_serializer_error(error)) from error
        return attrs


class AssetSerializer(CheckedSerializer):
    class Meta:
        model = Asset
        fields = ["id", "site", "parent", "name", "level", "criticality", "description"]


class SensorSerializer(CheckedSerializer):
    class Meta:
        model = Sensor
        fields = [
            "id",
            "asset",
            "sensor_id",
            "name",
            "kind",
            "unit",
            "cadence_seconds",
            "range_low",
            "range_high",
            "max_rate",
            "retention_days",
            "status",
        ]


class ReadingSerializer(serializers.ModelSerializer[Reading]):
    class Meta:
        model = Reading
        fields = ["timestamp", "value", "quality"]


class ReadingInSerializer(serializers.Serializer[Any]):
    """What a reading looks like when it is sent; for the documentation, the door itself decodes with msgspec."""

    sensor_id = serializers.CharField(max_length=100)
    timestamp = serializers.DateTimeField(help_text="ISO 8601 with its time zone.")
    value = serializers.FloatField()
    quality = serializers.FloatField(required=False, default=1.0, min_value=0, max_value=1)
    unit = serializers.CharField(required=False, allow_null=True, help_text="Default: the unit of the sensor.")


class RejectionSerializer(serializers.Serializer[Any]):
    index = serializers.IntegerField(help_text="Place in what was sent, counted from 0.")
    code = serializers.CharField()
    detail = serializers.CharField()


class StoredSerializer(serializers.Serializer[Any]):
    batch = serializers.IntegerField(allow_null=True, help_text="Null when nothing of it was new.")
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    rejected = RejectionSerializer(many=True)


class WorkSerializer(serializers.Serializer[Any]):
    consumer = serializers.CharField()
    state = serializers.ChoiceField(["waiting", "dead", "done"])
    attempts = serializers.IntegerField()


class BatchSerializer(serializers.ModelSerializer[ReadingBatch]):
    work = serializers.SerializerMethodField(help_text="What became of it: one entry per consumer.")

    class Meta:
        model = ReadingBatch
        fields = ["id", "received_at", "source", "mode", "accepted", "duplicates", "work"]

    @extend_schema_field(WorkSerializer(many=True))
    def get_work(self, batch: ReadingBatch) -> list[dict[str, Any]]:
        rows = {row.consumer: row for row in batch.pending.all()}
        return [_work(consumer, rows.get(consumer)) for consumer in settings.OUTBOX_CONSUMERS]


def _work(consumer: str, row: Pending | None) -> dict[str, Any]:
    if row is None:  # A row is deleted in the transaction that does its work.
        return {"consumer": consumer, "state": "done", "attempts": 0}
    return {"consumer": consumer, "state": "dead" if row.dead_at else "waiting", "attempts": row.attempts}


class AssetFilter(FilterSet):  # type: ignore[misc]
    site = IdFilter()
    parent = IdFilter()

    class Meta:
        model = Asset
        fields = ["site", "parent", "level", "criticality"]


class SensorFilter(FilterSet):  # type: ignore[misc]
    site = IdFilter()
    asset = IdFilter()

    class Meta:
        model = Sensor
        fields = ["site", "asset", "sensor_id", "kind", "status"]


class ReadingFilter(PeriodFilterSet):
    period_field = "timestamp"


class SiteViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, SiteScopedViewSet):
    queryset = Site.objects.all()
    serializer_class = SiteSerializer


class EditableViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.CreateModelMixin,
    mixins.UpdateModelMixin,
    SiteScopedViewSet,
):
    """Rows that are set up by people and never deleted."""

    http_method_names = ["get", "head", "options", "post", "patch"]


class AssetViewSet(EditableViewSet):
    queryset = Asset.objects.all()
    serializer_class = AssetSerializer
    filterset_class = AssetFilter


class SensorViewSet(EditableViewSet):
    queryset = Sensor.objects.all()
    serializer_class = SensorSerializer
    filterset_class = SensorFilter


class BatchViewSet(mixins.RetrieveModelMixin, SiteScopedViewSet):
    """What became of a batch of readings."""

    queryset = ReadingBatch.objects.prefetch_related("pending")
    serializer_class = BatchSerializer


@extend_schema_view(get=extend_schema(parameters=[OpenApiParameter("id", int, OpenApiParameter.PATH)]))
class SensorReadings(ListAPIView[Reading]):
    """The readings of a sensor in its unit, newest first."""

    queryset = Reading.objects.all()
    serializer_class = ReadingSerializer
    filterset_class = ReadingFilter
    ordering = ("-timestamp",)

    def get_queryset(self) -> QuerySet[Reading]:
        sensors = Sensor.objects.visible_to(self.request.user)
        sensor = get_object_or_404(sensors, pk=self.kwargs["id"])
        return Reading.objects.filter(sensor=sensor)


def _sender(request: Request) -> Sender:
    return request.auth if isinstance(request.auth, Sender) else Sender(user=request.user)


class ReadingsDoor(APIView):
    """Readings come in here: one object or an array of them, in `application/json`."""

    required_permissions = ("sensors.add_reading",)
    required_scope = "ingest"

    @extend_schema(
        operation_id="readings_send",
        request=ReadingInSerializer(many=True),
        responses={
            201: StoredSerializer,
            200: OpenApiResponse(StoredSerializer, description="Nothing new: every good reading was stored before."),
            400: OpenApiResponse(ErrorSerializer, description="`malformed_json`"),
            413: OpenApiResponse(ErrorSerializer, description="`body_too_large`"),
            415: OpenApiResponse(ErrorSerializer, description="`unsupported_media_type`"),
            422: OpenApiResponse(
                ErrorSerializer, description="`readings_rejected`: no reading was good; see `errors`."
            ),
        },
    )
    def post(self, request: Request) -> Response:
        media_type = request.content_type.partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise UnsupportedMediaType(media_type)
        columns = json_format.parse(request.body)
        stored = store_batch(columns, source="api", sender=_sender(request))
        if stored.rejected and not stored.accepted and not stored.duplicates:
            raise Refused("readings_rejected", "No reading was stored; see errors.", 422, stored.as_json()["rejected"])
        return Response(stored.as_json(), 201 if stored.accepted else 200)

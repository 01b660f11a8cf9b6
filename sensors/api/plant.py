"""The API's view of sites, assets, sensors and readings; readings come in through `sensors.doors`."""

from contextlib import nullcontext
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import FloatField, Q, QuerySet
from django.shortcuts import get_object_or_404
from django_filters.rest_framework import BooleanFilter, FilterSet
from drf_spectacular.utils import (
    OpenApiParameter,
    extend_schema,
    extend_schema_field,
    extend_schema_view,
)
from rest_framework import mixins, serializers
from rest_framework.generics import ListAPIView

from sensors import placement
from sensors.api.exportable import ExportableViewSet
from sensors.api.scoped import (
    FiniteFloatField,
    IdFilter,
    PeriodFilterSet,
    SiteScopedViewSet,
    VisibleRelatedField,
)
from sensors.models import Asset, Pending, Reading, ReadingBatch, Sensor, SensorFault, SensorProfile, Site


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
        fields = [
            *("id", "site", "parent", "name", "level", "asset_class", "criticality", "description"),
            *("manufacturer", "model", "serial_number", "power_kw", "commissioned_on", "warranty_until"),
        ]


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
            "alarm_low",
            "warn_low",
            "warn_high",
            "alarm_high",
            "machine_class",
            "retention_days",
            "status",
        ]


class SensorProfileSerializer(serializers.ModelSerializer[SensorProfile]):
    class Meta:
        model = SensorProfile
        fields = [
            "live_since",
            "last_at",
            "last_received_at",
            "learned_at",
            "readings",
            "cadence_seconds",
            "arrival_seconds",
            "low",
            "high",
            "noise",
            "repeat_share",
            "completeness",
            "quality",
        ]


class SensorDetailSerializer(SensorSerializer):
    profile = SensorProfileSerializer(read_only=True, allow_null=True)

    class Meta(SensorSerializer.Meta):
        fields = [*SensorSerializer.Meta.fields, "profile"]


class SensorFaultSerializer(serializers.ModelSerializer[SensorFault]):
    class Meta:
        model = SensorFault
        fields = [
            "id",
            "site",
            "asset",
            "sensor",
            "sender",
            "part_of",
            "kind",
            "detail",
            "began_at",
            "noticed_at",
            "ended_at",
        ]


class ReadingSerializer(serializers.ModelSerializer[Reading]):
    class Meta:
        model = Reading
        fields = ["timestamp", "value", "quality"]


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
    asset_class = IdFilter()

    class Meta:
        model = Asset
        fields = ["site", "parent", "level", "asset_class", "criticality"]


class SensorFilter(FilterSet):  # type: ignore[misc]
    site = IdFilter()
    asset = IdFilter()

    class Meta:
        model = Sensor
        fields = ["site", "asset", "sensor_id", "kind", "status"]


class BatchFilter(PeriodFilterSet):
    period_field = "received_at"

    class Meta:
        model = ReadingBatch
        fields = ["source", "mode"]


class SensorFaultFilter(PeriodFilterSet):
    period_field = "began_at"
    site = IdFilter()
    asset = IdFilter(method="of_asset", label="Of the asset, or of one of its sensors.")
    sensor = IdFilter()
    part_of = IdFilter()
    open = BooleanFilter(field_name="ended_at", lookup_expr="isnull")

    class Meta:
        model = SensorFault
        fields = ["site", "asset", "sensor", "part_of", "kind", "open"]

    def of_asset(self, rows: QuerySet[SensorFault], name: str, asset: int) -> QuerySet[SensorFault]:
        return rows.filter(Q(asset=asset) | Q(sensor__asset=asset))


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
    ExportableViewSet,
):
    """Rows that are set up by people and never deleted."""

    http_method_names = ["get", "head", "options", "post", "patch"]


class AssetViewSet(EditableViewSet):
    queryset = Asset.objects.all()
    serializer_class = AssetSerializer
    filterset_class = AssetFilter


class SensorViewSet(EditableViewSet):
    queryset = Sensor.objects.select_related("asset")
    serializer_class = SensorSerializer
    filterset_class = SensorFilter

    def perform_update(self, serializer: Any) -> None:
        """A change of a discovered sensor is written down: it decides what its values mean and where they belong."""
        sensor = serializer.instance
        assert isinstance(self.request.user, User)
        waits = sensor.status == Sensor.Status.DISCOVERED
        with placement.seeing_to(sensor, self.request.user) if waits else nullcontext():
            serializer.save()

    def get_queryset(self) -> QuerySet[Sensor]:
        sensors = super().get_queryset()
        return sensors.select_related("profile") if self.action == "retrieve" else sensors

    def get_serializer_class(self) -> type[SensorSerializer]:
        return SensorDetailSerializer if self.action == "retrieve" else SensorSerializer


class SensorFaultViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, SiteScopedViewSet):
    """Instruments that could not be trusted, or were silent, from when to when."""

    queryset = SensorFault.objects.all()
    serializer_class = SensorFaultSerializer
    filterset_class = SensorFaultFilter


class BatchViewSet(mixins.RetrieveModelMixin, ExportableViewSet):
    """What became of a batch of readings."""

    queryset = ReadingBatch.objects.prefetch_related("pending")
    serializer_class = BatchSerializer
    filterset_class = BatchFilter


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

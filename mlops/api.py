"""The API's view of what the detectors found, and of the models there are."""

from typing import Any

from django.db.models import Prefetch, QuerySet
from django_filters.rest_framework import BooleanFilter
from rest_framework import mixins, serializers

from mlops.models import Anomaly, Deployment, ModelVersion
from sensors.api.exportable import ExportableViewSet
from sensors.api.scoped import IdFilter, PeriodFilterSet, SiteScopedViewSet


class AnomalySerializer(serializers.ModelSerializer[Anomaly]):
    class Meta:
        model = Anomaly
        fields = [
            "id",
            "sensor",
            "asset",
            "alert",
            "start",
            "end",
            "peak_at",
            "peak_value",
            "peak_score",
            "historical",
            "decision",
            "confidence",
            "evidence",
        ]


class AnomalyFilter(PeriodFilterSet):
    period_field = "start"
    site = IdFilter(field_name="sensor__site")
    asset = IdFilter(field_name="sensor__asset")
    sensor = IdFilter()
    alert = IdFilter()

    class Meta:
        model = Anomaly
        fields = ["site", "asset", "sensor", "alert", "historical", "decision"]


class AnomalyViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ExportableViewSet):
    """Stretches of time in which a sensor was not normal. With an `asset`, all its sensors together were not, and
    `sensor` is the one that had most to do with it.
    """

    queryset = Anomaly.objects.all()
    serializer_class = AnomalySerializer
    filterset_class = AnomalyFilter


class ServesSerializer(serializers.ModelSerializer[Deployment]):
    """What a version serves: a sensor, an asset, or a kind of sensors (of a site, or of all)."""

    class Meta:
        model = Deployment
        fields = ["purpose", "site", "sensor", "asset", "kind", "since"]


class ModelVersionSerializer(serializers.ModelSerializer[ModelVersion]):
    features = serializers.ListField(child=serializers.CharField(), help_text="What it must be given, by name.")
    example = serializers.DictField(child=serializers.FloatField(), help_text="What that usually is: medians.")
    metrics = serializers.DictField(child=serializers.FloatField())
    tags = serializers.DictField(child=serializers.CharField())
    serves = ServesSerializer(source="in_service", many=True)

    class Meta:
        model = ModelVersion
        fields = [
            *("id", "name", "version", "purpose", "site", "features", "example", "metrics", "tags"),
            *("created_at", "serves"),
        ]


class ModelVersionFilter(PeriodFilterSet):
    period_field = "created_at"
    site = IdFilter()
    in_service = BooleanFilter(method="of_service", label="Whether it serves anything now.")

    class Meta:
        model = ModelVersion
        fields = ["name", "version", "purpose", "site"]

    def of_service(self, rows: QuerySet[ModelVersion], name: str, wanted: bool) -> QuerySet[ModelVersion]:
        serving = Deployment.objects.in_service().visible_to(self.request.user).values("version")
        return rows.filter(pk__in=serving) if wanted else rows.exclude(pk__in=serving)


class ModelVersionViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, SiteScopedViewSet):
    """Trained models, version by version: what each wants to be given, how good it is, and what it serves."""

    queryset = ModelVersion.objects.all()
    serializer_class = ModelVersionSerializer
    filterset_class = ModelVersionFilter

    def get_queryset(self) -> QuerySet[Any]:
        in_service = Deployment.objects.in_service().visible_to(self.request.user)
        return super().get_queryset().prefetch_related(Prefetch("deployments", in_service, to_attr="in_service"))

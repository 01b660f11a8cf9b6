"""The API's view of what the detectors found."""

from rest_framework import mixins, serializers

from mlops.models import Anomaly
from sensors.api.exportable import ExportableViewSet
from sensors.api.scoped import IdFilter, PeriodFilterSet


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

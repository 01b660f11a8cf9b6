"""The API's view of whether repairs did their work."""

from rest_framework import mixins, serializers

from mlops.models import RepairCheck
from sensors.api.scoped import IdFilter, PeriodFilterSet, SiteScopedViewSet


class RepairCheckSerializer(serializers.ModelSerializer[RepairCheck]):
    class Meta:
        model = RepairCheck
        fields = ["id", "order", "answer", "reason", "due_at", "checked_at"]


class RepairCheckFilter(PeriodFilterSet):
    period_field = "checked_at"
    order = IdFilter()
    asset = IdFilter(field_name="order__asset")

    class Meta:
        model = RepairCheck
        fields = ["order", "asset", "answer"]


class RepairCheckViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, SiteScopedViewSet):
    """Whether closed jobs did their work, by the signals before and after; an empty answer waits for readings."""

    queryset = RepairCheck.objects.all()
    serializer_class = RepairCheckSerializer
    filterset_class = RepairCheckFilter

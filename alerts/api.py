"""The API's view of alerts."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from alerts import lifecycle
from alerts.models import Alert, Transition
from sensors.api.exportable import ExportableViewSet
from sensors.api.scoped import IdFilter, KnownRequest, PeriodFilterSet


class TransitionSerializer(serializers.ModelSerializer[Transition]):
    by = serializers.SlugRelatedField[Any](slug_field="username", read_only=True)

    class Meta:
        model = Transition
        fields = ["from_state", "to_state", "at", "by", "reason"]


class AlertSerializer(serializers.ModelSerializer[Alert]):
    class Meta:
        model = Alert
        fields = [
            "id",
            "site",
            "asset",
            "sensor",
            "kind",
            "severity",
            "state",
            "historical",
            "title",
            "occurrences",
            "opened_at",
            "last_seen_at",
            "resolved_at",
        ]


class AlertDetailSerializer(AlertSerializer):
    transitions = TransitionSerializer(many=True, read_only=True)

    class Meta(AlertSerializer.Meta):
        fields = [*AlertSerializer.Meta.fields, "evidence", "transitions"]


class ReasonSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=500)


class AlertFilter(PeriodFilterSet):
    period_field = "opened_at"
    site = IdFilter()
    asset = IdFilter()
    sensor = IdFilter()

    class Meta:
        model = Alert
        fields = ["site", "asset", "sensor", "kind", "severity", "state", "historical"]


class AlertViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ExportableViewSet):
    """Alerts, and what people do with them."""

    queryset = Alert.objects.all()
    serializer_class = AlertSerializer
    filterset_class = AlertFilter

    def get_queryset(self) -> QuerySet[Alert]:
        alerts = super().get_queryset()
        return alerts if self.action in self.lists else alerts.prefetch_related("transitions__by")

    def get_serializer_class(self) -> type[AlertSerializer]:
        return AlertSerializer if self.action in self.lists else AlertDetailSerializer

    @extend_schema(request=ReasonSerializer, responses=AlertDetailSerializer)
    @action(detail=True, methods=["post"], required_permissions=("alerts.acknowledge_alert",))
    def acknowledge(self, request: KnownRequest, pk: int) -> Response:
        """Somebody has taken the alert on."""
        lifecycle.acknowledge(self.get_object(), request.user, self._reason())
        return self._answer()

    @extend_schema(request=ReasonSerializer, responses=AlertDetailSerializer)
    @action(detail=True, methods=["post"], required_permissions=("alerts.resolve_alert",))
    def resolve(self, request: KnownRequest, pk: int) -> Response:
        """The cause is gone."""
        lifecycle.resolve(self.get_object(), request.user, self._reason())
        return self._answer()

    def _reason(self) -> str:
        body = ReasonSerializer(data=self.request.data)
        body.is_valid(raise_exception=True)
        reason: str = body.validated_data["reason"]
        return reason

    def _answer(self) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

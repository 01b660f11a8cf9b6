"""The API's view of alerts."""

from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from alerts import lifecycle
from alerts.models import Alert, Transition
from sensors.api.exportable import ExportableViewSet
from sensors.api.scoped import IdFilter, KnownRequest, PeriodFilterSet
from sensors.errors import Refused


class TransitionSerializer(serializers.ModelSerializer[Transition]):
    by = serializers.SlugRelatedField[Any](slug_field="username", read_only=True)

    class Meta:
        model = Transition
        fields = ["step", "from_state", "to_state", "at", "by", "surface", "reason"]


class AlertSerializer(serializers.ModelSerializer[Alert]):
    assignee = serializers.SlugRelatedField[Any](slug_field="username", read_only=True)

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
            "normal_since",
            "snoozed_until",
            "resolved_at",
            "assignee",
        ]


class AlertDetailSerializer(AlertSerializer):
    transitions = TransitionSerializer(many=True, read_only=True)

    class Meta(AlertSerializer.Meta):
        fields = [*AlertSerializer.Meta.fields, "evidence", "transitions"]


class ReasonSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=500)


class SnoozeSerializer(ReasonSerializer):
    until = serializers.DateTimeField(help_text="Within the next seven days; the alert is open again then.")


class AssignSerializer(serializers.Serializer[Any]):
    to = serializers.CharField(allow_null=True, max_length=150, help_text="A user name; null takes it back.")


class CommentSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=500)


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
        alerts = super().get_queryset().select_related("assignee")
        return alerts if self.action in self.lists else alerts.prefetch_related("transitions__by")

    def get_serializer_class(self) -> type[AlertSerializer]:
        return AlertSerializer if self.action in self.lists else AlertDetailSerializer

    @extend_schema(request=ReasonSerializer, responses=AlertDetailSerializer)
    @action(detail=True, methods=["post"], required_permissions=("alerts.acknowledge_alert",))
    def acknowledge(self, request: KnownRequest, pk: int) -> Response:
        """Somebody has taken the alert on."""
        lifecycle.acknowledge(self.get_object(), self._actor(), self._sent(ReasonSerializer)["reason"])
        return self._answer()

    @extend_schema(request=SnoozeSerializer, responses=AlertDetailSerializer)
    @action(detail=True, methods=["post"], required_permissions=("alerts.acknowledge_alert",))
    def snooze(self, request: KnownRequest, pk: int) -> Response:
        """Nobody is reminded of the alert for a while."""
        sent = self._sent(SnoozeSerializer)
        lifecycle.snooze(self.get_object(), self._actor(), sent["until"], sent["reason"])
        return self._answer()

    @extend_schema(request=AssignSerializer, responses=AlertDetailSerializer)
    @action(detail=True, methods=["post"], required_permissions=("alerts.acknowledge_alert",))
    def assign(self, request: KnownRequest, pk: int) -> Response:
        """Say whose the alert is."""
        alert, name = self.get_object(), self._sent(AssignSerializer)["to"]
        person = lifecycle.people_for(alert).filter(username=name).first()
        if name is not None and person is None:
            raise Refused("cannot_take_it", f"Nobody called {name} can act on alerts of this site.", 422)
        lifecycle.assign(alert, self._actor(), person)
        return self._answer()

    @extend_schema(request=CommentSerializer, responses=AlertDetailSerializer)
    @action(detail=True, methods=["post"], required_permissions=("alerts.acknowledge_alert",))
    def comment(self, request: KnownRequest, pk: int) -> Response:
        """Note something for everybody who looks at the alert."""
        lifecycle.comment(self.get_object(), self._actor(), self._sent(CommentSerializer)["text"])
        return self._answer()

    @extend_schema(request=ReasonSerializer, responses=AlertDetailSerializer)
    @action(detail=True, methods=["post"], required_permissions=("alerts.resolve_alert",))
    def resolve(self, request: KnownRequest, pk: int) -> Response:
        """The cause is gone."""
        lifecycle.resolve(self.get_object(), self._actor(), self._sent(ReasonSerializer)["reason"])
        return self._answer()

    def _sent(self, kind: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        body = kind(data=self.request.data)
        body.is_valid(raise_exception=True)
        return dict(body.validated_data)

    def _actor(self) -> lifecycle.Actor:
        assert isinstance(self.request.user, User)
        return lifecycle.Actor(self.request.user, Transition.Surface.API)

    def _answer(self) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

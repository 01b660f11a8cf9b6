"""The API's view of channels and of messages."""

from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from alerts.delivery.channels import send_test
from alerts.delivery.sending import redrive
from alerts.lifecycle import Actor
from alerts.models import Channel, Delivery, DeliveryItem, Transition
from sensors.api.scoped import IdFilter, KnownRequest, PeriodFilterSet, SiteScopedViewSet
from sensors.errors import Refused


class ChannelSerializer(serializers.ModelSerializer[Channel]):
    class Meta:
        model = Channel
        fields = ["id", "site", "name", "kind", "enabled", "failing_since", "paused_until", "last_sent_at"]


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    person = serializers.SlugRelatedField[Any](slug_field="username", read_only=True)

    class Meta:
        model = Delivery
        fields = [
            "id",
            "site",
            "channel",
            "person",
            "kind",
            "severity",
            "state",
            "reason",
            "key",
            "due_at",
            "attempts",
            "error",
            "created_at",
            "sent_at",
            "subject",
        ]


class DeliveryItemSerializer(serializers.ModelSerializer[DeliveryItem]):
    class Meta:
        model = DeliveryItem
        fields = ["alert", "reason", "added_at"]


class DeliveryDetailSerializer(DeliverySerializer):
    items = serializers.SerializerMethodField()

    class Meta(DeliverySerializer.Meta):
        fields = [*DeliverySerializer.Meta.fields, "body", "items"]

    @extend_schema(responses=DeliveryItemSerializer(many=True))
    def get_items(self, delivery: Delivery) -> list[dict[str, Any]]:
        rows = delivery.items.visible_to(self.context["request"].user)
        return [dict(row) for row in DeliveryItemSerializer(rows, many=True).data]


class ChannelViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, SiteScopedViewSet):
    """The ways by which people are told. They are set up on their page, where their secrets are entered."""

    queryset = Channel.objects.all()
    serializer_class = ChannelSerializer

    @extend_schema(request=None, responses={202: DeliverySerializer})
    @action(detail=True, methods=["post"], required_permissions=("alerts.change_channel",))
    def test(self, request: KnownRequest, pk: int) -> Response:
        """Send a message that only shows whether the channel works; the message's `state` tells how that went."""
        channel = get_object_or_404(Channel.objects.changeable_by(request.user), pk=pk)
        test = send_test(channel, request.user)
        return Response(DeliverySerializer(test).data, 202)


class DeliveryFilter(PeriodFilterSet):
    period_field = "created_at"
    site = IdFilter()
    channel = IdFilter()
    alert = IdFilter(field_name="items__alert")

    class Meta:
        model = Delivery
        fields = ["site", "channel", "kind", "severity", "state", "alert"]


class DeliveryViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, SiteScopedViewSet):
    """Messages to people: sent, on their way, or failed."""

    queryset = Delivery.objects.all()
    serializer_class = DeliverySerializer
    filterset_class = DeliveryFilter

    def get_queryset(self) -> QuerySet[Delivery]:
        return super().get_queryset().select_related("person")

    def get_serializer_class(self) -> type[DeliverySerializer]:
        return DeliverySerializer if self.action == "list" else DeliveryDetailSerializer

    @extend_schema(request=None, responses=DeliveryDetailSerializer)
    @action(detail=True, methods=["post"], required_permissions=("alerts.redrive_delivery",))
    def redrive(self, request: KnownRequest, pk: int) -> Response:
        """Send a message that has failed again, under the same key."""
        found = self.get_object()
        assert isinstance(request.user, User)
        if not redrive(Delivery.objects.filter(pk=found.pk), Actor(request.user, Transition.Surface.API)):
            raise Refused("not_failed", "Only messages that have failed can be sent again.")
        return Response(self.get_serializer(self.get_object()).data)

"""The API's view of the health of assets."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from mlops import health_facts
from mlops.health_views import NEEDED
from sensors.api.plant import AssetFilter
from sensors.api.scoped import SiteScopedViewSet
from sensors.models import Asset


class ContributorSerializer(serializers.Serializer[Any]):
    group = serializers.CharField(help_text="alerts, anomalies, values, sensors, work, failures or model.")
    deduction = serializers.FloatField(help_text="In points of 100.")
    sentence = serializers.CharField()


class HealthSerializer(serializers.Serializer[Any]):
    """How well an asset is now, by its own sensors, alerts and work. `score` is null while it is unknown."""

    asset = serializers.IntegerField()
    as_of = serializers.DateTimeField()
    state = serializers.ChoiceField(choices=["good", "fair", "poor", "unknown"], source="health.state")
    score = serializers.IntegerField(min_value=0, max_value=100, allow_null=True, source="health.score")
    why = serializers.CharField(help_text="Why it is unknown; otherwise empty.", source="health.why")
    coverage = serializers.FloatField(help_text="The share of its sensors watched now.", source="health.coverage")
    contributors = ContributorSerializer(many=True, source="health.contributors")


class HealthViewSet(SiteScopedViewSet):
    """How well each asset is, from 0 to 100, what speaks against it, and how much of it is watched."""

    queryset = Asset.objects.all()
    serializer_class = HealthSerializer
    filterset_class = AssetFilter
    required_permissions = tuple(NEEDED)

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(HealthSerializer(_rows(page or []), many=True).data)

    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(HealthSerializer(_rows([self.get_object()])[0]).data)


def _rows(assets: list[Asset]) -> list[dict[str, Any]]:
    now = timezone.now()
    found = health_facts.of_assets([asset.pk for asset in assets], now)
    return [{"asset": asset.pk, "as_of": now, "health": found[asset.pk]} for asset in assets]

"""The API's view of classes of assets, how they fail, and templates to set them up from."""

from typing import Any

from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from maintenance import asset_templates
from maintenance.models import AssetTemplate, FailureMode
from sensors.api.plant import AssetSerializer
from sensors.api.scoped import IdFilter, KnownRequest, SiteScopedViewSet, VisibleRelatedField
from sensors.models import Asset, AssetClass, Site
from sensors.models.plant import valid_sensor_id


class AssetClassSerializer(serializers.ModelSerializer[AssetClass]):
    class Meta:
        model = AssetClass
        fields = ["id", "name", "auto_approve"]


class AssetClassViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, SiteScopedViewSet):
    """Classes of assets: what is alike in them, and fails alike."""

    queryset = AssetClass.objects.all()
    serializer_class = AssetClassSerializer


class FailureModeSerializer(serializers.ModelSerializer[FailureMode]):
    class Meta:
        model = FailureMode
        fields = ["id", "asset_class", "code", "name"]


class FailureModeFilter(FilterSet):  # type: ignore[misc]
    asset_class = IdFilter()

    class Meta:
        model = FailureMode
        fields = ["asset_class", "code"]


class FailureModeViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, SiteScopedViewSet):
    """Ways in which assets of a class fail; without a class any asset may."""

    queryset = FailureMode.objects.all()
    serializer_class = FailureModeSerializer
    filterset_class = FailureModeFilter


class AssetTemplateSerializer(serializers.ModelSerializer[AssetTemplate]):
    class Meta:
        model = AssetTemplate
        fields = ["id", "name", "asset_class", "content"]


class NewAssetSerializer(serializers.Serializer[Any]):
    site = VisibleRelatedField(queryset=Site.objects.all())
    parent: Any = VisibleRelatedField(queryset=Asset.objects.all(), required=False, allow_null=True)
    name = serializers.CharField(max_length=100)
    key_prefix = serializers.CharField(max_length=60, validators=[valid_sensor_id], help_text="Of the sensors' keys.")


class AssetTemplateViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, SiteScopedViewSet):
    """What assets of a class are made of."""

    queryset = AssetTemplate.objects.all()
    serializer_class = AssetTemplateSerializer

    @extend_schema(request=NewAssetSerializer, responses={201: AssetSerializer})
    @action(detail=True, methods=["post"], required_permissions=("sensors.add_asset", "sensors.add_sensor"))
    def create_asset(self, request: KnownRequest, pk: int | None = None) -> Response:
        """Set up an asset with everything the template holds, or nothing at all."""
        asked = NewAssetSerializer(data=request.data, context=self.get_serializer_context())
        asked.is_valid(raise_exception=True)
        made = asset_templates.create(self.get_object(), request.user, **asked.validated_data)
        return Response(AssetSerializer(made, context=self.get_serializer_context()).data, status=201)

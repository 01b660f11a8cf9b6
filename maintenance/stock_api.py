"""The API's view of spare parts and their use."""

from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django_filters.rest_framework import BooleanFilter, FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from maintenance import stock
from maintenance.models import Part, PartUse, WorkOrder
from sensors.api.exportable import ExportableViewSet
from sensors.api.plant import CheckedSerializer
from sensors.api.scoped import IdFilter, KnownRequest, PeriodFilterSet, VisibleRelatedField


class PartSerializer(CheckedSerializer):
    class Meta:
        model = Part
        fields = ["id", "site", "number", "name", "unit", "place", "quantity", "minimum", "unit_cost", "is_to_reorder"]
        read_only_fields = ["quantity"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if self.instance and attrs.get("site", self.instance.site) != self.instance.site:
            raise serializers.ValidationError({"site": "A part stays at its site."}, "fixed")
        return super().validate(attrs)

    def update(self, instance: Part, validated_data: dict[str, Any]) -> Part:
        for name, value in validated_data.items():
            setattr(instance, name, value)
        # Somebody may have taken some meanwhile: the quantity is not written again.
        instance.save(update_fields=list(validated_data))
        return instance


class PartUseSerializer(serializers.ModelSerializer[PartUse]):
    serializer_related_field = VisibleRelatedField
    order = VisibleRelatedField(queryset=WorkOrder.objects.all())
    part = VisibleRelatedField(queryset=Part.objects.all())
    by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)
    key = serializers.UUIDField(required=False, help_text="Yours: the same one twice is one use.")
    beyond_stock = serializers.BooleanField(required=False, write_only=True, default=False)

    class Meta:
        model = PartUse
        fields = ["id", "order", "part", "quantity", "unit_cost", "by", "at", "put_back_at", "key", "beyond_stock"]
        read_only_fields = ["unit_cost", "at", "put_back_at"]

    def create(self, validated_data: dict[str, Any]) -> PartUse:
        by = self.context["request"].user
        return stock.take(
            validated_data["order"],
            validated_data["part"],
            validated_data["quantity"],
            by,
            key=validated_data.get("key"),
            beyond_stock=validated_data["beyond_stock"],
        )


class QuantitySerializer(serializers.Serializer[Any]):
    quantity = serializers.DecimalField(max_digits=12, decimal_places=3, min_value=0)


class PartFilter(FilterSet):  # type: ignore[misc]
    site = IdFilter()
    to_reorder = BooleanFilter(method="only_to_reorder", label="Only what is to be reordered.")

    class Meta:
        model = Part
        fields = ["site", "number"]

    def only_to_reorder(self, rows: "QuerySet[Part]", _: str, wanted: bool) -> "QuerySet[Part]":
        return rows.to_reorder() if wanted else rows  # type: ignore[attr-defined]


class PartUseFilter(PeriodFilterSet):
    period_field = "at"
    order = IdFilter()
    part = IdFilter()
    site = IdFilter(field_name="order__site")

    class Meta:
        model = PartUse
        fields = ["order", "part", "site"]


class PartViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.CreateModelMixin,
    mixins.UpdateModelMixin,
    ExportableViewSet,
):
    """Spare parts and what is in stock. `export?to_reorder=true` is the list to reorder by."""

    queryset = Part.objects.all()
    serializer_class = PartSerializer
    filterset_class = PartFilter
    http_method_names = ["get", "post", "patch", "head", "options"]

    @extend_schema(request=QuantitySerializer, responses=PartSerializer)
    @action(detail=True, methods=["post"], required_permissions=("maintenance.change_part",))
    def deliver(self, request: KnownRequest, pk: int) -> Response:
        """So much came in."""
        return self._changed(stock.deliver, request)

    @extend_schema(request=QuantitySerializer, responses=PartSerializer)
    @action(detail=True, methods=["post"], required_permissions=("maintenance.change_part",))
    def count(self, request: KnownRequest, pk: int) -> Response:
        """So much was counted."""
        return self._changed(stock.count, request)

    def _changed(self, verb: Any, request: KnownRequest) -> Response:
        part = self.get_object()
        body = QuantitySerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return Response(PartSerializer(verb(part, body.validated_data["quantity"], request.user)).data)


class PartUseViewSet(mixins.ListModelMixin, mixins.CreateModelMixin, ExportableViewSet):
    """What work orders took out of the stock."""

    queryset = PartUse.objects.select_related("by")
    serializer_class = PartUseSerializer
    filterset_class = PartUseFilter

    @extend_schema(request=None, responses=PartUseSerializer)
    @action(detail=True, methods=["post"], url_path="put-back", required_permissions=("maintenance.change_partuse",))
    def put_back(self, request: KnownRequest, pk: int) -> Response:
        """It was not needed after all."""
        return Response(PartUseSerializer(stock.put_back(self.get_object(), request.user)).data)

"""The API of checklists, and of photos and files, of work orders."""

from typing import Any

from django.contrib.auth.models import User
from django.http import FileResponse
from django_filters.rest_framework import FilterSet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.parsers import MultiPartParser
from rest_framework.response import Response

from maintenance import answers, attachments
from maintenance.api import WorkOrderSerializer
from maintenance.models import Attachment, ChecklistItem, WorkOrder
from sensors.api.scoped import FiniteFloatField, IdFilter, KnownRequest, SiteScopedViewSet, VisibleRelatedField


class ChecklistItemSerializer(serializers.ModelSerializer[ChecklistItem]):
    done_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)
    unit = serializers.CharField(source="measures_in", read_only=True)

    class Meta:
        model = ChecklistItem
        fields = [
            *("id", "order", "position", "text", "kind", "unit", "low", "high", "sensor", "choices"),
            *("value", "measured_at", "answer", "failed", "done_by", "done_at", "follow_up"),
        ]
        read_only_fields = fields


class AnswerSerializer(serializers.Serializer[Any]):
    """A number, or a choice; neither for a tick, and for a reading that is to be the sensor's latest."""

    value = FiniteFloatField(required=False, allow_null=True)
    choice = serializers.CharField(required=False, max_length=100)


class AttachmentSerializer(serializers.ModelSerializer[Attachment]):
    by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)

    class Meta:
        model = Attachment
        fields = ["id", "order", "item", "name", "content_type", "size", "by", "at"]
        read_only_fields = fields


class FileSerializer(serializers.Serializer[Any]):
    order = VisibleRelatedField(queryset=WorkOrder.objects.all())
    item = VisibleRelatedField(queryset=ChecklistItem.objects.all(), required=False)
    file = serializers.FileField(max_length=200)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("item") and attrs["item"].order_id != attrs["order"].pk:
            raise serializers.ValidationError({"item": "This task is none of the order."}, code="does_not_exist")
        return attrs


class ChecklistItemFilter(FilterSet):  # type: ignore[misc]
    order = IdFilter()

    class Meta:
        model = ChecklistItem
        fields = ["order", "failed"]


class AttachmentFilter(FilterSet):  # type: ignore[misc]
    order = IdFilter()

    class Meta:
        model = Attachment
        fields = ["order"]


class ChecklistItemViewSet(mixins.ListModelMixin, SiteScopedViewSet):
    """The tasks of work orders, and what came of them."""

    queryset = ChecklistItem.objects.select_related("order__site", "sensor", "done_by")
    serializer_class = ChecklistItemSerializer
    filterset_class = ChecklistItemFilter

    @extend_schema(request=AnswerSerializer, responses=ChecklistItemSerializer)
    @action(detail=True, methods=["post"], required_permissions=("maintenance.change_workorder",))
    def answer(self, request: KnownRequest, pk: int) -> Response:
        """Say what came of a task; saying it again corrects it."""
        item = self.get_object()
        body = AnswerSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        answers.answer(item, request.user, **body.validated_data)
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=None, responses=WorkOrderSerializer)
    @action(detail=True, methods=["post"], url_path="follow-up", required_permissions=("maintenance.add_workorder",))
    def follow_up(self, request: KnownRequest, pk: int) -> Response:
        """Propose an order because of a task that failed; asked again, the same one."""
        return Response(WorkOrderSerializer(answers.follow_up(self.get_object(), request.user)).data)


class AttachmentViewSet(mixins.ListModelMixin, SiteScopedViewSet):
    """Photos and files of work orders."""

    queryset = Attachment.objects.select_related("by")
    serializer_class = AttachmentSerializer
    filterset_class = AttachmentFilter

    def get_parsers(self) -> list[Any]:
        return [MultiPartParser()]

    @property
    def required_permissions(self) -> tuple[str, ...] | None:  # type: ignore[override]
        return ("maintenance.change_workorder",) if self.action == "create" else None

    @extend_schema(request={"multipart/form-data": FileSerializer}, responses={201: AttachmentSerializer})
    def create(self, request: KnownRequest) -> Response:
        """Add a photo or a file to an order, or to a task of its checklist."""
        body = FileSerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        sent = body.validated_data
        kept = attachments.attach(sent["order"], request.user, sent["file"], sent.get("item"))
        return Response(AttachmentSerializer(kept).data, 201)

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    @action(detail=True)
    def content(self, request: KnownRequest, pk: int) -> FileResponse:
        """The file itself."""
        return attachments.response(self.get_object())

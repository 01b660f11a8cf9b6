"""The API's view of refused readings, and of who did what to them and to other data."""

from typing import Any

from django_filters.rest_framework import CharFilter
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from sensors import quarantine
from sensors.api.scoped import IdFilter, KnownRequest, PeriodFilterSet, SiteScopedViewSet
from sensors.doors.views import ReadingInSerializer
from sensors.models import AuditEntry, Quarantined


class QuarantinedSerializer(serializers.ModelSerializer[Quarantined]):
    settled_by: Any = serializers.SlugRelatedField(slug_field="username", read_only=True)
    payload = serializers.JSONField(help_text="The fields as they were sent, or `raw`: the text that was.")

    class Meta:
        model = Quarantined
        fields = [
            *("id", "site", "source", "code", "detail", "payload", "received_at", "last_received_at", "times"),
            *("state", "settled_at", "settled_by", "batch"),
        ]


class CorrectedSerializer(ReadingInSerializer):
    """Fields that replace those that were sent; what is not named stays."""

    def get_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = super().get_fields()
        for field in fields.values():
            field.required, field.default = False, serializers.empty
        return fields


class QuarantinedFilter(PeriodFilterSet):
    site = IdFilter()
    sensor_id = CharFilter(field_name="payload__sensor_id")
    period_field = "received_at"

    class Meta:
        model = Quarantined
        fields = ["site", "code", "state", "source"]


class QuarantinedViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, SiteScopedViewSet):
    """Refused readings, newest first."""

    queryset = Quarantined.objects.select_related("settled_by")
    serializer_class = QuarantinedSerializer
    filterset_class = QuarantinedFilter

    @extend_schema(request=CorrectedSerializer)
    @action(detail=True, methods=["post"], required_permissions=("sensors.settle_quarantined",))
    def readmit(self, request: KnownRequest, pk: int | None = None) -> Response:
        """Store it after all, with the fields of the body in place of those that were sent. 422: refused again."""
        row = self.get_object()
        corrected = CorrectedSerializer(data=request.data)
        corrected.is_valid(raise_exception=True)
        changes = dict(corrected.validated_data)
        if "timestamp" in changes:  # As it was written: one without a zone is refused, not guessed.
            changes["timestamp"] = corrected.initial_data["timestamp"]
        quarantine.readmit(row, request.user, quarantine.fields_of(row) | changes if changes else None)
        return self._answer(row)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], required_permissions=("sensors.settle_quarantined",))
    def discard(self, request: KnownRequest, pk: int | None = None) -> Response:
        """Settle it without storing it."""
        row = self.get_object()
        quarantine.discard(row, request.user)
        return self._answer(row)

    def _answer(self, row: Quarantined) -> Response:
        return Response(self.get_serializer(self.get_queryset().get(pk=row.pk)).data)


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    by: Any = serializers.SlugRelatedField(slug_field="username", read_only=True)
    detail = serializers.JSONField(help_text="What it was before and is now.")

    class Meta:
        model = AuditEntry
        fields = ["id", "site", "at", "by", "action", "subject", "detail"]


class AuditEntryFilter(PeriodFilterSet):
    site = IdFilter()
    by = IdFilter()
    period_field = "at"

    class Meta:
        model = AuditEntry
        fields = ["site", "by", "action", "subject"]


class AuditEntryViewSet(mixins.ListModelMixin, SiteScopedViewSet):
    """Steps that people took which change what is believed about the data, newest first."""

    queryset = AuditEntry.objects.select_related("by")
    serializer_class = AuditEntrySerializer
    filterset_class = AuditEntryFilter

"""The API's view of the maintenance log."""

from typing import Any

from django.contrib.auth.models import User
from django_filters.rest_framework import CharFilter
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.response import Response

from maintenance import log_book
from maintenance.models import FailureMode, MaintenanceLog
from maintenance.querysets import MaintenanceLogQuerySet
from sensors.api.annotations import AwareDateTimeField
from sensors.api.exportable import ExportableViewSet
from sensors.api.scoped import IdFilter, KnownRequest, PeriodFilterSet, VisibleRelatedField
from sensors.models import Asset

YEAR_MINUTES = 525_600


class LogEntrySerializer(serializers.ModelSerializer[MaintenanceLog]):
    """What was done on an asset; `source` and `external_id` say where an imported entry comes from."""

    serializer_related_field = VisibleRelatedField
    asset = VisibleRelatedField(queryset=Asset.objects.all())
    failure_mode = VisibleRelatedField(queryset=FailureMode.objects.all(), required=False, allow_null=True)
    done_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)
    completion_date = AwareDateTimeField(required=False)
    duration_minutes = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=YEAR_MINUTES)
    downtime_minutes = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=YEAR_MINUTES)
    cost = serializers.DecimalField(12, 2, required=False, allow_null=True, min_value=0)

    class Meta:
        model = MaintenanceLog
        fields = [
            *("id", "asset", "work_order", "kind", "failure_mode", "done_by", "done_by_name", "completion_date"),
            *("duration_minutes", "downtime_minutes", "downtime_reason", "parts", "cost", "notes"),
            *("source", "external_id"),
        ]
        read_only_fields = ["work_order", "done_by_name", "source", "external_id"]


class NewEntrySerializer(LogEntrySerializer):
    fault_found = serializers.BooleanField(
        required=False, default=False, write_only=True, help_text="It was a failure: a verdict is kept."
    )

    class Meta(LogEntrySerializer.Meta):
        fields = [*LogEntrySerializer.Meta.fields, "fault_found"]


class LogFilterSet(PeriodFilterSet):
    period_field = "completion_date"
    site = IdFilter(field_name="asset__site")
    asset = IdFilter()
    below = IdFilter(method="in_asset", label="This asset and everything in it.")
    failure_mode = IdFilter()
    search = CharFilter(method="with_words", label="Every one of these words, or words that begin so.")

    class Meta:
        model = MaintenanceLog
        fields = ["site", "asset", "kind", "failure_mode", "source"]

    def in_asset(self, rows: MaintenanceLogQuerySet, _: str, asset: int) -> MaintenanceLogQuerySet:
        return rows.filter(asset__in=log_book.below(int(asset)))

    def with_words(self, rows: MaintenanceLogQuerySet, _: str, words: str) -> MaintenanceLogQuerySet:
        return log_book.search(rows, words)


class LogViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ExportableViewSet):
    """What was done, the newest first."""

    queryset = MaintenanceLog.objects.select_related("done_by")
    serializer_class = LogEntrySerializer
    filterset_class = LogFilterSet

    @extend_schema(request=NewEntrySerializer, responses={201: LogEntrySerializer})
    def create(self, request: KnownRequest) -> Response:
        """Log work that had no order; the same words sent twice within a minute are one entry."""
        body = NewEntrySerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        about: dict[str, Any] = dict(body.validated_data)
        if about["fault_found"] and not request.user.has_perm("maintenance.add_verdict"):
            self.permission_denied(request)
        log = log_book.write(about.pop("asset"), request.user, **about)
        return Response(LogEntrySerializer(log, context=self.get_serializer_context()).data, 201)

"""The API's view of reports."""

from typing import Any

from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from maintenance import report_views, reports
from maintenance.figures import LONGEST_PERIOD, Period
from maintenance.models import Report
from sensors.api.annotations import AwareDateTimeField
from sensors.api.exportable import FileNegotiation
from sensors.api.scoped import IdFilter, KnownRequest, PeriodFilterSet, SiteScopedViewSet, VisibleRelatedField
from sensors.errors import Refused
from sensors.models import Site


class ReportSerializer(serializers.ModelSerializer[Report]):
    site = VisibleRelatedField(queryset=Site.objects.all())
    start = AwareDateTimeField()
    end = AwareDateTimeField(help_text="Not included.")
    created_by: Any = serializers.SlugRelatedField(slug_field="username", read_only=True)

    class Meta:
        model = Report
        fields = ["id", "site", "schedule", "start", "end", "created_at", "created_by", "mail_error"]
        read_only_fields = ["schedule", "created_at", "mail_error"]


class ReportFilter(PeriodFilterSet):
    period_field = "start"
    site = IdFilter()

    class Meta:
        model = Report
        fields = ["site"]


class ReportViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, SiteScopedViewSet):
    """Reports of sites, the newest first."""

    queryset = Report.objects.select_related("created_by")
    serializer_class = ReportSerializer
    filterset_class = ReportFilter

    @extend_schema(responses={201: ReportSerializer})
    def create(self, request: KnownRequest) -> Response:
        """Make a report of a site now."""
        body = self.get_serializer(data=request.data)
        body.is_valid(raise_exception=True)
        about = body.validated_data
        if not about["start"] < about["end"] <= about["start"] + LONGEST_PERIOD:
            raise Refused("bad_period", "`start` must lie before `end`, by 50 years at most.", 400)
        report = reports.make(about["site"], Period(about["start"], about["end"]), request.user)
        return Response(self.get_serializer(report).data, 201)

    @extend_schema(responses={(200, "application/pdf"): OpenApiTypes.BINARY})
    @action(detail=True, methods=["get"], content_negotiation_class=FileNegotiation)
    def pdf(self, request: KnownRequest, pk: int) -> FileResponse:
        """The document."""
        return report_views.file_of(self.get_object())

"""The API's view of the figures of maintenance, and the figures as a file."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.core.exceptions import BadRequest
from django.http import StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from maintenance import figure_lines
from maintenance.figures import LONGEST_PERIOD, MONTH, Figures, Period, Scope, figures
from sensors import export
from sensors.api.exportable import FILE, FORMAT, FileNegotiation
from sensors.api.scoped import ErrorSerializer, KnownRequest
from sensors.errors import Refused
from sensors.models import Asset, Site
from sensors.pages import asked_stretch


class Asked(serializers.Serializer[Any]):
    site = serializers.IntegerField(required=False, min_value=1, max_value=2**31)
    asset = serializers.IntegerField(required=False, min_value=1, max_value=2**31)


class ReliabilitySerializer(serializers.Serializer[Any]):
    """`mtbf_hours` is `operating_hours` / `failures`; None where nothing failed."""

    name = serializers.CharField()
    asset = serializers.IntegerField(allow_null=True)
    assets = serializers.IntegerField()
    failures = serializers.IntegerField()
    operating_hours = serializers.FloatField()
    mtbf_hours = serializers.FloatField(allow_null=True)
    repaired = serializers.IntegerField(help_text="Failures of which the time to repair is known.")
    mttr_hours = serializers.FloatField(allow_null=True)


class JobsSerializer(serializers.Serializer[Any]):
    jobs = serializers.IntegerField()
    hours = serializers.FloatField()
    downtime_hours = serializers.FloatField()
    cost = serializers.FloatField(help_text="In the currency of the site.")


class MonthSerializer(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    planned = JobsSerializer()
    unplanned = JobsSerializer()
    unstated = JobsSerializer()
    failures = serializers.IntegerField()


class LineSerializer(serializers.Serializer[Any]):
    """One figure as the page and the report show it."""

    group = serializers.CharField()
    name = serializers.CharField()
    value = serializers.FloatField(allow_null=True)
    unit = serializers.CharField(help_text="h, share (0 to 1), a currency, or empty: a number.")
    of = serializers.IntegerField(allow_null=True, help_text="How many cases it stands on.")


class FiguresSerializer(serializers.Serializer[Any]):
    site = serializers.IntegerField(source="scope.site.pk")
    asset = serializers.IntegerField(source="scope.asset.pk", allow_null=True, default=None)
    start = serializers.DateTimeField(source="period.start")
    end = serializers.DateTimeField(source="period.end")
    lines = serializers.SerializerMethodField()
    whole = ReliabilitySerializer()
    by_class = ReliabilitySerializer(many=True)
    by_asset = ReliabilitySerializer(many=True)
    work = serializers.SerializerMethodField()
    months = MonthSerializer(many=True)
    downtime = serializers.SerializerMethodField()
    avoided = serializers.SerializerMethodField()

    def get_lines(self, found: Figures) -> list[dict[str, Any]]:
        return [asdict(line) for line in figure_lines.lines(found)]

    def get_work(self, found: Figures) -> dict[str, dict[str, Any]]:
        return {kind: asdict(work) for kind, work in found.work.items()}

    def get_downtime(self, found: Figures) -> list[dict[str, Any]]:
        return [asdict(cause) for cause in found.downtime]

    def get_avoided(self, found: Figures) -> dict[str, Any]:
        return asdict(found.avoided)


PARAMETERS = [
    OpenApiParameter("site", int, description="Needed unless `asset` is given or you see one site only."),
    OpenApiParameter("asset", int, description="This asset and those below it."),
    OpenApiParameter("from", datetime, description="Inclusive; default: 30 days before `to`."),
    OpenApiParameter("to", datetime, description="Exclusive; default: now."),
]
REFUSED = {400: OpenApiResponse(ErrorSerializer, description="`site_required`, `bad_period`")}


class FiguresView(APIView):
    required_permissions = ("maintenance.view_workorder",)

    @extend_schema(operation_id="figures", parameters=PARAMETERS, responses={200: FiguresSerializer, **REFUSED})
    def get(self, request: KnownRequest) -> Response:
        """MTBF, MTTR, planned share, backlog, reaction, downtime, cost and downtime avoided of a site.

        A failure is a verdict "fault found", one per order or log entry; MTBF is operating time by failures.
        """
        return Response(FiguresSerializer(_asked(request)).data)


class FiguresExport(APIView):
    required_permissions = ("maintenance.view_workorder",)
    content_negotiation_class = FileNegotiation

    @extend_schema(operation_id="figures_export", parameters=[*PARAMETERS, FORMAT], responses=FILE | REFUSED)
    def get(self, request: KnownRequest) -> StreamingHttpResponse:
        """The figures as a file, one a row."""
        file_format = request.query_params.get("format", "csv")
        return export.download(figure_lines.table(_asked(request)), file_format, user_id=request.user.pk)


def _asked(request: KnownRequest) -> Figures:
    asked = Asked(data=request.query_params)
    asked.is_valid(raise_exception=True)
    return figures(_scope(request, asked.validated_data), _period(request), timezone.now())


def _scope(request: KnownRequest, asked: dict[str, Any]) -> Scope:
    if pk := asked.get("asset"):
        found = Asset.objects.visible_to(request.user).select_related("site")
        asset = get_object_or_404(found, pk=pk, **({"site": asked["site"]} if "site" in asked else {}))
        return Scope(asset.site, asset)
    sites = Site.objects.visible_to(request.user)
    if "site" in asked:
        return Scope(get_object_or_404(sites, pk=asked["site"]))
    seen = list(sites[:2])
    if len(seen) != 1:
        raise Refused("site_required", "Say of which `site` or `asset`.", 400)
    return Scope(seen[0])


def _period(request: KnownRequest) -> Period:
    try:
        ends = asked_stretch(
            {name: request.query_params[name] for name in ("from", "to") if name in request.query_params}
        )
    except BadRequest as error:
        raise Refused("bad_period", str(error), 400) from error
    end = ends.get("to") or timezone.now()
    start = ends.get("from") or end - MONTH
    if not start < end <= start + LONGEST_PERIOD:
        raise Refused("bad_period", "`from` must lie before `to`, by 50 years at most.", 400)
    return Period(start, end)

"""The API's view of the alarm statistics."""

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from alerts import statistics
from alerts.statistics import LONGEST_PERIOD, MONTH, Period
from sensors.api.scoped import AwareDateTimeField, ErrorSerializer, KnownRequest
from sensors.errors import Refused
from sensors.models import Site


class Asked(serializers.Serializer[Any]):
    """What may stand in the address."""

    site = serializers.IntegerField(required=False, min_value=1, max_value=2**31)
    to = serializers.CharField(required=False)
    historical = serializers.BooleanField(required=False, default=False)

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), "from": serializers.CharField(required=False)}


class LoadSerializer(serializers.Serializer[Any]):
    """Shares from 0 to 1, times in seconds; a site is one operator position."""

    site = serializers.IntegerField(source="site.pk")
    hours = serializers.FloatField()
    alarms = serializers.IntegerField()
    per_hour = serializers.FloatField()
    per_ten_minutes = serializers.FloatField()
    most_in_ten_minutes = serializers.IntegerField()
    crowded_share = serializers.FloatField(help_text="Hours with more than 30 alarms.")
    floods = serializers.IntegerField()
    flood_share = serializers.FloatField()
    chattering = serializers.IntegerField(help_text="Causes that came three times within a minute.")
    stale = serializers.IntegerField(help_text="On the day that has most of them.")
    top_share = serializers.FloatField(allow_null=True, help_text="Alarms of the ten most frequent causes.")
    critical_share = serializers.FloatField(allow_null=True)
    acknowledged = serializers.IntegerField()
    acknowledged_median = serializers.FloatField(allow_null=True)
    acknowledged_p95 = serializers.FloatField(allow_null=True)


class CauseSerializer(serializers.Serializer[Any]):
    site = serializers.CharField()
    title = serializers.CharField()
    alert = serializers.IntegerField(help_text="The newest alert of this cause.")
    alarms = serializers.IntegerField()
    share = serializers.FloatField()
    chatters = serializers.BooleanField()


class StatisticsSerializer(serializers.Serializer[Any]):
    sites = LoadSerializer(many=True)
    causes = CauseSerializer(many=True)


class AlertStatistics(APIView):
    required_permissions = ("alerts.view_alert",)

    @extend_schema(
        parameters=[
            OpenApiParameter("site", int, description="Default: every site you see."),
            OpenApiParameter("from", datetime, description="Inclusive; default: 30 days before `to`."),
            OpenApiParameter("to", datetime, description="Exclusive; default: now."),
            OpenApiParameter("historical", bool, description="Count alerts of imported history as well."),
        ],
        responses={200: StatisticsSerializer, 400: OpenApiResponse(ErrorSerializer)},
    )
    def get(self, request: KnownRequest) -> Response:
        """How many alarms come, in floods or not, and how soon people react: the figures of ISA-18.2."""
        asked = Asked(data=request.query_params)
        asked.is_valid(raise_exception=True)
        sites = Site.objects.visible_to(request.user).order_by("name")
        if site := asked.validated_data.get("site"):
            sites = sites.filter(pk=site)
        chosen, period = list(sites), _period(asked.validated_data)
        found = {"sites": statistics.loads(chosen, period), "causes": statistics.top_causes(chosen, period)}
        return Response(StatisticsSerializer(found).data)


def _period(asked: dict[str, Any]) -> Period:
    end = _time(asked, "to") or timezone.now()
    start = _time(asked, "from") or end - MONTH
    if not start < end <= start + LONGEST_PERIOD:
        raise Refused("bad_period", "`from` must lie before `to`, by a year at most.", 400)
    return Period(start, end, asked["historical"])


def _time(asked: dict[str, Any], name: str) -> datetime | None:
    try:
        return AwareDateTimeField(required=False).clean(asked.get(name, ""))  # type: ignore[no-any-return]
    except ValidationError as error:
        raise Refused("bad_period", f"`{name}`: {' '.join(error.messages)}", 400) from error

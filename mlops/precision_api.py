"""The API's view of how often detectors are right."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from maintenance.models import Verdict
from mlops import precision


class PrecisionSerializer(serializers.Serializer[Any]):
    """How often a detector was right on a class of assets (null: assets of no class), by the last year's verdicts."""

    detector = serializers.CharField()
    asset_class = serializers.IntegerField(allow_null=True)
    class_name = serializers.CharField()
    right = serializers.IntegerField(help_text="Alerts behind which a fault was found.")
    judged = serializers.IntegerField(help_text="Alerts with a verdict.")
    precision = serializers.FloatField(source="share")
    low = serializers.FloatField(help_text="Lower end of the 95 % interval (Wilson).")
    high = serializers.FloatField(help_text="Upper end of it.")
    proven = serializers.BooleanField(source="is_proven", help_text="Judged often enough, and right often enough.")


class DetectorPrecision(APIView):
    """How often each detector is right on each class of assets."""

    required_permissions = ("mlops.view_anomaly", "maintenance.view_verdict")

    @extend_schema(responses=PrecisionSerializer(many=True))
    def get(self, request: Request) -> Response:
        found = precision.by_detector(Verdict.objects.visible_to(request.user), timezone.now())
        return Response(PrecisionSerializer(found, many=True).data)

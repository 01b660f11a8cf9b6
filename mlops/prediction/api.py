"""Questions to models as views of Django: for people who are logged in, and for the API's documentation."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.http.request import RawPostDataException
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.views import APIView

from mlops.prediction import asking, questions
from sensors import series
from sensors.access import Principal
from sensors.api.scoped import ErrorSerializer, KnownRequest
from sensors.api.series import WINDOW
from sensors.doors.requests import require_json
from sensors.errors import Refused
from sensors.models import Reading, Sensor

MOST_SCORES = 10_000


@extend_schema_field({"oneOf": [{"type": "integer"}, {"type": "string"}]})
class SensorReferenceField(serializers.Field[Any, Any, Any, Any]):
    """An id or a key."""


class AskedSerializer(serializers.Serializer[Any]):
    """Exactly one of `model`, `sensor` and `asset`; for the documentation, the door itself decodes with msgspec."""

    model = serializers.CharField(
        required=False,
        help_text="`NAME`: the version of it that serves, or else the newest; `NAME@ALIAS`, or `NAME:VERSION`.",
    )
    sensor = SensorReferenceField(
        required=False, help_text="Its id or key: by what serves it, the built-in detector if no model does."
    )
    asset = serializers.IntegerField(required=False, help_text="By the model that serves it.")
    rows = serializers.ListField(
        child=serializers.DictField(child=serializers.FloatField(allow_null=True)),
        required=False,
        help_text=f"1 to {questions.MOST_ROWS} rows, with `explain` {questions.MOST_EXPLAINED}: a value for each "
        "feature, null where it is unknown. Detectors also want the `timestamp` of each, in rising order. Not needed "
        "with `sensor` and `asset`.",
    )
    newest = serializers.IntegerField(
        required=False,
        default=questions.NEWEST,
        min_value=1,
        max_value=questions.MOST_NEWEST,
        help_text="Without `rows`: so many of the newest stored readings of the sensor, or rows made of the asset's.",
    )
    explain = serializers.BooleanField(required=False, default=False)


class ExplanationSerializer(serializers.Serializer[Any]):
    """`base` and the contributions add up to the score or the probability."""

    base = serializers.FloatField(help_text="The answer when nothing is known.")
    contributions = serializers.DictField(child=serializers.FloatField(), help_text="By feature, largest first.")


class PredictedRowSerializer(serializers.Serializer[Any]):
    """Detectors give a score and its limit, classifiers a probability."""

    timestamp = serializers.DateTimeField(required=False)
    value = serializers.FloatField(required=False, allow_null=True, help_text="Of a sensor.")
    score = serializers.FloatField(
        required=False, allow_null=True, help_text="Distance from normal; null where it cannot be told."
    )
    limit = serializers.FloatField(required=False, help_text="From here on a score is anomalous.")
    anomalous = serializers.BooleanField(required=False, allow_null=True)
    probability = serializers.FloatField(required=False, help_text="Of a failure.")
    failure_predicted = serializers.BooleanField(required=False, help_text="The probability reaches the threshold.")
    explanation = ExplanationSerializer(required=False)


class PredictedSerializer(serializers.Serializer[Any]):
    model = serializers.CharField(help_text="Who answered; `the built-in detector` where no model serves.")
    version = serializers.IntegerField(allow_null=True)
    sensor = serializers.IntegerField(required=False)
    asset = serializers.IntegerField(required=False)
    threshold = serializers.FloatField(
        allow_null=True, help_text="Null for the built-in detector: its rows have limits of their own."
    )
    rows = PredictedRowSerializer(many=True)


class ScoredReadingSerializer(serializers.Serializer[Any]):
    timestamp = serializers.DateTimeField()
    value = serializers.FloatField()
    score = serializers.FloatField(
        allow_null=True,
        help_text="Distance from normal, negative below it: in robust standard deviations, or by a model in its "
        "thresholds. Null where it cannot be told.",
    )
    limit = serializers.FloatField(help_text="Anomalous from here on, in either direction.")
    anomalous = serializers.BooleanField(
        allow_null=True, help_text="Of the reading alone; an event needs three of five, or one far beyond."
    )


class ScoresSerializer(serializers.Serializer[Any]):
    model = serializers.CharField()
    version = serializers.IntegerField(allow_null=True)
    sensor = serializers.IntegerField()
    rows = ScoredReadingSerializer(many=True)


ASKING = {
    502: OpenApiResponse(ErrorSerializer, description="`model_failed`, `model_crashed`"),
    503: OpenApiResponse(
        ErrorSerializer,
        description="`predict_unavailable`, `predict_busy`, `model_failing`, `model_not_loaded`, `database_busy`; see "
        "`Retry-After`.",
    ),
    504: OpenApiResponse(ErrorSerializer, description="`predict_timeout`, `model_timeout`"),
}


class Predict(APIView):
    """Scores or probabilities for rows of the caller's own, or for the newest readings of a sensor."""

    required_permissions = ("mlops.predict_modelversion",)
    required_scope = "read"

    @extend_schema(
        operation_id="predict",
        request=AskedSerializer,
        responses={
            200: PredictedSerializer,
            400: OpenApiResponse(ErrorSerializer, description="`malformed_json`, `invalid`"),
            404: OpenApiResponse(
                ErrorSerializer, description="`unknown_model`, `unknown_sensor`, `unknown_asset`, `no_model`"
            ),
            409: OpenApiResponse(ErrorSerializer, description="`ambiguous_sensor`, `wrong_model`"),
            413: OpenApiResponse(ErrorSerializer, description="`body_too_large`, `too_many_rows`"),
            415: OpenApiResponse(ErrorSerializer, description="`unsupported_media_type`"),
            422: OpenApiResponse(
                ErrorSerializer,
                description="`feature_mismatch` (`errors` names what is missing and unexpected), `invalid_values`, "
                "`not_explainable`, `rows_required`",
            ),
            **ASKING,
        },
        examples=[
            OpenApiExample(
                "A classifier",
                {"model": "spindle", "rows": [{"torque": 40.1, "speed": 1500}], "explain": True},
                request_only=True,
            ),
            OpenApiExample("A sensor", {"sensor": "p101.temperature", "newest": 5}, request_only=True),
        ],
    )
    def post(self, request: KnownRequest) -> HttpResponse:
        """Nothing is stored. With an explanation a row says what each feature adds to the answer."""
        require_json({"content-type": request.content_type or ""})
        try:
            body = request._request.body
        except RawPostDataException as error:  # It was read as a form already, to look for a CSRF token.
            raise Refused("unsupported_media_type", "Questions do not come as a form.", 415) from error
        site = request.auth.site_id if isinstance(request.auth, Principal) else None
        answer = asking.predict(body, request.user, site)
        return HttpResponse(answer, content_type="application/json")


class SensorScores(APIView):
    """How stored readings of a sensor are scored by what serves it now."""

    required_permissions = ("sensors.view_reading", "mlops.view_anomaly")

    @extend_schema(
        operation_id="sensors_scores",
        parameters=WINDOW,
        responses={
            200: ScoresSerializer,
            400: OpenApiResponse(ErrorSerializer, description="`invalid_window`"),
            422: OpenApiResponse(ErrorSerializer, description=f"`window_too_long`: more than {MOST_SCORES} readings."),
            **ASKING,
        },
    )
    def get(self, request: KnownRequest, id: int) -> HttpResponse:
        """The last 24 hours unless `range`, or `from` and `to`, say otherwise.

        Readings below QUALITY_THRESHOLD are not scored. The events that were found in such scores, and what became of
        them, are at `/api/v1/anomalies/?sensor=ID`.
        """
        rows = Sensor.objects.visible_to(request.user).select_related("site")
        sensor = get_object_or_404(rows, pk=id)
        try:
            start, end = series.window(sensor, {"range": "24h", **request.query_params.dict()}, timezone.now())
        except ValueError as error:
            raise Refused("invalid_window", str(error), 400) from error
        _require_few(sensor, start, end)
        answer = asking.ask(questions.of_scores(sensor.pk, start, end))
        return HttpResponse(answer, content_type="application/json")


def _require_few(sensor: Sensor, start: Any, end: Any) -> None:
    good = Reading.objects.filter(sensor=sensor, timestamp__range=(start, end), quality__gte=settings.QUALITY_THRESHOLD)
    if good[: MOST_SCORES + 1].count() > MOST_SCORES:
        detail = f"There are more than {MOST_SCORES} readings from `from` to `to`; ask in parts."
        raise Refused("window_too_long", detail, 422)

"""The doors as views of Django: for people who are logged in, and for the API's documentation."""

from typing import Any

from django.http import HttpRequest
from django.http.request import RawPostDataException
from django_guid import get_guid
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sensors.access import Sender
from sensors.api.scoped import ErrorSerializer
from sensors.doors.intake import Answer, receive
from sensors.doors.requests import Incoming, error_of, require_good
from sensors.errors import Refused


class ReadingInSerializer(serializers.Serializer[Any]):
    """What a reading looks like when it is sent; for the documentation, the door itself decodes with msgspec."""

    sensor_id = serializers.CharField(max_length=100)
    timestamp = serializers.DateTimeField(help_text="ISO 8601 with its time zone.")
    value = serializers.FloatField()
    quality = serializers.FloatField(required=False, default=1.0, min_value=0, max_value=1)
    unit = serializers.CharField(required=False, allow_null=True, help_text="Default: the unit of the sensor.")


class RejectionSerializer(serializers.Serializer[Any]):
    index = serializers.IntegerField(help_text="Place in what was sent, counted from 0.")
    code = serializers.CharField()
    detail = serializers.CharField()


class StoredSerializer(serializers.Serializer[Any]):
    batch = serializers.IntegerField(allow_null=True, help_text="Null when nothing of it was new.")
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    rejected = RejectionSerializer(many=True, help_text="The first 1,000 of them.")
    rejected_beyond_these = serializers.IntegerField(required=False, help_text="How many more were refused.")
    corrected = serializers.IntegerField(required=False, help_text="Values replaced (`on_conflict=replace`).")


class SeriesInSerializer(serializers.Serializer[Any]):
    """Readings of one sensor by columns."""

    sensor_id = serializers.CharField(max_length=100)
    timestamps = serializers.ListField(child=serializers.DateTimeField())
    values = serializers.ListField(child=serializers.FloatField())
    qualities = serializers.ListField(child=serializers.FloatField(), required=False)
    unit = serializers.CharField(required=False, allow_null=True)


class Door(APIView):
    """What the doors share."""

    required_permissions = ("sensors.add_reading",)
    required_scope = "ingest"

    def answer(self, request: Request) -> Answer:
        """Store what the request holds. Raises Refused."""
        sender = request.auth if isinstance(request.auth, Sender) else Sender(user=request.user)
        http: HttpRequest = request._request
        headers = {name.lower(): value for name, value in http.headers.items()}
        try:
            body = http.body
        except RawPostDataException as error:  # It was read as a form already, to look for a CSRF token.
            raise Refused("unsupported_media_type", "Readings do not come as a form.", 415) from error
        answer = receive(Incoming(http.path, http.GET.dict(), headers, body, sender).delivery())
        require_good(answer)
        return answer


IDEMPOTENCY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="A repeat with the same key within 24 h gets the first answer, with `Idempotent-Replayed: true`.",
)
REFUSALS = {
    400: OpenApiResponse(ErrorSerializer, description="`malformed_json`, `malformed_gzip`, `invalid_precision`, ..."),
    409: OpenApiResponse(ErrorSerializer, description="`idempotency_key_reused`"),
    413: OpenApiResponse(ErrorSerializer, description="`body_too_large`, `too_many_readings`"),
    415: OpenApiResponse(ErrorSerializer, description="`unsupported_media_type`, `unsupported_encoding`"),
    422: OpenApiResponse(ErrorSerializer, description="`readings_rejected`: no reading was good; see `errors`."),
    429: OpenApiResponse(ErrorSerializer, description="`too_many_requests`; see the header `Retry-After`."),
    503: OpenApiResponse(ErrorSerializer, description="`database_busy`, `server_busy`; see `Retry-After`."),
}


class ReadingsDoor(Door):
    """Readings come in here: one object, an array of them, or series by columns, in `application/json`, gzipped or not.

    Good rows are stored even if others are refused; those wait in quarantine.
    """

    @extend_schema(
        operation_id="readings_send",
        parameters=[
            IDEMPOTENCY,
            OpenApiParameter(
                "on_conflict", str, enum=["keep", "replace"], description="`replace` (engineers): another value wins."
            ),
        ],
        request=ReadingInSerializer(many=True),
        responses={
            201: StoredSerializer,
            200: OpenApiResponse(StoredSerializer, description="Nothing new: every good reading was stored before."),
            **REFUSALS,
        },
    )
    def post(self, request: Request) -> Response:
        answer = self.answer(request)
        return Response(answer.stored, answer.status, headers=answer.headers)


class LineProtocolDoor(Door):
    """Readings as InfluxDB line protocol, for Telegraf and the InfluxDB clients; `Authorization: Token <API key>`.

    `org` and `bucket` are accepted and mean nothing here.
    """

    @extend_schema(
        operation_id="readings_write",
        parameters=[IDEMPOTENCY, OpenApiParameter("precision", str, enum=["ns", "us", "ms", "s"])],
        request={"text/plain": str},
        responses={204: OpenApiResponse(description="Stored; `X-Readings-Rejected` counts refused ones."), **REFUSALS},
    )
    def post(self, request: Request) -> Response:
        try:
            answer = self.answer(request)
        except Refused as refused:
            return Response(error_of(request.path, refused, get_guid() or ""), refused.status, headers=refused.headers)
        rejected = {"X-Readings-Rejected": str(len(answer.stored["rejected"]))}
        return Response(None, 204, headers=answer.headers | rejected)

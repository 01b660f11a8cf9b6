"""The API's way to read a sensor's past back: reduced to a chart, by the hour, or whole as a file."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from django.http import StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sensors import export, series, summary
from sensors.api.exportable import FILE, FORMAT, FileNegotiation
from sensors.api.scoped import ErrorSerializer, KnownRequest
from sensors.arrays import numpy_cursor
from sensors.errors import Refused
from sensors.export import Kind, Table
from sensors.models import Sensor
from sensors.timescale.rebuild import HOUR_US
from sensors.wording import for_machines

READINGS_AT_ONCE = 20_000
HOURS_AT_ONCE = timedelta(hours=5_000)
ABOUT_SENSOR: dict[str, Kind] = {"sensor_id": "text", "unit": "text"}
READING_COLUMNS: dict[str, Kind] = {"timestamp": "time", "value": "number", "quality": "number", "flags": "integer"}
HOUR_COLUMNS: dict[str, Kind] = {
    "bucket": "time",
    "count": "integer",
    **dict.fromkeys(("avg", "min", "max", "first", "last", "quality"), "number"),
}
NEXT_READINGS = """
    SELECT array_agg("timestamp"), array_agg(value), array_agg(quality), array_agg(flags::bigint) FROM (
        SELECT "timestamp", value, quality, flags FROM sensors_reading
        WHERE sensor_id = %s AND "timestamp" > %s AND "timestamp" <= %s ORDER BY "timestamp" LIMIT %s
    ) readings
"""

WINDOW = [
    OpenApiParameter("id", int, OpenApiParameter.PATH),
    OpenApiParameter("range", str, enum=list(series.RANGES), description="Or else `from` and `to`."),
    OpenApiParameter("from", datetime, description="Inclusive, ISO 8601 with its zone."),
    OpenApiParameter("to", datetime, description="Inclusive, ISO 8601 with its zone."),
]


class HourlyColumnsSerializer(serializers.Serializer[Any]):
    """Element i of each list belongs to `times[i]`."""

    count = serializers.ListField(child=serializers.IntegerField())
    min = serializers.ListField(child=serializers.FloatField())
    max = serializers.ListField(child=serializers.FloatField())
    first = serializers.ListField(child=serializers.FloatField())
    last = serializers.ListField(child=serializers.FloatField())
    quality = serializers.ListField(child=serializers.FloatField())


class DoubtedSerializer(serializers.Serializer[Any]):
    """Readings of low quality, which are no part of `values`; element i of each list belongs to `times[i]`."""

    times = serializers.ListField(child=serializers.DateTimeField())
    values = serializers.ListField(child=serializers.FloatField())
    why = serializers.ListField(child=serializers.CharField(allow_blank=True))


class SeriesSerializer(serializers.Serializer[Any]):
    sensor = serializers.IntegerField()
    unit = serializers.CharField()
    timezone = serializers.CharField()
    resolution = serializers.ChoiceField(["raw", "hourly"], help_text="Whether readings or hours were looked at.")
    bucket_seconds = serializers.FloatField(
        allow_null=True, help_text="What one pair of points (lowest, highest) stands for; null: every reading is there."
    )
    gap_seconds = serializers.FloatField(allow_null=True, help_text="A longer pause between points is a gap.")
    times = serializers.ListField(child=serializers.DateTimeField())
    values = serializers.ListField(child=serializers.FloatField(), help_text="With `resolution=hourly` the means.")
    doubted = DoubtedSerializer(
        required=False,
        help_text="Readings below QUALITY_THRESHOLD, some where they are many. Hours are those of all readings.",
    )
    hourly = HourlyColumnsSerializer(required=False, help_text="Only with `resolution=hourly`.")

    def get_fields(self) -> dict[str, Any]:
        # Python has a use of its own for the one name, and the other belongs beside it.
        ends = {name: serializers.DateTimeField(help_text="End of the window.") for name in ("from", "to")}
        return {**super().get_fields(), **ends}


class SensorSeries(APIView):
    """A stretch of a sensor's past, however long, as at most `points` points; or its hours one by one."""

    required_permissions = ("sensors.view_reading",)

    @extend_schema(
        operation_id="sensors_series",
        parameters=[
            *WINDOW,
            OpenApiParameter("points", int, description=f"{series.MIN_POINTS} to {series.MAX_POINTS} (default)."),
            OpenApiParameter("resolution", str, enum=["auto", "raw", "hourly"], default="auto"),
        ],
        responses={
            200: SeriesSerializer,
            422: OpenApiResponse(ErrorSerializer, description="`window_too_long`"),
            429: OpenApiResponse(ErrorSerializer, description="`too_many_at_once`: others of yours are running."),
        },
    )
    def get(self, request: KnownRequest, id: int) -> Response:
        """No peak is lost: each bucket keeps its lowest and highest value.

        `auto` looks at the readings, or in long windows at their hourly summary. `raw` looks at the readings in any
        case. `hourly` answers every hour of the window with all that is known of it.
        """
        sensor = _sensor(request, id)
        start, end = _window(request, sensor, "24h")
        resolution = request.query_params.get("resolution", "auto")
        if resolution == "hourly":
            return Response(_hourly(sensor, start, end))
        if resolution not in ("auto", "raw"):
            raise Refused("invalid_resolution", "`resolution` must be auto, raw or hourly.", 400)
        only_raw = resolution == "raw"
        points = _points(request)
        found = series.read(sensor, start, end, points, "raw" if only_raw else "auto", user_id=request.user.pk)
        return Response(found.as_json())


class SensorExport(APIView):
    """A sensor's readings, or their hourly summaries, as a file."""

    required_permissions = ("sensors.view_reading",)
    content_negotiation_class = FileNegotiation

    @extend_schema(
        operation_id="sensors_export_series",
        parameters=[*WINDOW, FORMAT, OpenApiParameter("resolution", str, enum=["raw", "hourly"], default="raw")],
        responses=FILE,
    )
    def get(self, request: KnownRequest, id: int) -> StreamingHttpResponse:
        """Everything, unless `range`, or `from` and `to`, say otherwise; oldest first."""
        sensor = _sensor(request, id)
        start, end = _window(request, sensor, "all")
        tables = {"raw": _readings_table, "hourly": _hours_table}
        resolution = request.query_params.get("resolution", "raw")
        if resolution not in tables:
            raise Refused("invalid_resolution", "`resolution` must be raw or hourly.", 400)
        table = tables[resolution](sensor, start, end)
        file_format = request.query_params.get("format", "csv")
        return export.download(table, file_format, user_id=request.user.pk)


def _sensor(request: KnownRequest, pk: int) -> Sensor:
    sensor: Sensor = get_object_or_404(Sensor.objects.visible_to(request.user).select_related("site"), pk=pk)
    return sensor


def _window(request: Request, sensor: Sensor, default: str) -> tuple[datetime, datetime]:
    try:
        return series.window(sensor, {"range": default, **request.query_params.dict()}, timezone.now())
    except ValueError as error:
        raise Refused("invalid_window", str(error), 400) from error


def _points(request: Request) -> int:
    asked = request.query_params.get("points", str(series.MAX_POINTS))
    points = int(asked) if asked.isdecimal() and len(asked) < 6 else 0
    if not series.MIN_POINTS <= points <= series.MAX_POINTS:
        limits = f"{series.MIN_POINTS} to {series.MAX_POINTS}"
        raise Refused("invalid_points", f"`points` must be a whole number from {limits}.", 400)
    return points


def _hourly(sensor: Sensor, start: datetime, end: datetime) -> dict[str, Any]:
    hours = series.hourly(sensor, start, end)
    columns = {name: column.tolist() for name, column in asdict(hours).items()}
    return {
        "sensor": sensor.pk,
        "unit": sensor.unit,
        "timezone": str(sensor.site.timezone),
        "from": for_machines(start),
        "to": for_machines(end),
        "resolution": "hourly",
        "bucket_seconds": HOUR_US / 1e6,
        "gap_seconds": HOUR_US / 1e6,
        "times": [for_machines(datetime.fromtimestamp(us / 1e6, UTC)) for us in columns["bucket"]],
        "values": columns["avg"],
        "hourly": {name: columns[name] for name in ("count", "min", "max", "first", "last", "quality")},
    }


def _readings_table(sensor: Sensor, start: datetime, end: datetime) -> Table:
    def pieces() -> Iterator[list[Any]]:
        last = start - timedelta(microseconds=1)
        while True:
            with numpy_cursor() as cursor:
                cursor.execute(NEXT_READINGS, [sensor.pk, last, end, READINGS_AT_ONCE])
                row = cursor.fetchone()
            if row is None or row[0] is None:
                return
            times, *columns = row
            yield [*_about(sensor, len(times)), times.view("datetime64[us]"), *columns]
            last = datetime.fromtimestamp(int(times[-1]) / 1e6, UTC)

    def count() -> int:
        return int(summary.hours([sensor.pk], start, end + timedelta(microseconds=1)).count.sum())

    return Table(_file_name(sensor, "readings"), ABOUT_SENSOR | READING_COLUMNS, pieces, count)


def _hours_table(sensor: Sensor, start: datetime, end: datetime) -> Table:
    stop = end + timedelta(microseconds=1)

    def pieces() -> Iterator[list[Any]]:
        first = start
        while first < stop:
            # Cut at whole hours, or a piece would end in the middle of one.
            last = min((first + HOURS_AT_ONCE).replace(minute=0, second=0, microsecond=0), stop)
            hours = asdict(summary.hours([sensor.pk], first, last))
            columns = [hours[name] for name in HOUR_COLUMNS if name != "bucket"]
            yield [*_about(sensor, len(columns[0])), hours["bucket"].view("datetime64[us]"), *columns]
            first = last

    def count() -> int:
        return (stop - start) // timedelta(hours=1)

    return Table(_file_name(sensor, "hours"), ABOUT_SENSOR | HOUR_COLUMNS, pieces, count)


def _about(sensor: Sensor, rows: int) -> tuple[Any, Any]:
    return np.repeat(sensor.sensor_id, rows), np.repeat(sensor.unit, rows)


def _file_name(sensor: Sensor, what: str) -> str:
    """Keys of sensors may hold `/` and `:`, which file names do not."""
    return f"{sensor.sensor_id}-{what}".replace("/", "_").replace(":", "_")

"""Files of readings through the API: upload, check, run, see what became of them."""

from typing import Any

import msgspec
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from sensors import imports
from sensors.api.scoped import ErrorSerializer, SiteScopedViewSet, VisibleRelatedField
from sensors.errors import Refused
from sensors.formats import csv
from sensors.models import Asset, Import, Site
from sensors.storable import storable

MAPPING = (
    "How the file is laid out: `{columns: [{name, role, sensor_id, unit}], delimiter, decimal, encoding, time_format, "
    "timezone, header, skip_lines}`, as an import shows it under `layout`; what is left out is guessed. Roles: "
    "timestamp, value, sensor, quality, unit, ignore."
)


class UploadSerializer(serializers.Serializer[Any]):
    file = serializers.FileField(help_text="CSV or TSV, gzipped or not.")
    site = VisibleRelatedField(queryset=Site.objects.all())
    asset = VisibleRelatedField(
        queryset=Asset.objects.all(), required=False, help_text="Where new sensors belong. Default: they wait."
    )
    mapping = serializers.JSONField(required=False, help_text=MAPPING)
    dry_run = serializers.BooleanField(default=False, help_text="Check the file and report; nothing is stored.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("asset") and attrs["asset"].site_id != attrs["site"].pk:
            raise serializers.ValidationError({"asset": "The asset belongs to another site."})
        if not isinstance(attrs.get("mapping", {}), dict):
            raise serializers.ValidationError({"mapping": "The mapping is an object."})
        if storable(attrs.get("mapping")) != attrs.get("mapping"):
            raise serializers.ValidationError({"mapping": "The mapping holds characters or numbers nobody can store."})
        return attrs


class LineSerializer(serializers.Serializer[imports.Line]):
    """One sensor of a file, as its last check found it."""

    sensor_id = serializers.CharField()
    known = serializers.SerializerMethodField(help_text="False: the import creates it.")
    kind = serializers.CharField()
    unit = serializers.CharField()
    readings = serializers.IntegerField()
    low = serializers.FloatField()
    high = serializers.FloatField()
    first = serializers.DateTimeField()
    last = serializers.DateTimeField()
    mean_step_seconds = serializers.FloatField()
    longest_gap_seconds = serializers.FloatField()
    problem = serializers.CharField(help_text="Why its readings would be refused; empty where they would not.")

    def get_known(self, line: imports.Line) -> bool:
        return line.sensor is not None


class ImportSerializer(serializers.ModelSerializer[Import]):
    class Meta:
        model = Import
        fields = [
            *("id", "site", "asset", "name", "size", "state", "percent", "rows", "stored", "duplicates", "refused"),
            *("new_sensors", "error", "created_at", "finished_at"),
        ]
        read_only_fields = fields

    percent = serializers.IntegerField(help_text="How much of the file was read in the present pass.")


class ImportDetailSerializer(ImportSerializer):
    layout = serializers.JSONField(help_text=MAPPING)
    sensors = serializers.SerializerMethodField()
    refusals = serializers.SerializerMethodField(help_text="How many readings the check would refuse, by code.")
    examples = serializers.SerializerMethodField(help_text="Some of them.")
    kept_for_ever = serializers.SerializerMethodField(
        help_text="Known sensors without a retention of their own whose readings are kept for ever because of this "
        "file; in a check: would be."
    )

    class Meta(ImportSerializer.Meta):
        fields = [*ImportSerializer.Meta.fields, "layout", "sensors", "refusals", "examples", "kept_for_ever"]
        read_only_fields = fields

    @extend_schema_field(LineSerializer(many=True))
    def get_sensors(self, row: Import) -> Any:
        return [LineSerializer(line).data for line in imports.lines(row)]

    @extend_schema_field(serializers.DictField(child=serializers.IntegerField()))
    def get_refusals(self, row: Import) -> Any:
        return row.report.get("refused", {})

    @extend_schema_field(serializers.ListField(child=serializers.DictField()))
    def get_examples(self, row: Import) -> Any:
        return row.report.get("examples", [])

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_kept_for_ever(self, row: Import) -> Any:
        return row.report.get("kept", [])


ERRORS = {
    400: OpenApiResponse(ErrorSerializer, description="`unreadable_file`, `unknown_columns`, `unknown_timezone`"),
    409: OpenApiResponse(ErrorSerializer, description="`too_many_imports`, `import_state`"),
    413: OpenApiResponse(ErrorSerializer, description="`body_too_large`"),
    507: OpenApiResponse(ErrorSerializer, description="`disk_full`"),
}


class ImportViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, SiteScopedViewSet):
    """Files of readings that are being imported. The work is done in the background; ask here how far it is."""

    queryset = Import.objects.all()
    serializer_class = ImportSerializer
    parser_classes = (MultiPartParser, JSONParser)
    ordering = ("-pk",)

    def get_serializer_class(self) -> type[ImportSerializer]:
        return ImportSerializer if self.action == "list" else ImportDetailSerializer

    @extend_schema(request={"multipart/form-data": UploadSerializer}, responses={201: ImportDetailSerializer, **ERRORS})
    def create(self, request: Request) -> Response:
        """Upload a file and begin to import it, or with `dry_run` to check it."""
        asked = UploadSerializer(data=request.data, context=self.get_serializer_context())
        asked.is_valid(raise_exception=True)
        said = asked.validated_data
        assert request.user.is_authenticated
        row = imports.receive(said["file"], site=said["site"], user=request.user, asset=said.get("asset"))
        try:
            layout = csv.parse_layout({**row.layout, **said.get("mapping", {})})
            row.layout = msgspec.to_builtins(layout)
            (imports.check if said["dry_run"] else imports.run)(row)
        except Refused:
            imports.cancel(row)
            raise
        return Response(ImportDetailSerializer(row).data, 201)

    @extend_schema(request=None, responses={200: ImportDetailSerializer, **ERRORS})
    @action(detail=True, methods=["post"], required_permissions=("sensors.change_import",))
    def run(self, request: Request, pk: int) -> Response:
        """Import a file that was checked."""
        row = self.get_object()
        imports.run(row)
        return Response(ImportDetailSerializer(row).data)

    @extend_schema(request=None, responses={200: ImportDetailSerializer, **ERRORS})
    @action(detail=True, methods=["post"], required_permissions=("sensors.change_import",))
    def cancel(self, request: Request, pk: int) -> Response:
        """Stop, and remove the file. What was stored stays."""
        row = self.get_object()
        imports.cancel(row)
        return Response(ImportDetailSerializer(row).data)

"""The API's view of work orders, what was done, and what was found."""

from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.response import Response
from rest_framework.views import APIView

from alerts.models import Alert
from maintenance import work_orders
from maintenance.models import MaintenanceLog, Outcome, Verdict, WorkOrder
from sensors.api.exportable import ExportableViewSet
from sensors.api.scoped import IdFilter, KnownRequest, PeriodFilterSet

# A year; longer is a slip of the finger.
MAX_DURATION_MINUTES = 525_600


class LogSerializer(serializers.ModelSerializer[MaintenanceLog]):
    done_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)
    duration_minutes = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=MAX_DURATION_MINUTES
    )

    class Meta:
        model = MaintenanceLog
        fields = ["id", "notes", "duration_minutes", "completion_date", "done_by"]


class VerdictSerializer(serializers.ModelSerializer[Verdict]):
    given_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)

    class Meta:
        model = Verdict
        fields = ["id", "alert", "work_order", "outcome", "window_start", "window_end", "given_by", "given_at"]


class WorkOrderSerializer(serializers.ModelSerializer[WorkOrder]):
    assignee = serializers.SlugRelatedField[User](slug_field="username", read_only=True)
    created_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)

    class Meta:
        model = WorkOrder
        fields = [
            "id",
            "site",
            "asset",
            "alert",
            "title",
            "description",
            "priority",
            "state",
            "due_at",
            "assignee",
            "created_by",
            "created_at",
            "started_at",
            "closed_at",
        ]


class WorkOrderDetailSerializer(WorkOrderSerializer):
    logs = LogSerializer(many=True, read_only=True)
    verdicts = VerdictSerializer(many=True, read_only=True)

    class Meta(WorkOrderSerializer.Meta):
        fields = [*WorkOrderSerializer.Meta.fields, "logs", "verdicts"]


class ClosingSerializer(serializers.Serializer[Any]):
    outcome = serializers.ChoiceField(Outcome.choices)
    notes = serializers.CharField(required=False, allow_blank=True, default="", max_length=5000)


class WorkOrderFilter(PeriodFilterSet):
    period_field = "created_at"
    site = IdFilter()
    asset = IdFilter()
    alert = IdFilter()

    class Meta:
        model = WorkOrder
        fields = ["site", "asset", "alert", "state", "priority"]


class VerdictFilter(PeriodFilterSet):
    period_field = "given_at"
    site = IdFilter(field_name="asset__site")
    asset = IdFilter()
    sensor = IdFilter(field_name="alert__sensor")
    alert = IdFilter()

    class Meta:
        model = Verdict
        fields = ["site", "asset", "sensor", "alert", "outcome"]


class WorkOrderViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ExportableViewSet):
    """Work orders, and the steps of the work."""

    queryset = WorkOrder.objects.select_related("assignee", "created_by")
    serializer_class = WorkOrderSerializer
    filterset_class = WorkOrderFilter

    def get_queryset(self) -> QuerySet[WorkOrder]:
        orders = super().get_queryset()
        return orders if self.action in self.lists else orders.prefetch_related("logs__done_by", "verdicts__given_by")

    def get_serializer_class(self) -> type[WorkOrderSerializer]:
        return WorkOrderSerializer if self.action in self.lists else WorkOrderDetailSerializer

    @extend_schema(request=None, responses=WorkOrderDetailSerializer)
    @action(detail=True, methods=["post"], required_permissions=("maintenance.change_workorder",))
    def start(self, request: KnownRequest, pk: int) -> Response:
        """Work begins."""
        work_orders.start(self.get_object(), request.user)
        return self._answer()

    @extend_schema(request=LogSerializer, responses={201: LogSerializer})
    @action(detail=True, methods=["post"], required_permissions=("maintenance.add_maintenancelog",))
    def log(self, request: KnownRequest, pk: int) -> Response:
        """Note what was done."""
        order = self.get_object()
        body = LogSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        log = work_orders.add_log(order, request.user, **body.validated_data)
        return Response(LogSerializer(log).data, 201)

    @extend_schema(request=ClosingSerializer, responses=WorkOrderDetailSerializer)
    @action(
        detail=True,
        methods=["post"],
        required_permissions=("maintenance.change_workorder", "maintenance.add_verdict"),
    )
    def close(self, request: KnownRequest, pk: int) -> Response:
        """Close the order with what was found; that resolves its alert."""
        order = self.get_object()
        body = ClosingSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        work_orders.close(order, request.user, **body.validated_data)
        return self._answer()

    @extend_schema(request=None, responses=WorkOrderDetailSerializer)
    @action(detail=True, methods=["post"], required_permissions=("maintenance.change_workorder",))
    def cancel(self, request: KnownRequest, pk: int) -> Response:
        """The job is not needed. Its alert stays as it is."""
        work_orders.cancel(self.get_object(), request.user)
        return self._answer()

    def _answer(self) -> Response:
        return Response(self.get_serializer(self.get_object()).data)


class AlertWorkOrder(APIView):
    """The running work order of an alert. It stands here because alerts know nothing of work orders."""

    required_permissions = ("maintenance.add_workorder",)

    @extend_schema(operation_id="alerts_work_order", request=None, responses=WorkOrderSerializer)
    def post(self, request: KnownRequest, pk: int) -> Response:
        """Open a work order for the alert, unless one is running already; answers the running one."""
        alert = get_object_or_404(Alert.objects.visible_to(request.user).select_related("asset"), pk=pk)
        return Response(WorkOrderSerializer(work_orders.open_for_alert(alert, request.user)).data)


class VerdictViewSet(mixins.ListModelMixin, ExportableViewSet):
    """What technicians found behind alerts."""

    queryset = Verdict.objects.select_related("given_by")
    serializer_class = VerdictSerializer
    filterset_class = VerdictFilter

"""The API's view of work orders, what was done, and what was found."""

from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django_filters.rest_framework import BooleanFilter, CharFilter
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.response import Response
from rest_framework.views import APIView

from alerts.models import Alert
from alerts.routing.api import PersonField
from maintenance import work_orders
from maintenance.models import FailureMode, MaintenanceLog, Outcome, Verdict, WorkOrder, WorkOrderStep
from maintenance.querysets import WorkOrderQuerySet
from maintenance.work_orders import MOVES
from sensors.api.annotations import AwareDateTimeField
from sensors.api.exportable import ExportableViewSet
from sensors.api.scoped import FiniteFloatField, IdFilter, KnownRequest, PeriodFilterSet, VisibleRelatedField
from sensors.models import Asset

# A year; longer is a slip of the finger.
MAX_DURATION_MINUTES = 525_600
MAX_HOURS = 8_760


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
        fields = [
            "id",
            "asset",
            "alert",
            "work_order",
            "outcome",
            "failure_mode",
            "window_start",
            "window_end",
            "given_by",
            "given_at",
        ]


class WorkOrderStepSerializer(serializers.ModelSerializer[WorkOrderStep]):
    by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)
    to_state = serializers.ChoiceField(WorkOrder.State.choices, read_only=True)

    class Meta:
        model = WorkOrderStep
        fields = ["id", "from_state", "to_state", "at", "by", "reason"]
        extra_kwargs = {"from_state": {"read_only": True}}


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
            "follows",
            "title",
            "description",
            "kind",
            "priority",
            "state",
            "due_at",
            "planned_start",
            "estimated_hours",
            "actual_hours",
            "assignee",
            "created_by",
            "created_at",
            "started_at",
            "done_at",
            "closed_at",
            "outcome",
            "failure_mode",
            "downtime_minutes",
            "downtime_reason",
            "other_cost",
        ]


class WorkOrderDetailSerializer(WorkOrderSerializer):
    crew = serializers.SlugRelatedField[User](slug_field="username", many=True, read_only=True)
    steps = WorkOrderStepSerializer(many=True, read_only=True)
    logs = LogSerializer(many=True, read_only=True)
    verdicts = VerdictSerializer(many=True, read_only=True)

    class Meta(WorkOrderSerializer.Meta):
        fields = [*WorkOrderSerializer.Meta.fields, "crew", "steps", "logs", "verdicts"]


class ProposalSerializer(serializers.Serializer[Any]):
    """A new job. Only who may approve orders may send `approved`."""

    asset = VisibleRelatedField(queryset=Asset.objects.all())
    title = serializers.CharField(max_length=200)
    description = serializers.CharField(max_length=5000, required=False, allow_blank=True)
    kind = serializers.ChoiceField(WorkOrder.Kind.choices, required=False)
    priority = serializers.ChoiceField(WorkOrder.Priority.choices, required=False)
    due_at = AwareDateTimeField(required=False, allow_null=True)
    estimated_hours = FiniteFloatField(required=False, allow_null=True, min_value=0, max_value=MAX_HOURS)
    follows = VisibleRelatedField(queryset=WorkOrder.objects.all(), required=False, allow_null=True)
    checklist = serializers.ListField(
        child=serializers.JSONField(), required=False, help_text="Tasks: text, kind, unit, low, high, sensor, choices."
    )
    approved = serializers.BooleanField(default=False)

    def validate_approved(self, approved: bool) -> bool:
        if approved and not self.context["request"].user.has_perm(work_orders.APPROVE):
            raise serializers.ValidationError("You may propose orders, not approve them.", code="cannot_approve")
        return approved


class WorkOrderScheduleSerializer(serializers.Serializer[Any]):
    planned_start = AwareDateTimeField()
    assignee = PersonField(queryset=User.objects.all(), required=False, allow_null=True)
    crew = PersonField(queryset=User.objects.all(), many=True, required=False)


class WorkOrderReasonSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=work_orders.MAX_REASON, required=False, allow_blank=True, default="")


class WorkOrderCommentSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=work_orders.MAX_REASON)


class ClosingSerializer(serializers.Serializer[Any]):
    """What was found. `also` are further alerts of the same asset that it settles."""

    outcome = serializers.ChoiceField(Outcome.choices)
    notes = serializers.CharField(required=False, allow_blank=True, default="", max_length=5000)
    failure_mode = VisibleRelatedField(queryset=FailureMode.objects.all(), required=False, allow_null=True)
    also = VisibleRelatedField(queryset=Alert.objects.all(), many=True, required=False)
    actual_hours = FiniteFloatField(required=False, allow_null=True, min_value=0, max_value=MAX_HOURS)
    downtime_minutes = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=MAX_DURATION_MINUTES
    )
    downtime_reason = serializers.CharField(required=False, allow_blank=True, max_length=200)
    other_cost = serializers.DecimalField(max_digits=12, decimal_places=2, required=False, allow_null=True, min_value=0)


class WorkOrderFilter(PeriodFilterSet):
    period_field = "created_at"
    site = IdFilter()
    asset = IdFilter()
    alert = IdFilter()
    follows = IdFilter()
    assignee = CharFilter(field_name="assignee__username", label="A user name.")
    running = BooleanFilter(field_name="closed_at", lookup_expr="isnull", label="Neither closed nor cancelled.")
    overdue = BooleanFilter(method="only_overdue", label="Running beyond their due time.")

    class Meta:
        model = WorkOrder
        fields = ["site", "asset", "alert", "follows", "state", "kind", "priority", "outcome"]

    def only_overdue(self, rows: WorkOrderQuerySet, _: str, wanted: bool) -> WorkOrderQuerySet:
        return rows.overdue(timezone.now()) if wanted else rows


class VerdictFilter(PeriodFilterSet):
    period_field = "given_at"
    site = IdFilter(field_name="asset__site")
    asset = IdFilter()
    sensor = IdFilter(field_name="alert__sensor")
    alert = IdFilter()

    class Meta:
        model = Verdict
        fields = ["site", "asset", "sensor", "alert", "outcome", "failure_mode"]


class WorkOrderViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ExportableViewSet):
    """Work orders, and the steps of the work."""

    queryset = WorkOrder.objects.select_related("assignee", "created_by")
    serializer_class = WorkOrderSerializer
    filterset_class = WorkOrderFilter

    def get_queryset(self) -> QuerySet[WorkOrder]:
        orders = super().get_queryset()
        inside = ("crew", "steps__by", "logs__done_by", "verdicts__given_by")
        return orders if self.action in self.lists else orders.prefetch_related(*inside)

    def get_serializer_class(self) -> type[WorkOrderSerializer]:
        return WorkOrderSerializer if self.action in self.lists else WorkOrderDetailSerializer

    @extend_schema(request=ProposalSerializer, responses={201: WorkOrderSerializer})
    def create(self, request: KnownRequest) -> Response:
        """Propose a job on an asset. For an alert, see /alerts/{id}/work-order/."""
        order = work_orders.propose(by=request.user, **self._sent(ProposalSerializer))
        return Response(WorkOrderSerializer(order).data, 201)

    @extend_schema(request=None, responses=WorkOrderDetailSerializer)
    @action(detail=True, methods=["post"], required_permissions=MOVES["approve"].permissions)
    def approve(self, request: KnownRequest, pk: int) -> Response:
        """The proposal is to be done."""
        work_orders.approve(self.get_object(), request.user)
        return self._answer()

    @extend_schema(request=WorkOrderScheduleSerializer, responses=WorkOrderDetailSerializer)
    @action(detail=True, methods=["post"], required_permissions=MOVES["schedule"].permissions)
    def schedule(self, request: KnownRequest, pk: int) -> Response:
        """Say when work is to begin and who does it."""
        work_orders.schedule(self.get_object(), request.user, **self._sent(WorkOrderScheduleSerializer))
        return self._answer()

    @extend_schema(request=None, responses=WorkOrderDetailSerializer)
    @action(detail=True, methods=["post"], required_permissions=MOVES["start"].permissions)
    def start(self, request: KnownRequest, pk: int) -> Response:
        """Work begins, or goes on after a hold."""
        work_orders.start(self.get_object(), request.user)
        return self._answer()

    @extend_schema(request=WorkOrderReasonSerializer, responses=WorkOrderDetailSerializer)
    @action(detail=True, methods=["post"], required_permissions=MOVES["hold"].permissions)
    def hold(self, request: KnownRequest, pk: int) -> Response:
        """Work stands still; say what it waits for."""
        work_orders.hold(self.get_object(), request.user, **self._sent(WorkOrderReasonSerializer))
        return self._answer()

    @extend_schema(request=None, responses=WorkOrderDetailSerializer)
    @action(detail=True, methods=["post"], required_permissions=MOVES["finish"].permissions)
    def finish(self, request: KnownRequest, pk: int) -> Response:
        """The work is done, what was found is still to be said."""
        work_orders.finish(self.get_object(), request.user)
        return self._answer()

    @extend_schema(request=WorkOrderReasonSerializer, responses=WorkOrderDetailSerializer)
    @action(detail=True, methods=["post"], required_permissions=MOVES["reopen"].permissions)
    def reopen(self, request: KnownRequest, pk: int) -> Response:
        """What was said to be done was not."""
        work_orders.reopen(self.get_object(), request.user, **self._sent(WorkOrderReasonSerializer))
        return self._answer()

    @extend_schema(request=WorkOrderReasonSerializer, responses=WorkOrderDetailSerializer)
    @action(detail=True, methods=["post"], required_permissions=MOVES["cancel"].permissions)
    def cancel(self, request: KnownRequest, pk: int) -> Response:
        """The job is not needed. Its alert stays as it is."""
        work_orders.cancel(self.get_object(), request.user, **self._sent(WorkOrderReasonSerializer))
        return self._answer()

    @extend_schema(request=LogSerializer, responses={201: LogSerializer})
    @action(detail=True, methods=["post"], required_permissions=("maintenance.add_maintenancelog",))
    def log(self, request: KnownRequest, pk: int) -> Response:
        """Note what was done."""
        log = work_orders.add_log(self.get_object(), request.user, **self._sent(LogSerializer))
        return Response(LogSerializer(log).data, 201)

    @extend_schema(request=WorkOrderCommentSerializer, responses={201: WorkOrderStepSerializer})
    @action(detail=True, methods=["post"], required_permissions=("maintenance.add_workorder",))
    def comment(self, request: KnownRequest, pk: int) -> Response:
        """Note something for everybody who looks at the order."""
        step = work_orders.comment(self.get_object(), request.user, **self._sent(WorkOrderCommentSerializer))
        return Response(WorkOrderStepSerializer(step).data, 201)

    @extend_schema(request=ClosingSerializer, responses=WorkOrderDetailSerializer)
    @action(detail=True, methods=["post"], required_permissions=MOVES["close"].permissions)
    def close(self, request: KnownRequest, pk: int) -> Response:
        """Close the order with what was found; that resolves its alert."""
        work_orders.close(self.get_object(), request.user, **self._sent(ClosingSerializer))
        return self._answer()

    def _sent(self, kind: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        body = kind(data=self.request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        return dict(body.validated_data)

    def _answer(self) -> Response:
        return Response(self.get_serializer(self.get_object()).data)


class AlertWorkOrder(APIView):
    """The running work order of an alert. It stands here because alerts know nothing of work orders."""

    required_permissions = ("maintenance.add_workorder",)

    @extend_schema(operation_id="alerts_work_order", request=None, responses=WorkOrderSerializer)
    def post(self, request: KnownRequest, pk: int) -> Response:
        """Propose a work order for the alert, unless one is running already; answers the running one."""
        alert = get_object_or_404(Alert.objects.visible_to(request.user).select_related("site", "asset"), pk=pk)
        return Response(WorkOrderSerializer(work_orders.propose_for_alert(alert, request.user)).data)


class VerdictViewSet(mixins.ListModelMixin, ExportableViewSet):
    """What technicians found behind alerts."""

    queryset = Verdict.objects.select_related("given_by")
    serializer_class = VerdictSerializer
    filterset_class = VerdictFilter

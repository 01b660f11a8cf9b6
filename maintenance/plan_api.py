"""The API's view of plans."""

from itertools import islice
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from alerts.models import Alert
from alerts.routing.api import PersonField
from maintenance import plans
from maintenance.models import Plan, PlanOccurrence
from maintenance.plan_days import next_days
from maintenance.plan_views import PREVIEWED
from sensors.api.exportable import ExportableViewSet
from sensors.api.plant import CheckedSerializer
from sensors.api.scoped import IdFilter, KnownRequest, PeriodFilterSet


class PlanSerializer(CheckedSerializer):
    assignee = PersonField(queryset=User.objects.all(), required=False, allow_null=True)
    created_by: Any = serializers.SlugRelatedField(slug_field="username", read_only=True)
    checklist = serializers.ListField(child=serializers.DictField(), required=False, max_length=100)
    alert_kinds = serializers.ListField(child=serializers.ChoiceField(Alert.Kind.choices), required=False)

    class Meta:
        model = Plan
        fields = [
            *("id", "asset", "title", "description", "trigger", "priority", "estimated_hours", "assignee"),
            *("checklist", "enabled", "approved", "counts_from", "lead_days"),
            *("starts_on", "due_time", "rule", "holidays_of", "on_holiday"),
            *("sensor", "meter", "every", "threshold", "alert_kinds", "least_severity"),
            *("used", "rounds", "next_due_at", "problem", "created_by", "created_at"),
        ]
        read_only_fields = ["used", "rounds", "next_due_at", "problem", "created_at"]

    def save(self, **kwargs: Any) -> Plan:
        plan = self.instance or Plan()
        for name, value in self.validated_data.items():
            setattr(plan, name, value)
        self.instance = plans.keep(plan, kwargs["by"])
        return self.instance


class OccurrenceSerializer(serializers.ModelSerializer[PlanOccurrence]):
    class Meta:
        model = PlanOccurrence
        fields = ["id", "plan", "key", "due_at", "order", "created_at"]


class DateSerializer(serializers.Serializer[Any]):
    day = serializers.DateField()
    due_at = serializers.DateTimeField(source="at")


class PlanFilter(PeriodFilterSet):
    period_field = "next_due_at"
    site = IdFilter(field_name="asset__site")
    asset = IdFilter()

    class Meta:
        model = Plan
        fields = ["site", "asset", "trigger", "enabled"]


class OccurrenceFilter(PeriodFilterSet):
    period_field = "due_at"
    plan = IdFilter()
    order = IdFilter()

    class Meta:
        model = PlanOccurrence
        fields = ["plan", "order"]


class PlanViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.CreateModelMixin,
    mixins.UpdateModelMixin,
    ExportableViewSet,
):
    """Work that comes again, and when it is due next."""

    queryset = Plan.objects.select_related("asset__site", "assignee", "created_by", "sensor")
    serializer_class = PlanSerializer
    filterset_class = PlanFilter
    http_method_names = ["get", "post", "patch", "head", "options"]

    def perform_create(self, serializer: Any) -> None:
        serializer.save(by=self.request.user)

    def perform_update(self, serializer: Any) -> None:
        serializer.save(by=self.request.user)

    @extend_schema(responses=DateSerializer(many=True), filters=False)
    @action(detail=True, methods=["get"], pagination_class=None)
    def dates(self, request: KnownRequest, pk: int) -> Response:
        """The next ten days on which the plan is due by the calendar, those with orders already left out."""
        found = islice(next_days(self.get_object(), timezone.now()), PREVIEWED)
        return Response(DateSerializer(list(found), many=True).data)


class OccurrenceViewSet(mixins.ListModelMixin, ExportableViewSet):
    """Every time that a plan was due, with its order; without one it was missed."""

    queryset = PlanOccurrence.objects.all()
    serializer_class = OccurrenceSerializer
    filterset_class = OccurrenceFilter

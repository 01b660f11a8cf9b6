"""The API's view of rules: what they ask for, when they held, and what they would have said of the past."""

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from alerts.models import Condition, Firing, Rule
from alerts.rules import definition as definitions
from alerts.rules import keeping, recording
from alerts.rules.backtest import USUAL, Backtest, backtest
from alerts.rules.definition import Definition
from alerts.rules.evaluation import Held
from alerts.rules.forms import MOST_CONDITIONS
from sensors.api.annotations import AwareDateTimeField
from sensors.api.plant import CheckedSerializer
from sensors.api.scoped import IdFilter, KnownRequest, PeriodFilterSet, SiteScopedViewSet
from sensors.models import Limits
from sensors.wall_clock import OUT_OF_TIME, in_our_time
from sensors.wording import for_machines

# An answer lists so many; the count is of all.
MOST_LISTED = 1000


class ConditionSerializer(CheckedSerializer):
    class Meta:
        model = Condition
        fields = ["sensor", *Limits._fields]


class RuleSerializer(CheckedSerializer):
    conditions = ConditionSerializer(many=True, allow_empty=False)
    created_by: Any = serializers.SlugRelatedField(slug_field="username", read_only=True)

    class Meta:
        model = Rule
        fields = [
            *("id", "site", "asset", "name", "enabled", "severity", "combination", "conditions"),
            *("duration_seconds", "hysteresis_percent", "weekdays", "from_time", "to_time"),
            *("created_by", "created_at"),
        ]
        read_only_fields = ["site", "created_at"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        own = {name: value for name, value in attrs.items() if name != "conditions"}
        super().validate(own)
        asset = attrs.get("asset") or self.instance.asset  # type: ignore[union-attr]
        if self.instance and asset != self.instance.asset:
            raise serializers.ValidationError({"asset": "A rule stays at its asset; create another one."}, "fixed")
        sensors = [row["sensor"] for row in attrs.get("conditions", ())]
        if any(sensor.asset_id != asset.pk for sensor in sensors):
            raise serializers.ValidationError({"conditions": "All sensors belong to the rule's asset."}, "other_asset")
        if len(set(sensors)) < len(sensors):
            raise serializers.ValidationError({"conditions": "Name each sensor once."}, "unique")
        if len(sensors) > MOST_CONDITIONS:
            raise serializers.ValidationError({"conditions": f"At most {MOST_CONDITIONS}."}, "max_length")
        return attrs

    def unsaved(self) -> tuple[Rule, list[Condition]]:
        """The rule and conditions that were sent, on top of what is stored."""
        sent = dict(self.validated_data)
        conditions = sent.pop("conditions", None)
        rule = self.instance or Rule()
        for name, value in sent.items():
            setattr(rule, name, value)
        if conditions is None:
            return rule, list(Condition.objects.filter(rule=rule).select_related("sensor"))
        return rule, [Condition(**row) for row in conditions]

    def save(self, **kwargs: Any) -> Rule:
        rule, conditions = self.unsaved()
        return keeping.save(rule, conditions, kwargs["by"])


class PeriodSerializer(serializers.Serializer[Any]):
    """Both ends may be left out: the last 30 days."""

    def get_fields(self) -> dict[str, Any]:
        # As class attributes they could not be called `from`: it is a keyword.
        return {
            **super().get_fields(),
            "from": AwareDateTimeField(required=False),
            "to": AwareDateTimeField(required=False),
        }

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        for name in ("from", "to"):
            if name in attrs and not in_our_time(attrs[name]):
                raise serializers.ValidationError({name: OUT_OF_TIME}, "out_of_time")
        return attrs


class TrialSerializer(PeriodSerializer):
    rule = RuleSerializer()


class HeldSerializer(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    alarm_at = serializers.DateTimeField(allow_null=True)
    peak_at = serializers.DateTimeField()
    peak_value = serializers.FloatField()
    sensor = serializers.IntegerField(help_text="Whose reading was the worst.")


class BacktestSerializer(serializers.Serializer[Any]):
    start = serializers.DateTimeField(help_text="Later than asked for when that was too long: see `is_cut`.")
    end = serializers.DateTimeField()
    is_cut = serializers.BooleanField()
    readings = serializers.IntegerField()
    count = serializers.IntegerField()
    alarms = serializers.IntegerField()
    total_seconds = serializers.FloatField()
    firings = HeldSerializer(many=True, help_text=f"The newest {MOST_LISTED:,}, oldest first.")


class FiringSerializer(serializers.ModelSerializer[Firing]):
    class Meta:
        model = Firing
        fields = ["id", "rule", "sensor", "start", "end", "alarm_at", "peak_at", "peak_value", "historical", "alert"]


class FiringFilter(PeriodFilterSet):
    period_field = "start"
    rule = IdFilter()
    sensor = IdFilter()
    alert = IdFilter()

    class Meta:
        model = Firing
        fields = ["rule", "sensor", "alert", "historical"]


class FiringViewSet(mixins.ListModelMixin, SiteScopedViewSet):
    """When rules held, and sensors were beyond their own limits (`rule` is null), newest first."""

    queryset = Firing.objects.all()
    serializer_class = FiringSerializer
    filterset_class = FiringFilter


class RuleViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.CreateModelMixin,
    mixins.UpdateModelMixin,
    SiteScopedViewSet,
):
    """Conditions on sensors of one asset that raise an alert."""

    queryset = Rule.objects.standing().select_related("asset__site", "created_by").prefetch_related("conditions")
    serializer_class = RuleSerializer
    filterset_fields = ["enabled"]
    http_method_names = ["get", "head", "options", "post", "patch"]

    def perform_create(self, serializer: Any) -> None:
        serializer.instance = serializer.save(by=self.request.user)

    def perform_update(self, serializer: Any) -> None:
        serializer.instance = self.get_queryset().get(pk=serializer.save(by=self.request.user).pk)

    @extend_schema(request=PeriodSerializer, responses=BacktestSerializer)
    @action(detail=True, methods=["post"], required_permissions=("alerts.change_rule",))
    def backtest(self, request: KnownRequest, pk: int) -> Response:
        """When the rule would have held in the past."""
        sent = PeriodSerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        rule = self.get_object()
        return self._tried(definitions.of_rule(rule, list(rule.conditions.select_related("sensor"))), sent)

    @extend_schema(operation_id="rules_trial_create", request=TrialSerializer, responses=BacktestSerializer)
    @action(detail=False, methods=["post"], url_path="backtest", required_permissions=("alerts.add_rule",))
    def trial(self, request: KnownRequest) -> Response:
        """When a rule that is not stored would have held in the past."""
        sent = PeriodSerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        body = request.data.get("rule") if isinstance(request.data, dict) else None
        rule = RuleSerializer(data=body, context=self.get_serializer_context())
        rule.is_valid(raise_exception=True)
        return self._tried(definitions.of_rule(*rule.unsaved()), sent)

    def _tried(self, definition: Definition, sent: PeriodSerializer) -> Response:
        assert isinstance(self.request.user, User)
        end = sent.validated_data.get("to") or timezone.now() + timedelta(minutes=1)
        start = sent.validated_data.get("from") or end - USUAL
        return Response(_as_json(backtest(definition, start, end, user_id=self.request.user.pk)))


def _as_json(found: Backtest) -> dict[str, Any]:
    return {
        "start": for_machines(found.start),
        "end": for_machines(found.end),
        "is_cut": found.is_cut,
        "readings": found.readings,
        "count": found.count,
        "alarms": found.alarms,
        "total_seconds": found.total_seconds,
        "firings": [_held_as_json(each) for each in found.found[-MOST_LISTED:]],
    }


def _held_as_json(held: Held) -> dict[str, Any]:
    def said(us: int) -> str:
        return for_machines(recording.at(us))

    return {
        "start": said(held.start),
        "end": said(held.end),
        "alarm_at": None if held.alarm_at is None else said(held.alarm_at),
        "peak_at": said(held.peak.at),
        "peak_value": held.peak.value,
        "sensor": held.peak.sensor,
    }

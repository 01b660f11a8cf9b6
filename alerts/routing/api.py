"""The API of who is told: routes, silences, schedules, escalation policies, and one's own preferences."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.exceptions import BadRequest
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.generics import RetrieveUpdateAPIView
from rest_framework.response import Response
from timezone_field.rest_framework import TimeZoneSerializerField

from alerts import silences
from alerts.models import (
    Alert,
    Channel,
    Contact,
    EscalationPolicy,
    EscalationStep,
    Override,
    Preference,
    Rotation,
    RotationMember,
    Route,
    Schedule,
    Silence,
)
from alerts.routing import on_call, preview
from alerts.routing.directory import colleagues
from alerts.routing.forms import check_address
from alerts.routing.ladders import rotas_of
from alerts.routing.views import save_contacts
from sensors.api.annotations import AwareDateTimeField
from sensors.api.plant import CheckedSerializer
from sensors.api.scoped import IdFilter, KnownRequest, PeriodFilterSet, SiteScopedViewSet, VisibleRelatedField
from sensors.errors import Refused
from sensors.pages import asked_stretch

DEFAULT_CALENDAR = timedelta(days=14)
LONGEST_CALENDAR = timedelta(days=92)


STRETCH = [OpenApiParameter(name, datetime, description="ISO 8601, with a zone.") for name in ("from", "to")]


class PersonField(serializers.SlugRelatedField[User]):
    """A user name of somebody whom the caller may name."""

    def __init__(self, **options: Any) -> None:
        super().__init__(slug_field="username", **options)

    def get_queryset(self) -> QuerySet[User]:
        return colleagues(self.context["request"].user)


def _people(**options: Any) -> Any:
    return PersonField(queryset=User.objects.all(), **options)


def _roles() -> Any:
    return serializers.SlugRelatedField(slug_field="name", queryset=Group.objects.all(), many=True, required=False)


class EverywhereSerializer(CheckedSerializer):
    """What is of every site is made only by those who see every site."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("asset") and not attrs.get("site"):
            attrs["site"] = attrs["asset"].site
        site = attrs.get("site", self.instance.site if self.instance else None)
        if site is None and not self.context["request"].user.has_perm("sensors.view_all_sites"):
            raise serializers.ValidationError({"site": "Name a site."}, code="site_missing")
        plain = {name: value for name, value in attrs.items() if name not in self.related}
        checked = super().validate(plain)
        return attrs | checked

    # Fields that hold rows of other tables, which `clean` does not look at.
    related: tuple[str, ...] = ()


class EverywhereViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, SiteScopedViewSet):
    """Rows of a site or of every site; the latter are changed by those who see every site."""

    def get_queryset(self) -> QuerySet[Any]:
        rows: Any = super().get_queryset()
        if self.action in ("partial_update", "override", "rotation"):
            changeable: QuerySet[Any] = rows.changeable_by(self.request.user)
            return changeable
        visible: QuerySet[Any] = rows
        return visible


class EntrySerializer(serializers.Serializer[Any]):
    who = serializers.CharField()
    channel = serializers.CharField()
    at = serializers.DateTimeField(allow_null=True, help_text="Null: not told; `timing` says why not.")
    why = serializers.CharField()
    timing = serializers.CharField()


class PreviewSerializer(serializers.Serializer[Any]):
    held = serializers.CharField(help_text="Why nobody is told now; empty when somebody is.")
    look_again = serializers.DateTimeField(allow_null=True)
    entries = EntrySerializer(many=True)


class TriedSerializer(serializers.Serializer[Any]):
    alert = serializers.IntegerField(min_value=1)


class RouteSerializer(EverywhereSerializer):
    people = _people(many=True, required=False)
    roles = _roles()
    related = ("people", "roles", "channels")

    class Meta:
        model = Route
        fields = [
            *("id", "name", "site", "asset", "kinds", "least_severity", "weekdays", "begins", "ends"),
            *("responsible", "roles", "people", "channels", "policy", "as_digest", "tells_when_settled", "enabled"),
        ]
        extra_kwargs = {"channels": {"required": False}}

    def validate_channels(self, channels: list[Channel]) -> list[Channel]:
        if any(channel.is_personal for channel in channels):
            raise serializers.ValidationError("Name people instead: this channel reaches them one by one.", "personal")
        return channels


class RouteViewSet(mixins.CreateModelMixin, mixins.UpdateModelMixin, EverywhereViewSet):
    """Which alerts go to whom."""

    queryset = Route.objects.prefetch_related("people", "roles", "channels")
    serializer_class = RouteSerializer
    http_method_names = ["get", "post", "patch", "head", "options"]

    @extend_schema(request=TriedSerializer, responses=PreviewSerializer)
    @action(detail=False, methods=["post"], required_permissions=("alerts.view_route",), required_scope="read")
    def preview(self, request: KnownRequest) -> Response:
        """Who would be told, when and why, if an alert were raised now; nothing is sent."""
        asked = TriedSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        alert = Alert.objects.visible_to(request.user).filter(pk=asked.validated_data["alert"]).first()
        if alert is None:
            raise Refused("unknown_alert", "There is no such alert.", 422)
        return Response(PreviewSerializer(preview.if_raised_now(alert, timezone.now())).data)


class SilenceSerializer(CheckedSerializer):
    starts_at = AwareDateTimeField(required=False)
    ends_at = AwareDateTimeField()
    created_by: Any = serializers.SlugRelatedField(slug_field="username", read_only=True)

    class Meta:
        model = Silence
        fields = ["id", "site", "asset", "sensor", "kinds", "starts_at", "ends_at", "reason", "created_by"]


class SilenceFilter(PeriodFilterSet):
    period_field = "ends_at"
    site = IdFilter()
    asset = IdFilter()
    sensor = IdFilter()

    class Meta:
        model = Silence
        fields = ["site", "asset", "sensor"]


class SilenceViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.CreateModelMixin, SiteScopedViewSet):
    """Times in which alerts are told to nobody, newest first."""

    queryset = Silence.objects.select_related("created_by")
    serializer_class = SilenceSerializer
    filterset_class = SilenceFilter

    def perform_create(self, serializer: Any) -> None:
        serializer.instance = silences.create(Silence(**serializer.validated_data), self.request.user)  # type: ignore[arg-type]

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], required_permissions=("alerts.change_silence",))
    def end(self, request: KnownRequest, pk: int | None = None) -> Response:
        """Its open alerts are told from now on."""
        return Response(self.get_serializer(silences.end(self.get_object(), request.user)).data)


class RotationSerializer(serializers.ModelSerializer[Rotation]):
    people = _people(many=True, allow_empty=False, help_text="In the order of their turns.")

    class Meta:
        model = Rotation
        fields = ["starts_on", "hand_over", "every", "hours", "people"]

    def to_representation(self, instance: Rotation) -> dict[str, Any]:
        turns = [member.person.username for member in instance.members.all()]
        plain = {name: self.fields[name].to_representation(getattr(instance, name)) for name in self.Meta.fields[:-1]}
        return plain | {"people": turns}


class OverrideSerializer(CheckedSerializer):
    person = _people()
    start = AwareDateTimeField()
    end = AwareDateTimeField()

    class Meta:
        model = Override
        fields = ["person", "start", "end"]


class ShiftSerializer(serializers.Serializer[Any]):
    person = serializers.CharField(allow_null=True, help_text="Null: nobody.")
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    stands_in = serializers.BooleanField()


class ScheduleSerializer(EverywhereSerializer):
    timezone = TimeZoneSerializerField(use_pytz=False, required=False)
    rotations = RotationSerializer(many=True, read_only=True)

    class Meta:
        model = Schedule
        fields = ["id", "name", "site", "timezone", "rotations"]


class ScheduleViewSet(mixins.CreateModelMixin, mixins.UpdateModelMixin, EverywhereViewSet):
    """Who is on call when."""

    queryset = Schedule.objects.prefetch_related("rotations__members__person")
    serializer_class = ScheduleSerializer
    http_method_names = ["get", "post", "patch", "head", "options"]

    @extend_schema(responses=ShiftSerializer(many=True), parameters=STRETCH)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def shifts(self, request: KnownRequest, pk: int | None = None) -> Response:
        """Who is on call from `from` (default: now) to `to` (default: two weeks later), without a gap."""
        schedule = self.get_object()
        try:
            asked = asked_stretch(request.query_params.dict())
        except BadRequest as error:
            raise Refused("bad_period", str(error), 400) from error
        start = asked.get("from", timezone.now())
        end = asked.get("to", start + DEFAULT_CALENDAR)
        if end - start > LONGEST_CALENDAR:
            raise Refused("stretch_too_long", "Ask for 92 days at most.", 422)
        found = on_call.shifts(rotas_of([schedule.pk], start)[schedule.pk], start, end)
        names = dict(User.objects.filter(pk__in={row.person for row in found}).values_list("pk", "username"))
        rows = [{"person": names.get(row.person or 0), **_times(row)} for row in found]
        return Response(ShiftSerializer(rows, many=True).data)

    @extend_schema(request=RotationSerializer, responses=ScheduleSerializer)
    @action(detail=True, methods=["post"], required_permissions=("alerts.change_schedule",))
    def rotation(self, request: KnownRequest, pk: int | None = None) -> Response:
        """Let people take turns from a day on; earlier rotations end there."""
        schedule, body = self.get_object(), RotationSerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        about = dict(body.validated_data)
        people = about.pop("people")
        with transaction.atomic():
            made = Rotation.objects.create(schedule=schedule, **about)
            RotationMember.objects.bulk_create(
                RotationMember(rotation=made, person=person, position=n) for n, person in enumerate(people)
            )
        return Response(self.get_serializer(self.get_queryset().get(pk=schedule.pk)).data)

    @extend_schema(request=OverrideSerializer, responses=OverrideSerializer)
    @action(detail=True, methods=["post"], required_permissions=("alerts.change_schedule",))
    def override(self, request: KnownRequest, pk: int | None = None) -> Response:
        """Somebody stands in."""
        schedule, body = self.get_object(), OverrideSerializer(data=request.data, context=self.get_serializer_context())
        body.is_valid(raise_exception=True)
        body.save(schedule=schedule, created_by=request.user)
        return Response(body.data)


def _times(shift: on_call.Shift) -> dict[str, Any]:
    return {"start": shift.start, "end": shift.end, "stands_in": shift.stands_in}


class StepSerializer(serializers.ModelSerializer[EscalationStep]):
    serializer_related_field = VisibleRelatedField
    people = _people(many=True, required=False)
    roles = _roles()

    class Meta:
        model = EscalationStep
        fields = ["wait_minutes", "people", "roles", "schedule", "channel"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not any(attrs.get(name) for name in ("people", "roles", "schedule", "channel")):
            raise serializers.ValidationError("Say whom this step tells.", "nobody")
        return attrs


class PolicySerializer(EverywhereSerializer):
    steps = StepSerializer(many=True, allow_empty=False, help_text="In their order.")
    related = ("steps",)

    class Meta:
        model = EscalationPolicy
        fields = ["id", "name", "site", "repeat", "steps"]

    def create(self, validated_data: dict[str, Any]) -> EscalationPolicy:
        return self._keep(EscalationPolicy(), validated_data)

    def update(self, instance: EscalationPolicy, validated_data: dict[str, Any]) -> EscalationPolicy:
        return self._keep(instance, validated_data)

    @transaction.atomic
    def _keep(self, policy: EscalationPolicy, about: dict[str, Any]) -> EscalationPolicy:
        steps = about.pop("steps", None)
        for name, value in about.items():
            setattr(policy, name, value)
        policy.save()
        if steps is not None:
            policy.steps.all().delete()
        for position, step in enumerate(steps or []):
            people, roles = step.pop("people", []), step.pop("roles", [])
            made = policy.steps.create(position=position, **step)
            made.people.set(people)
            made.roles.set(roles)
        kept: EscalationPolicy = EscalationPolicy.objects.get(pk=policy.pk)
        return kept


class PolicyViewSet(mixins.CreateModelMixin, mixins.UpdateModelMixin, EverywhereViewSet):
    """Who is told next while nobody acknowledges."""

    queryset = EscalationPolicy.objects.prefetch_related("steps__people", "steps__roles")
    serializer_class = PolicySerializer
    http_method_names = ["get", "post", "patch", "head", "options"]


class ContactSerializer(serializers.ModelSerializer[Contact]):
    serializer_related_field = VisibleRelatedField

    class Meta:
        model = Contact
        fields = ["channel", "address"]


class PreferenceSerializer(CheckedSerializer):
    timezone = TimeZoneSerializerField(use_pytz=False, required=False)
    contacts = ContactSerializer(source="person.contacts", many=True, required=False)

    class Meta:
        model = Preference
        fields = ["timezone", "quiet_from", "quiet_to", "digest", "digest_below", "per_hour", "contacts"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        contacts = attrs.pop("person", {}).get("contacts")
        checked = super().validate(attrs)
        for row in contacts or []:
            if not row["channel"].is_personal:
                raise serializers.ValidationError({"contacts": "This channel is a place."}, "not_personal")
            check_address(row["channel"], self.context["request"].user, row.get("address", ""))
        return checked if contacts is None else checked | {"contacts": contacts}

    @transaction.atomic
    def update(self, instance: Preference, validated_data: dict[str, Any]) -> Preference:
        contacts = validated_data.pop("contacts", None)
        for name, value in validated_data.items():
            setattr(instance, name, value)
        instance.save()
        if contacts is not None:
            save_contacts(instance.person, {row["channel"].pk: row.get("address", "") for row in contacts})
        return instance


class OwnPreference(RetrieveUpdateAPIView[Preference]):
    """How the caller wants to be told."""

    queryset = Preference.objects.all()
    serializer_class = PreferenceSerializer
    required_permissions = ("alerts.view_alert",)
    http_method_names = ["get", "patch", "head", "options"]

    def get_queryset(self) -> QuerySet[Preference]:
        rows: QuerySet[Preference] = Preference.objects.visible_to(self.request.user)
        return rows

    def get_object(self) -> Preference:
        assert isinstance(self.request.user, User)
        return self.get_queryset().first() or Preference(person=self.request.user)

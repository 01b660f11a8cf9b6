"""Forms about who is told. Each offers only what its user sees, and what is of every site only to those who see all."""

import re
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib.auth.models import Group, User
from django.core.validators import validate_email
from django.utils import timezone

from alerts.models import (
    Alert,
    Channel,
    Contact,
    EscalationPolicy,
    EscalationStep,
    Override,
    Preference,
    Rotation,
    Route,
    Schedule,
    Silence,
)
from alerts.models.routing import WEEKDAYS
from alerts.routing.directory import colleagues
from sensors.errors import Refused
from sensors.forms import WallClockField
from sensors.models import Asset, Sensor, Site
from sensors.wall_clock import instants

KINDS = [(value, label.capitalize()) for value, label in Alert.Kind.choices]
MOST_TURNS = 8
MOST_STEPS = 6
# What services take as the address of a person: a number, a name, an e-mail address.
ADDRESS = re.compile(r"[A-Za-z0-9_.@+-]{2,200}\Z")


def _choices(user: User) -> dict[str, Any]:
    """By name of a field, what may be chosen in it."""
    return {
        "site": Site.objects.visible_to(user),
        "asset": Asset.objects.visible_to(user).select_related("site").order_by("site__name", "name"),
        "policy": EscalationPolicy.objects.visible_to(user),
        "schedule": Schedule.objects.visible_to(user),
        "people": colleagues(user),
        "person": colleagues(user),
        "roles": Group.objects.order_by("name"),
    }


class Scoped(forms.BaseForm):
    """A form that offers what `user` sees."""

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, rows in _choices(user).items():
            if name in self.fields:
                self.fields[name].queryset = rows  # type: ignore[attr-defined]
        if isinstance(self, forms.ModelForm) and "site" in self.fields and not isinstance(self.instance, Silence):
            self.fields["site"].required = not user.has_perm("sensors.view_all_sites")


class _Time(forms.TimeInput):
    input_type = "time"


class _Ticks(forms.CheckboxSelectMultiple):
    def __init__(self) -> None:
        super().__init__({"class": "ticks"})


class RouteForm(Scoped, forms.ModelForm):  # type: ignore[type-arg]
    kinds = forms.MultipleChoiceField(choices=KINDS, widget=_Ticks, required=False)
    weekdays = forms.TypedMultipleChoiceField(
        choices=list(enumerate(WEEKDAYS)), coerce=int, widget=_Ticks, required=False
    )

    class Meta:
        model = Route
        fields = [
            *("name", "site", "asset", "least_severity", "kinds", "weekdays", "begins", "ends"),
            *("responsible", "roles", "people", "channels", "policy", "as_digest", "tells_when_settled", "enabled"),
        ]
        widgets = {"begins": _Time(), "ends": _Time(), "roles": _Ticks(), "people": _Ticks(), "channels": _Ticks()}

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, user=user, **kwargs)
        places = [row.pk for row in Channel.objects.visible_to(user) if not row.is_personal]
        self.fields["channels"].queryset = Channel.objects.filter(pk__in=places)  # type: ignore[attr-defined]


class SilenceForm(Scoped, forms.ModelForm):  # type: ignore[type-arg]
    """What is to be quiet, from now or a time on the clock of its site, and for how long."""

    HOURS = {"1": "1 hour", "4": "4 hours", "8": "8 hours", "24": "1 day", "72": "3 days", "168": "7 days"}
    HOURS |= {"720": "30 days", "2160": "90 days"}

    starts = WallClockField(label="From (empty: now)", required=False)
    hours = forms.ChoiceField(label="For how long", choices=list(HOURS.items()), initial="4")
    kinds = forms.MultipleChoiceField(choices=KINDS, widget=_Ticks, required=False)

    class Meta:
        model = Silence
        fields = ["site", "asset", "sensor", "kinds", "reason"]

    def __init__(self, *args: Any, user: User, sensor: Sensor | None = None, **kwargs: Any) -> None:
        super().__init__(*args, user=user, **kwargs)
        # A plant has thousands: only the one in question is offered.
        chosen = Sensor.objects.visible_to(user).filter(pk=sensor.pk if sensor else None)
        self.fields["sensor"].queryset = chosen  # type: ignore[attr-defined]
        self.fields["site"].required = False

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        asset, site = cleaned.get("asset"), cleaned.get("site")
        site = site or (asset.site if asset else None)
        if site is None:
            self.add_error("site", "Choose a site or an asset.")
            return cleaned
        self.instance.site = cleaned["site"] = site
        start = self._start(cleaned.get("starts"), site)
        self.instance.starts_at = start
        self.instance.ends_at = start + timedelta(hours=int(cleaned.get("hours") or 1))
        return cleaned

    def _start(self, typed: datetime | None, site: Site) -> datetime:
        if typed is None:
            return timezone.now()
        found = instants(typed, site.timezone)
        if not found:
            self.add_error("starts", "Clocks were put forward over this time: it never was.")
        return found[0] if found else timezone.now()


class ScheduleForm(Scoped, forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Schedule
        fields = ["name", "site", "timezone"]


class RotationForm(Scoped, forms.ModelForm):  # type: ignore[type-arg]
    """People in the order of their turns; one who is named twice has two turns."""

    class Meta:
        model = Rotation
        fields = ["starts_on", "hand_over", "every", "hours"]
        widgets = {"starts_on": forms.DateInput({"type": "date"}), "hand_over": _Time()}

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, user=user, **kwargs)
        for number in range(1, MOST_TURNS + 1):
            label = f"Turn {number}" if number == 1 else f"Turn {number} (optional)"
            self.fields[f"turn_{number}"] = forms.ModelChoiceField(
                colleagues(user), label=label, required=number == 1, empty_label="–"
            )

    @property
    def turns(self) -> list[User]:
        named = (self.cleaned_data.get(f"turn_{number}") for number in range(1, MOST_TURNS + 1))
        return [person for person in named if person is not None]


class OverrideForm(Scoped, forms.ModelForm):  # type: ignore[type-arg]
    """Times are on the clock of the schedule."""

    start = WallClockField(label="From")
    end = WallClockField(label="To")

    class Meta:
        model = Override
        fields = ["person", "start", "end"]

    def clean_start(self) -> datetime:
        return self._moments("start")[0]

    def clean_end(self) -> datetime:
        return self._moments("end")[-1]

    def _moments(self, name: str) -> list[datetime]:
        found = instants(self.cleaned_data[name], self.instance.schedule.timezone)
        if not found:
            raise forms.ValidationError("Clocks were put forward over this time: it never was.", code="no_such_time")
        return found


class PolicyForm(Scoped, forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = EscalationPolicy
        fields = ["name", "site", "repeat"]


class StepForm(Scoped, forms.ModelForm):  # type: ignore[type-arg]
    """One step; left without anybody to tell, it is none."""

    class Meta:
        model = EscalationStep
        fields = ["wait_minutes", "schedule", "people", "roles", "channel"]
        widgets = {"people": _Ticks(), "roles": _Ticks()}

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, user=user, **kwargs)
        self.fields["channel"].queryset = Channel.objects.visible_to(user)  # type: ignore[attr-defined]

    @property
    def tells_somebody(self) -> bool:
        return any(self.cleaned_data.get(name) for name in ("schedule", "people", "roles", "channel"))


def step_forms(user: User, policy: EscalationPolicy | None, data: Any = None) -> list[StepForm]:
    """A form for each step there is, and empty ones for further steps."""
    steps: list[EscalationStep | None] = list(policy.steps.all()) if policy and policy.pk else []
    rows = (steps + [None] * MOST_STEPS)[:MOST_STEPS]
    return [StepForm(data, user=user, instance=step, prefix=f"step{n}") for n, step in enumerate(rows)]


class PreferenceForm(forms.ModelForm):  # type: ignore[type-arg]
    """One's own wishes, and an address for each channel that reaches people one by one."""

    class Meta:
        model = Preference
        fields = ["timezone", "quiet_from", "quiet_to", "digest", "digest_below", "per_hour"]
        widgets = {"quiet_from": _Time(), "quiet_to": _Time()}

    def __init__(self, *args: Any, person: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.person = person
        self.ways = [row for row in Channel.objects.visible_to(person).filter(enabled=True) if row.is_personal]
        kept = {row.channel_id: row.address for row in Contact.objects.filter(person=person)}
        for way in self.ways:
            is_email = way.kind == Channel.Kind.EMAIL
            self.fields[f"use_{way.pk}"] = forms.BooleanField(label=f"By {way}", required=False, initial=way.pk in kept)
            self.fields[f"address_{way.pk}"] = forms.CharField(
                label=f"Address for {way}",
                max_length=200,
                required=False,
                initial=kept.get(way.pk, ""),
                help_text="Empty: the address of your account." if is_email else "A number or name, as it expects it.",
            )

    @property
    def contacts(self) -> list[tuple[forms.BoundField, forms.BoundField]]:
        return [(self[f"use_{way.pk}"], self[f"address_{way.pk}"]) for way in self.ways]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for way in self.ways:
            if cleaned.get(f"use_{way.pk}"):
                try:
                    check_address(way, self.person, cleaned.get(f"address_{way.pk}", ""))
                except Refused as refusal:
                    self.add_error(f"address_{way.pk}", refusal.detail)
        return cleaned

    @property
    def addresses(self) -> dict[int, str]:
        """By channel, for those that are wanted."""
        wanted = (way.pk for way in self.ways if self.cleaned_data.get(f"use_{way.pk}"))
        return {pk: self.cleaned_data.get(f"address_{pk}", "") for pk in wanted}


def check_address(channel: Channel, person: User, address: str) -> None:
    """Raises Refused when the channel could not reach the person there."""
    if channel.kind == Channel.Kind.EMAIL:
        if not address and person.email:
            return
        try:
            validate_email(address)
        except forms.ValidationError:
            raise Refused("bad_address", "Give an e-mail address.", 422) from None
    elif not ADDRESS.match(address):
        raise Refused("bad_address", "Give a number, a name or an address, without spaces.", 422)

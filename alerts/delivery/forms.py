from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from alerts.delivery import channels
from alerts.models import Channel, Delivery
from alerts.querysets import DeliveryQuerySet
from sensors.errors import Refused
from sensors.models import Site

Kind = Channel.Kind


class ChannelForm(forms.ModelForm):  # type: ignore[type-arg]
    """A channel. What it must keep secret is asked for, and never shown again."""

    KINDS = [(value, str(label).capitalize()) for value, label in Kind.choices]

    kind = forms.ChoiceField(choices=KINDS, help_text="Stays as it is once the channel exists.")
    url = forms.CharField(
        label="Address",
        max_length=2000,
        required=False,
        widget=forms.PasswordInput({"autocomplete": "off"}),
        help_text="Of a webhook https://…, of a service as Apprise writes it, with {to} where a person’s own address "
        "belongs. Kept encrypted and not shown again.",
    )
    signing_key = forms.CharField(
        label="Signing key",
        max_length=200,
        min_length=16,
        required=False,
        widget=forms.PasswordInput({"autocomplete": "off"}),
        help_text="Of a webhook: signs what is sent. Left empty, one is made up and shown once.",
    )

    class Meta:
        model = Channel
        fields = ["name", "kind", "site", "url", "signing_key", "per_minute", "owner", "enabled"]

    def __init__(self, *args: Any, editor: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        everywhere = editor.has_perm("sensors.view_all_sites")
        site, owner = self.fields["site"], self.fields["owner"]
        site.queryset = Site.objects.visible_to(editor).order_by("name")  # type: ignore[attr-defined]
        site.required, site.empty_label = not everywhere, "Every site"  # type: ignore[attr-defined]
        people = User.objects.filter(is_active=True).order_by("username")
        if not everywhere:
            people = people.filter(sites__in=editor.sites.all()).distinct()
        owner.queryset = people  # type: ignore[attr-defined]
        if self.instance.pk:
            self.fields["kind"].disabled = True
            for name in ("url", "signing_key"):
                self.fields[name].help_text = "Set. What is entered here takes its place." if self._has(name) else ""
            if self.instance.kind not in (Kind.WEBHOOK, Kind.APPRISE):
                del self.fields["url"]
            if self.instance.kind != Kind.WEBHOOK:
                del self.fields["signing_key"]

    def _has(self, name: str) -> bool:
        return bool(self.instance.secret) and (name == "url" or self.instance.kind == Kind.WEBHOOK)

    def clean(self) -> dict[str, Any]:
        chosen: dict[str, Any] = super().clean() or self.cleaned_data
        kind, url = chosen.get("kind"), chosen.get("url", "")
        if kind in (Kind.WEBHOOK, Kind.APPRISE):
            if not url and not self.instance.secret:
                raise ValidationError({"url": "Say where it is sent."})
            try:
                chosen["url"] = channels.checked_url(str(kind), url) if url else ""
            except Refused as refusal:
                raise ValidationError({"url": refusal.detail}) from refusal
        return chosen

    def keep(self) -> tuple[Channel, str]:
        """Save the channel; the second value is a signing key that was made up, to be shown once."""
        chosen = self.cleaned_data
        channel: Channel = self.save(commit=False)
        made = channels.keep_secrets(channel, url=chosen.get("url", ""), signing_key=chosen.get("signing_key", ""))
        channel.save()
        return channel, made


class DeliveryFilter(forms.Form):
    """What the log of messages shows."""

    STATES = [("", "Any"), *((value, str(label).capitalize()) for value, label in Delivery.State.choices)]

    state = forms.ChoiceField(choices=STATES, required=False)
    channel = forms.ModelChoiceField(Channel.objects.none(), required=False, empty_label="Any")
    person = forms.CharField(max_length=150, required=False, widget=forms.TextInput({"placeholder": "User name"}))
    alert = forms.IntegerField(label="Alert number", min_value=1, max_value=2**62, required=False)

    def __init__(self, *args: Any, reader: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["channel"].queryset = Channel.objects.visible_to(reader)  # type: ignore[attr-defined]

    def apply(self, rows: DeliveryQuerySet) -> DeliveryQuerySet:
        chosen = self.cleaned_data if self.is_valid() else {}
        names = {"state": "state", "channel": "channel", "person": "person__username", "alert": "items__alert"}
        return rows.filter(**{path: chosen[name] for name, path in names.items() if chosen.get(name)})

"""Who is told of which alerts, and how each person wants to be told."""

from datetime import time

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from timezone_field import TimeZoneField

from alerts.models.alert import Alert, Severity
from alerts.models.escalation import EscalationPolicy
from alerts.models.messages import Channel
from alerts.querysets import PreferenceQuerySet, RouteQuerySet
from sensors.models import Asset, Site

WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


class Route(models.Model):
    """Alerts of some kind go to some people and places. All routes that match an alert apply, and whom several of them
    name hears of it once per channel.

    What is left empty narrows nothing. Times of day are those of the alert's site; from 22:00 to 06:00 is
    over midnight.
    """

    name = models.CharField(max_length=100, unique=True)
    site = models.ForeignKey(
        Site, on_delete=models.PROTECT, null=True, blank=True, related_name="routes", help_text="Empty: every site."
    )
    asset = models.ForeignKey(
        Asset,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="routes",
        help_text="With everything below it.",
    )
    kinds = ArrayField(
        models.CharField(max_length=20, choices=Alert.Kind.choices), default=list, blank=True, help_text="Empty: all."
    )
    least_severity = models.PositiveSmallIntegerField(choices=Severity.choices, default=Severity.HIGH)
    weekdays = ArrayField(
        models.PositiveSmallIntegerField(choices=list(enumerate(WEEKDAYS))),
        default=list,
        blank=True,
        help_text="0 is Monday; empty: every day.",
    )
    begins = models.TimeField(null=True, blank=True, help_text="Only from this time of day on.")
    ends = models.TimeField(null=True, blank=True, help_text="Only before this time of day.")
    responsible = models.BooleanField(
        default=False, help_text="Tells everybody who may acknowledge alerts of the alert's site."
    )
    roles = models.ManyToManyField(Group, blank=True, related_name="routes", help_text="Those who see the site.")
    people = models.ManyToManyField(
        settings.AUTH_USER_MODEL, blank=True, related_name="routes", help_text="Those who see the site."
    )
    channels = models.ManyToManyField(
        Channel, blank=True, related_name="routes", help_text="Places, such as a room of a chat."
    )
    policy = models.ForeignKey(
        EscalationPolicy,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="routes",
        help_text="Who is told next while nobody acknowledges.",
    )
    as_digest = models.BooleanField(
        default=False, help_text="In a digest instead of at once; critical alerts are told at once all the same."
    )
    tells_when_settled = models.BooleanField(default=True, help_text="Tells the same people when it is settled.")
    enabled = models.BooleanField(default=True)

    objects = RouteQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raises ValidationError when no alert could ever match, or half of a time of day is given."""
        if self.asset and self.site_id is None:
            self.site_id = self.asset.site_id
        if self.asset and self.asset.site_id != self.site_id:
            raise ValidationError({"asset": ValidationError("This asset is at another site.", code="other_site")})
        if self.policy and self.policy.site_id not in (None, self.site_id):
            # Whoever may change that policy would change what happens elsewhere.
            raise ValidationError({"policy": ValidationError("This policy is another site’s.", code="other_site")})
        if (self.begins is None) != (self.ends is None):
            raise ValidationError({"ends": ValidationError("Give both times of day, or none.", code="half_a_time")})
        if self.begins is not None and self.begins == self.ends:
            raise ValidationError({"ends": ValidationError("Nothing lies between equal times.", code="no_time")})


class Preference(models.Model):
    """How a person wants to be told. Critical alerts pass quiet hours, digest and budget."""

    class Digest(models.TextChoices):
        SOON = "soon", "10 alerts or 5 minutes"
        SHIFT = "shift", "when the shift changes (6, 14 and 22 o'clock)"
        DAY = "day", "every morning at 6"
        WEEK = "week", "on Monday morning at 6"

    person = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="preference")
    timezone = TimeZoneField(default="UTC", help_text="In which the times below are meant.")
    quiet_from = models.TimeField(null=True, blank=True, help_text="Nothing but critical alerts from this time on ...")
    quiet_to = models.TimeField(null=True, blank=True, help_text="... until this time, when you hear of what is left.")
    digest = models.CharField(max_length=5, choices=Digest.choices, default=Digest.SOON)
    digest_below = models.PositiveSmallIntegerField(
        choices=[(value, label) for value, label in Severity.choices if value > Severity.LOW],
        null=True,
        blank=True,
        help_text="Alerts below this severity come in a digest. Empty: only those beyond the budget.",
    )
    per_hour = models.PositiveSmallIntegerField(
        default=6,
        validators=[MinValueValidator(1), MaxValueValidator(60)],
        help_text="Messages an hour on each channel; further alerts wait for the digest (ISA-18.2 advises 6).",
    )

    objects = PreferenceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(quiet_from__isnull=True, quiet_to__isnull=True)
                | models.Q(quiet_from__isnull=False, quiet_to__isnull=False),
                name="quiet_hours_begin_and_end",
            )
        ]

    def __str__(self) -> str:
        return f"preferences of {self.person}"

    @property
    def quiet(self) -> tuple[time, time] | None:
        if self.quiet_from is None or self.quiet_to is None or self.quiet_from == self.quiet_to:
            return None
        return self.quiet_from, self.quiet_to

    def clean(self) -> None:
        """Raises ValidationError when half of the quiet hours is given."""
        if (self.quiet_from is None) != (self.quiet_to is None):
            raise ValidationError({"quiet_to": ValidationError("Give both times, or none.", code="half_a_time")})

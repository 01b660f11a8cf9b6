"""Limits on readings that people set, and how often they were exceeded."""

from datetime import time
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from alerts.models.alert import Alert, Severity
from alerts.querysets import ConditionQuerySet, FiringQuerySet, RuleQuerySet
from sensors.models import Asset, Limited, Limits, Sensor, Site
from sensors.models.limited import require_order

WEEKDAYS = [
    *((0, "Monday"), (1, "Tuesday"), (2, "Wednesday"), (3, "Thursday"), (4, "Friday")),
    *((5, "Saturday"), (6, "Sunday")),
]


class Rule(models.Model):
    """Conditions on sensors of one asset that people want to hear of, and when. Deleted ones are kept."""

    class Combination(models.TextChoices):
        ALL = "all", "all at the same time"
        ANY = "any", "any one of them"

    # The asset's site, again: every list asks who may see the site.
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="rules", editable=False)
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="rules")
    name = models.CharField(max_length=100)
    enabled = models.BooleanField(default=True)
    severity = models.PositiveSmallIntegerField(
        choices=Severity.choices,
        default=Severity.MEDIUM,
        help_text="Beyond a limit to warn at; one step more beyond one to alarm at.",
    )
    combination = models.CharField("conditions", max_length=3, choices=Combination.choices, default=Combination.ALL)
    duration_seconds = models.PositiveIntegerField(
        "for (seconds)",
        default=60,
        validators=[MaxValueValidator(86_400)],
        help_text="So long without a reading that contradicts; 0: at once.",
    )
    hysteresis_percent = models.FloatField(
        "hysteresis (%)",
        default=2.0,
        validators=[MinValueValidator(0), MaxValueValidator(100)],
        help_text="Over only when the value is back inside by so much of the limit.",
    )
    weekdays = ArrayField(
        models.PositiveSmallIntegerField(choices=WEEKDAYS),
        default=list,
        blank=True,
        help_text="On these days only; none chosen: every day.",
    )
    from_time = models.TimeField(
        "from", null=True, blank=True, help_text="Between these times of the site’s clock only; both empty: always."
    )
    to_time = models.TimeField("to", null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+", editable=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    removed_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = RuleQuerySet.as_manager()

    class Meta:
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **options: Any) -> None:
        self.site_id = self.asset.site_id
        super().save(*args, **options)

    def get_absolute_url(self) -> str:
        return reverse("alerts:rule", args=[self.pk])

    def clean(self) -> None:
        """Raises ValidationError when only one end of the time of day is given, or both are the same."""
        if (self.from_time is None) != (self.to_time is None):
            raise ValidationError({"to_time": ValidationError("Give both times, or none.", code="one_time")})
        if self.from_time is not None and self.from_time == self.to_time:
            raise ValidationError({"to_time": ValidationError("The two times are the same.", code="same_times")})

    @property
    def weekday_names(self) -> list[str]:
        return [name for number, name in WEEKDAYS if number in self.weekdays]

    @property
    def time_of_day(self) -> tuple[time, time] | None:
        return (self.from_time, self.to_time) if self.from_time and self.to_time else None


class Condition(Limited):
    """A part of a rule: one sensor beyond one of these limits, which are in its unit."""

    rule = models.ForeignKey(Rule, on_delete=models.CASCADE, related_name="conditions")
    sensor = models.ForeignKey(Sensor, on_delete=models.PROTECT, related_name="+")

    objects = ConditionQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["rule", "sensor"], name="sensor_once_per_rule")]

    def __str__(self) -> str:
        return f"{self.sensor} in {self.rule}"

    def clean(self) -> None:
        """Raises ValidationError when there is no limit, or when they are not in order."""
        if self.limits == Limits():
            raise ValidationError({"warn_high": ValidationError("Give at least one limit.", code="no_limit")})
        require_order(self.limits)


class Firing(models.Model):
    """One stretch of time in which a rule held, or a sensor was beyond its own limits (`rule` is empty then).

    A function of the stored readings and the `definition`: found in pieces of any size and order it is the same.
    """

    rule = models.ForeignKey(Rule, on_delete=models.PROTECT, null=True, blank=True, related_name="firings")
    sensor = models.ForeignKey(Sensor, on_delete=models.PROTECT, related_name="+", help_text="Whose reading was worst.")
    definition = models.CharField(max_length=16, help_text="Tells what was asked from what is asked now.")
    start = models.DateTimeField()
    end = models.DateTimeField(help_text="Time of the last reading that was not back inside.")
    alarm_at = models.DateTimeField(null=True, blank=True, help_text="From when on it was an alarm; empty: a warning.")
    peak_at = models.DateTimeField()
    peak_value = models.FloatField()
    historical = models.BooleanField(default=False)
    alert = models.ForeignKey(Alert, on_delete=models.SET_NULL, null=True, blank=True, related_name="firings")

    objects = FiringQuerySet.as_manager()

    class Meta:
        ordering = ["-start", "-pk"]
        indexes = [
            models.Index(fields=["sensor", "end"], condition=Q(rule__isnull=True), name="firing_of_sensor"),
            models.Index(fields=["rule", "end"], condition=Q(rule__isnull=False), name="firing_of_rule"),
        ]

    def __str__(self) -> str:
        return f"{self.rule or self.sensor} from {self.start:%Y-%m-%d %H:%M}"

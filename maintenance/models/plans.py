"""Plans: what is to be done again and again, and which work orders came of it."""

from datetime import time

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.urls import reverse
from django.utils import timezone

from alerts.models import Alert, Severity
from maintenance import recurrence
from maintenance.holiday_calendars import require_calendar
from maintenance.models.work_orders import WorkOrder
from maintenance.querysets import PlanOccurrenceQuerySet, PlanQuerySet
from sensors.errors import Refused
from sensors.models import Asset, Sensor


def _refused(field: str, code: str, detail: str) -> ValidationError:
    return ValidationError({field: ValidationError(detail, code=code)})


class Plan(models.Model):
    """Work on an asset that comes again: by the calendar, by what a meter shows, or when an alert tells of a condition.

    Days and `due_time` are those of the wall clock of the asset's site. The fields below `created_at` are the plan's
    memory of what it has seen to; `maintenance.plans` alone writes them.
    """

    class Trigger(models.TextChoices):
        CALENDAR = "calendar"
        METER = "meter"
        CONDITION = "condition"

    class CountsFrom(models.TextChoices):
        """What the next one counts from: the plan's own days, or the day on which the last one was done."""

        SCHEDULED = "scheduled", "the scheduled date"
        COMPLETED = "completed", "when the last one was done"

    class OnHoliday(models.TextChoices):
        KEEP = "keep", "stays on its day"
        MOVE = "move", "moves to the next working day"
        SKIP = "skip", "is left out"

    class Meter(models.TextChoices):
        """A counter adds up, as units made; running hours are the time that a signal is above a threshold."""

        COUNTER = "counter"
        RUNNING_HOURS = "running_hours", "running hours"

    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="plans")
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True, max_length=5000)
    trigger = models.CharField(max_length=10, choices=Trigger.choices, default=Trigger.CALENDAR)
    priority = models.PositiveSmallIntegerField(choices=WorkOrder.Priority.choices, default=WorkOrder.Priority.MEDIUM)
    estimated_hours = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(10_000)]
    )
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    checklist = models.JSONField(default=list, blank=True, help_text="Tasks of each order.")
    enabled = models.BooleanField(default=True)
    approved = models.BooleanField(default=True, help_text="Its orders need no approval of their own.")
    counts_from = models.CharField(max_length=10, choices=CountsFrom.choices, default=CountsFrom.SCHEDULED)
    lead_days = models.PositiveSmallIntegerField(
        default=7,
        validators=[MaxValueValidator(365)],
        help_text="By the calendar: so many days ahead the order is made. Otherwise: so many days it may take.",
    )

    starts_on = models.DateField(null=True, blank=True)
    due_time = models.TimeField(default=time(8), help_text="On the clock of the site.")
    rule = models.CharField(max_length=recurrence.LONGEST_TEXT, blank=True, help_text="RRULE of RFC 5545, in days.")
    holidays_of = models.CharField(
        max_length=10, blank=True, help_text="Whose public holidays count (ISO 3166-2), for example DE or DE-BY."
    )
    on_holiday = models.CharField(max_length=5, choices=OnHoliday.choices, default=OnHoliday.KEEP)

    sensor = models.ForeignKey(Sensor, on_delete=models.PROTECT, null=True, blank=True, related_name="plans")
    meter = models.CharField(max_length=15, choices=Meter.choices, blank=True)
    every = models.FloatField(null=True, blank=True, help_text="In the unit of the counter, or in running hours.")
    threshold = models.FloatField(null=True, blank=True, help_text="Above this the machine runs, in the sensor's unit.")

    alert_kinds = ArrayField(models.CharField(max_length=20, choices=Alert.Kind.choices), default=list, blank=True)
    least_severity = models.PositiveSmallIntegerField(choices=Severity.choices, default=Severity.MEDIUM)

    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    seen_to = models.DateField(null=True, editable=False, help_text="Days up to this one have been seen to.")
    watched_from = models.DateTimeField(default=timezone.now, editable=False)
    metered_from = models.DateTimeField(
        null=True, editable=False, help_text="What was used before is in `used_before`."
    )
    counter_then = models.FloatField(null=True, editable=False, help_text="What the counter showed at `metered_from`.")
    used_before = models.FloatField(default=0, editable=False)
    used = models.FloatField(default=0, editable=False, help_text="Since the last round, when last looked.")
    rounds = models.PositiveIntegerField(default=0, editable=False)
    next_due_at = models.DateTimeField(null=True, editable=False)
    next_look_at = models.DateTimeField(null=True, default=timezone.now, editable=False)
    problem = models.CharField(max_length=300, blank=True, editable=False)

    objects = PlanQuerySet.as_manager()

    class Meta:
        ordering = ["title", "pk"]
        indexes = [
            models.Index(fields=["next_look_at"], condition=models.Q(enabled=True), name="plan_to_look_at"),
            models.Index(fields=["next_due_at"], condition=models.Q(enabled=True), name="plan_next_due"),
        ]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("maintenance:plan", args=[self.pk])

    def clean(self) -> None:
        """Raises ValidationError when the plan lacks what its trigger needs, or contradicts itself."""
        if not isinstance(self.checklist, list) or not all(
            isinstance(task, dict) and str(task.get("text") or "").strip() for task in self.checklist
        ):
            raise _refused("checklist", "invalid", "Tasks are objects with a `text`.")
        before = Plan.objects.filter(pk=self.pk).first() if self.pk else None
        if before and self.asset_id and before.asset_id != self.asset_id:
            raise _refused("asset", "fixed", "A plan stays at its asset; make another one.")
        {
            self.Trigger.CALENDAR: self._require_days,
            self.Trigger.METER: self._require_meter,
            self.Trigger.CONDITION: self._require_condition,
        }[self.Trigger(self.trigger)]()

    def _require_days(self) -> None:
        if self.starts_on is None or not 1980 <= self.starts_on.year < 2200:
            raise _refused("starts_on", "missing", "Say from which day on, of the years 1980 to 2199.")
        try:
            rule = recurrence.parsed(self.rule)
        except Refused as refusal:
            raise _refused("rule", refusal.code, refusal.detail) from refusal
        if rule.count and self.counts_from == self.CountsFrom.COMPLETED:
            raise _refused("rule", "invalid_rule", "COUNT needs days of its own; let it end by UNTIL.")
        if self.on_holiday != self.OnHoliday.KEEP and not self.holidays_of:
            raise _refused("holidays_of", "missing", "Say whose public holidays count, for example DE-BY.")
        try:
            require_calendar(self.holidays_of)
        except Refused as refusal:
            raise _refused("holidays_of", refusal.code, refusal.detail) from refusal

    def _require_meter(self) -> None:
        if self.sensor is None or self.sensor.site_id != self.asset.site_id:
            raise _refused("sensor", "missing", "Choose the sensor of the same site that is the meter.")
        if self.meter not in self.Meter.values:
            raise _refused("meter", "missing", "Choose how the sensor is read: as a counter or for running hours.")
        if self.every is None or self.every <= 0:
            raise _refused("every", "missing", "Say after how much of it, more than 0.")
        if self.meter == self.Meter.RUNNING_HOURS and self.threshold is None:
            raise _refused("threshold", "missing", "Say above which value the machine runs.")

    def _require_condition(self) -> None:
        if not self.alert_kinds:
            raise _refused("alert_kinds", "missing", "Choose at least one kind of alert.")


class PlanOccurrence(models.Model):
    """One time that a plan was due, and the order that was made for it; without one it was missed.

    `key` tells it apart: the day as the rule names it, the round of the meter, or the alert.
    """

    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="occurrences")
    key = models.CharField(max_length=40)
    due_at = models.DateTimeField()
    order = models.ForeignKey(
        WorkOrder, on_delete=models.PROTECT, null=True, blank=True, related_name="plan_occurrences"
    )
    created_at = models.DateTimeField(default=timezone.now)

    objects = PlanOccurrenceQuerySet.as_manager()

    class Meta:
        ordering = ["-due_at", "-pk"]
        constraints = [models.UniqueConstraint(fields=["plan", "key"], name="plan_due_once")]

    def __str__(self) -> str:
        return f"{self.plan} {self.key}"

"""Work orders, what was done, and what was found."""

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

from alerts.models import Alert
from maintenance.querysets import MaintenanceLogQuerySet, VerdictQuerySet, WorkOrderQuerySet
from sensors.models import Asset, Site


class WorkOrder(models.Model):
    """A job on an asset, usually opened from an alert and closed with a verdict on it."""

    class State(models.TextChoices):
        OPEN = "open"
        IN_PROGRESS = "in_progress", "in progress"
        CLOSED = "closed"
        CANCELLED = "cancelled"

    class Priority(models.IntegerChoices):
        LOW = 1, "low"
        MEDIUM = 2, "medium"
        HIGH = 3, "high"
        URGENT = 4, "urgent"

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="work_orders")
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="work_orders")
    alert = models.ForeignKey(Alert, on_delete=models.PROTECT, null=True, blank=True, related_name="work_orders")
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True, max_length=5000)
    priority = models.PositiveSmallIntegerField(choices=Priority.choices, default=Priority.MEDIUM)
    state = models.CharField(max_length=12, choices=State.choices, default=State.OPEN)
    due_at = models.DateTimeField(null=True, blank=True)
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="assigned_work_orders"
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    objects = WorkOrderQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["alert"],
                condition=models.Q(state__in=["open", "in_progress"]),
                name="one_running_work_order_per_alert",
            )
        ]
        indexes = [
            models.Index(fields=["asset", "state"], name="work_order_of_asset"),
            models.Index(fields=["site", "state", "due_at"], name="work_order_due"),
        ]

    def __str__(self) -> str:
        return f"WO-{self.pk} {self.title}"

    def get_absolute_url(self) -> str:
        return reverse("maintenance:work-order", args=[self.pk])

    @property
    def is_running(self) -> bool:
        return self.state in (self.State.OPEN, self.State.IN_PROGRESS)


class MaintenanceLog(models.Model):
    """What was done on an asset, by whom and when."""

    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="maintenance_logs")
    work_order = models.ForeignKey(WorkOrder, on_delete=models.PROTECT, null=True, blank=True, related_name="logs")
    done_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    completion_date = models.DateTimeField(default=timezone.now)
    duration_minutes = models.PositiveIntegerField(null=True, blank=True)
    notes = models.TextField(max_length=5000)

    objects = MaintenanceLogQuerySet.as_manager()

    class Meta:
        ordering = ["-completion_date", "-pk"]

    def __str__(self) -> str:
        return self.notes[:60]


class Verdict(models.Model):
    """What the technician found behind an alert, and for which time it holds. Training reads these."""

    class Outcome(models.TextChoices):
        FAULT_FOUND = "fault_found", "fault found"
        NOTHING_FOUND = "nothing_found", "nothing found"
        SENSOR_PROBLEM = "sensor_problem", "sensor problem"
        PLANNED_WORK = "planned_work", "planned work"

    alert = models.ForeignKey(Alert, on_delete=models.PROTECT, related_name="verdicts")
    work_order = models.ForeignKey(WorkOrder, on_delete=models.PROTECT, null=True, blank=True, related_name="verdicts")
    outcome = models.CharField(max_length=15, choices=Outcome.choices)
    window_start = models.DateTimeField()
    window_end = models.DateTimeField()
    given_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    given_at = models.DateTimeField(default=timezone.now)

    objects = VerdictQuerySet.as_manager()

    class Meta:
        ordering = ["-given_at", "-pk"]
        constraints = [models.UniqueConstraint(fields=["alert", "work_order"], name="one_verdict_per_alert_and_order")]

    def __str__(self) -> str:
        return self.get_outcome_display()

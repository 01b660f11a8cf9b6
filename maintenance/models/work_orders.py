"""Work orders and every step of their lives."""

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models.functions import Upper
from django.urls import reverse
from django.utils import timezone

from alerts.models import Alert
from maintenance.querysets import OfWorkOrderQuerySet, WorkOrderQuerySet
from sensors.models import Asset, Site


class Outcome(models.TextChoices):
    """What was found: the label that training and thresholds learn from."""

    FAULT_FOUND = "fault_found", "fault found"
    NOTHING_FOUND = "nothing_found", "nothing found"
    SENSOR_PROBLEM = "sensor_problem", "sensor problem"
    PLANNED_WORK = "planned_work", "planned work"


class WorkOrder(models.Model):
    """A job on an asset, often proposed because of an alert, and closed with what was found.

    Times of work are those of its steps; `closed_at` is when it ended, closed or cancelled. Costs are in the currency
    of the site: `other_cost` is what was spent besides parts and hours.
    """

    class State(models.TextChoices):
        PROPOSED = "proposed"
        APPROVED = "approved"
        SCHEDULED = "scheduled"
        IN_PROGRESS = "in_progress", "in progress"
        ON_HOLD = "on_hold", "on hold"
        DONE = "done"
        CLOSED = "closed"
        CANCELLED = "cancelled"

    class Priority(models.IntegerChoices):
        LOW = 1, "low"
        MEDIUM = 2, "medium"
        HIGH = 3, "high"
        URGENT = 4, "urgent"

    class Kind(models.TextChoices):
        """Types of maintenance after EN 13306: after a fault, by a plan, or because of a measured condition."""

        CORRECTIVE = "corrective"
        PREVENTIVE = "preventive"
        CONDITION_BASED = "condition_based", "condition-based"

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="work_orders")
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="work_orders")
    alert = models.ForeignKey(Alert, on_delete=models.PROTECT, null=True, blank=True, related_name="work_orders")
    follows = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="followed_by")
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True, max_length=5000)
    kind = models.CharField(max_length=15, choices=Kind.choices, default=Kind.CORRECTIVE)
    priority = models.PositiveSmallIntegerField(choices=Priority.choices, default=Priority.MEDIUM)
    state = models.CharField(max_length=12, choices=State.choices, default=State.PROPOSED)
    due_at = models.DateTimeField(null=True, blank=True)
    planned_start = models.DateTimeField(null=True, blank=True)
    estimated_hours = models.FloatField(null=True, blank=True, validators=[MinValueValidator(0)])
    actual_hours = models.FloatField(null=True, blank=True, validators=[MinValueValidator(0)])
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="assigned_work_orders"
    )
    crew = models.ManyToManyField(
        settings.AUTH_USER_MODEL, blank=True, related_name="+", help_text="Who works on it besides the assignee."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    done_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=15, choices=Outcome.choices, blank=True)
    failure_mode = models.ForeignKey(
        "FailureMode", on_delete=models.PROTECT, null=True, blank=True, related_name="work_orders"
    )
    downtime_minutes = models.PositiveIntegerField(null=True, blank=True)
    downtime_reason = models.CharField(max_length=200, blank=True)
    other_cost = models.DecimalField(
        max_digits=12, decimal_places=2, null=True, blank=True, validators=[MinValueValidator(0)]
    )

    objects = WorkOrderQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        permissions = [("approve_workorder", "Can approve proposed work orders")]
        constraints = [
            models.UniqueConstraint(
                fields=["alert"],
                condition=models.Q(closed_at=None),
                name="one_running_work_order_per_alert",
            )
        ]
        indexes = [
            models.Index(fields=["asset", "state"], name="work_order_of_asset"),
            models.Index(fields=["asset", "closed_at"], name="work_order_ended"),
            models.Index(fields=["due_at"], condition=models.Q(closed_at=None), name="work_order_running"),
            models.Index(fields=["-closed_at", "-id"], name="work_order_newest_end"),
            GinIndex(OpClass(Upper("title"), name="gin_trgm_ops"), name="work_order_title_words"),
            models.Index(fields=["site", "state", "due_at"], name="work_order_due"),
        ]

    def __str__(self) -> str:
        return f"WO-{self.pk} {self.title}"

    def get_absolute_url(self) -> str:
        return reverse("maintenance:work-order", args=[self.pk])

    @property
    def is_running(self) -> bool:
        """It has not ended: neither closed nor cancelled."""
        return self.closed_at is None


class WorkOrderStep(models.Model):
    """One change of a work order's state: who, when, why. One that leaves the state as it is, is a comment."""

    order = models.ForeignKey(WorkOrder, on_delete=models.PROTECT, related_name="steps")
    from_state = models.CharField(max_length=12, choices=WorkOrder.State.choices, blank=True)
    to_state = models.CharField(max_length=12, choices=WorkOrder.State.choices)
    at = models.DateTimeField(default=timezone.now)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    reason = models.CharField(max_length=500, blank=True)

    objects = OfWorkOrderQuerySet.as_manager()

    class Meta:
        ordering = ["at", "pk"]
        constraints = [
            # A phone on a bad network may send twice what closes the order.
            models.UniqueConstraint(
                fields=["order"],
                condition=models.Q(to_state="closed") & ~models.Q(from_state="closed"),
                name="one_close_per_order",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_to_state_display()} {self.at:%Y-%m-%d %H:%M}"

    @property
    def is_comment(self) -> bool:
        return self.from_state == self.to_state

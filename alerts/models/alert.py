"""Alerts and every step of their lives (states after ISA-18.2)."""

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Upper
from django.urls import reverse
from django.utils import timezone

from alerts.querysets import CALLING, MAY_RETURN, RANK, AlertQuerySet, TransitionQuerySet
from sensors.models import Asset, Sensor, Site


class State(models.TextChoices):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"


class Severity(models.IntegerChoices):
    LOW = 1, "low"
    MEDIUM = 2, "medium"
    HIGH = 3, "high"
    CRITICAL = 4, "critical"


class Alert(models.Model):
    """Something a person should look at. At most one unresolved alert exists per `dedup_key`."""

    class Kind(models.TextChoices):
        ANOMALY = "anomaly"
        SENSOR_FAULT = "sensor_fault", "sensor fault"
        SILENT = "silent", "silent sensor"
        LIMIT = "limit"
        DRIFT = "drift"
        MODEL = "model"
        FORECAST = "forecast"
        SYSTEM = "system"

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="alerts")
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, null=True, blank=True, related_name="alerts")
    sensor = models.ForeignKey(Sensor, on_delete=models.PROTECT, null=True, blank=True, related_name="alerts")
    kind = models.CharField(max_length=20, choices=Kind.choices, default=Kind.ANOMALY)
    severity = models.PositiveSmallIntegerField(choices=Severity.choices)
    state = models.CharField(max_length=12, choices=State.choices, default=State.OPEN)
    historical = models.BooleanField(default=False, help_text="Recorded from imported data; nobody was told.")
    dedup_key = models.CharField(max_length=200)
    title = models.CharField(max_length=200)
    evidence = models.JSONField(default=dict, blank=True)
    occurrences = models.PositiveIntegerField(default=1)
    began_at = models.DateTimeField(default=timezone.now, help_text="Time of the first reading that spoke for it.")
    last_seen_at = models.DateTimeField(default=timezone.now, help_text="Time of the last reading that spoke for it.")
    opened_at = models.DateTimeField(default=timezone.now)
    snoozed_until = models.DateTimeField(null=True, blank=True)
    normal_since = models.DateTimeField(
        null=True, blank=True, help_text="Its cause was gone from this reading on; empty while it lasts."
    )
    resolved_at = models.DateTimeField(null=True, blank=True)
    notify_at = models.DateTimeField(
        null=True, blank=True, help_text="When to see who has to be told of it; empty: nobody, for now."
    )
    told_severity = models.PositiveSmallIntegerField(
        choices=Severity.choices, null=True, blank=True, help_text="As people were told; empty: nobody was."
    )
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="assigned_alerts"
    )

    objects = AlertQuerySet.as_manager()

    class Meta:
        ordering = ["-opened_at", "-pk"]
        permissions = [
            ("acknowledge_alert", "Can acknowledge, snooze, assign and comment on alerts"),
            ("resolve_alert", "Can resolve alerts"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["dedup_key"],
                condition=~Q(state="resolved"),
                name="one_unresolved_alert_per_cause",
                # Causes are looked for by how they begin, too.
                opclasses=["varchar_pattern_ops"],
            ),
            models.CheckConstraint(
                condition=Q(state="snoozed", snoozed_until__isnull=False)
                | (~Q(state="snoozed") & Q(snoozed_until__isnull=True)),
                name="a_snoozed_alert_wakes",
            ),
        ]
        indexes = [
            models.Index(fields=["site", "-opened_at"], name="alert_newest_of_site"),
            models.Index(fields=["sensor", "-resolved_at"], name="alert_last_of_sensor"),
            models.Index(fields=["asset", "-opened_at"], name="alert_newest_of_asset"),
            models.Index(fields=["dedup_key", "-opened_at"], name="alert_by_cause"),
            # The inbox, the sweeps and the counts look at what is unresolved, among years of what is settled.
            models.Index(
                fields=["site", "state", "-severity", "-opened_at"],
                condition=~Q(state="resolved"),
                name="alert_unresolved",
            ),
            models.Index(fields=["notify_at"], condition=Q(notify_at__isnull=False), name="alert_to_be_told"),
            models.Index(RANK, F("severity").desc(), F("opened_at").desc(), name="alert_by_attention"),
            models.Index(fields=["asset", "-severity"], condition=~Q(state="resolved"), name="alert_worst_of_asset"),
            models.Index(fields=["sensor"], condition=MAY_RETURN, name="alert_may_return"),
            models.Index(fields=["snoozed_until"], condition=Q(state="snoozed"), name="alert_next_to_wake"),
            # For parts of words; its values are compared in capitals.
            GinIndex(OpClass(Upper("title"), name="gin_trgm_ops"), name="alert_by_title"),
        ]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("alerts:alert", args=[self.pk])

    @property
    def is_resolved(self) -> bool:
        return self.state == State.RESOLVED


class Transition(models.Model):
    """One step of an alert: who took it, when, why, and from where. `by` is empty when the platform itself did."""

    class Step(models.TextChoices):
        RAISED = "raised"
        ACKNOWLEDGED = "acknowledged"
        SNOOZED = "snoozed"
        WOKEN = "woken", "awake again"
        ASSIGNED = "assigned"
        COMMENTED = "commented"
        MORE_SEVERE = "more_severe", "more severe"
        NORMAL = "normal", "back to normal"
        RESOLVED = "resolved"
        REOPENED = "reopened"

    class Surface(models.TextChoices):
        PLATFORM = "platform"
        WEB = "web"
        ADMIN = "admin"
        API = "api", "API"
        LINK = "link", "link in a message"

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="transitions")
    step = models.CharField(max_length=15, choices=Step.choices)
    from_state = models.CharField(max_length=12, choices=State.choices, blank=True)
    to_state = models.CharField(max_length=12, choices=State.choices)
    at = models.DateTimeField(default=timezone.now)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    surface = models.CharField(max_length=10, choices=Surface.choices, default=Surface.PLATFORM)
    reason = models.CharField(max_length=500, blank=True)

    objects = TransitionQuerySet.as_manager()

    class Meta:
        ordering = ["at", "pk"]
        indexes = [
            # What pages that are open show as soon as it happens.
            models.Index(fields=["-at"], condition=CALLING, name="transition_calling"),
        ]

    def __str__(self) -> str:
        return f"{self.get_step_display()}: {self.from_state or 'new'} → {self.to_state}"

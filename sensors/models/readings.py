"""Readings, the batches they came in, and the outbox of work that stored readings cause."""

from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone
from timescale.db.models.fields import TimescaleDateTimeField

from sensors.models.access import ApiKey
from sensors.models.plant import Sensor
from sensors.querysets import PendingQuerySet, ReadingBatchQuerySet, ReadingQuerySet


class Reading(models.Model):
    """One value of one sensor at one time, in the sensor's unit. Written by `sensors.ingest.store_batch` alone."""

    pk = models.CompositePrimaryKey("sensor_id", "timestamp")
    # No constraint in the database: checking it per row would halve the rate; sensors are retired, never deleted.
    sensor = models.ForeignKey(Sensor, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    timestamp = TimescaleDateTimeField(interval="1 day")
    value = models.FloatField()
    quality = models.FloatField(default=1.0, db_default=1.0, help_text="0 (worthless) to 1 (good).")
    flags = models.SmallIntegerField(default=0, db_default=0, help_text="Why it is doubted: sensors.quality.Flag.")

    objects = ReadingQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.sensor_id} {self.timestamp:%Y-%m-%d %H:%M:%S} {self.value:g}"


class ReadingBatch(models.Model):
    """What one call of `store_batch` stored: which sensors, and from when to when for each."""

    class Mode(models.TextChoices):
        LIVE = "live"
        HISTORY = "history"

    received_at = models.DateTimeField(default=timezone.now)
    source = models.CharField(max_length=20)
    mode = models.CharField(max_length=10, choices=Mode.choices, default=Mode.LIVE)
    sent_by = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    accepted = models.PositiveIntegerField()
    duplicates = models.PositiveIntegerField(default=0)
    corrected = models.PositiveIntegerField(default=0, help_text="Readings whose value was replaced.")
    # Spans of readings: element i of the three arrays belongs together, firsts and lasts are inclusive. A sensor whose
    # readings have long gaps between them has several.
    sensors = ArrayField(models.BigIntegerField())
    firsts = ArrayField(models.DateTimeField())
    lasts = ArrayField(models.DateTimeField())

    objects = ReadingBatchQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "reading batches"
        indexes = [models.Index(fields=["-received_at"], name="batch_newest_first")]

    def __str__(self) -> str:
        return f"batch {self.pk}"


class Pending(models.Model):
    """One consumer's work on one batch, written in the batch's own transaction and deleted when it is done.

    A row with `dead_at` is a dead letter: it failed after every retry and waits for a person (admin action "try
    again").
    """

    batch = models.ForeignKey(ReadingBatch, on_delete=models.CASCADE, related_name="pending")
    consumer = models.CharField(max_length=20)
    live = models.BooleanField(default=True)
    due_at = models.DateTimeField(default=timezone.now)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True)
    dead_at = models.DateTimeField(null=True, blank=True)

    objects = PendingQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "pending work"
        constraints = [models.UniqueConstraint(fields=["batch", "consumer"], name="pending_once_per_consumer")]
        indexes = [
            models.Index(fields=["consumer", "-live", "id"], name="pending_waiting", condition=Q(dead_at__isnull=True)),
            models.Index(fields=["consumer"], name="pending_dead", condition=Q(dead_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.consumer} of batch {self.batch_id}"

    # Seconds until the next try after the first, second and third failure; the fourth failure is final.
    RETRY_AFTER_SECONDS = (2, 4, 6)

    def record_failure(self, error: str) -> None:
        """Plan the next try, or give up after the last one."""
        now = timezone.now()
        self.attempts += 1
        self.error = error[:2000]
        if self.attempts > len(self.RETRY_AFTER_SECONDS):
            self.dead_at = now
        else:
            self.due_at = now + timedelta(seconds=self.RETRY_AFTER_SECONDS[self.attempts - 1])
        self.save(update_fields=["attempts", "error", "dead_at", "due_at"])

    def try_again(self) -> None:
        """Put a dead letter back to work, with all its retries."""
        self.attempts, self.dead_at, self.due_at = 0, None, timezone.now()
        self.save(update_fields=["attempts", "dead_at", "due_at"])

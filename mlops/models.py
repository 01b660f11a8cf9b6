"""What the detectors learned and what they found."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from alerts.models import Alert
from mlops.querysets import AnomalyQuerySet, BaselineQuerySet
from sensors.models import Sensor


class Baseline(models.Model):
    """What was normal for a sensor just before `valid_from`; never changed once written, so that scores repeat.

    Values are in the sensor's unit. `hour_offsets` holds, for each UTC hour 0..23, how far the level of that hour lies
    from `median`; it is empty where the history shows no daily pattern.
    """

    sensor = models.ForeignKey(Sensor, on_delete=models.CASCADE, related_name="baselines")
    valid_from = models.DateTimeField()
    readings = models.PositiveIntegerField()
    span_seconds = models.FloatField()
    median = models.FloatField(null=True)
    spread = models.FloatField(null=True, help_text="Robust standard deviation: 1.4826 x median absolute deviation.")
    hour_offsets = ArrayField(models.FloatField(), default=list)

    objects = BaselineQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["sensor", "valid_from"], name="baseline_once_per_block")]

    def __str__(self) -> str:
        return f"{self.sensor} from {self.valid_from:%Y-%m-%d %H:%M}"


class Anomaly(models.Model):
    """A stretch of time in which a sensor left its baseline, and what validation made of it."""

    class Decision(models.TextChoices):
        CREDIBLE = "credible_anomaly", "credible anomaly"
        FURTHER = "further_investigation_needed", "further investigation needed"
        FALSE_POSITIVE = "false_positive_suspected", "false positive suspected"
        INSUFFICIENT = "insufficient_data", "insufficient data"

    sensor = models.ForeignKey(Sensor, on_delete=models.PROTECT, related_name="anomalies")
    alert = models.ForeignKey(Alert, on_delete=models.SET_NULL, null=True, blank=True, related_name="anomalies")
    start = models.DateTimeField()
    end = models.DateTimeField()
    peak_at = models.DateTimeField()
    peak_value = models.FloatField()
    peak_score = models.FloatField(help_text="Distance from the baseline in robust standard deviations.")
    historical = models.BooleanField(default=False)
    decision = models.CharField(max_length=30, choices=Decision.choices)
    confidence = models.FloatField()
    evidence = models.JSONField(default=dict, blank=True)

    objects = AnomalyQuerySet.as_manager()

    class Meta:
        ordering = ["-start", "-pk"]
        verbose_name_plural = "anomalies"
        indexes = [models.Index(fields=["sensor", "-end"], name="anomaly_newest_of_sensor")]

    def __str__(self) -> str:
        return f"{self.sensor} {self.start:%Y-%m-%d %H:%M}"

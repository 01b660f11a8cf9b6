"""What the detectors learned and what they found."""

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from alerts.models import Alert
from mlops.querysets import AnomalyQuerySet, BaselineQuerySet, ValidationPolicyQuerySet
from sensors.models import Sensor, Site

SHARE = [MinValueValidator(0.0), MaxValueValidator(1.0)]


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


class ValidationPolicy(models.Model):
    """How a site weighs anomalies; without a row the standard preset holds."""

    class Preset(models.TextChoices):
        STANDARD = "standard"
        STRICT = "strict", "strict: fewer alerts"
        FAST = "fast", "fast: earlier, more alerts"
        OWN = "own", "own values"

    site = models.OneToOneField(Site, on_delete=models.CASCADE, related_name="validation_policy")
    preset = models.CharField(max_length=10, choices=Preset.choices, default=Preset.STANDARD)
    credible = models.FloatField(
        default=0.7, validators=SHARE, help_text="Own values: confidence from which an anomaly is believed."
    )
    false_positive = models.FloatField(
        default=0.4, validators=SHARE, help_text="Own values: confidence below which it is taken for a false alarm."
    )
    stability_window = models.PositiveSmallIntegerField(
        default=5,
        validators=[MinValueValidator(3), MaxValueValidator(100)],
        help_text="Own values: so many readings before an event tell whether the signal was stable.",
    )
    recurrence_share = models.FloatField(
        default=0.25,
        validators=SHARE,
        help_text="Own values: an event is doubted when so much of the judged past was like it and nothing.",
    )
    history_limit = models.PositiveSmallIntegerField(
        default=20,
        validators=[MinValueValidator(2), MaxValueValidator(500)],
        help_text="Own values: so many of a sensor's judged events are looked back on.",
    )

    objects = ValidationPolicyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "validation policies"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(false_positive__lte=models.F("credible")), name="doubt_below_belief"
            )
        ]

    def __str__(self) -> str:
        return f"{self.site}: {self.preset}"


class Anomaly(models.Model):
    """A stretch of time in which a sensor left its baseline, and what validation made of it."""

    class Decision(models.TextChoices):
        CREDIBLE = "credible_anomaly", "credible anomaly"
        FURTHER = "further_investigation_needed", "further investigation needed"
        FALSE_POSITIVE = "false_positive_suspected", "false positive suspected"
        INSUFFICIENT = "insufficient_data", "insufficient data"
        ERROR = "validation_error", "validation error"

    class Circumstances(models.TextChoices):
        NORMAL = "normal"
        WORK = "work", "work on the asset"
        FAULTY = "faulty", "faulty sensor"
        NEW = "new", "new sensor"
        WITHDRAWN = "withdrawn"

    sensor = models.ForeignKey(Sensor, on_delete=models.PROTECT, related_name="anomalies")
    alert = models.ForeignKey(Alert, on_delete=models.SET_NULL, null=True, blank=True, related_name="anomalies")
    start = models.DateTimeField()
    end = models.DateTimeField()
    peak_at = models.DateTimeField()
    peak_value = models.FloatField()
    peak_score = models.FloatField(help_text="Distance from the baseline in robust standard deviations.")
    historical = models.BooleanField(default=False)
    circumstances = models.CharField(
        max_length=10,
        choices=Circumstances.choices,
        default=Circumstances.NORMAL,
        help_text="Events under different circumstances are different events.",
    )
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

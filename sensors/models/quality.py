"""What is known of a sensor's behaviour, what counts as doubtful at a site, and the faults of instruments."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from sensors.models.access import ApiKey
from sensors.models.plant import Asset, Sensor, Site
from sensors.querysets import SensorFaultQuerySet, SensorProfileQuerySet, SiteScopedQuerySet


class QualityPolicy(models.Model):
    """The limits beyond which readings of a site are doubted. An empty limit is switched off.

    A site without a policy has the defaults (see `sensors.quality` for what each one does).
    """

    site = models.OneToOneField(Site, on_delete=models.CASCADE, related_name="quality_policy")
    check_range = models.BooleanField(default=True, help_text="Doubt values outside a sensor's physical range.")
    check_rate = models.BooleanField(default=True, help_text="Doubt changes faster than a sensor's highest rate.")
    stuck_repeats = models.PositiveSmallIntegerField(
        null=True, blank=True, default=20, help_text="So many equal readings in a row mean that the sensor is stuck."
    )
    spike_factor = models.FloatField(
        null=True,
        blank=True,
        default=12.0,
        help_text="A lone reading this many times the sensor's noise off its neighbours.",
    )
    gap_factor = models.FloatField(
        null=True, blank=True, default=5.0, help_text="A pause of this many usual intervals is a gap."
    )
    clock_ahead_seconds = models.FloatField(
        null=True, blank=True, default=30.0, help_text="A sender whose readings lie this far ahead has a wrong clock."
    )
    silent_factor = models.FloatField(
        null=True,
        blank=True,
        default=5.0,
        help_text="After this many usual intervals without a reading a sensor is silent.",
    )
    silent_grace_seconds = models.FloatField(default=60.0, help_text="... but not before so many seconds have passed.")

    objects = SiteScopedQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "quality policies"

    def __str__(self) -> str:
        return f"quality policy of {self.site}"


class SensorProfile(models.Model):
    """What a sensor usually does, learned from its recent readings (`sensors.profiles`). Values are in its unit.

    `live_since` is the time of its first live reading, `last_at` that of its newest, `last_received_at` when that came
    in, `sent_by` the key it came with. `noise` is the robust standard deviation between neighbouring readings,
    `repeat_share` the share of readings equal to the one before. `completeness` is the share of the readings expected
    in the last day that came, `quality` the mean quality of the readings it was learned from.
    """

    sensor = models.OneToOneField(Sensor, on_delete=models.CASCADE, primary_key=True, related_name="profile")
    live_since = models.DateTimeField(null=True)
    last_at = models.DateTimeField(null=True)
    last_received_at = models.DateTimeField(null=True)
    sent_by = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, related_name="+")
    learned_at = models.DateTimeField(null=True)
    readings = models.PositiveIntegerField(default=0, help_text="How many readings it was learned from.")
    cadence_seconds = models.FloatField(null=True, help_text="Median seconds between two readings.")
    arrival_seconds = models.FloatField(
        null=True, help_text="Longest usual pause between two deliveries; a gateway may send a whole hour at once."
    )
    low = models.FloatField(null=True, help_text="First percentile of the values.")
    high = models.FloatField(null=True, help_text="99th percentile of the values.")
    noise = models.FloatField(null=True)
    repeat_share = models.FloatField(null=True)
    completeness = models.FloatField(null=True)
    quality = models.FloatField(null=True)

    objects = SensorProfileQuerySet.as_manager()

    # Below this share so much is missing that somebody should look; a lost packet now and then is usual.
    INCOMPLETE_BELOW = 0.95

    def __str__(self) -> str:
        return f"profile of {self.sensor_id}"

    @property
    def is_incomplete(self) -> bool:
        return self.completeness is not None and self.completeness < self.INCOMPLETE_BELOW


class SensorFault(models.Model):
    """An instrument that cannot be trusted, from `began_at` until `ended_at`. A sensor fault is not a machine fault.

    It is of one sensor, or of an asset or a sender (gateway) when many of their sensors fall silent together; the
    sensors' own faults are then `part_of` it.
    """

    class Kind(models.TextChoices):
        SILENT = "silent"
        STUCK = "stuck"
        OUT_OF_RANGE = "out_of_range", "out of range"
        ERRATIC = "erratic"
        CLOCK = "clock", "wrong clock"

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="sensor_faults")
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, null=True, blank=True, related_name="sensor_faults")
    sensor = models.ForeignKey(Sensor, on_delete=models.PROTECT, null=True, blank=True, related_name="faults")
    sender = models.ForeignKey(ApiKey, on_delete=models.PROTECT, null=True, blank=True, related_name="faults")
    part_of = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="parts")
    kind = models.CharField(max_length=15, choices=Kind.choices)
    detail = models.CharField(max_length=300, blank=True)
    began_at = models.DateTimeField()
    noticed_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = SensorFaultQuerySet.as_manager()

    class Meta:
        ordering = ["-began_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "sensor"], condition=Q(ended_at__isnull=True), name="one_open_fault_per_sensor_and_kind"
            ),
            models.UniqueConstraint(
                fields=["kind", "asset"],
                condition=Q(ended_at__isnull=True, sensor__isnull=True, sender__isnull=True),
                name="one_open_fault_per_asset_and_kind",
            ),
            models.UniqueConstraint(
                fields=["kind", "sender", "site"],
                condition=Q(ended_at__isnull=True, sensor__isnull=True, sender__isnull=False),
                name="one_open_fault_per_sender_and_kind",
            ),
        ]
        indexes = [
            models.Index(fields=["noticed_at"], name="fault_noticed"),
            models.Index(fields=["ended_at"], name="fault_ended"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} since {self.began_at:%Y-%m-%d %H:%M}"

"""What happens to readings at the door: refused ones in quarantine, repeats of a request, changes made by people."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone

from sensors.models.access import ApiKey
from sensors.models.plant import Asset, Sensor, Site
from sensors.models.readings import ReadingBatch
from sensors.querysets import AnnotationQuerySet, CorrectionQuerySet, IdempotentRequestQuerySet, SiteScopedQuerySet
from sensors.wall_clock import OUT_OF_TIME, in_our_time


class Quarantined(models.Model):
    """A refused row, kept so that somebody can correct it and admit it after all, or discard it.

    `payload` holds the fields as they were sent (`sensor_id`, `timestamp`, `value`, `unit`, `quality`), or
    `{"raw": text}` where the row could not be read. The same row refused again counts up. Rows whose site is not known
    are seen by those who see all sites.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        READMITTED = "readmitted"
        DISCARDED = "discarded"

    site = models.ForeignKey(Site, on_delete=models.PROTECT, null=True, blank=True, related_name="quarantined")
    source = models.CharField(max_length=20)
    sent_by = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    code = models.CharField(max_length=40)
    detail = models.CharField(max_length=500)
    payload = models.JSONField()
    digest = models.BinaryField(max_length=16, editable=False, help_text="Of what was refused, where and why.")
    received_at = models.DateTimeField(default=timezone.now)
    last_received_at = models.DateTimeField(default=timezone.now)
    times = models.PositiveIntegerField(default=1, help_text="How often the same row was refused.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    batch = models.ForeignKey(ReadingBatch, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    objects = SiteScopedQuerySet.as_manager()

    class Meta:
        verbose_name = "quarantined reading"
        ordering = ["-received_at", "-pk"]
        permissions = [("settle_quarantined", "Can admit or discard refused readings")]
        constraints = [
            models.UniqueConstraint(
                fields=["digest"], condition=Q(state="waiting"), name="quarantined_once_while_waiting"
            )
        ]
        indexes = [models.Index(fields=["site", "state", "-received_at"], name="quarantined_newest")]

    def __str__(self) -> str:
        return f"{self.code}: {self.payload.get('sensor_id') or self.payload.get('raw', '')}"[:100]


class IdempotentRequest(models.Model):
    """The answer to a request that was sent with an `Idempotency-Key`, given again to its repeats for 24 hours."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    digest = models.BinaryField(max_length=32, help_text="SHA-256 of path, query and body.")
    status = models.PositiveSmallIntegerField(default=0)
    answer = models.JSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = IdempotentRequestQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_once_per_user")]
        indexes = [models.Index(fields=["created_at"], name="idempotent_oldest")]

    def __str__(self) -> str:
        return self.key


class Correction(models.Model):
    """A stored reading whose value a person replaced; the old value stays here."""

    sensor = models.ForeignKey(Sensor, on_delete=models.PROTECT, related_name="corrections")
    timestamp = models.DateTimeField()
    old_value = models.FloatField()
    old_quality = models.FloatField()
    new_value = models.FloatField()
    at = models.DateTimeField(default=timezone.now)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")

    objects = CorrectionQuerySet.as_manager()

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [models.Index(fields=["sensor", "timestamp"], name="correction_of_reading")]

    def __str__(self) -> str:
        return f"{self.sensor_id} {self.timestamp:%Y-%m-%d %H:%M:%S}: {self.old_value:g} -> {self.new_value:g}"


class Annotation(models.Model):
    """What a person says about a stretch of time of an asset, or of one of its sensors."""

    class Kind(models.TextChoices):
        NOTE = "note"
        EXCLUDED = "excluded", "excluded from training"
        FAILURE = "failure", "past failure"

    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="annotations")
    sensor = models.ForeignKey(
        Sensor,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="annotations",
        help_text="Empty: all of them.",
    )
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.NOTE)
    start = models.DateTimeField()
    end = models.DateTimeField()
    text = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    removed_at = models.DateTimeField(null=True, blank=True)
    removed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )

    objects = AnnotationQuerySet.as_manager()

    class Meta:
        ordering = ["-start", "-pk"]
        indexes = [models.Index(fields=["asset", "-end"], name="annotation_of_asset")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.start:%Y-%m-%d %H:%M}"

    def clean(self) -> None:
        """Raises ValidationError when it is about no stretch of our time, or about a sensor of another asset."""
        for name, at in (("start", self.start), ("end", self.end)):
            if at and not in_our_time(at):
                raise ValidationError({name: ValidationError(OUT_OF_TIME, code="out_of_time")})
        if self.start and self.end and self.start >= self.end:
            raise ValidationError({"end": ValidationError("The end lies after the start.", code="invalid")})
        if self.sensor and self.asset_id and self.sensor.asset_id != self.asset_id:
            raise ValidationError({"sensor": ValidationError("The sensor is on another asset.", code="other_asset")})


class AuditEntry(models.Model):
    """One step somebody took that changes what is believed about the data: who, when, on what, and what it was."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, null=True, blank=True, related_name="audit_entries")
    at = models.DateTimeField(default=timezone.now)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    action = models.CharField(max_length=40)
    subject = models.CharField(max_length=200, help_text="What it was done to, for example `quarantined 12`.")
    detail = models.JSONField(default=dict, blank=True)

    objects = SiteScopedQuerySet.as_manager()

    class Meta:
        ordering = ["-at", "-pk"]
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["site", "-at"], name="audit_newest"),
            models.Index(fields=["subject"], name="audit_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"

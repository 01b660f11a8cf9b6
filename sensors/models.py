"""Sites, assets, sensors, their readings, and the outbox of work that stored readings cause."""

import hashlib
import secrets
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from timescale.db.models.fields import TimescaleDateTimeField
from timezone_field import TimeZoneField

from sensors.querysets import (
    ApiKeyQuerySet,
    AssetQuerySet,
    PendingQuerySet,
    ReadingBatchQuerySet,
    ReadingQuerySet,
    SensorQuerySet,
    SiteQuerySet,
)
from sensors.units import UNIT_CHOICES, Kind


def _refused(field: str, code: str, detail: str) -> ValidationError:
    return ValidationError({field: ValidationError(detail, code=code)})


class Site(models.Model):
    """A plant: its time zone is the one its people read, its members are the people who see it."""

    name = models.CharField(max_length=100, unique=True)
    timezone = TimeZoneField(default="UTC", help_text="Times of this site are shown in this zone.")
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, blank=True, related_name="sites")

    objects = SiteQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        permissions = [("view_all_sites", "Sees every site"), ("access_admin", "Can use the admin pages")]

    def __str__(self) -> str:
        return self.name


class Asset(models.Model):
    """A node of the asset tree (ISO 14224): an area, a line, a machine or a component of one."""

    class Level(models.TextChoices):
        AREA = "area"
        LINE = "line"
        MACHINE = "machine"
        COMPONENT = "component"

    class Criticality(models.IntegerChoices):
        LOW = 1, "low"
        MEDIUM = 2, "medium"
        HIGH = 3, "high"

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="assets")
    parent = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="children")
    name = models.CharField(max_length=100)
    level = models.CharField(max_length=10, choices=Level.choices, default=Level.MACHINE)
    criticality = models.PositiveSmallIntegerField(choices=Criticality.choices, default=Criticality.MEDIUM)
    description = models.TextField(blank=True, max_length=5000)

    objects = AssetQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["site", "name"], name="asset_name_once_per_site")]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("sensors:asset", args=[self.pk])

    def clean(self) -> None:
        """Raises ValidationError when the asset's place in the tree is impossible."""
        if self.pk and Asset.objects.exclude(site=self.site_id).filter(pk=self.pk).exists():
            # Its alerts, work orders and readings belong to the site they arose at.
            raise _refused("site", "fixed", "An asset stays at its site; create a new one instead.")
        seen = {self.pk} if self.pk else set()
        ancestor = self.parent
        while ancestor is not None:
            if ancestor.site_id != self.site_id:
                raise _refused("parent", "other_site", "The parent is an asset of another site.")
            if ancestor.pk in seen:
                raise _refused("parent", "circular", "An asset cannot be part of itself.")
            seen.add(ancestor.pk)
            ancestor = ancestor.parent


class Sensor(models.Model):
    """One measured quantity of an asset. `sensor_id` is the name the outside world knows it by."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        RETIRED = "retired"

    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="sensors")
    sensor_id = models.CharField(
        max_length=100,
        unique=True,
        validators=[RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9._:/-]*\Z", "Letters, digits and . _ : / - only.")],
        help_text="The key that readings are sent with.",
    )
    name = models.CharField(max_length=100, blank=True)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    unit = models.CharField(max_length=10, choices=UNIT_CHOICES, help_text="The unit values are stored and shown in.")
    cadence_seconds = models.FloatField(null=True, blank=True, help_text="Expected seconds between two readings.")
    range_low = models.FloatField(null=True, blank=True, help_text="Below this no real value can be.")
    range_high = models.FloatField(null=True, blank=True, help_text="Above this no real value can be.")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.ACTIVE)

    objects = SensorQuerySet.as_manager()

    class Meta:
        ordering = ["sensor_id"]

    def __str__(self) -> str:
        return self.name or self.sensor_id

    def get_absolute_url(self) -> str:
        return reverse("sensors:readings", args=[self.pk])

    def clean(self) -> None:
        """Raises ValidationError when the sensor contradicts itself or what it measured so far."""
        if self.cadence_seconds is not None and self.cadence_seconds <= 0:
            raise _refused("cadence_seconds", "invalid", "Readings come more than 0 seconds apart.")
        if self.range_low is not None and self.range_high is not None and self.range_low >= self.range_high:
            raise _refused("range_high", "invalid", "The upper end lies above the lower one.")
        before = Sensor.objects.select_related("asset").filter(pk=self.pk).first() if self.pk else None
        if before and before.unit != self.unit:
            # The stored values would silently mean something else.
            raise _refused("unit", "fixed", "The unit of a sensor is fixed; retire it and create a new one.")
        if before and self.asset_id and before.asset.site_id != self.asset.site_id:
            raise _refused("asset", "fixed", "A sensor stays at its site; retire it and create a new one.")


class Reading(models.Model):
    """One value of one sensor at one time, in the sensor's unit. Written by `sensors.ingest.store_batch` alone."""

    pk = models.CompositePrimaryKey("sensor_id", "timestamp")
    # No constraint in the database: checking it per row would halve the rate; sensors are retired, never deleted.
    sensor = models.ForeignKey(Sensor, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    timestamp = TimescaleDateTimeField(interval="1 day")
    value = models.FloatField()
    quality = models.FloatField(default=1.0, db_default=1.0, help_text="0 (worthless) to 1 (good).")

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
    accepted = models.PositiveIntegerField()
    duplicates = models.PositiveIntegerField(default=0)
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
            models.Index(fields=["consumer", "-live", "id"], name="pending_waiting", condition=Q(dead_at__isnull=True))
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


class ApiKey(models.Model):
    """A program's way in, acting for `user` within `scopes`. Only a digest of the key is kept."""

    class Scope(models.TextChoices):
        INGEST = "ingest"
        READ = "read"
        WRITE = "write"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=10, editable=False, help_text="First characters, to tell keys apart.")
    digest = models.CharField(max_length=128, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=10, choices=Scope.choices))
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        verbose_name_plural = "API keys"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @staticmethod
    def digest_of(key: str) -> str:
        # A plain hash is enough for a random 256-bit key; a slow one would cost 0.4 s on every request.
        return hashlib.sha512(key.encode()).hexdigest()

    @classmethod
    def issue(cls, user: User, name: str, scopes: list[str]) -> tuple["ApiKey", str]:
        """Create a key; the returned text is the only copy there will ever be."""
        key = f"sm_{secrets.token_urlsafe(32)}"
        row = cls.objects.create(user=user, name=name, prefix=key[:8], digest=cls.digest_of(key), scopes=scopes)
        return row, key

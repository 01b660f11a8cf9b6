"""Where things are measured: sites, their assets, the sensors on them."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.urls import reverse
from django.utils import timezone
from timezone_field import TimeZoneField

from sensors import zones
from sensors.files import MAX_NAME, kept_as, validate_size
from sensors.models.limited import HAS_LIMITS, Limited, require_order
from sensors.querysets import AssetDocumentQuerySet, AssetQuerySet, CatalogueQuerySet, SensorQuerySet, SiteQuerySet
from sensors.units import UNIT_CHOICES, Kind


def _refused(field: str, code: str, detail: str) -> ValidationError:
    return ValidationError({field: ValidationError(detail, code=code)})


valid_sensor_id = RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9._:/-]*\Z", "Letters, digits and . _ : / - only.")


class Site(models.Model):
    """A plant: its time zone is the one its people read, its members are the people who see it."""

    name = models.CharField(max_length=100, unique=True)
    timezone = TimeZoneField(default="UTC", help_text="Times of this site are shown in this zone.")
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, blank=True, related_name="sites")
    currency = models.CharField(
        max_length=3,
        default="EUR",
        validators=[RegexValidator(r"^[A-Z]{3}\Z", "Three capital letters (ISO 4217).")],
        help_text="Costs of this site are in it (ISO 4217).",
    )

    objects = SiteQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        permissions = [("view_all_sites", "Sees every site"), ("access_admin", "Can use the admin pages")]

    def __str__(self) -> str:
        return self.name


class AssetClass(models.Model):
    """A class of assets (ISO 14224: equipment class): what is alike in them, and fails alike."""

    name = models.CharField(max_length=100, unique=True)
    auto_approve = models.BooleanField(
        default=False,
        help_text="What a detector finds that is proven on this class becomes an approved work order by itself.",
    )

    objects = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "asset classes"

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
    asset_class = models.ForeignKey(AssetClass, on_delete=models.PROTECT, null=True, blank=True, related_name="assets")
    criticality = models.PositiveSmallIntegerField(choices=Criticality.choices, default=Criticality.MEDIUM)
    description = models.TextField(blank=True, max_length=5000)
    # Its nameplate.
    manufacturer = models.CharField(max_length=100, blank=True)
    model = models.CharField(max_length=100, blank=True)
    serial_number = models.CharField(max_length=100, blank=True)
    power_kw = models.FloatField("rated power, kW", null=True, blank=True, validators=[MinValueValidator(0)])
    commissioned_on = models.DateField("in service since", null=True, blank=True)
    warranty_until = models.DateField(null=True, blank=True)

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
        if self.commissioned_on and self.warranty_until and self.warranty_until < self.commissioned_on:
            raise _refused("warranty_until", "order", "The warranty ends before the asset was in service.")

    @property
    def has_nameplate(self) -> bool:
        """Anything is known of it."""
        known = (self.manufacturer, self.model, self.serial_number, self.commissioned_on, self.warranty_until)
        return any(known) or self.power_kw is not None


def _kept_document(document: "AssetDocument", name: str) -> str:
    return kept_as("assets", name)


class AssetDocument(models.Model):
    """A file about an asset: a manual, a drawing, a certificate. What was taken away stays, unseen, in `removed_at`."""

    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="documents")
    name = models.CharField(max_length=MAX_NAME)
    file = models.FileField(upload_to=_kept_document, max_length=200, validators=[validate_size])
    size_bytes = models.PositiveIntegerField(editable=False)
    added_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    added_at = models.DateTimeField(default=timezone.now)
    removed_at = models.DateTimeField(null=True, blank=True)

    objects = AssetDocumentQuerySet.as_manager()

    class Meta:
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return self.name


class Sensor(Limited):
    """One measured quantity of an asset. `sensor_id` is the name the outside world knows it by.

    Beyond its limits people are told (`alerts.rules`); the reading itself is as good as any other.
    """

    class Status(models.TextChoices):
        DISCOVERED = "discovered"
        ACTIVE = "active"
        RETIRED = "retired"

    # The asset's site, again: keys are unique per site, and every list of sensors asks who may see the site.
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="sensors", editable=False)
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="sensors")
    sensor_id = models.CharField(
        max_length=100,
        validators=[valid_sensor_id],
        help_text="The key that readings are sent with; unique at its site.",
    )
    name = models.CharField(max_length=100, blank=True)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    unit = models.CharField(max_length=10, choices=UNIT_CHOICES, help_text="The unit values are stored and shown in.")
    cadence_seconds = models.FloatField(null=True, blank=True, help_text="Expected seconds between two readings.")
    range_low = models.FloatField(null=True, blank=True, help_text="Below this no real value can be.")
    range_high = models.FloatField(null=True, blank=True, help_text="Above this no real value can be.")
    max_rate = models.FloatField(
        null=True, blank=True, help_text="Faster than this, in units per second, no real value changes."
    )
    machine_class = models.CharField(
        max_length=20,
        blank=True,
        choices=zones.CHOICES,
        help_text="For vibration in mm/s: where its zones of severity lie, after ISO 20816.",
    )
    retention_days = models.PositiveIntegerField(
        null=True, blank=True, help_text="How long readings are kept. Empty: as the settings say; 0: for ever."
    )
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.ACTIVE)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = SensorQuerySet.as_manager()

    class Meta:
        ordering = ["sensor_id"]
        constraints = [models.UniqueConstraint(fields=["site", "sensor_id"], name="sensor_id_once_per_site")]
        indexes = [
            # Every batch asks which of its sensors have limits; most have none.
            models.Index(fields=["id"], condition=HAS_LIMITS, name="sensor_with_limits")
        ]

    def __str__(self) -> str:
        return self.name or self.sensor_id

    def save(self, *args: Any, **options: Any) -> None:
        self.site_id = self.asset.site_id
        super().save(*args, **options)

    def get_absolute_url(self) -> str:
        return reverse("sensors:readings", args=[self.pk])

    def clean(self) -> None:
        """Raises ValidationError when the sensor contradicts itself or what it measured so far."""
        if self.cadence_seconds is not None and self.cadence_seconds <= 0:
            raise _refused("cadence_seconds", "invalid", "Readings come more than 0 seconds apart.")
        if self.range_low is not None and self.range_high is not None and self.range_low >= self.range_high:
            raise _refused("range_high", "invalid", "The upper end lies above the lower one.")
        require_order(self.limits)
        if self.machine_class and self.unit != zones.UNIT:
            raise _refused("machine_class", "invalid", f"Zones of severity are for vibration in {zones.UNIT}.")
        if self.max_rate is not None and self.max_rate <= 0:
            raise _refused("max_rate", "invalid", "Values change by more than 0 a second.")
        before = Sensor.objects.filter(pk=self.pk).first() if self.pk else None
        if before and before.status != self.status == Sensor.Status.DISCOVERED:
            raise _refused("status", "fixed", "Somebody has seen to this sensor; it is not discovered anew.")
        if before and before.unit != self.unit and before.status != Sensor.Status.DISCOVERED:
            # The stored values would silently mean something else. Before, the unit was only inferred.
            raise _refused("unit", "fixed", "The unit of a sensor is fixed; retire it and create a new one.")
        if before and self.asset_id and before.site_id != self.asset.site_id:
            raise _refused("asset", "fixed", "A sensor stays at its site; retire it and create a new one.")
        same = Sensor.objects.filter(site=self.asset.site_id, sensor_id=self.sensor_id) if self.asset_id else None
        if same is not None and same.exclude(pk=self.pk).exists():
            raise _refused("sensor_id", "unique", "Another sensor of this site has this key.")

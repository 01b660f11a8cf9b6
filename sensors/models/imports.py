"""Files of readings that somebody uploaded."""

from pathlib import Path

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.urls import reverse
from django.utils import timezone

from sensors.models.plant import Asset, Site
from sensors.querysets import ImportQuerySet


class Import(models.Model):
    """A file on its way into the database (sensors.imports): looked at, mapped, checked, run.

    `layout` is a `sensors.formats.csv.Layout`, `position` a `csv.Position`: where the next block begins. The counts are
    of the present or last pass over the file, a check or a run.
    """

    class State(models.TextChoices):
        UPLOADED = "uploaded"
        CHECKING = "checking"
        READY = "ready"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="imports")
    uploaded_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    asset = models.ForeignKey(
        Asset,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Where new sensors are placed. Empty: they wait to be placed.",
    )
    name = models.CharField(max_length=200)
    file = models.CharField(max_length=50, blank=True, editable=False, help_text="Empty once it was removed.")
    size = models.BigIntegerField(validators=[MinValueValidator(0)])
    state = models.CharField(max_length=10, choices=State.choices, default=State.UPLOADED)
    layout = models.JSONField(default=dict, blank=True)
    position = models.JSONField(default=dict, blank=True)
    read_bytes = models.BigIntegerField(default=0)
    rows = models.BigIntegerField(default=0)
    stored = models.BigIntegerField(default=0)
    duplicates = models.BigIntegerField(default=0)
    refused = models.BigIntegerField(default=0)
    new_sensors = models.PositiveIntegerField(default=0)
    report = models.JSONField(default=dict, blank=True)
    error = models.CharField(max_length=500, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = ImportQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        indexes = [models.Index(fields=["state", "changed_at"], name="import_at_work")]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("sensors:import", args=[self.pk])

    @property
    def path(self) -> Path:
        """Where its file lies, if it has one still."""
        directory: Path = settings.UPLOAD_DIR
        return directory / self.file

    @property
    def is_at_work(self) -> bool:
        return self.state in (self.State.CHECKING, self.State.RUNNING)

    @property
    def can_be_changed(self) -> bool:
        """Its file is still there and nobody works on it: it may be mapped and checked (again)."""
        return bool(self.file) and self.state in (self.State.UPLOADED, self.State.READY, self.State.FAILED)

    @property
    def promises_readings(self) -> bool:
        """It was checked and would bring something in."""
        return self.state == self.State.READY and self.stored > 0

    @property
    def percent(self) -> int:
        return min(100, 100 * self.read_bytes // self.size) if self.size else 100

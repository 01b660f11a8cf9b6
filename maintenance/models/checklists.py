"""What is to be looked at in a work order, and the photos and files that belong to it."""

import secrets
from pathlib import PurePath

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

from maintenance.models.work_orders import WorkOrder
from maintenance.querysets import OfWorkOrderQuerySet
from sensors.models import Sensor


class ChecklistItem(models.Model):
    """One thing to do or to look at, and what came of it.

    `value` is in `unit`, or in the unit of the sensor for a reading; outside of `low` to `high` the item has failed.
    `choices` are {"text", "bad"}; a bad one is a failure, too.
    """

    class Kind(models.TextChoices):
        TICK = "tick"
        NUMBER = "number"
        READING = "reading"
        PHOTO = "photo"
        CHOICE = "choice"

    order = models.ForeignKey(WorkOrder, on_delete=models.PROTECT, related_name="checklist")
    position = models.PositiveSmallIntegerField()
    text = models.CharField(max_length=300)
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.TICK)
    unit = models.CharField(max_length=20, blank=True)
    low = models.FloatField(null=True, blank=True)
    high = models.FloatField(null=True, blank=True)
    sensor = models.ForeignKey(Sensor, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    choices = models.JSONField(default=list, blank=True)
    value = models.FloatField(null=True, blank=True)
    measured_at = models.DateTimeField(null=True, blank=True, help_text="When the sensor measured the value.")
    answer = models.CharField(max_length=100, blank=True)
    failed = models.BooleanField(default=False)
    done_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    done_at = models.DateTimeField(null=True, blank=True)
    follow_up = models.OneToOneField(
        WorkOrder, on_delete=models.PROTECT, null=True, blank=True, related_name="because_of"
    )

    objects = OfWorkOrderQuerySet.as_manager()

    class Meta:
        ordering = ["position", "pk"]
        constraints = [models.UniqueConstraint(fields=["order", "position"], name="one_checklist_item_per_position")]

    def __str__(self) -> str:
        return self.text

    @property
    def measures_in(self) -> str:
        """The unit of its value."""
        return self.sensor.unit if self.sensor else self.unit


def _path(attachment: "Attachment", name: str) -> str:
    # Nobody's name for a file becomes a path, nor can an address be guessed.
    return f"work-orders/{attachment.order_id}/{secrets.token_hex(16)}{PurePath(name).suffix.lower()[:10]}"


class Attachment(models.Model):
    """A photo or file of a work order; `content_type` is that of a photo, or empty for what browsers only save."""

    order = models.ForeignKey(WorkOrder, on_delete=models.PROTECT, related_name="attachments")
    item = models.ForeignKey(ChecklistItem, on_delete=models.PROTECT, null=True, blank=True, related_name="attachments")
    file = models.FileField(upload_to=_path, max_length=200)
    name = models.CharField(max_length=200)
    content_type = models.CharField(max_length=50, blank=True)
    size = models.PositiveIntegerField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    at = models.DateTimeField(default=timezone.now)

    objects = OfWorkOrderQuerySet.as_manager()

    class Meta:
        ordering = ["at", "pk"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("maintenance:attachment", args=[self.pk])

    @property
    def is_image(self) -> bool:
        return bool(self.content_type)

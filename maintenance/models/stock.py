"""Spare parts: what is in stock, and what work orders took of it."""

import uuid
from decimal import Decimal

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone

from maintenance.models.work_orders import WorkOrder
from maintenance.querysets import PartQuerySet, PartUseQuerySet
from sensors.models import Site

NONE = Decimal(0)


class Part(models.Model):
    """A spare part in the store of a site. It is to be reordered once no more than `minimum` is left."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="parts")
    number = models.CharField(max_length=50, help_text="The number it is ordered and found by.")
    name = models.CharField(max_length=200)
    unit = models.CharField(max_length=20, default="pcs", help_text="What it is counted in, for example pcs, m, kg.")
    place = models.CharField(max_length=100, blank=True, help_text="Where it lies.")
    quantity = models.DecimalField(max_digits=12, decimal_places=3, default=NONE)
    minimum = models.DecimalField(
        max_digits=12,
        decimal_places=3,
        default=NONE,
        validators=[MinValueValidator(0)],
        help_text="At this quantity it is to be reordered; 0: never.",
    )
    unit_cost = models.DecimalField(
        max_digits=12, decimal_places=2, null=True, blank=True, validators=[MinValueValidator(0)]
    )

    objects = PartQuerySet.as_manager()

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["site", "number"], name="part_number_once_per_site")]
        indexes = [
            models.Index(
                fields=["site"], condition=Q(minimum__gt=0, quantity__lte=F("minimum")), name="part_to_reorder"
            )
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.name}"

    def get_absolute_url(self) -> str:
        return reverse("maintenance:part", args=[self.pk])

    @property
    def is_to_reorder(self) -> bool:
        return self.minimum > 0 and self.quantity <= self.minimum


class PartUse(models.Model):
    """What a work order took of a part, at the cost of a unit at that time; put back later, it counts no more.

    `key` is the sender's: the same one twice is one use.
    """

    order = models.ForeignKey(WorkOrder, on_delete=models.PROTECT, related_name="part_uses")
    part = models.ForeignKey(Part, on_delete=models.PROTECT, related_name="uses")
    quantity = models.DecimalField(max_digits=12, decimal_places=3, validators=[MinValueValidator(Decimal("0.001"))])
    unit_cost = models.DecimalField(max_digits=12, decimal_places=2, null=True, blank=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    at = models.DateTimeField(default=timezone.now)
    put_back_at = models.DateTimeField(null=True, blank=True)
    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)

    objects = PartUseQuerySet.as_manager()

    class Meta:
        ordering = ["at", "pk"]

    def __str__(self) -> str:
        return f"{self.quantity.normalize():f} {self.part.unit} {self.part}"

    @property
    def cost(self) -> Decimal | None:
        """In the currency of the site; None where the part had no price."""
        return None if self.unit_cost is None else (self.quantity * self.unit_cost).quantize(Decimal("0.01"))

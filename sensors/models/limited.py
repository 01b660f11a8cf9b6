"""Limits to warn and to alarm at, which a sensor has by itself or in a rule."""

from itertools import pairwise
from typing import NamedTuple

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q


class Limits(NamedTuple):
    """In the sensor's unit, from the lowest to the highest; None where there is none."""

    alarm_low: float | None = None
    warn_low: float | None = None
    warn_high: float | None = None
    alarm_high: float | None = None


HAS_LIMITS = (
    Q(alarm_low__isnull=False) | Q(warn_low__isnull=False) | Q(warn_high__isnull=False) | Q(alarm_high__isnull=False)
)


class Limited(models.Model):
    """A row with limits. A value is beyond one when it is lower than a low one, or higher than a high one."""

    alarm_low = models.FloatField("alarm below", null=True, blank=True)
    warn_low = models.FloatField("warn below", null=True, blank=True)
    warn_high = models.FloatField("warn above", null=True, blank=True)
    alarm_high = models.FloatField("alarm above", null=True, blank=True)

    class Meta:
        abstract = True

    @property
    def limits(self) -> Limits:
        return Limits(self.alarm_low, self.warn_low, self.warn_high, self.alarm_high)


def lines(limits: Limits) -> list[tuple[str, float]]:
    """For charts: "warn" or "alarm", and where."""
    return [(name.split("_")[0], at) for name, at in limits._asdict().items() if at is not None]


def require_order(limits: Limits) -> None:
    """Raises ValidationError when the limits are not in order."""
    given = [(name, limit) for name, limit in limits._asdict().items() if limit is not None]
    for (_, lower), (name, higher) in pairwise(given):
        if lower >= higher:
            said = "From the lowest to the highest: alarm below, warn below, warn above, alarm above."
            raise ValidationError({name: ValidationError(said, code="order")})

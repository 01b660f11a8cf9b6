"""Times in which alerts are kept in the inbox and told to nobody."""

from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from alerts.models.alert import Alert
from alerts.querysets import SilenceQuerySet
from sensors.models import Asset, Sensor, Site

LONGEST_SILENCE = timedelta(days=90)


class Silence(models.Model):
    """Alerts of a site, of part of it, of a sensor or of some kinds are told to nobody from `starts_at` to `ends_at`.

    What is left empty narrows nothing. `source` is the key under which others, such as work orders, begin and end one.
    """

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="silences")
    asset = models.ForeignKey(
        Asset,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="silences",
        help_text="With everything below it.",
    )
    sensor = models.ForeignKey(Sensor, on_delete=models.PROTECT, null=True, blank=True, related_name="silences")
    kinds = ArrayField(
        models.CharField(max_length=20, choices=Alert.Kind.choices), default=list, blank=True, help_text="Empty: all."
    )
    starts_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField(help_text="90 days after the start at the latest.")
    reason = models.CharField(max_length=300)
    source = models.CharField(max_length=50, blank=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+", editable=False
    )
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+", editable=False
    )

    objects = SilenceQuerySet.as_manager()

    class Meta:
        ordering = ["-starts_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at__gte=F("starts_at")) & Q(ends_at__lte=F("starts_at") + LONGEST_SILENCE),
                name="a_silence_ends",
            ),
            models.UniqueConstraint(fields=["source"], condition=~Q(source=""), name="one_silence_per_source"),
        ]
        indexes = [models.Index(fields=["site", "ends_at"], name="silence_of_site")]

    def __str__(self) -> str:
        return f"{self.sensor or self.asset or self.site}: {self.reason}"

    def runs(self, at: datetime) -> bool:
        return self.starts_at <= at < self.ends_at

    def clean(self) -> None:
        """Raises ValidationError when it lasts too long or not at all, or its parts are of different sites."""
        start: datetime | None = self.starts_at
        end: datetime | None = self.ends_at
        if start and end and not start < end <= start + LONGEST_SILENCE:
            detail = "It ends after it starts, and within 90 days."
            raise ValidationError({"ends_at": ValidationError(detail, code="too_long")})
        for name in ("asset", "sensor"):
            if (part := getattr(self, name)) is not None and part.site_id != self.site_id:
                raise ValidationError({name: ValidationError("This is at another site.", code="other_site")})

"""What was found: how machines fail, what was done on them, and what was behind an alert."""

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector, SearchVectorField
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from alerts.models import Alert
from maintenance.models.work_orders import Outcome, WorkOrder
from maintenance.querysets import MaintenanceLogQuerySet, VerdictQuerySet
from sensors.models import Asset, AssetClass
from sensors.querysets import CatalogueQuerySet


class FailureMode(models.Model):
    """A way in which assets fail, after ISO 14224's lists for a class of assets; without a class it may befall any."""

    asset_class = models.ForeignKey(
        AssetClass, on_delete=models.PROTECT, null=True, blank=True, related_name="failure_modes"
    )
    code = models.CharField(max_length=20, help_text="Short, for example VIB.")
    name = models.CharField(max_length=100)

    objects = CatalogueQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["asset_class", "code"], nulls_distinct=False, name="failure_mode_once_per_class"
            )
        ]

    def __str__(self) -> str:
        return self.name


class MaintenanceLog(models.Model):
    """What was done on an asset, by whom and when; `completion_date` is when it was finished.

    `source` is empty for what people wrote here; what an import brought in has the import's name there and its own
    number in `external_id`, so that the same file twice is one history. Cost is in the currency of the site.
    """

    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="maintenance_logs")
    work_order = models.ForeignKey(WorkOrder, on_delete=models.PROTECT, null=True, blank=True, related_name="logs")
    kind = models.CharField(max_length=15, choices=WorkOrder.Kind.choices, blank=True)
    failure_mode = models.ForeignKey(FailureMode, on_delete=models.PROTECT, null=True, blank=True, related_name="logs")
    done_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    done_by_name = models.CharField(max_length=100, blank=True, help_text="Who did it, where that is no user.")
    completion_date = models.DateTimeField(default=timezone.now)
    duration_minutes = models.PositiveIntegerField(null=True, blank=True)
    downtime_minutes = models.PositiveIntegerField(null=True, blank=True)
    downtime_reason = models.CharField(max_length=200, blank=True)
    parts = models.CharField(max_length=500, blank=True)
    cost = models.DecimalField(
        max_digits=12, decimal_places=2, null=True, blank=True, validators=[MinValueValidator(0)]
    )
    notes = models.TextField(max_length=5000)
    source = models.CharField(max_length=100, blank=True)
    external_id = models.CharField(max_length=100, blank=True)
    # Kept, not computed while searching: rows that are looked through newest first cost an eighth.
    words = models.GeneratedField(
        expression=SearchVector("notes", "parts", "downtime_reason", "done_by_name", config="simple"),
        output_field=SearchVectorField(),
        db_persist=True,
        editable=False,
    )

    objects = MaintenanceLogQuerySet.as_manager()

    class Meta:
        ordering = ["-completion_date", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["asset", "source", "external_id"], condition=~Q(external_id=""), name="log_imported_once"
            )
        ]
        indexes = [
            models.Index(fields=["asset", "-completion_date"], name="log_of_asset"),
            models.Index(fields=["-completion_date", "-id"], name="log_newest"),
            GinIndex(fields=["words"], name="log_words"),
        ]

    def __str__(self) -> str:
        return self.notes[:60]


class Verdict(models.Model):
    """What was found on an asset, usually behind an alert, and for which time it holds. Training reads these."""

    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="verdicts")
    alert = models.ForeignKey(Alert, on_delete=models.PROTECT, null=True, blank=True, related_name="verdicts")
    work_order = models.ForeignKey(WorkOrder, on_delete=models.PROTECT, null=True, blank=True, related_name="verdicts")
    log = models.ForeignKey(MaintenanceLog, on_delete=models.PROTECT, null=True, blank=True, related_name="verdicts")
    outcome = models.CharField(max_length=15, choices=Outcome.choices)
    failure_mode = models.ForeignKey(
        FailureMode, on_delete=models.PROTECT, null=True, blank=True, related_name="verdicts"
    )
    window_start = models.DateTimeField()
    window_end = models.DateTimeField()
    given_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    given_at = models.DateTimeField(default=timezone.now)

    objects = VerdictQuerySet.as_manager()

    class Meta:
        ordering = ["-given_at", "-pk"]
        constraints = [
            models.UniqueConstraint(fields=["alert", "work_order"], name="one_verdict_per_alert_and_order"),
            models.UniqueConstraint(fields=["log"], name="one_verdict_per_log"),
        ]
        indexes = [models.Index(fields=["asset", "outcome", "window_end"], name="verdict_of_asset")]

    def __str__(self) -> str:
        return self.get_outcome_display()

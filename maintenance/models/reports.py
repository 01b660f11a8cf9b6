"""Reports of a site's figures, and when they are made by themselves."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from maintenance.querysets import ReportQuerySet, ReportScheduleQuerySet
from sensors.models import Site


class ReportSchedule(models.Model):
    """A report of each month or week of the site's calendar, made when it is over and mailed to `recipients`."""

    class Every(models.TextChoices):
        MONTH = "month"
        WEEK = "week"

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="report_schedules")
    every = models.CharField(max_length=5, choices=Every.choices, default=Every.MONTH)
    recipients = models.ManyToManyField(settings.AUTH_USER_MODEL, blank=True, related_name="+")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = ReportScheduleQuerySet.as_manager()

    class Meta:
        ordering = ["site__name", "every"]
        constraints = [models.UniqueConstraint(fields=["site", "every"], name="one_schedule_per_site_and_period")]

    def __str__(self) -> str:
        return f"{self.site}, every {self.every}"


class Report(models.Model):
    """The PDF of a site's figures from `start` up to `end`; those of a schedule are mailed, to each recipient once."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="reports")
    schedule = models.ForeignKey(
        ReportSchedule, on_delete=models.PROTECT, null=True, blank=True, related_name="reports"
    )
    start = models.DateTimeField()
    end = models.DateTimeField()
    file = models.FileField(upload_to="reports/", editable=False)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    mailed_to = models.ManyToManyField(settings.AUTH_USER_MODEL, blank=True, related_name="+")
    mail_due_at = models.DateTimeField(null=True, blank=True, help_text="When it is mailed, or tried again.")
    mail_attempts = models.PositiveSmallIntegerField(default=0)
    mail_error = models.CharField(max_length=500, blank=True)

    objects = ReportQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["schedule", "start"], condition=Q(schedule__isnull=False), name="scheduled_report_once"
            )
        ]
        indexes = [
            models.Index(fields=["site", "-created_at"], name="report_of_site"),
            models.Index(fields=["mail_due_at"], condition=Q(mail_due_at__isnull=False), name="report_to_mail"),
        ]

    def __str__(self) -> str:
        return f"Report {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("maintenance:report", args=[self.pk])

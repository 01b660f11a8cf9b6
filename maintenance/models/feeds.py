"""Calendars that programs of people fetch."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from maintenance.querysets import CalendarLinkQuerySet


class CalendarLink(models.Model):
    """The secret address of a person's work as a calendar. Only a digest of the secret is kept: it is shown once."""

    person = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="calendar_link")
    digest = models.CharField(max_length=128, unique=True)
    made_at = models.DateTimeField(default=timezone.now)
    last_fetched_at = models.DateTimeField(null=True, blank=True)

    objects = CalendarLinkQuerySet.as_manager()

    def __str__(self) -> str:
        return f"Calendar of {self.person}"

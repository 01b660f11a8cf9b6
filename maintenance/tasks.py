from celery import shared_task
from django.utils import timezone

from maintenance import plans, reports


@shared_task
def follow_plans() -> None:
    """Make the work orders that plans are due."""
    plans.follow_due(timezone.now())


@shared_task
def make_reports() -> None:
    """Make the reports whose period is over, and mail those that wait for it."""
    reports.make_due(timezone.now())
    reports.mail_due(timezone.now())

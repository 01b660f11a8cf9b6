from celery import shared_task
from django.utils import timezone

from maintenance import plans


@shared_task
def follow_plans() -> None:
    """Make the work orders that plans are due."""
    plans.follow_due(timezone.now())

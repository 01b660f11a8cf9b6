from celery import shared_task
from django.conf import settings
from django.utils import timezone

from sensors import faults, outbox, profiles


@shared_task
def drain(consumer: str) -> None:
    """See to the due work of one consumer."""
    outbox.drain(consumer)


@shared_task
def sweep() -> None:
    """Find work whose nudge was lost or whose next try has come."""
    for consumer in settings.OUTBOX_CONSUMERS:
        outbox.drain(consumer)


@shared_task
def look_for_faults() -> None:
    """Open and end faults of instruments."""
    faults.look()


@shared_task
def learn_profiles() -> None:
    """Learn what sensors usually do, where that is due."""
    profiles.learn_due(timezone.now())

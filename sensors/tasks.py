from celery import shared_task
from django.conf import settings

from sensors import outbox


@shared_task
def drain(consumer: str) -> None:
    """See to the due work of one consumer."""
    outbox.drain(consumer)


@shared_task
def sweep() -> None:
    """Find work whose nudge was lost or whose next try has come."""
    for consumer in settings.OUTBOX_CONSUMERS:
        outbox.drain(consumer)

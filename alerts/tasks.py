from celery import shared_task
from django.utils import timezone

from alerts import escalation, faults, lifecycle, notify, returning


@shared_task
def alert_of_faults() -> None:
    """Raise and resolve alerts as faults of instruments begin and end."""
    faults.pull_faults()


@shared_task
def settle() -> None:
    """Wake what was snoozed until now, and see what has gone back to normal."""
    lifecycle.wake(timezone.now())
    returning.look(timezone.now())


@shared_task
def tell() -> None:
    """See who has to hear of which alert, and write the messages."""
    notify.tell()


@shared_task
def climb() -> None:
    """Tell more people of what nobody has acknowledged."""
    escalation.climb()

from celery import current_app, shared_task
from django.utils import timezone

from alerts import faults, lifecycle, nudge, returning
from alerts.delivery import sending
from alerts.routing import escalation, notify


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
    if notify.tell():
        nudge.deliver()


@shared_task
def climb() -> None:
    """Tell more people of what nobody has acknowledged."""
    if escalation.climb():
        nudge.deliver()


@shared_task
def deliver() -> None:
    """See by which channels something is to be sent, and have it sent, each by threads of its own."""
    for channel_id in sending.waited_for():
        current_app.send_task("alerts.tasks.deliver_by", (channel_id,), expires=5)


@shared_task
def deliver_by(channel_id: int) -> None:
    """Send what is due by one channel."""
    if sending.deliver_by(channel_id):
        # What a turn has left.
        nudge.deliver()

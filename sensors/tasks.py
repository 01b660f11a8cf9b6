from celery import shared_task
from django.conf import settings
from django.utils import timezone

from sensors import faults, imports, outbox, profiles, retention, summary
from sensors.models import ReadingBatch

Mode = ReadingBatch.Mode


@shared_task
def drain(consumer: str) -> None:
    """See to the due live work of one consumer."""
    outbox.drain(consumer, Mode.LIVE)


@shared_task
def drain_history(consumer: str) -> None:
    """See to the due history of one consumer."""
    outbox.give_way()
    outbox.drain(consumer, Mode.HISTORY)


@shared_task
def sweep() -> None:
    """Find live work whose nudge was lost or whose next try has come."""
    for consumer in settings.OUTBOX_CONSUMERS:
        outbox.drain(consumer, Mode.LIVE)


@shared_task
def sweep_history() -> None:
    """Find history that waits to be worked on."""
    for consumer in outbox.with_history():
        outbox.give_way()
        outbox.drain(consumer, Mode.HISTORY)


@shared_task
def rebuild_summaries() -> None:
    """Compute hourly summaries again whose readings have changed."""
    outbox.give_way()
    summary.rebuild_due()


@shared_task
def audit_summaries() -> None:
    """Compare hourly summaries with their readings; what differs is computed again."""
    summary.audit(timezone.now())


@shared_task
def remove_old_rows() -> None:
    """Remove readings and records that have been kept long enough."""
    retention.remove_old_rows(timezone.now())


@shared_task
def take_turn(import_id: int) -> None:
    """Read on in an uploaded file."""
    outbox.give_way()
    imports.take_turn(import_id)


@shared_task
def resume_imports() -> None:
    """Find imports whose worker or message was lost."""
    imports.resume()


@shared_task
def forget_old_imports() -> None:
    """Remove uploaded files that nobody wants any more."""
    imports.forget_old()


@shared_task
def look_for_faults() -> None:
    """Open and end faults of instruments."""
    faults.look()


@shared_task
def learn_profiles() -> None:
    """Learn what sensors usually do, where that is due."""
    profiles.learn_due(timezone.now())

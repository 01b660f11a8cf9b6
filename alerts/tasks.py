from celery import shared_task

from alerts import rules


@shared_task
def alert_of_faults() -> None:
    """Raise and resolve alerts as faults of instruments begin and end."""
    rules.pull_faults()

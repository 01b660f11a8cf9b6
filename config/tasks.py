from celery import shared_task

from config.health import record_heartbeat


@shared_task
def heartbeat() -> None:
    """Sent by beat every few seconds: when it arrives, broker, beat and worker all do their part."""
    record_heartbeat()

from celery import shared_task

from config.health import BACKGROUND, MESSAGES, WORKER, record_heartbeat


@shared_task
def heartbeat() -> None:
    """Sent by beat every few seconds: when it arrives, broker, beat and worker all do their part."""
    record_heartbeat(WORKER)


@shared_task
def background_heartbeat() -> None:
    """The same of the worker that does what nobody waits for."""
    record_heartbeat(BACKGROUND)


@shared_task
def messages_heartbeat() -> None:
    """The same of the one that sends messages."""
    record_heartbeat(MESSAGES)

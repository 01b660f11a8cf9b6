from celery import shared_task

from mlops import withdrawal


@shared_task
def set_faulty_aside() -> None:
    """Withdraw anomalies that were the fault of their sensor."""
    withdrawal.set_faulty_aside()

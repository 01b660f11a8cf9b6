"""Asks workers to look now at what waits to be told or sent, once the present transaction is committed."""

from functools import partial

from django.db import transaction

from sensors import nudges

TELL, DELIVER = "alerts.tasks.tell", "alerts.tasks.deliver"


def tell() -> None:
    """Have it seen who is to be told. Never raises."""
    transaction.on_commit(partial(nudges.send, TELL), robust=True)


def deliver() -> None:
    """Have messages sent that are due. Never raises."""
    transaction.on_commit(partial(nudges.send, DELIVER), robust=True)

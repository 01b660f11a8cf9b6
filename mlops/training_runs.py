"""Asking for a model of a sensor or an asset. A worker makes it (`mlops.trainer`)."""

from datetime import datetime, timedelta
from functools import partial

from celery import current_app
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from mlops.models import Purpose, TrainingRun
from sensors.errors import Refused
from sensors.models import Asset, Sensor

# A run that has said nothing for so long lost its worker; one that nobody has begun lost its message.
LOST_AFTER, UNHEARD_AFTER = timedelta(minutes=30), timedelta(minutes=1)
State = TrainingRun.State


def ask(of: Sensor | Asset, by: User, purpose: Purpose = Purpose.SENSOR_ANOMALY) -> TrainingRun:
    """Have a model of a sensor trained, or one for another purpose of an asset.

    Raises Refused when one is being trained already.
    """
    subject = {"sensor": of} if isinstance(of, Sensor) else {"asset": of}
    try:
        with transaction.atomic():
            run = TrainingRun.objects.create(**subject, purpose=purpose, asked_by=by)
    except IntegrityError:
        raise Refused("training_already", f"A model of {of} is being trained already.", 409) from None
    transaction.on_commit(partial(_send, run.pk), robust=True)
    return run


def resume(now: datetime) -> None:
    """End runs whose worker was lost, and announce again what nobody has begun."""
    lost = TrainingRun.objects.filter(state=State.RUNNING, told_at__lt=now - LOST_AFTER)
    lost.update(state=State.FAILED, said="The worker was stopped; ask again.")
    for run in TrainingRun.objects.filter(state=State.WAITING, told_at__lt=now - UNHEARD_AFTER):
        _send(run.pk)


def _send(run_id: int) -> None:
    current_app.send_task("mlops.tasks.train", (run_id,))

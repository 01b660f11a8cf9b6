"""The Celery application: drains the outbox and runs the beat jobs."""

import os
import threading
import time
import warnings
from contextlib import suppress
from importlib import import_module
from typing import Any

import redis
from celery import Celery
from celery.signals import task_postrun, task_prerun, worker_init, worker_process_init, worker_ready
from django.conf import settings
from django.db import close_old_connections, connections

from config.orphans import exit_when_orphaned

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# `make up` works as root, too; tasks and their arguments are JSON, so a message can only name a task of ours.
warnings.filterwarnings("ignore", "You're running the worker with superuser privileges")

app = Celery("smart_maintenance")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


# Senders and people wait for the web process and the database; scoring may be a moment later when all are busy, and
# what runs in the background may be later than that.
NICENESS, BACKGROUND_NICENESS = 5, 10
BEAT_SECONDS = 5.0

_busy = threading.Event()


@task_prerun.connect
def _leave_broken_connections(**_: Any) -> None:
    close_old_connections()


@worker_init.connect
def _import_before_the_fork(**_: Any) -> None:
    """The processes of a worker share what was imported before they were made. Training imports what it needs, and what
    sends messages has threads and needs none of it.
    """
    if settings.MESSAGES_QUEUE in app.amqp.queues.consume_from:
        task_postrun.connect(_give_connections_back)
        return
    import_module("mlops.scoring")


@worker_process_init.connect
def _begin(**_: Any) -> None:
    exit_when_orphaned()
    if settings.BACKGROUND_QUEUE not in app.amqp.queues.consume_from:
        os.nice(NICENESS)
        return
    os.nice(BACKGROUND_NICENESS)
    task_prerun.connect(_begin_work)
    task_postrun.connect(_end_work)
    threading.Thread(target=_beat_while_busy, name="heartbeat", daemon=True).start()


def _give_connections_back(**_: Any) -> None:
    """To the pool, which has as many as there are threads for all of the program."""
    connections.close_all()


def _begin_work(**_: Any) -> None:
    _busy.set()


def _end_work(**_: Any) -> None:
    _busy.clear()


def _beat_while_busy() -> None:
    """A training run takes minutes, in which no heartbeat sent by beat gets through to the background's one process."""
    from config.health import BACKGROUND, record_heartbeat

    while _busy.wait():
        with suppress(redis.RedisError):
            record_heartbeat(BACKGROUND)
        time.sleep(BEAT_SECONDS)


@worker_ready.connect
def _make_demo_models(**_: Any) -> None:
    if settings.DEMO and settings.BACKGROUND_QUEUE in app.amqp.queues.consume_from:
        app.send_task("mlops.tasks.make_demo_models")

"""The Celery application: drains the outbox and runs the beat jobs."""

import os
import warnings
from typing import Any

from celery import Celery
from celery.signals import task_prerun, worker_process_init, worker_ready
from django.conf import settings
from django.db import close_old_connections

from config.orphans import exit_when_orphaned

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# `make up` works as root, too; tasks and their arguments are JSON, so a message can only name a task of ours.
warnings.filterwarnings("ignore", "You're running the worker with superuser privileges")

app = Celery("smart_maintenance")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


# Senders and people wait for the web process and the database; scoring may be a moment later when all are busy.
NICENESS = 5


@task_prerun.connect
def _leave_broken_connections(**_: Any) -> None:
    close_old_connections()


@worker_process_init.connect
def _begin(**_: Any) -> None:
    os.nice(NICENESS)
    exit_when_orphaned()


@worker_ready.connect
def _make_demo_models(**_: Any) -> None:
    if settings.DEMO:
        app.send_task("mlops.tasks.make_demo_models")

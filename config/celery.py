"""The Celery application: drains the outbox and runs the beat jobs."""

import os
import warnings
from typing import Any

from celery import Celery
from celery.signals import worker_process_init

from config.orphans import exit_when_orphaned

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# `make up` works as root, too; tasks and their arguments are JSON, so a message can only name a task of ours.
warnings.filterwarnings("ignore", "You're running the worker with superuser privileges")

app = Celery("smart_maintenance")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


# Senders and people wait for the web process and the database; scoring may be a moment later when all are busy.
NICENESS = 5


@worker_process_init.connect
def _begin(**_: Any) -> None:
    os.nice(NICENESS)
    exit_when_orphaned()

"""The program that sends messages is small: it has nothing to do with models."""

import os
import subprocess
import sys

from django.conf import settings

IMPORT = """
import sys
from config import celery
celery.app.loader.import_default_modules()
print(*({"sklearn", "mlflow", "lightgbm", "shap", "scipy", "pandas", "apprise"} & sys.modules.keys()))
"""


def test_the_tasks_of_all_apps_import_neither_models_nor_apprise() -> None:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "-c", IMPORT]
    done = subprocess.run(
        command, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""


def test_everything_that_sends_has_the_queue_of_its_program() -> None:
    mine = {task for task, route in settings.CELERY_TASK_ROUTES.items() if route["queue"] == settings.MESSAGES_QUEUE}
    assert mine == {"alerts.tasks.deliver", "alerts.tasks.deliver_by", "config.tasks.messages_heartbeat"}

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from mlops.prediction.pool import Pool


class Command(BaseCommand):
    help = """Answers questions to models (POST /api/v1/predict/, the page Predict, scores of a sensor).

    `manage.py up` and docker-compose.yml run it. Its processes load models from the registry and keep them; one that a
    model hangs up or crashes is replaced at once. PREDICT_PROCESSES says how many there are, PREDICT_MEMORY_MB how much
    memory an answer may take. Stop it with Ctrl-C or SIGTERM."""
    # Nothing here may open a connection before the processes are made.
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        Pool(settings.PREDICT_PROCESSES).run()

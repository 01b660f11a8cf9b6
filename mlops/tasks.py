"""What workers do. Libraries of models are imported by the tasks that need them: beat imports this module, too."""

import time
from datetime import timedelta
from typing import Any

from celery import shared_task
from django.utils import timezone

from mlops import training_runs, withdrawal
from mlops.models import Baseline
from mlops.registry import mlflow_api
from sensors.retention import TURN_SECONDS, delete_in_steps

# Scoring the same readings again gives the same scores for so long; older ones are measured against what is known by
# then.
BASELINE_DAYS = 30


@shared_task
def forget_baselines() -> None:
    """Delete what was normal a month ago: a row per sensor and hour would grow for ever."""
    old = Baseline.objects.filter(valid_from__lt=timezone.now() - timedelta(days=BASELINE_DAYS))
    delete_in_steps(old, time.monotonic() + TURN_SECONDS)


@shared_task
def score_assets() -> None:
    """Let the models of assets look at what has come in."""
    from mlops import asset_scoring

    asset_scoring.score_due()


@shared_task
def set_faulty_aside() -> None:
    """Withdraw anomalies that were the fault of their sensor."""
    withdrawal.set_faulty_aside()


@shared_task
def check_repairs() -> None:
    """See whether closed jobs did their work."""
    from mlops import repairs

    repairs.check_due(timezone.now())


@shared_task
def train(run_id: int) -> None:
    """Train the model that somebody asked for."""
    from mlops import trainer

    trainer.carry_out(run_id)


@shared_task
def resume_training() -> None:
    """Find training runs whose worker or message was lost."""
    training_runs.resume(timezone.now())


@shared_task(bind=True, max_retries=60)
def make_demo_models(self: Any) -> None:
    """Make the next model that the demo plant lacks, and so on, until it has them all."""
    from mlops import demo_models

    try:
        made = demo_models.make_next()
    except mlflow_api.Unavailable:
        # It starts when everything else runs, or is away for the moment.
        raise self.retry(countdown=10) from None
    if made:
        self.delay()


@shared_task(bind=True, max_retries=60)
def name_champions(self: Any, names: list[str]) -> None:
    """Tell the registry which versions of these models serve now."""
    from mlops.registry import versions

    try:
        for name in names if mlflow_api.is_configured() else ():
            versions.name_champion(name)
    except mlflow_api.Unavailable:
        raise self.retry(countdown=10) from None

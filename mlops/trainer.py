"""Models that people asked for: trained by a worker, registered, and put into service when they are worth it."""

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial

from django.contrib.auth.models import User
from django.utils import timezone

from mlops import asset_training, deployments, training
from mlops.deployments import Scope
from mlops.detectors.base import NotEnoughData
from mlops.models import ModelVersion, Purpose, TrainingRun
from mlops.registry import mlflow_api, versions
from mlops.subjects import name_of
from mlops.training import Trained
from sensors.errors import Refused
from sensors.models import Asset, Sensor

logger = logging.getLogger(__name__)

Tell = Callable[[str], None]
State = TrainingRun.State
# What ends a training without anything being wrong with the code; the message says what to do.
EXPECTED = (NotEnoughData, Refused, mlflow_api.Unavailable)


def carry_out(run_id: int) -> None:
    """Do a run that nobody has begun. Whatever happens it ends as done or failed, and what serves goes on serving."""
    taken = TrainingRun.objects.filter(pk=run_id, state=State.WAITING)
    if not taken.update(state=State.RUNNING, said="reading the past", told_at=timezone.now()):
        return
    rows = TrainingRun.objects.select_related("sensor__site", "sensor__asset", "asset__site", "asked_by")
    run = rows.get(pk=run_id)
    try:
        trained = learned(run.of, Purpose(run.purpose), timezone.now(), partial(_tell, run))
        run.version = put_to_use(run.of, Purpose(run.purpose), trained, partial(_tell, run), by=run.asked_by)
    except EXPECTED as error:
        _end(run, State.FAILED, str(error))
    except Exception as error:
        logger.exception("a model could not be trained", extra={"of": str(run.of)})
        _end(run, State.FAILED, f"{type(error).__name__}: the log has more.")
    else:
        _end(run, State.DONE, f"{run.version}: {trained.said}.")


def learned(of: Sensor | Asset, purpose: Purpose, now: datetime, tell: Tell, *, days: int | None = None) -> Trained:
    """What the past of a sensor or an asset teaches; `days` of it, by default as many as its purpose needs.

    Raises NotEnoughData.
    """
    if isinstance(of, Sensor):
        return training.train(training.normal_readings(of, now, days or training.DAYS), tell)
    if purpose == Purpose.FAILURE:
        # Its libraries take seconds to import, and most workers never need them.
        from mlops import failure_training

        return failure_training.train(failure_training.past(of, now, days or failure_training.DAYS), tell)
    return asset_training.train(*asset_training.normal_rows(of, now, days or training.DAYS), tell)


def put_to_use(
    of: Sensor | Asset, purpose: Purpose, trained: Trained, tell: Tell, *, deploy: bool = True, by: User | None = None
) -> ModelVersion:
    """Register what was learned. It serves as "champion" when it is worth it; otherwise it is the "challenger".

    Raises Refused and mlflow_api.Unavailable; what serves has not changed then.
    """
    tell("registering")
    version = versions.log_model(
        trained.artifact,
        name=name_of(of, purpose),
        purpose=purpose,
        example=trained.example,
        site=of.site,
        tags=_tags(of) | trained.tags,
        card=trained.card,
    )
    if not (deploy and trained.serves):
        versions.set_alias(version, versions.CHALLENGER)
        return version
    versions.set_alias(version, versions.CHAMPION)
    deployments.deploy(version, Scope.of(of), why=trained.said[:500], by=by)
    return version


def _tags(of: Sensor | Asset) -> dict[str, str]:
    if isinstance(of, Sensor):
        return {"sensor_kind": of.kind, "sensor_id": of.sensor_id}
    return {"asset": of.name}


def _tell(run: TrainingRun, said: str) -> None:
    run.said = said
    run.save(update_fields=["said", "told_at"])


def _end(run: TrainingRun, state: TrainingRun.State, said: str) -> None:
    run.state, run.said = state, said[:500]
    run.save(update_fields=["state", "said", "version", "told_at"])

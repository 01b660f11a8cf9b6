"""Models that people asked for: trained by a worker, registered, and put into service when they are the best."""

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial

from django.contrib.auth.models import User
from django.utils import timezone

from mlops import deployments, training
from mlops.detectors.base import NotEnoughData
from mlops.models import ModelVersion, Purpose, TrainingRun
from mlops.registry import mlflow_api, versions
from sensors.errors import Refused
from sensors.models import Sensor

logger = logging.getLogger(__name__)

Tell = Callable[[str], None]
State = TrainingRun.State


def carry_out(run_id: int) -> None:
    """Do a run that nobody has begun. Whatever happens it ends as done or failed, and what serves goes on serving."""
    taken = TrainingRun.objects.filter(pk=run_id, state=State.WAITING)
    if not taken.update(state=State.RUNNING, said="reading the past", told_at=timezone.now()):
        return
    run = TrainingRun.objects.select_related("sensor__site", "sensor__asset", "asked_by").get(pk=run_id)
    try:
        said, version = learn(run.sensor, timezone.now(), partial(_tell, run), by=run.asked_by)
    except (NotEnoughData, Refused, mlflow_api.Unavailable) as error:
        _end(run, State.FAILED, str(error))
    except Exception as error:
        logger.exception("a model could not be trained", extra={"sensor": run.sensor_id})
        _end(run, State.FAILED, f"{type(error).__name__}: the log has more.")
    else:
        run.version = version
        _end(run, State.DONE, said)


def learn(
    sensor: Sensor, now: datetime, tell: Tell, *, days: int = training.DAYS, deploy: bool = True, by: User | None = None
) -> tuple[str, ModelVersion | None]:
    """Train a model of the sensor, register it and let it serve; says what came of it.

    Where the built-in detector is as good as the candidates nothing is registered. Raises NotEnoughData, Refused, and
    mlflow_api.Unavailable; nothing has changed then.
    """
    frame = training.normal_readings(sensor, now, days)
    trained = training.train(frame, tell)
    shares = ", ".join(f"{_in_words(name)} {100 * share:.0f} %" for name, share in trained.others.items())
    said = (
        f"{_in_words(trained.detector)} finds {100 * trained.found:.0f} % of the injected faults "
        f"at {trained.false_per_day:.2f} false events a day ({shares})"
    )
    if trained.detector == training.BUILT_IN:
        return f"Nothing is better than what serves: {said}.", None
    tell("registering")
    version = versions.log_model(
        trained.artifact,
        name=f"sensor-{sensor.pk}",
        purpose=Purpose.SENSOR_ANOMALY,
        example=frame.values,
        site=sensor.site,
        tags={"sensor_kind": sensor.kind, "sensor_id": sensor.sensor_id},
    )
    if deploy:
        deployments.deploy(version, deployments.Scope(sensor=sensor), why=said[:500], by=by)
    return f"{version}: {said}.", version


def _tell(run: TrainingRun, said: str) -> None:
    run.said = said
    run.save(update_fields=["said", "told_at"])


def _end(run: TrainingRun, state: TrainingRun.State, said: str) -> None:
    run.state, run.said = state, said[:500]
    run.save(update_fields=["state", "said", "version", "told_at"])


def _in_words(detector: str) -> str:
    return "the built-in detector" if detector == training.BUILT_IN else detector.replace("_", " ")

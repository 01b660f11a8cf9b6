"""Models of the demo plant, made once on a fresh installation: something to look at on the page Models."""

import logging
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
from django.db import transaction

from mlops import trainer, training
from mlops.detectors.base import NotEnoughData
from mlops.models import ModelVersion, Purpose
from mlops.registry import mlflow_api
from mlops.subjects import name_of
from mlops.training import Trained, us
from sensors import demo, history
from sensors.alone import alone
from sensors.models import Asset, Sensor
from sensors.simulator import MACHINES, MOTOR, sensor_id

logger = logging.getLogger(__name__)

Wanted = tuple[Sensor | Asset, Purpose]

# Half of the trees for half of the time: it starts on the machine of somebody who is having a first look.
TREES = 100


def make_next() -> bool:
    """Make the first model that is missing; False when there is none to make, or somebody else is at it.

    Raises mlflow_api.Unavailable.
    """
    if not mlflow_api.is_configured():
        return False
    mlflow_api.call("GET", "registered-models/search", max_results=1)
    with transaction.atomic():
        return alone("demo models") and any(_made(*each) for each in missing())


def missing() -> list[Wanted]:
    """A model for one sensor of each kind, and both kinds of model for the motor; without those that exist."""
    sensors = {each.sensor_id: each for each in Sensor.objects.filter(site__name=demo.SITE).select_related("site")}
    motor = Asset.objects.filter(site__name=demo.SITE, name=MOTOR.name).select_related("site").first()
    # The pump comes last: its bearing wears out before the visitor's eyes, which the built-in detector sees at once.
    by_kind: dict[str, Sensor] = {}
    for key in (sensor_id(machine, key) for machine in reversed(MACHINES) for key in machine.sensors):
        if key in sensors:
            by_kind.setdefault(sensors[key].kind, sensors[key])
    wanted: list[Wanted] = [(sensor, Purpose.SENSOR_ANOMALY) for sensor in by_kind.values()]
    if motor:
        wanted = [(motor, Purpose.ASSET_ANOMALY), (motor, Purpose.FAILURE), *wanted]
    made = set(ModelVersion.objects.filter(name__in=[name_of(*each) for each in wanted]).values_list("name", flat=True))
    return [each for each in wanted if name_of(*each) not in made]


def _made(of: Sensor | Asset, purpose: Purpose) -> bool:
    try:
        trainer.put_to_use(of, purpose, _learned(of, purpose), logger.debug)
    except NotEnoughData as error:
        logger.info("the demo's model %s was not made: %s", name_of(of, purpose), error)
        return False
    return True


def _learned(of: Sensor | Asset, purpose: Purpose) -> Trained:
    """From the plant's past as it was set up, before the pump's bearing began to wear."""
    sensor = of if isinstance(of, Sensor) else of.sensors.earliest("pk")
    [began] = history.firsts(np.array([sensor.pk], np.int64))
    if not began:
        raise NotEnoughData(f"{of} has no readings.")
    over = training.at(began) + timedelta(days=demo.HISTORY_DAYS)
    if purpose == Purpose.FAILURE:
        return _from_simulated_failures(over)
    return trainer.learned(of, purpose, over, logger.debug)


def _from_simulated_failures(until: datetime) -> Trained:
    """Two weeks hold no failures to learn from, so the motor is worn out in simulation."""
    from mlops import failure_training, simulated_failures

    series, told = simulated_failures.simulate(until.timestamp())
    trained = failure_training.train(failure_training.Past.of(series, told, us(until)), logger.debug, trees=TREES)
    parameters = trained.artifact.parameters | {"data": f"{len(told)} simulated failures"}
    return replace(
        trained,
        artifact=replace(trained.artifact, parameters=parameters),
        tags={"data": "simulated"},
        said=f"Learned from simulated failures: {trained.said}",
    )

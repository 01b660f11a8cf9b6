"""The demo plant as records: its site, machines, sensors, and two weeks of past."""

from datetime import UTC, datetime, timedelta

import numpy as np
from django.contrib.auth.models import User
from django.db import transaction

from sensors.columns import Columns
from sensors.ingest import store_batch
from sensors.models import Annotation, Asset, ReadingBatch, Sensor, Site
from sensors.simulator import MACHINES, MOTOR, Machine, Values, measure, sensor_id

SITE = "Demo plant"
ACCOUNT = "demo-simulator"
HISTORY_DAYS = 14
HISTORY_STEP_SECONDS = 120
# The motor ran hot for three hours, four days ago: a past event to look at.
PAST_FAULT_DAYS_AGO, PAST_FAULT_SECONDS, PAST_FAULT_WEAR = 4.0, 3 * 3600, 0.9


@transaction.atomic
def create_plant() -> Site:
    """The demo site with its machines and sensors; what exists already stays as it is."""
    site, _ = Site.objects.get_or_create(name=SITE, defaults={"timezone": "Europe/Berlin"})
    hall, _ = Asset.objects.get_or_create(
        site=site, name="Utilities hall", defaults={"level": Asset.Level.AREA, "criticality": Asset.Criticality.MEDIUM}
    )
    for machine in MACHINES:
        asset, _ = Asset.objects.get_or_create(
            site=site, name=machine.name, defaults={"parent": hall, "criticality": machine.criticality}
        )
        for key, spec in machine.sensors.items():
            about = {"asset": asset, "name": spec.name, "kind": spec.kind, "unit": spec.unit}
            limits = {"range_low": spec.low, "range_high": spec.high}
            Sensor.objects.get_or_create(sensor_id=sensor_id(machine, key), defaults=about | limits)
    return site


def store_past(now: datetime) -> int:
    """Store the plant's last two weeks as history, its fault marked as a failure; returns the number of readings."""
    end = now.timestamp() // HISTORY_STEP_SECONDS * HISTORY_STEP_SECONDS
    seconds = np.arange(end - HISTORY_DAYS * 86_400, end, HISTORY_STEP_SECONDS)
    noise = np.random.default_rng(301)
    stored = 0
    for machine in MACHINES:
        measured = measure(machine, seconds, noise, _past_wear(machine, seconds))
        stored += store_batch(
            _columns(machine, seconds, measured), source="demo", mode=ReadingBatch.Mode.HISTORY
        ).accepted
    _mark_past_fault(end)
    return stored


def account() -> User:
    """Who sends and says what the demo plant does; nobody can log in with it."""
    user, created = User.objects.get_or_create(username=ACCOUNT)
    if created:
        user.set_unusable_password()
        user.save()
    return user


def _mark_past_fault(end: float) -> None:
    motor = Asset.objects.get(site__name=SITE, name=MOTOR.name)
    start = datetime.fromtimestamp(end, UTC) - timedelta(days=PAST_FAULT_DAYS_AGO, seconds=HISTORY_STEP_SECONDS)
    stretch = {"start": start, "end": start + timedelta(seconds=PAST_FAULT_SECONDS + 2 * HISTORY_STEP_SECONDS)}
    about = {"text": "Ran hot: the cooling air was blocked.", "created_by": account(), **stretch}
    Annotation.objects.get_or_create(asset=motor, kind=Annotation.Kind.FAILURE, defaults=about)


def _past_wear(machine: Machine, seconds: Values) -> Values:
    if machine is not MOTOR:
        return np.zeros_like(seconds)
    # From 0 to 1 while the fault lasts.
    share = (seconds - seconds[-1] + PAST_FAULT_DAYS_AGO * 86_400) / PAST_FAULT_SECONDS
    return PAST_FAULT_WEAR * np.where((share >= 0) & (share < 1), np.sqrt(np.clip(share, 0, 1)), 0.0)


def _columns(machine: Machine, seconds: Values, measured: dict[str, Values]) -> Columns:
    count = len(seconds) * len(measured)
    return Columns(
        sensor_ids=[sensor_id(machine, key) for key in measured],
        codes=np.repeat(np.arange(len(measured)), len(seconds)),
        timestamps=np.tile(np.rint(seconds * 1e6).astype(np.int64), len(measured)),
        values=np.concatenate(list(measured.values())),
        qualities=np.ones(count),
        unit_names=[],
        units=np.full(count, -1),
        indexes=np.arange(count),
    )

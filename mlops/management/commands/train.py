from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from mlops import deployments, training
from mlops.detectors.base import NotEnoughData
from mlops.models import Purpose
from mlops.registry import mlflow_api, versions
from sensors.errors import Refused
from sensors.models import Sensor


class Command(BaseCommand):
    help = "Learn a model of each named sensor from its own past, register it, and let it serve if it is the best."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("sensors", nargs="+", help="keys of sensors; SITE/KEY where several sites have the key")
        parser.add_argument("--days", type=int, default=training.DAYS, help="how far back to look (%(default)s)")
        parser.add_argument("--no-deploy", action="store_true", help="register only")

    def handle(self, *args: Any, **options: Any) -> None:
        failed = 0
        for key in options["sensors"]:
            try:
                self._train(_sensor(key), options["days"], deploy=not options["no_deploy"])
            except (NotEnoughData, Refused, mlflow_api.Unavailable) as error:
                failed += 1
                self.stderr.write(f"{key}: {error}")
        if failed:
            raise CommandError(
                f"{failed} of {len(options['sensors'])} sensors got no model; what serves them still does."
            )

    def _train(self, sensor: Sensor, days: int, *, deploy: bool) -> None:
        now = timezone.now()
        frame = training.normal_readings(sensor, now, days)
        trained = training.train(frame)
        self.stdout.write(
            f"{sensor.sensor_id}: {trained.detector} finds {trained.found:.0%} of injected faults at "
            f"{trained.false_per_day:.2f} false events a day; "
            + ", ".join(f"{name} {share:.0%}" for name, share in trained.others.items())
        )
        if trained.detector == training.BUILT_IN:
            self.stdout.write("The built-in detector is as good and goes on serving.")
            return
        version = versions.log_model(
            trained.artifact,
            name=f"sensor-{sensor.pk}",
            purpose=Purpose.SENSOR_ANOMALY,
            example=frame.values,
            site=sensor.site,
            tags={"sensor_kind": sensor.kind, "sensor_id": sensor.sensor_id},
        )
        if deploy:
            why = f"{trained.detector} found {trained.found:.0%} of injected faults"
            deployments.deploy(version, deployments.Scope(sensor=sensor), why=why)
        self.stdout.write(f"{version} is registered{' and serves' if deploy else ''}.")


def _sensor(key: str) -> Sensor:
    """The sensor that a key names. Raises CommandError when there is none, or several."""
    site, _, own = key.rpartition("/")
    rows = Sensor.objects.select_related("asset", "site").filter(sensor_id=own)
    found: list[Sensor] = list(rows.filter(site__name=site) if site else rows)
    if len(found) != 1:
        raise CommandError(f"{len(found)} sensors have the key {key!r}.")
    return found[0]

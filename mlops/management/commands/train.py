from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from mlops import trainer, training
from mlops.detectors.base import NotEnoughData
from mlops.registry import mlflow_api
from sensors.errors import Refused
from sensors.models import Sensor


class Command(BaseCommand):
    help = "Learn a model of each named sensor from its own past, register it, and let it serve if it is the best."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("sensors", nargs="+", help="keys of sensors; SITE/KEY where several sites have the key")
        parser.add_argument("--days", type=int, default=training.DAYS, help="how far back to look (%(default)s)")
        parser.add_argument("--no-deploy", action="store_true", help="register only")

    def handle(self, *args: Any, **options: Any) -> None:
        failed, deploy = 0, not options["no_deploy"]
        for key in options["sensors"]:
            try:
                sensor, days = _sensor(key), options["days"]
                said, _ = trainer.learn(sensor, timezone.now(), self.stdout.write, days=days, deploy=deploy)
                self.stdout.write(said)
            except (NotEnoughData, Refused, mlflow_api.Unavailable) as error:
                failed += 1
                self.stderr.write(f"{key}: {error}")
        if failed:
            raise CommandError(
                f"{failed} of {len(options['sensors'])} sensors got no model; what serves them still does."
            )


def _sensor(key: str) -> Sensor:
    """The sensor that a key names. Raises CommandError when there is none, or several."""
    site, _, own = key.rpartition("/")
    rows = Sensor.objects.select_related("asset", "site").filter(sensor_id=own)
    found: list[Sensor] = list(rows.filter(site__name=site) if site else rows)
    if len(found) != 1:
        raise CommandError(f"{len(found)} sensors have the key {key!r}.")
    return found[0]

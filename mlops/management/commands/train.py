from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from mlops import trainer
from mlops.models import Purpose
from sensors.models import Asset, Sensor

Subject = tuple[str, Sensor | Asset, Purpose]


class Command(BaseCommand):
    help = "Learn models of sensors and assets from their own past, register them, and let them serve if worth it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("sensors", nargs="*", help="keys of sensors; SITE/KEY where several sites have the key")
        parser.add_argument(
            "--asset",
            action="append",
            default=[],
            metavar="NAME|ID",
            help="an asset, for a model of its sensors together; SITE/NAME where several sites have the name",
        )
        parser.add_argument(
            "--failures",
            action="store_true",
            help="of each asset: learn to foretell the failures that people told of, instead of finding anomalies",
        )
        parser.add_argument("--days", type=int, help="how far back to look (30; for failures 180)")
        parser.add_argument("--no-deploy", action="store_true", help="register only")

    def handle(self, *args: Any, **options: Any) -> None:
        subjects: list[Subject] = [(key, _sensor(key), Purpose.SENSOR_ANOMALY) for key in options["sensors"]]
        purpose = Purpose.FAILURE if options["failures"] else Purpose.ASSET_ANOMALY
        subjects += [(name, _asset(name), purpose) for name in options["asset"]]
        if not subjects:
            raise CommandError("Name a sensor, or an asset with --asset.")
        failed = sum(not self._train(*subject, options["days"], not options["no_deploy"]) for subject in subjects)
        if failed:
            raise CommandError(f"{failed} of {len(subjects)} got no model; what serves them still does.")

    def _train(self, name: str, of: Sensor | Asset, purpose: Purpose, days: int | None, deploy: bool) -> bool:
        try:
            trained = trainer.learned(of, purpose, timezone.now(), self.stdout.write, days=days)
            version = trainer.put_to_use(of, purpose, trained, self.stdout.write, deploy=deploy)
        except trainer.EXPECTED as error:
            self.stderr.write(f"{name}: {error}")
            return False
        self.stdout.write(f"{version}: {trained.said}.")
        return True


def _sensor(key: str) -> Sensor:
    """The sensor that a key names. Raises CommandError when there is none, or several."""
    site, _, own = key.rpartition("/")
    rows = Sensor.objects.select_related("asset", "site").filter(sensor_id=own)
    found: list[Sensor] = list(rows.filter(site__name=site) if site else rows)
    if len(found) != 1:
        raise CommandError(f"{len(found)} sensors have the key {key!r}.")
    return found[0]


def _asset(name: str) -> Asset:
    """The asset that a name or its number names. Raises CommandError when there is none, or several."""
    rows = Asset.objects.select_related("site")
    site, _, own = name.rpartition("/")
    found: list[Asset] = list(rows.filter(name=name) | rows.filter(name=own, site__name=site))
    if not found and name.isdecimal():
        found = list(rows.filter(pk=int(name)))
    if len(found) != 1:
        raise CommandError(f"{len(found)} assets have the name {name!r}.")
    return found[0]

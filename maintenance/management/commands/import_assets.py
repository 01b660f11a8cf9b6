import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from maintenance.history import assets
from maintenance.history.mapping import pairs
from sensors import units
from sensors.errors import Refused
from sensors.models import Asset, Site


class Command(BaseCommand):
    help = (
        "Create assets from a CSV or TSV file (gzipped or not). Say with --map where each field comes from: a column, "
        f"or a text with columns in braces. Fields: {', '.join(assets.FIELDS)}. Assets that the site has already stay "
        "as they are, so importing again changes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--site", required=True, help="name of the site; created if it is new")
        parser.add_argument(
            "--map", action="append", default=[], metavar="FIELD=COLUMN", help='for example --map "name=Machine {id}"'
        )
        parser.add_argument("--level", default=Asset.Level.MACHINE, choices=Asset.Level.values)
        parser.add_argument(
            "--components", default="", metavar="pump,motor", help="components of each asset, each of a class so named"
        )
        parser.add_argument(
            "--sensor",
            action="append",
            default=[],
            metavar="KEY=KIND:UNIT",
            help='a sensor of each asset, for example --sensor "machine{id}.volt=voltage:V"',
        )
        parser.add_argument("--dry-run", action="store_true", help="check every row and store nothing")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with options["file"].open("rb") as file:
                site = Site.objects.filter(name=options["site"]).first()
                if site is None:
                    if options["dry_run"]:
                        raise CommandError(f"There is no site {options['site']!r} yet.")
                    site = Site.objects.create(name=options["site"])
                read = assets.check if options["dry_run"] else assets.store
                report = read(file, site, _options(options))
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}.") from error
        except Refused as refused:
            raise CommandError(refused.detail) from refused
        self._print(report, options)

    def _print(self, report: assets.Report, options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(report.as_json()))
            return
        would = "would be created" if options["dry_run"] else "created"
        self.stdout.write(
            f"{report.rows:,} rows: {report.created:,} assets, {report.components:,} components and "
            f"{report.sensors:,} sensors {would}; {report.known:,} assets were there."
        )
        for one in report.refusals.first:
            self.stdout.write(f"line {one.line:,}: {one.code}: {one.detail}")


def _options(options: dict[str, Any]) -> assets.Options:
    """Raises Refused."""
    return assets.Options(
        fields=pairs(options["map"], "--map"),
        level=options["level"],
        components=[name for name in options["components"].split(",") if name],
        sensors=[_sensor(key, said) for key, said in pairs(options["sensor"], "--sensor").items()],
    )


def _sensor(key: str, said: str) -> assets.NewSensor:
    kind, _, name = said.partition(":")
    unit = units.canonical(name or "1")
    if unit is None:
        raise Refused("unknown_unit", units.not_known(name), 400)
    return assets.NewSensor(key, kind, unit)

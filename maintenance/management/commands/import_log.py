import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError

from maintenance.history import logs
from maintenance.history.mapping import pairs
from maintenance.models import WorkOrder
from sensors.errors import Refused
from sensors.formats.csv import TimeFormat
from sensors.models import Site


class Command(BaseCommand):
    help = (
        "Read past work from a CSV or TSV file (gzipped or not) into the maintenance log. Say with --map where each "
        f"field comes from: a column, or a text with columns in braces. Fields: {', '.join(logs.FIELDS)}. A row that "
        "cannot be read is refused by its line and costs no other; importing again stores nothing twice."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--site", required=True, help="name of the site whose assets the rows are about")
        parser.add_argument(
            "--map",
            action="append",
            default=[],
            metavar="FIELD=COLUMN",
            help='for example --map completion_date=Date --map "asset=Machine {id}"',
        )
        parser.add_argument("--kind", default="", choices=WorkOrder.Kind.values, help="the kind of every row")
        parser.add_argument(
            "--kinds",
            default="",
            metavar="PM01=corrective,*=preventive",
            help="what the column of kinds means; * stands for all others",
        )
        parser.add_argument(
            "--fault", action="store_true", help="corrective rows are failures: each gets the verdict “fault found”"
        )
        parser.add_argument("--source", help="name of this history, one for files that overlap; without it the file's")
        parser.add_argument("--timezone", help="zone of times that carry none; without it that of the site")
        parser.add_argument("--time-format", choices=[str(one) for one in TimeFormat], help="guessed unless given")
        parser.add_argument("--create-assets", action="store_true", help="create assets that the site does not have")
        parser.add_argument("--create-failure-modes", action="store_true", help="create failure modes that are new")
        parser.add_argument("--dry-run", action="store_true", help="check every row and store nothing")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        site = Site.objects.filter(name=options["site"]).first()
        if site is None:
            raise CommandError(f"There is no site {options['site']!r}.")
        try:
            with options["file"].open("rb") as file:
                read = logs.check if options["dry_run"] else logs.store
                report = read(file, site, _options(options))
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}.") from error
        except Refused as refused:
            raise CommandError(refused.detail) from refused
        self._print(report, options)
        if report.rows and not report.stored and not report.duplicates:
            raise CommandError("No row could be stored.")

    def _print(self, report: logs.Report, options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(report.as_json()))
            return
        would = "would be stored" if options["dry_run"] else "stored"
        self.stdout.write(f"{report.rows:,} rows: {report.stored:,} {would}, {report.duplicates:,} known already.")
        if report.failures:
            self.stdout.write(f"{report.failures:,} of them are failures.")
        if report.new_assets or report.new_failure_modes:
            self.stdout.write(f"New: {report.new_assets:,} assets, {report.new_failure_modes:,} failure modes.")
        for code, count in report.refusals.by_code.items():
            self.stdout.write(f"{count:,} refused: {code}")
        for one in report.refusals.first:
            self.stdout.write(f"line {one.line:,}: {one.code}: {one.detail}")


def _options(options: dict[str, Any]) -> logs.Options:
    """Raises Refused."""
    return logs.Options(
        fields=pairs(options["map"], "--map"),
        source=(options["source"] or options["file"].name.partition(".")[0])[:100],
        kind=options["kind"],
        kinds=pairs([one for one in options["kinds"].split(",") if one], "--kinds"),
        faults=options["fault"],
        create_assets=options["create_assets"],
        create_failure_modes=options["create_failure_modes"],
        timezone=_zone(options["timezone"]),
        time_format=TimeFormat(options["time_format"]) if options["time_format"] else None,
    )


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, OSError, ValueError) as error:
        raise Refused("unknown_timezone", f"Time zone {name!r} is not known; write it like Europe/Berlin.") from error

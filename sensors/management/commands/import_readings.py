import json
import time
from argparse import ArgumentParser
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from tqdm import tqdm

from sensors import imports, lookup, outbox, units
from sensors.access import Sender
from sensors.columns import Columns
from sensors.errors import Refused
from sensors.formats import csv
from sensors.imports.report import line_of
from sensors.imports.turns import MAX_REFUSED
from sensors.ingest import Stored, store_batch
from sensors.models import Asset, Pending, ReadingBatch, Sensor, Site

DELIMITERS = {name: sign for sign, name in csv.DELIMITERS.items()}


@dataclass
class Report:
    """What became of a file, reading by reading."""

    layout: csv.Layout
    rows: int = 0
    stored: int = 0
    duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    first_rejections: list[str] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    def add(self, columns: Columns, stored: Stored) -> None:
        self.rows += len(columns) + len(columns.rejected)
        self.stored += stored.accepted
        self.duplicates += stored.duplicates
        self.rejected.update(row.code for row in stored.rejected)
        for row in stored.rejected[: max(0, 5 - len(self.first_rejections))]:
            self.first_rejections.append(f"line {line_of(row.index, self.layout)}: {row.code}: {row.detail}")


class Command(BaseCommand):
    help = (
        "Read a CSV or TSV file (gzipped or not) of the past into the platform: of one sensor, with a column for each "
        "sensor (wide), or with a column that names the sensor (long). The readings are stored and scored like any "
        "others; alerts are recorded as historical, nobody is notified. Importing again stores nothing twice. When "
        f"more than {MAX_REFUSED:,} readings, and a tenth of what was read, are refused, the command stops: "
        "the columns or their formats are not what they were taken for."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--sensor",
            help="sensor_id of a file of one sensor; created on the asset 'Imported' if it is new. "
            "Without it the columns are taken as they are named",
        )
        parser.add_argument("--unit", help="unit of the values, for example °C, mm/s or kPa; needed with --sensor")
        parser.add_argument(
            "--timezone",
            help="zone of times that carry none, for example Europe/Berlin; without it that of --site. "
            "If neither is given and a time carries no zone, the command stops before it stores that",
        )
        parser.add_argument(
            "--column-map", default="", help="for example timestamp=Zeit,value=Wert (also sensor, quality, unit)"
        )
        parser.add_argument("--layout", choices=["auto", "single", "wide", "long"], default="auto")
        parser.add_argument("--delimiter", choices=list(DELIMITERS), help="guessed unless given")
        parser.add_argument("--decimal", choices=[".", ","], help="guessed unless given")
        parser.add_argument(
            "--time-format", choices=[str(name) for name in csv.TimeFormat], help="guessed unless given"
        )
        parser.add_argument("--site", help="site of the sensors; not needed where there is only one")
        parser.add_argument("--dry-run", action="store_true", help="check every row and store nothing")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["sensor"] and units.canonical(options["unit"] or "?") is None:
            raise CommandError(units.not_known(options["unit"] or ""))
        try:
            file = options["file"].open("rb")
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}.") from error
        newcomers = _Newcomers(options["site"])
        try:
            with file:
                layout = _layout(file, options, newcomers.site)
                file.seek(0)
                self.stderr.write(_about_times(file, layout))
                file.seek(0)
                report = self._store(file, layout, newcomers, options)
        except Refused as refused:
            raise CommandError(refused.detail) from refused
        if not options["dry_run"]:
            self._score(report.batches)
        self._print(report, options)
        if report.rows and not report.stored and not report.duplicates:
            raise CommandError("No row could be stored.")

    def _store(self, file: IO[bytes], layout: csv.Layout, newcomers: "_Newcomers", options: dict[str, Any]) -> Report:
        report, dry_run = Report(layout), options["dry_run"]
        self.told: set[int] = set()
        size = Path(file.name).stat().st_size
        with tqdm(total=size, unit="B", unit_scale=True, desc="Checking" if dry_run else "Storing") as bar:
            for chunk in csv.read(file, layout):
                _stop_at_naive_times(chunk, layout, 0 if dry_run else report.stored)
                with transaction.atomic():
                    for said in newcomers.create(chunk):
                        self.stderr.write(said)
                    stored = store_batch(
                        chunk.columns, source="import", sender=newcomers.sender, mode=ReadingBatch.Mode.HISTORY
                    )
                    if stored.accepted:
                        self._keep(chunk.columns, newcomers.site)
                    if stored.batch_id:
                        new = ReadingBatch.objects.filter(pk__gte=stored.batch_id, source="import")
                        report.batches += new.values_list("pk", flat=True)
                    report.add(chunk.columns, stored)
                    if not dry_run:
                        imports.stop_a_wrong_mapping(report.rejected.total(), report.rows)
                    transaction.set_rollback(dry_run)
                if dry_run:
                    lookup.forget()
                bar.update(file.tell() - bar.n)
        return report

    def _keep(self, columns: Columns, site: Site | None) -> None:
        """Tells of each sensor once: with --dry-run, where the change is undone, too."""
        kept = imports.outliving(columns, site.pk if site else None)
        imports.keep_for_ever(kept)
        for sensor in kept:
            if sensor.pk not in self.told:
                self.told.add(sensor.pk)
                self.stderr.write(f"Sensor {sensor.sensor_id}: its readings are kept for ever, as imported history is.")

    def _score(self, batches: list[int]) -> None:
        """See the imported batches through every consumer, together with whatever workers are running."""
        waiting = Pending.objects.waiting().filter(batch__in=batches)
        total = len(batches) * len(settings.OUTBOX_CONSUMERS)
        with tqdm(total=total, desc="Scoring", unit="batch") as bar:
            while left := waiting.count():
                bar.update(total - left - bar.n)
                if not sum(outbox.drain(consumer) for consumer in settings.OUTBOX_CONSUMERS):
                    time.sleep(0.2)  # A worker has them, or a failed one waits for its next try.
            bar.update(total - bar.n)
        if dead := Pending.objects.dead().filter(batch__in=batches).count():
            self.stderr.write(self.style.ERROR(f"{dead} batches could not be scored; see Pending work in the admin."))

    def _print(self, report: Report, options: dict[str, Any]) -> None:
        if options["json"]:
            fields = {"rows": report.rows, "stored": report.stored, "duplicates": report.duplicates}
            self.stdout.write(json.dumps({**fields, "rejected": dict(report.rejected), "dry_run": options["dry_run"]}))
            return
        stored = "would be stored" if options["dry_run"] else "stored"
        self.stdout.write(f"{report.rows:,} rows read, {report.stored:,} {stored}, {report.duplicates:,} duplicates.")
        for code, count in report.rejected.most_common():
            self.stdout.write(f"{count:,} rows refused: {code}")
        for line in report.first_rejections:
            self.stdout.write(f"  {line}")


def _about_times(file: IO[bytes], layout: csv.Layout) -> str:
    zone = f" Times without a zone are those of {layout.timezone}." if layout.timezone else ""
    return imports.times_read(file, layout) + zone


def _stop_at_naive_times(chunk: csv.Chunk, layout: csv.Layout, stored: int) -> None:
    """Before they are stored: thousands of rows in quarantine would not help whoever forgot to name the zone."""
    naive = [row.index for row in chunk.columns.rejected if row.code == "naive_timestamp"]
    if naive:
        line = line_of(min(naive), layout)
        before = f" {stored:,} readings before it are stored." if stored else " Nothing is stored."
        raise CommandError(f"The time in line {line:,} has no zone: name it with --timezone, or --site.{before}")


def _layout(file: IO[bytes], options: dict[str, Any], site: Site | None) -> csv.Layout:
    """As guessed, with what the options say instead. Raises Refused when that makes no sense."""
    layout = imports.guess(file, options["file"].name, site)
    said = {name: options[name] for name in ("timezone", "decimal") if options[name]}
    if options["delimiter"]:
        said["delimiter"] = DELIMITERS[options["delimiter"]]
    if options["time_format"]:
        said["time_format"] = csv.TimeFormat(options["time_format"])
    layout = msgspec.structs.replace(layout, **said)
    try:
        names = dict(part.split("=", 1) for part in options["column_map"].split(",") if "=" in part)
        layout = layout.with_roles({csv.Role(role.strip()): name for role, name in names.items()})
    except ValueError as error:
        raise CommandError(f"--column-map: {error}.") from error
    if options["sensor"]:
        layout = layout.of_one_sensor(options["sensor"], options["unit"])
    layout.check()
    if options["layout"] not in ("auto", layout.kind):
        raise CommandError(
            f"The file looks {layout.kind}, not {options['layout']}; name its columns with --column-map."
        )
    return layout


class _Newcomers:
    """Sensors that a file brings with it are created on the asset "Imported" of the site, which must be clear."""

    def __init__(self, site_name: str | None) -> None:
        self.site = Site.objects.filter(name=site_name).first() if site_name else None
        if site_name and not self.site:
            raise CommandError(f"There is no site {site_name!r}.")
        self.seen: set[str] = set()

    @property
    def sender(self) -> Sender | None:
        """Whoever may start this command may do everything; a named site narrows which sensors are meant."""
        return Sender(user=User(is_superuser=True), site_id=self.site.pk) if self.site else None

    def create(self, chunk: csv.Chunk) -> list[str]:
        """Returns what to tell about it. Raises CommandError when there are several sites and none is named."""
        unit_of = {name: unit for name, unit in imports.units_sent(chunk.columns) if name not in self.seen}
        self.seen |= unit_of.keys()
        known = Sensor.objects.filter(sensor_id__in=list(unit_of))
        known = known.filter(site=self.site) if self.site else known
        new = sorted(unit_of.keys() - set(known.values_list("sensor_id", flat=True)))
        if not new:
            return []
        site = self.site or _only_site(new[0])
        asset, _ = Asset.objects.get_or_create(site=site, name="Imported", defaults={"level": Asset.Level.AREA})
        imports.create_sensors({name: unit_of[name] for name in new}, chunk.names, site.pk, asset)
        created = Sensor.objects.filter(site=site, sensor_id__in=new)
        return [f"Sensor {_called(one)} is new: created on asset {asset} of site {site}." for one in created]


def _called(sensor: Sensor) -> str:
    return f"{sensor.sensor_id} ({sensor.name})" if sensor.name else sensor.sensor_id


def _only_site(sensor_id: str) -> Site:
    sites = list(Site.objects.all()[:2])
    if len(sites) > 1:
        raise CommandError(f"Sensor {sensor_id!r} is new and there are several sites: name one with --site.")
    return sites[0] if sites else Site.objects.create(name="Imported")

import json
import time
from argparse import ArgumentParser
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from tqdm import tqdm

from sensors import outbox, units
from sensors.columns import Columns
from sensors.errors import Refused
from sensors.formats import csv
from sensors.ingest import Stored, store_batch
from sensors.models import Asset, Pending, ReadingBatch, Sensor, Site


@dataclass
class Report:
    """What became of a file, row by row."""

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
        # Line 1 is the header.
        lines = [f"line {row.index + 2}: {row.code}: {row.detail}" for row in stored.rejected]
        self.first_rejections += lines[: max(0, 5 - len(self.first_rejections))]
        if stored.batch_id:
            self.batches.append(stored.batch_id)


class Command(BaseCommand):
    help = (
        "Read a CSV file (gzipped or not) of one sensor's past into the platform. The readings are stored and scored "
        "like any others; alerts are recorded as historical, nobody is notified. Importing again stores nothing twice."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--sensor", required=True, help="sensor_id; created on the asset 'Imported' if it is new")
        parser.add_argument("--unit", required=True, help="unit of the values, for example °C, mm/s or kPa")
        parser.add_argument("--timezone", help="zone of times that carry none, for example Europe/Berlin")
        parser.add_argument("--column-map", default="", help="for example timestamp=Zeit,value=Wert")
        parser.add_argument("--site", help="site of a new sensor; not needed where there is only one")
        parser.add_argument("--dry-run", action="store_true", help="check every row and store nothing")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        unit = units.canonical(options["unit"])
        if unit is None:
            raise CommandError(f"Unit {options['unit']!r} is not known. Known: {', '.join(units.CONVERSIONS)}.")
        try:
            zone = ZoneInfo(options["timezone"]) if options["timezone"] else None
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise CommandError(
                f"Time zone {options['timezone']!r} is not known; write it like Europe/Berlin."
            ) from error
        column_map = dict(part.split("=", 1) for part in options["column_map"].split(",") if "=" in part)
        try:
            file = options["file"].open("rb")
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}.") from error
        try:
            with file:
                report = self._store(file, options, unit, zone, column_map)
        except Refused as refused:
            raise CommandError(refused.detail) from refused
        if not options["dry_run"]:
            self._score(report.batches)
        self._print(report, options)
        if report.rows and not report.stored and not report.duplicates:
            raise CommandError("No row could be stored.")

    def _sensor(self, sensor_id: str, unit: str, site_name: str | None) -> None:
        if Sensor.objects.filter(sensor_id=sensor_id).exists():
            return
        sites = list(Site.objects.filter(name=site_name) if site_name else Site.objects.all()[:2])
        if site_name and not sites:
            raise CommandError(f"There is no site {site_name!r}.")
        if len(sites) > 1:
            raise CommandError(f"Sensor {sensor_id!r} is new and there are several sites: name one with --site.")
        site = sites[0] if sites else Site.objects.create(name="Imported")
        asset, _ = Asset.objects.get_or_create(site=site, name="Imported", defaults={"level": Asset.Level.AREA})
        kind = next(
            (kind for kind, default in units.DEFAULT_UNIT.items() if units.conversion(unit, default)), "generic"
        )
        sensor = Sensor(asset=asset, sensor_id=sensor_id, kind=kind, unit=unit)
        sensor.clean_fields()
        sensor.save()
        self.stderr.write(f"Sensor {sensor_id} is new: created on asset {asset} of site {site}.")

    def _store(
        self, file: IO[bytes], options: dict[str, Any], unit: str, zone: ZoneInfo | None, column_map: dict[str, str]
    ) -> Report:
        report = Report()
        size = Path(file.name).stat().st_size
        sensor_id, dry_run = options["sensor"], options["dry_run"]
        if not dry_run:
            self._sensor(sensor_id, unit, options["site"])
        with tqdm(total=size, unit="B", unit_scale=True, desc="Checking" if dry_run else "Storing") as bar:
            for columns in csv.read(file, sensor_id=sensor_id, unit=unit, zone=zone, column_map=column_map):
                with transaction.atomic():
                    if dry_run:
                        self._sensor(sensor_id, unit, options["site"])
                    stored = store_batch(columns, source="import", mode=ReadingBatch.Mode.HISTORY)
                    transaction.set_rollback(dry_run)
                report.add(columns, stored)
                bar.update(file.tell() - bar.n)
        return report

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

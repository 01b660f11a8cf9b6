from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone
from tqdm import tqdm

from sensors import fleet, outbox, summary
from sensors.demo import create_plant, store_past
from sensors.models import DirtyHour

MOST_READINGS = 200_000_000


class Command(BaseCommand):
    help = (
        "Create the demo plant and two weeks of its past. With --sensors or --days: fill another plant, "
        f"'{fleet.SITE}', with a long past of many sensors. Running it again adds nothing that is already there."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--sensors", type=int, help="how many sensors, five to a machine (default 20)")
        parser.add_argument("--days", type=int, help="how many days back from now (default 30)")
        parser.add_argument("--step", type=int, default=60, help="seconds between two readings (default 60)")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["sensors"] is None and options["days"] is None:
            self._demo_plant()
        else:
            self._fleet(options["sensors"] or 20, options["days"] or 30, options["step"])

    def _demo_plant(self) -> None:
        # Together: `up` takes a site that is there for a plant that has its past.
        with transaction.atomic():
            site = create_plant()
            stored = store_past(timezone.now())
        self.stdout.write(f"{site}: {stored:,} readings of the last two weeks stored.")

    def _fleet(self, sensors: int, days: int, step: int) -> None:
        if min(sensors, days, step) < 1 or step > fleet.DAY_SECONDS:
            raise CommandError("--sensors, --days and --step must be 1 or more, and --step a day at most.")
        if sensors * days * fleet.DAY_SECONDS // step > MOST_READINGS:
            raise CommandError(f"That is more than {MOST_READINGS:,} readings; choose a longer --step.")
        rows = fleet.create(sensors)
        stored = 0
        with tqdm(total=days + 1, desc="Storing", unit="day") as bar:
            for accepted in fleet.fill(rows, days, step, timezone.now()):
                stored += accepted
                bar.update()
        self._summarise()
        self.stdout.write(f"{fleet.SITE}: {stored:,} readings of {sensors} sensors and {days} days stored.")
        if stored:
            self.stdout.write("The worker scores them; that takes longer than storing them did.")

    def _summarise(self) -> None:
        """Do at once what is quick; scoring is left to the workers."""
        for consumer in settings.OUTBOX_CONSUMERS:
            while consumer != "score" and outbox.drain(consumer):
                pass
        left = DirtyHour.objects.count()
        with tqdm(total=left, desc="Summarising", unit="hour") as bar:
            while done := summary.rebuild_due(quiet_seconds=0):
                bar.update(done)

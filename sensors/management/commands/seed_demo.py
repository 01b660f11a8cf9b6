from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from sensors.demo import create_plant, store_past


class Command(BaseCommand):
    help = "Create the demo plant and two weeks of its past. Running it again adds nothing that is already there."

    def handle(self, *args: Any, **options: Any) -> None:
        # Together: `up` takes a site that is there for a plant that has its past.
        with transaction.atomic():
            site = create_plant()
            stored = store_past(timezone.now())
        self.stdout.write(f"{site}: {stored:,} readings of the last two weeks stored.")

import logging
import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand
from django.utils import timezone

from sensors.demo import account, create_plant
from sensors.models import ApiKey, Asset, Site
from sensors.simulator import MACHINES, PUMP, PumpWear, measure, sensor_id

logger = logging.getLogger(__name__)

# The first wear of the pump begins this long after the start: time enough to log in and see a healthy plant.
WEAR_BEGINS_AFTER_SECONDS = 45


class Command(BaseCommand):
    help = (
        "Send live readings of the demo plant to the platform's HTTP door. The pump's bearing wears out in minutes; "
        "closing a work order on the pump repairs it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", default=f"http://{settings.HOST}:{settings.PORT}", help="where the platform runs")
        parser.add_argument("--interval", type=float, default=2.0, help="seconds between two readings of a sensor")
        parser.add_argument(
            "--wear-after", type=float, default=WEAR_BEGINS_AFTER_SECONDS, help="seconds until wear begins"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        site = create_plant()
        pump = Asset.objects.get(site=site, name=PUMP.name).pk
        headers = {"X-API-Key": _fresh_key(site)}
        wear = PumpWear(begins_at=time.time() + options["wear_after"])
        noise = np.random.default_rng()
        with httpx.Client(base_url=options["url"], headers=headers, timeout=10) as client:
            repairs = _Repairs(client, pump)
            due = time.monotonic()
            try:
                while True:
                    if repairs.happened():
                        wear.repair(time.time())
                    _send(client, _readings(time.time(), noise, wear))
                    due = max(due + options["interval"], time.monotonic())
                    time.sleep(due - time.monotonic() if due > time.monotonic() else 0)
            except KeyboardInterrupt:
                return


def _fresh_key(site: Site) -> str:
    """A new key for the simulator's own account; the ones before it are revoked, so none has to be kept anywhere."""
    user = account()
    user.groups.add(Group.objects.get(name="integration"))
    site.members.add(user)
    ApiKey.objects.filter(user=user, revoked_at__isnull=True).update(revoked_at=timezone.now())
    _, key = ApiKey.issue(user, "demo simulator", [ApiKey.Scope.INGEST, ApiKey.Scope.READ])
    return key


def _readings(now: float, noise: np.random.Generator, wear: PumpWear) -> list[dict[str, Any]]:
    at = datetime.fromtimestamp(now, UTC).isoformat()
    return [
        {"sensor_id": sensor_id(machine, key), "timestamp": at, "value": round(float(values[0]), 4)}
        for machine in MACHINES
        for key, values in measure(machine, np.array([now]), noise, wear.at(now) if machine is PUMP else 0.0).items()
    ]


def _send(client: httpx.Client, readings: list[dict[str, Any]]) -> None:
    try:
        client.post("/api/v1/readings/", json=readings).raise_for_status()
    except httpx.HTTPError as error:
        # The platform may be restarting; a plant does not stop for that.
        logger.warning("readings not sent: %s", error)


class _Repairs:
    """Notices when somebody closes a work order on the pump."""

    POLL_SECONDS = 5.0

    def __init__(self, client: httpx.Client, asset: int) -> None:
        self.client = client
        self.asset = asset
        self.seen = self._newest()
        self.next_look = 0.0

    def happened(self) -> bool:
        if time.monotonic() < self.next_look:
            return False
        self.next_look = time.monotonic() + self.POLL_SECONDS
        newest = self._newest()
        if newest is None:
            return False
        before, self.seen = self.seen, newest
        return before is not None and newest != before

    def _newest(self) -> str | None:
        """When the pump's last closed order was closed; "" if none was yet, None if that cannot be known now."""
        params: dict[str, str | int] = {"asset": self.asset, "state": "closed"}
        try:
            answer = self.client.get("/api/v1/work-orders/", params=params).raise_for_status()
        except httpx.HTTPError:
            return None
        return max((order["closed_at"] for order in answer.json()["results"]), default="")

"""10,000 alerts in a burst over 500 assets, of which one in fifty is critical: who hears of them, and how soon.

The platform runs as `make up` starts it, with a real mail server and a real receiver of webhooks beside it. Five people
hear of everything by e-mail, and a room by webhook. Then planning alone: `tell` over as many alerts, in one process.
"""

import time
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from benchmarks.ingest import row
from benchmarks.plant import Plant, plant_with
from tests.receivers import MailServer, Web, mail_server, web

ALERTS, ASSETS, PEOPLE = 10_000, 500, 5
CRITICAL_EVERY = 50
# The room is told of each asset: more than the 60 messages a minute of a usual one.
ROOM_PER_MINUTE = 2000
PATIENCE_SECONDS = 180
CRITICAL_SECONDS, PLANNING_SECONDS = 15, 10
HOUR, LATER = timedelta(hours=1), timedelta(days=30)


def run() -> list[dict[str, Any]]:
    with mail_server() as mails, web() as receiver:
        variables = {"EMAIL_URL": f"smtp://127.0.0.1:{mails.port}", "WEBHOOK_ALLOW_PRIVATE": "127.0.0.0/8"}
        with plant_with(1, DEMO="0", MLFLOW_TRACKING_URI="none", **variables) as plant:
            assets = _set_up(plant, receiver)
            begun = time.monotonic()
            _raise_all(assets)
            raised_in = time.monotonic() - begun
            _wait()
            rows = [row("burst: alerts raised", ALERTS / raised_in, "alerts/s", None, True)]
            return [*rows, *_told(mails, receiver), *_planning(assets)]


def _set_up(plant: Plant, receiver: Web) -> list[Any]:
    from django.contrib.auth.models import Group, User

    from alerts.delivery import channels
    from alerts.models import Channel, Route, Severity
    from sensors.models import Asset

    for number in range(PEOPLE):
        person = User.objects.create_user(f"person {number}", f"person{number}@example.com")
        person.groups.add(Group.objects.get(name="operator"))
        plant.site.members.add(person)
    room = Channel(name="Control room", kind=Channel.Kind.WEBHOOK, per_minute=ROOM_PER_MINUTE)
    channels.keep_secrets(room, url=receiver.url)
    room.save()
    Route.objects.update(enabled=False)
    everything = Route.objects.create(name="Everything", least_severity=Severity.LOW, responsible=True)
    everything.channels.add(room)
    return Asset.objects.bulk_create(Asset(site=plant.site, name=f"Machine {n:03}") for n in range(ASSETS))


def _severity(number: int) -> int:
    return 4 if number % CRITICAL_EVERY == 0 else 1 + number % 3


def _raise_all(assets: list[Any]) -> None:
    from django.db import transaction
    from django.utils import timezone

    from alerts import lifecycle
    from alerts.models import Severity

    for first in range(0, ALERTS, 100):
        with transaction.atomic():
            for number in range(first, first + 100):
                now = timezone.now()
                lifecycle.raise_alert(
                    asset=assets[number % ASSETS],
                    dedup_key=f"burst:{number}",
                    title=f"Cause {number}",
                    severity=Severity(_severity(number)),
                    evidence={},
                    began_at=now,
                    last_seen_at=now,
                )


def _wait() -> None:
    """Until all were looked at, and what is due within a minute has been sent."""
    from django.utils import timezone

    from alerts.models import Alert, Delivery

    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        due = Delivery.objects.filter(state__in=["waiting", "sending"], severity=4)
        room = Delivery.objects.filter(state__in=["waiting", "sending"], person=None)
        if not (Alert.objects.filter(notify_at__lte=timezone.now()).exists() or due.exists() or room.exists()):
            return
        time.sleep(0.5)


def _told(mails: MailServer, receiver: Web) -> list[dict[str, Any]]:
    from alerts.models import DeliveryItem

    columns = ("alert", "alert__severity", "alert__opened_at", "delivery__person", "delivery__kind")
    items = list(
        DeliveryItem.objects.exclude(delivery__state__in=["cancelled", "failed"]).values_list(
            *columns, "delivery__state", "delivery__sent_at"
        )
    )
    sent = [
        (sent_at - opened).total_seconds() for _, level, opened, _, _, _, sent_at in items if level == 4 and sent_at
    ]
    critical = sum(level == 4 for _, level, *_ in items)
    p95 = float(np.percentile(sent, 95)) if sent else float("inf")
    heard = Counter((person, alert) for alert, _, _, person, *_ in items)
    expected = ALERTS * (PEOPLE + 1)
    twice = sum(count > 1 for count in heard.values())
    received = len(mails.mails) + len(receiver.posted)
    return [
        row("burst: critical told, 95th percentile", p95, "s", CRITICAL_SECONDS, p95 <= CRITICAL_SECONDS),
        row("burst: critical not sent", critical - len(sent), "alerts", 0, critical == len(sent) > 0),
        row("burst: alerts in no message", expected - len(heard), "alerts", 0, expected == len(heard)),
        row("burst: alerts in two messages", twice, "alerts", 0, twice == 0),
        row("burst: most in an hour to one person", _most(), "messages", 6, _most() <= 6),
        row("burst: received by the servers", received, "messages", None, True),
    ]


def _most() -> int:
    """The most messages that are not critical which one person gets in any hour, sent or due."""
    from alerts.models import Delivery

    times: dict[int, list[datetime]] = defaultdict(list)
    rows = Delivery.objects.filter(person__isnull=False, severity__lt=4).exclude(state="cancelled")
    for person, due in rows.order_by("due_at").values_list("person", "due_at"):
        times[person].append(due)
    return max((sum(at <= due < at + HOUR for due in found) for found in times.values() for at in found), default=0)


def _planning(assets: list[Any]) -> list[dict[str, Any]]:
    from django.utils import timezone

    from alerts.models import Alert
    from alerts.routing import notify

    # Far ahead, so that the platform's own workers leave them alone.
    later = timezone.now() + LATER
    Alert.objects.bulk_create(
        Alert(
            site_id=assets[0].site_id,
            asset=assets[number % ASSETS],
            severity=_severity(number),
            dedup_key=f"later:{number}",
            title=f"Cause {number}",
            notify_at=later,
        )
        for number in range(ALERTS)
    )
    begun, used = time.monotonic(), time.process_time()
    seen = 0
    while some := notify.tell(later):
        seen += some
    taken, used = time.monotonic() - begun, time.process_time() - used
    return [
        row(
            "burst: planning, all together", taken, "s", PLANNING_SECONDS, seen == ALERTS and taken <= PLANNING_SECONDS
        ),
        row("burst: planning, processor", used, "s", None, True),
    ]

"""Alerts whose cause is gone: the readings since then are as usual again, and have been for a while."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, OuterRef, Subquery

from alerts import lifecycle
from alerts.models import Alert
from sensors.models import Pending, Reading

# So much of the sensor's own time without anything unusual shows that the cause is gone: a value that swings around its
# limit would open and close its alert all day (ISA-18.2 speaks of a delay before return) ...
HOLD = timedelta(minutes=15)
# ... in so many readings at least, as many as an event is judged by.
NORMAL_READINGS = 5
CONSUMERS = ("score", "limits")
# While readings wait for longer than this to be looked at nobody knows what they show.
SCORED_WITHIN = timedelta(seconds=10)


def look(now: datetime) -> None:
    """See which anomalies and exceeded limits are over. What a fault of an instrument raised is its to end."""
    unseen = Pending.objects.waiting().filter(consumer__in=CONSUMERS, live=True, due_at__lt=now - SCORED_WITHIN)
    if unseen.exists():
        return
    after = Reading.objects.filter(
        sensor=OuterRef("sensor"), timestamp__gt=OuterRef("last_seen_at"), quality__gte=settings.QUALITY_THRESHOLD
    )
    earliest = after.order_by("timestamp").values("timestamp")
    over = (
        Alert.objects.may_return()
        .annotate(
            first=Subquery(earliest[:1]),
            enough=Subquery(earliest[NORMAL_READINGS - 1 : NORMAL_READINGS]),
            newest=Subquery(after.order_by("-timestamp").values("timestamp")[:1]),
        )
        .filter(enough__isnull=False, newest__gte=F("last_seen_at") + HOLD)
    )
    for alert in over:
        lifecycle.back_to_normal(alert, since=alert.first)

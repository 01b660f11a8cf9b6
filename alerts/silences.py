"""Silences: begun and ended by people, and by other parts of the platform under a key of theirs."""

from collections.abc import Iterable
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from alerts import nudge
from alerts.models import Alert, Escalation, Silence
from sensors import live
from sensors.errors import Refused
from sensors.models import Asset


def covering(silences: Iterable[Silence], alert: Alert, above: list[int], at: datetime) -> list[Silence]:
    """The silences that keep an alert quiet at this time; `above` are its asset and all that this is part of."""
    return [
        silence
        for silence in silences
        if silence.runs(at)
        and silence.site_id == alert.site_id
        and silence.asset_id in (None, *above)
        and silence.sensor_id in (None, alert.sensor_id)
        and (not silence.kinds or alert.kind in silence.kinds)
    ]


def create(silence: Silence, by: User) -> Silence:
    """Keep alerts quiet, as somebody asks for. Raises Refused when it would be over already."""
    if silence.ends_at <= timezone.now():
        raise Refused("silence_over", "This silence would be over already; choose a later end.", 422)
    silence.created_by = by
    silence.save()
    live.publish("alerts", site_id=silence.site_id)
    return silence


def end(silence: Silence, by: User | None = None) -> Silence:
    """From now on its alerts are told again, also those that are open already. Ending again changes nothing."""
    now = timezone.now()
    with transaction.atomic():
        silence = Silence.objects.select_for_update().get(pk=silence.pk)
        if silence.ends_at <= now:
            return silence
        until = silence.ends_at
        silence.starts_at, silence.ends_at, silence.ended_by = min(silence.starts_at, now), now, by
        silence.save(update_fields=["starts_at", "ends_at", "ended_by"])
        _look_again(silence.site_id, until, now)
    return silence


def begin(source: str, asset: Asset, reason: str, until: datetime) -> Silence:
    """Keep an asset and what is below it quiet; once per source, whose earlier silence goes on with this one."""
    about = {"site_id": asset.site_id, "asset": asset, "reason": reason[:300], "starts_at": timezone.now()}
    silence, _ = Silence.objects.update_or_create(source=source, defaults={**about, "ends_at": until, "ended_by": None})
    live.publish("alerts", site_id=asset.site_id, asset_id=asset.pk)
    return silence


def end_of(source: str) -> None:
    """End what was begun under this key, if it still runs."""
    for silence in Silence.objects.filter(source=source):
        end(silence)


def _look_again(site_id: int, until: datetime, now: datetime) -> None:
    """At alerts and escalations that wait for the end of a silence: another one may keep them quiet still.

    Also at those that somebody looks at just now, who knows only that the silence lasts `until`: they are waited for.
    """
    Alert.objects.filter(site=site_id, notify_at__isnull=False).update(notify_at=now)
    running = Escalation.objects.running().filter(Q(next_at=until) | Q(next_at__lte=now), alert__site=site_id)
    held = [row.pk for row in running.order_by("pk").select_for_update(of=("self",)) if row.next_at == until]
    Escalation.objects.filter(pk__in=held).update(next_at=now)
    nudge.tell()
    live.publish("alerts", site_id=site_id)


def mark(alerts: Iterable[Alert]) -> None:
    """Set `silenced` of each alert to the silence that keeps it quiet now, or None; in two queries."""
    now, alerts = timezone.now(), list(alerts)
    sites = {alert.site_id for alert in alerts if not alert.is_resolved}
    running = list(Silence.objects.running(now).filter(site__in=sites))
    parents = dict(Asset.objects.filter(site__in={row.site_id for row in running}).values_list("pk", "parent_id"))
    for alert in alerts:
        found = [] if alert.is_resolved else covering(running, alert, _above(alert.asset_id, parents), now)
        alert.silenced = max(found, key=lambda silence: silence.ends_at, default=None)  # type: ignore[attr-defined]


def _above(asset_id: int | None, parents: dict[int, int | None]) -> list[int]:
    found: list[int] = []
    while asset_id is not None and asset_id not in found:
        found.append(asset_id)
        asset_id = parents.get(asset_id)
    return found

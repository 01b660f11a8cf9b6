"""What decides, besides the alert itself, who is told of it: routes, people, where its asset belongs, what quiets it.

Loaded at once for many alerts, in a number of queries that does not depend on theirs.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, time
from typing import Any, Self

from django.db.models import Q

from alerts.faults import KEY as FAULT_KEY
from alerts.models import Alert, Route, Severity, Silence
from alerts.routing import ladders
from alerts.routing.directory import Directory
from alerts.routing.ladders import Ladder
from sensors.models import Asset, SensorFault, SensorProfile, Site

# The highest machine above an asset is what people go to; areas and lines are too large for one message.
MACHINE = Asset.Level.MACHINE


@dataclass(frozen=True)
class Terms:
    """What a route says, whether or not it is saved."""

    name: str
    pk: int | None = None
    site_id: int | None = None
    asset_id: int | None = None
    kinds: frozenset[str] = frozenset()
    least_severity: int = Severity.LOW
    weekdays: frozenset[int] = frozenset()
    begins: time | None = None
    ends: time | None = None
    responsible: bool = False
    roles: frozenset[int] = frozenset()
    people: frozenset[int] = frozenset()
    channels: frozenset[int] = frozenset()
    policy_id: int | None = None
    as_digest: bool = False
    tells_when_settled: bool = True

    @classmethod
    def of(cls, route: Route) -> Self:
        """Of a saved route; what it names is prefetched by `routes`."""
        named = {
            name: frozenset(row.pk for row in getattr(route, name).all()) for name in ("roles", "people", "channels")
        }
        return cls.said_by(route, **named)

    @classmethod
    def said_by(cls, route: Route, *, roles: frozenset[int], people: frozenset[int], channels: frozenset[int]) -> Self:
        return cls(
            name=route.name,
            pk=route.pk,
            site_id=route.site_id,
            asset_id=route.asset_id,
            kinds=frozenset(route.kinds),
            least_severity=route.least_severity,
            weekdays=frozenset(route.weekdays),
            begins=route.begins,
            ends=route.ends,
            responsible=route.responsible,
            roles=roles,
            people=people,
            channels=channels,
            policy_id=route.policy_id,
            as_digest=route.as_digest,
            tells_when_settled=route.tells_when_settled,
        )


@dataclass
class Circumstances:
    """`parents` are of assets, `quieting` the worst severe alert by asset, `senders` by sensor or fault."""

    routes: list[Terms]
    directory: Directory
    sites: dict[int, Site]
    parents: dict[int, int | None]
    levels: dict[int, str]
    senders: dict[str, int]
    silences: list[Silence] = field(default_factory=list)
    quieting: dict[int, Alert] = field(default_factory=dict)
    ladders: dict[int, Ladder] = field(default_factory=dict)
    # Whom a route names at a site, kept once it is known (alerts.routing.routes).
    named: dict[Any, Any] = field(default_factory=dict)
    _lines: dict[int, list[int]] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        alerts: Iterable[Alert],
        now: datetime,
    ) -> Self:
        """Of these alerts as things are at `now`."""
        alerts = list(alerts)
        site_ids = {alert.site_id for alert in alerts}
        tree = list(Asset.objects.filter(site__in=site_ids).values_list("pk", "parent_id", "level"))
        found = cls(
            routes=_routes(site_ids),
            directory=Directory.load(),
            sites=Site.objects.in_bulk(site_ids),
            parents={pk: parent for pk, parent, _ in tree},
            levels={pk: level for pk, _, level in tree},
            senders=_senders(alerts),
            silences=list(Silence.objects.running(now).filter(site__in=site_ids)),
        )
        above = {pk for alert in alerts for pk in found.above(alert.asset_id)[1:]}
        found.quieting = _quieting(above)
        found.ladders = ladders.load({route.policy_id for route in found.routes if route.policy_id}, now)
        return found

    def above(self, asset_id: int | None) -> list[int]:
        """The asset and all that it is part of, from below."""
        if asset_id is None:
            return []
        if asset_id not in self._lines:
            self._lines[asset_id] = list(self._climb(asset_id))
        return self._lines[asset_id]

    def _climb(self, asset_id: int) -> Iterator[int]:
        at: int | None = asset_id
        seen: set[int] = set()
        while at is not None and at not in seen:
            seen.add(at)
            yield at
            at = self.parents.get(at)

    def group_key(self, alert: Alert) -> str:
        """What alerts that come as one message have in common: their top-most machine, their gateway, or their site."""
        sender = self.senders.get(alert.dedup_key) or self.senders.get(f"sensor-{alert.sensor_id}")
        if sender is not None and alert.kind == Alert.Kind.SILENT:
            return f"sender-{sender}"
        if alert.asset_id is None:
            return f"site-{alert.site_id}"
        machines = [pk for pk in self.above(alert.asset_id) if self.levels.get(pk) == MACHINE]
        return f"asset-{machines[-1] if machines else alert.asset_id}"


def _routes(site_ids: set[int]) -> list[Terms]:
    routes = Route.objects.filter(Q(site=None) | Q(site__in=site_ids), enabled=True)
    return [Terms.of(route) for route in routes.prefetch_related("roles", "people", "channels").order_by("pk")]


def _quieting(assets: set[int]) -> dict[int, Alert]:
    severe = Alert.objects.unresolved().filter(asset__in=assets, severity__gte=Severity.HIGH)
    worst = severe.order_by("asset_id", "-severity", "pk").distinct("asset_id")
    return {
        alert.asset_id: alert
        for alert in worst.only("pk", "site_id", "asset_id", "sensor_id", "kind", "severity", "title")
    }


def _senders(alerts: list[Alert]) -> dict[str, int]:
    """Which gateway's silence an alert is of: by the key of a gateway's fault, or by `sensor-` and the sensor's key."""
    silent = [alert for alert in alerts if alert.kind == Alert.Kind.SILENT]
    faults = [int(key) for alert in silent if (key := alert.dedup_key.removeprefix(FAULT_KEY)).isdecimal()]
    of_gateways = SensorFault.objects.filter(pk__in=faults, sender__isnull=False).values_list("pk", "sender_id")
    sensors = [alert.sensor_id for alert in silent if alert.sensor_id]
    profiles = SensorProfile.objects.filter(sensor__in=sensors, sent_by__isnull=False)
    of_sensors = profiles.values_list("sensor_id", "sent_by_id")
    return {f"{FAULT_KEY}{pk}": sender for pk, sender in of_gateways} | {
        f"sensor-{pk}": sender for pk, sender in of_sensors
    }

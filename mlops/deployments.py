"""Which model version serves what: decided by people or by promotion, written down, found by the most specific scope.

What no model serves is served by the built-in detector (mlops.detectors.robust).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from celery import current_app
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from mlops.models import Deployment, ModelVersion, Purpose
from mlops.querysets import DeploymentQuerySet
from mlops.registry import figures
from sensors.arrays import any_of
from sensors.errors import Refused
from sensors.models import Asset, Sensor, Site


@dataclass(frozen=True)
class Scope:
    """What a model serves: one sensor, one asset (for sensor models: each of its sensors), or all sensors of a kind, of
    one site or, without a site, of all.
    """

    sensor: Sensor | None = None
    asset: Asset | None = None
    kind: str = ""
    site: Site | None = None

    def __post_init__(self) -> None:
        if sum((self.sensor is not None, self.asset is not None, bool(self.kind))) != 1:
            raise ValueError("A scope is a sensor, an asset, or a kind of sensors.")

    @classmethod
    def of(cls, subject: Sensor | Asset) -> "Scope":
        return cls(sensor=subject) if isinstance(subject, Sensor) else cls(asset=subject)

    @property
    def site_id(self) -> int | None:
        own = self.sensor or self.asset
        return own.site_id if own else self.site.pk if self.site else None

    def rows(self, purpose: str) -> DeploymentQuerySet:
        """Everything that ever served this scope, newest first."""
        rows = Deployment.objects.filter(purpose=purpose, sensor=self.sensor, asset=self.asset, kind=self.kind)
        return rows.filter(site=self.site_id) if self.site_id else rows.filter(site__isnull=True)


def scope_of(deployment: Deployment) -> Scope:
    if deployment.sensor or deployment.asset:
        return Scope(sensor=deployment.sensor, asset=deployment.asset)
    return Scope(kind=deployment.kind, site=deployment.site)


def deploy(version: ModelVersion, scope: Scope, *, why: str, by: User | None = None) -> Deployment:
    """Let a version serve a scope from now on, in place of what serves it. `by` is None when the platform decided.

    Raises Refused when the version learned from another site, is for sensors of another purpose, or somebody else
    deploys to the same scope at the same time.
    """
    if version.site_id is not None and version.site_id != scope.site_id:
        raise Refused("other_site", f"{version} learned from another site; deploy it there.", 422)
    if version.purpose != Purpose.SENSOR_ANOMALY and scope.asset is None:
        raise Refused("wrong_scope", f"{version} serves assets; name one.", 422)
    now = timezone.now()
    try:
        with transaction.atomic():
            _end(scope.rows(version.purpose).in_service(), now, by, f"replaced by {version}")
            _follow([version.name])
            return Deployment.objects.create(
                version=version,
                purpose=version.purpose,
                site_id=scope.site_id,
                sensor=scope.sensor,
                asset=scope.asset,
                kind=scope.kind,
                since=now,
                by=by,
                why=why,
            )
    except IntegrityError:
        raise Refused("deployed_meanwhile", "Somebody else has just deployed there: look again.") from None


def withdraw(deployment: Deployment, *, why: str, by: User | None = None) -> None:
    """End a deployment for good; a wider scope or the built-in detector serves instead.

    Raises Refused when it is not in service any more.
    """
    if not _end(Deployment.objects.in_service().filter(pk=deployment.pk), timezone.now(), by, why, rejected=True):
        raise Refused("not_in_service", f"{deployment} is not in service any more.")


def _end(rows: DeploymentQuerySet, now: datetime, by: User | None, why: str, *, rejected: bool = False) -> bool:
    """End what of these is in service; False when nothing is."""
    ended = dict(rows.values_list("pk", "version__name"))
    changed = rows.filter(pk__in=ended).update(until=now, ended_by=by, ended_why=why, rejected=rejected)
    if ended:
        _follow(sorted(set(ended.values())))
    for key in ended:
        # Nobody loads it any more, so nobody would say that its trouble is over.
        transaction.on_commit(partial(figures.recovered, key))
    return bool(changed)


def _follow(names: list[str]) -> None:
    """Have the registry told which versions of these models serve, once that is committed."""
    transaction.on_commit(partial(current_app.send_task, "mlops.tasks.name_champions", (names,)), robust=True)


def roll_back(deployment: Deployment, *, why: str, by: User | None = None) -> Deployment | None:
    """Withdraw a deployment and let the version that served its scope before it serve again.

    Returns the new deployment, None when there was no other version. Raises Refused when it is not in service.
    """
    with transaction.atomic():
        withdraw(deployment, why=why, by=by)
        earlier = predecessors(deployment)
        return deploy(earlier[0], scope_of(deployment), why=f"rolled back: {why}"[:500], by=by) if earlier else None


def predecessors(deployment: Deployment) -> list[ModelVersion]:
    """Versions that served the same scope before and were never taken back, the most recent first."""
    rows = scope_of(deployment).rows(deployment.purpose)
    taken_back = rows.filter(rejected=True).values("version")
    ended = rows.filter(until__isnull=False).exclude(version__in=taken_back).exclude(version=deployment.version_id)
    return list({row.version_id: row.version for row in ended.select_related("version")}.values())


def serving_sensors(sensors: Collection[int]) -> dict[int, Deployment]:
    """By sensor key, the sensor model that serves it: its own, its asset's, its kind's at the site, or its kind's.

    One query where no model is in service, otherwise two, whatever the number of sensors.
    """
    rows = Deployment.objects.in_service().filter(purpose=Purpose.SENSOR_ANOMALY).select_related("version")
    by_scope = {(row.sensor_id, row.asset_id, row.kind, row.site_id if row.kind else None): row for row in rows}
    if not by_scope:
        return {}
    found = {}
    about = Sensor.objects.filter(pk__in=any_of(sensors)).values_list("pk", "asset", "kind", "site")
    for sensor, asset, kind, site in about:
        scopes: list[tuple[int | None, int | None, str, int | None]] = [
            (sensor, None, "", None),
            (None, asset, "", None),
            (None, None, kind, site),
            (None, None, kind, None),
        ]
        if served := next((by_scope[scope] for scope in scopes if scope in by_scope), None):
            found[sensor] = served
    return found


def assets_watched(sensors: Collection[int]) -> dict[int, int]:
    """Of these sensors the ones whose asset has a model of its own for anomalies, with that asset; one query."""
    served = Deployment.objects.in_service().filter(purpose=Purpose.ASSET_ANOMALY, asset__sensors__in=any_of(sensors))
    return dict(served.values_list("asset__sensors", "asset"))


def serving_assets(assets: Iterable[Asset], purpose: Purpose) -> dict[int, Deployment]:
    """By asset key, the asset model that serves it for a purpose; one query."""
    rows = Deployment.objects.in_service().filter(asset__in=list(assets), purpose=purpose)
    return {row.asset_id: row for row in rows.select_related("version") if row.asset_id is not None}

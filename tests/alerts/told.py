"""People, channels and alerts for tests of who is told, and what they were told."""

from datetime import datetime
from typing import Any

from django.contrib.auth.models import User

from alerts import lifecycle
from alerts.models import Alert, Channel, Delivery, Preference, Route, Severity
from sensors.models import Asset, Site
from tests.conftest import make_user


def raised(asset: Asset, at: datetime, severity: Severity = Severity.HIGH, cause: str = "hot", **extra: Any) -> Alert:
    """An alert about `cause` on the asset; raised again it counts up."""
    about = {"evidence": {}, "dedup_key": f"{asset.pk}:{cause}", "title": f"{asset} is {cause}"}
    alert = lifecycle.raise_alert(asset=asset, severity=severity, began_at=at, last_seen_at=at, **about | extra)
    Alert.objects.filter(pk=alert.pk).update(notify_at=at)
    alert.refresh_from_db()
    return alert


def by_email() -> Channel:
    found: Channel = Channel.objects.get(kind=Channel.Kind.EMAIL)
    return found


def route(name: str = "Everything", *people: User, **about: Any) -> Route:
    """A route of all severities in place of the default one."""
    Route.objects.all().delete()
    made: Route = Route.objects.create(name=name, **{"least_severity": Severity.LOW} | about)
    made.people.set(people)
    return made


def person(name: str, *sites: Site, role: str = "operator", **wishes: Any) -> User:
    user = make_user(role, *sites)
    user.username = name
    user.save()
    if wishes:
        Preference.objects.create(person=user, **wishes)
    return user


def told(user: User | None = None, *kinds: str) -> list[Delivery]:
    """The messages to somebody, or to places, that were not taken back, in the order in which they are due."""
    rows = Delivery.objects.filter(person=user).exclude(state=Delivery.State.CANCELLED)
    return list((rows.filter(kind__in=kinds) if kinds else rows).order_by("due_at", "pk"))


def of(delivery: Delivery) -> list[str]:
    """What a message tells of."""
    return sorted(delivery.alerts.values_list("title", flat=True))

"""What a fresh installation tells people: rows like any other, to be seen and changed."""

from typing import Any

from alerts.models import Channel, Route, Severity

ROUTE = "High and critical alerts"


def create_defaults(**_: Any) -> None:
    """E-mail to all who may acknowledge, and the server's log, of alerts that are high or critical.

    Changes nothing once there is any route, so that what people changed or switched off stays so.
    """
    console = _channel(Channel.Kind.CONSOLE, "Log of the server")
    _channel(Channel.Kind.EMAIL, "E-mail")
    if not Route.objects.exists():
        route = Route.objects.create(name=ROUTE, least_severity=Severity.HIGH, responsible=True)
        route.channels.add(console)


def _channel(kind: Channel.Kind, name: str) -> Channel:
    found: Channel | None = Channel.objects.filter(kind=kind, site=None).order_by("pk").first()
    return found or Channel.objects.get_or_create(name=name, defaults={"kind": kind})[0]

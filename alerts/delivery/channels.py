"""Setting channels up and trying them out."""

import secrets as random_secrets
import uuid
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from alerts import nudge
from alerts.delivery import secrets
from alerts.delivery.transports import services
from alerts.models import Channel, Delivery, Severity
from sensors.errors import Refused

Kind = Channel.Kind


def checked_url(kind: str, url: str) -> str:
    """The address of a webhook or service as it may be used. Raises Refused, whose text does not repeat it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise Refused("bad_address", "This is not an address.", 422) from error
    if kind == Kind.WEBHOOK:
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise Refused("bad_address", "Give an address that begins with https:// (or http://).", 422)
        if "@" in parts.netloc:
            raise Refused("bad_address", "Leave user and password out: the signature proves who sends.", 422)
    elif services.of(url) is None:
        known = ", ".join(sorted({service.name for service in services.SERVICES.values()}))
        raise Refused("unknown_service", f"Give an Apprise address of one of these services: {known}.", 422)
    return url


def keep_secrets(channel: Channel, *, url: str = "", signing_key: str = "") -> str:
    """Put what was entered in the place of what is kept, encrypted; returns a signing key that was made up for it, to
    be shown once.
    """
    try:
        kept = secrets.decrypt(channel.secret)
    except secrets.Unreadable:
        kept = {}
    made = ""
    if channel.kind == Kind.WEBHOOK:
        made = "" if signing_key or kept.get("signing_key") else random_secrets.token_urlsafe(32)
        kept["signing_key"] = signing_key or kept.get("signing_key") or made
    if url:
        kept["url"] = url
    if kept:
        channel.secret = secrets.encrypt(kept)
    channel.config = channel.config | _shown(channel.kind, kept.get("url", ""))
    return made


def _shown(kind: str, url: str) -> dict[str, Any]:
    """What may be shown of an address: tokens are in its path, user or query."""
    if kind == Kind.WEBHOOK:
        return {"host": urlsplit(url).netloc}
    service = services.of(url)
    if kind != Kind.APPRISE or service is None:
        return {}
    return {"service": service.name, "short": service.is_short, "personal": services.TO in url}


@transaction.atomic
def send_test(channel: Channel, person: User) -> Delivery:
    """A message that only shows that the channel works; its outcome is in its row a moment later."""
    test = Delivery.objects.create(
        site=channel.site,
        channel=channel,
        person=person if channel.is_personal else None,
        kind=Delivery.Kind.TEST,
        group_key=f"test-{uuid.uuid4()}",
        severity=Severity.LOW,
        reason=f"{person} tries the channel.",
        subject=f"Test of {channel}",
        body=f"Sent by {person} at {timezone.now():%Y-%m-%d %H:%M:%S} UTC.",
    )
    nudge.deliver()
    return test

"""Addresses in messages. One of them acknowledges an alert without a login: signed, for one person and one alert."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.core.signing import BadSignature, SignatureExpired, TimestampSigner
from django.urls import reverse

from alerts.models import Alert
from sensors.errors import Refused

VALID_FOR = timedelta(hours=72)
_signer = TimestampSigner(salt="alerts.acknowledge")


@dataclass(frozen=True)
class Acknowledgement:
    """What a link asks for: this person, still entitled to it, acknowledges this alert."""

    person: User
    alert: Alert


def absolute(path: str) -> str:
    """The address of a page as people outside reach it."""
    return f"{settings.PUBLIC_URL.rstrip('/')}{path}"


def acknowledge_url(alert: Alert, person: User) -> str:
    return absolute(reverse("alerts:by-link", args=[_signer.sign(f"{person.pk}.{alert.pk}")]))


def read(token: str) -> Acknowledgement:
    """Raises Refused when the link is too old or was tampered with, or its person may not acknowledge any more."""
    try:
        person_pk, alert_pk = map(int, _signer.unsign(token, max_age=VALID_FOR).split("."))
    except SignatureExpired as error:
        hours = VALID_FOR // timedelta(hours=1)
        raise Refused("link_expired", f"Links work for {hours} hours. Log in to see the alert.", 410) from error
    except (BadSignature, ValueError) as error:
        raise Refused(
            "bad_link", "This link is not complete. Open it from the message again, or log in.", 404
        ) from error
    person = User.objects.filter(pk=person_pk, is_active=True).first()
    if person is None or not person.has_perm("alerts.acknowledge_alert"):
        raise Refused("not_allowed", "This account may not acknowledge alerts any more.", 403)
    alert = Alert.objects.visible_to(person).select_related("site").filter(pk=alert_pk).first()
    if alert is None:
        raise Refused("not_allowed", "This account does not see this alert any more.", 403)
    return Acknowledgement(person, alert)

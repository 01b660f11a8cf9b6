"""The services that Apprise may be asked to reach: those that talk to a known one over the internet.

Apprise has addresses that run programs, write files, read configurations or send to any host (`json://`, `syslog://`,
`dbus://` ...); an address that is not in this table is refused. Those with a host of their own are held to public
addresses like webhooks (transports.network).
"""

import re
from typing import NamedTuple
from urllib.parse import unquote

# Stands in an address for that of the person who is told.
TO = "{to}"
# Files and configurations of this machine, waits of Apprise's own, and redirects.
REFUSED_PARTS = {"attach", "config", "keyfile", "key_file", "pgpkey", "retry", "wait", "template", "emojis", "redirect"}


class Service(NamedTuple):
    """A service; one that is short gets a single line."""

    name: str
    is_short: bool = False


SERVICES = {
    "slack": Service("Slack"),
    "workflow": Service("Microsoft Teams"),
    "workflows": Service("Microsoft Teams"),
    "gchat": Service("Google Chat"),
    "wxteams": Service("Webex"),
    "webex": Service("Webex"),
    "discord": Service("Discord"),
    "zulip": Service("Zulip"),
    "tgram": Service("Telegram"),
    "whatsapp": Service("WhatsApp"),
    "threema": Service("Threema"),
    "pagerduty": Service("PagerDuty"),
    "opsgenie": Service("Opsgenie"),
    "splunk": Service("Splunk On-Call"),
    "victorops": Service("Splunk On-Call"),
    "signl4": Service("SIGNL4"),
    "ilert": Service("ilert"),
    "squadcast": Service("Squadcast"),
    "pagertree": Service("PagerTree"),
    "pover": Service("Pushover"),
    "pbul": Service("Pushbullet"),
    "twilio": Service("SMS by Twilio", True),
    "vonage": Service("SMS by Vonage", True),
    "nexmo": Service("SMS by Vonage", True),
    "msgbird": Service("SMS by MessageBird", True),
    "sinch": Service("SMS by Sinch", True),
    "plivo": Service("SMS by Plivo", True),
    "clickatell": Service("SMS by Clickatell", True),
    "bulksms": Service("SMS by BulkSMS", True),
    "seven": Service("SMS by seven", True),
    "46elks": Service("SMS by 46elks", True),
    "sns": Service("SMS by Amazon SNS", True),
    # With a host of one's own.
    "ntfy": Service("ntfy"),
    "ntfys": Service("ntfy"),
    "mmost": Service("Mattermost"),
    "mmosts": Service("Mattermost"),
    "rocket": Service("Rocket.Chat"),
    "rockets": Service("Rocket.Chat"),
    "gotify": Service("Gotify"),
    "gotifys": Service("Gotify"),
    "matrix": Service("Matrix"),
    "matrixs": Service("Matrix"),
    "nctalk": Service("Nextcloud Talk"),
    "nctalks": Service("Nextcloud Talk"),
}


def of(url: str) -> Service | None:
    """The service of an Apprise address; None for one that may not be used.

    >>> of("ntfys://ntfy.sh/our-plant").name, of("json://localhost"), of("ntfy://host/t?attach=/etc/passwd")
    ('ntfy', None, None)
    """
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    return None if _options(url) & REFUSED_PARTS else SERVICES.get(scheme)


def _options(url: str) -> set[str]:
    """As Apprise reads them: after the first question mark, also behind a #, and parted by & or ;."""
    parts = re.split("[&;?]", url.partition("?")[2])
    names = (unquote(part.partition("=")[0].replace("+", " ")) for part in parts)
    return {name.strip().lower().lstrip("+-: ") for name in names}

"""E-mail through the server that EMAIL_URL names: HTML with a text beside it."""

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import parseaddr
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection

from alerts.delivery.transports import Message, NotSetUp, NotTakenNow, PermanentFailure, Send, TemporaryFailure, network
from alerts.models import Channel

NO_SERVER = "no mail server is set; see EMAIL_URL"


@contextmanager
def opened(channel: Channel) -> Iterator[Send]:
    """One connection for all messages; after a failure the next one makes a new connection."""
    # The mail server is chosen by whoever runs the installation, and may well be in their own network.
    with network.line(public_only=False) as line:
        connection = get_connection()

        def send(message: Message, to: str) -> None:
            if not channel.is_set_up:
                raise NotSetUp(NO_SERVER)
            try:
                with line.at_most(network.SEND_SECONDS):
                    connection.open()
                    mail(message, to, connection).send()
            except BaseException:
                with suppress(Exception):
                    connection.close()
                raise

        def send_or_say(message: Message, to: str) -> None:
            try:
                send(message, to)
            except (smtplib.SMTPException, OSError) as error:
                raise _failure(error) from error
            except ValueError as error:
                raise PermanentFailure("this is not an e-mail address") from error

        try:
            yield send_or_say
        finally:
            with suppress(smtplib.SMTPException, OSError), line.at_most(network.CONNECT_SECONDS):
                connection.close()


def mail(message: Message, to: str, connection: Any) -> EmailMultiAlternatives:
    """The e-mail. Those of one group have a parent in common, by which mail programs show them as one thread."""
    if not to:
        raise PermanentFailure("the account has no e-mail address")
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    thread = f"<{message.group}.alerts@{domain}>"
    headers = {
        "Message-ID": f"<{message.key}@{domain}>",
        "X-Idempotency-Key": str(message.key),
        "In-Reply-To": thread,
        "References": thread,
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "List-Id": f"Alerts <alerts.{domain}>",
    }
    if message.severity == "critical":
        headers["Importance"] = "high"
    made = EmailMultiAlternatives(message.subject, message.text, to=[to], headers=headers, connection=connection)
    made.attach_alternative(message.html, "text/html")
    return made


def _failure(error: Exception) -> PermanentFailure | TemporaryFailure:
    """What the server said. One that does not know us or our password is to be seen to; the message may wait."""
    said: str | bytes
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, said = next(iter(error.recipients.values()))
    elif isinstance(error, smtplib.SMTPResponseException):
        code, said = error.smtp_code, error.smtp_error
    else:
        return TemporaryFailure(f"the mail server does not answer ({type(error).__name__})")
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    detail = f"the mail server says {code} {' '.join(text.split())[:200]}"
    lasting = code >= 500 and not isinstance(error, smtplib.SMTPAuthenticationError | smtplib.SMTPConnectError)
    if lasting:
        return PermanentFailure(detail)
    # A full mailbox or greylisting is no reason to keep everybody else waiting.
    of_one = isinstance(error, smtplib.SMTPRecipientsRefused)
    return NotTakenNow(detail) if of_one else TemporaryFailure(detail)

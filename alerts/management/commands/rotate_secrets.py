"""Encrypts what channels keep secret under the newest key, so that an older one can be taken out of SECRETS_KEYS."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from alerts.delivery import secrets
from alerts.models import Channel


class Command(BaseCommand):
    help = (
        "Encrypt the secrets of all channels under the first key of SECRETS_KEYS. Put a new key in front of the old "
        "one, restart, run this, then take the old key out."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        lost = []
        with transaction.atomic():
            channels = list(Channel.objects.exclude(secret="").select_for_update())
            for channel in channels:
                try:
                    channel.secret = secrets.encrypt_afresh(channel.secret)
                except secrets.Unreadable:
                    lost.append(channel.name)
            Channel.objects.bulk_update(channels, ["secret"])
        self.stdout.write(f"{len(channels) - len(lost)} channels are encrypted under the newest key.")
        if lost:
            raise CommandError(f"No key of SECRETS_KEYS fits these; enter their secrets again: {', '.join(lost)}.")

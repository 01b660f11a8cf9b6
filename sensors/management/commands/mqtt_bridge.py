import signal
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from sensors.access import Sender
from sensors.mqtt import Bridge, Template


class Command(BaseCommand):
    help = (
        "Store what is published at an MQTT broker: subscribes to the topics of MQTT_TOPICS at MQTT_URL and "
        "acknowledges each message when its readings are committed. Runs until it is stopped, and reconnects for ever."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.MQTT_URL:
            raise CommandError("MQTT_URL is not set; write it like mqtt://user:password@broker:1883.")
        user = User.objects.filter(username=settings.MQTT_USER, is_active=True).first()
        if user is None:
            raise CommandError(
                f"MQTT_USER: there is no active account {settings.MQTT_USER!r} to act for; make it with "
                f'manage.py create_api_key --user {settings.MQTT_USER} --create --site "Your site".'
            )
        if not user.has_perm("sensors.add_reading"):
            raise CommandError(
                f"MQTT_USER: {settings.MQTT_USER!r} may not send readings; give it the role integration."
            )
        try:
            templates = [Template.parse(text) for text in settings.MQTT_TOPICS]
        except ValueError as error:
            raise CommandError(f"MQTT_TOPICS: {error}.") from error
        try:
            bridge = Bridge(settings.MQTT_URL, templates, Sender(user=user, discovers=True), settings.MQTT_CLIENT_ID)
        except ValueError as error:
            raise CommandError(f"MQTT_URL: {error}.") from error
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: bridge.stop())
        bridge.run()

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AlertsConfig(AppConfig):
    name = "alerts"

    def ready(self) -> None:
        post_migrate.connect(_make_first_channels, sender=self)


def _make_first_channels(**_: Any) -> None:
    from alerts import channels

    channels.make_first()

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AlertsConfig(AppConfig):
    name = "alerts"

    def ready(self) -> None:
        from alerts.defaults import create_defaults

        post_migrate.connect(create_defaults, sender=self)

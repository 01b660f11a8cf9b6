from django.apps import AppConfig
from django.db.models.signals import post_migrate


class SensorsConfig(AppConfig):
    name = "sensors"

    def ready(self) -> None:
        from sensors import rights  # noqa: F401 - connects its signals
        from sensors.timescale import policies

        post_migrate.connect(policies.apply, sender=self)

from django.apps import AppConfig, apps
from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig
from django.db.models.signals import post_migrate


class Config(AppConfig):
    name = "config"
    verbose_name = "Smart Maintenance"

    def ready(self) -> None:
        from config.roles import sync_roles

        post_migrate.connect(sync_roles, sender=apps.get_app_config("mlops"))


class AdminConfig(DjangoAdminConfig):
    default_site = "config.admin_site.AdminSite"

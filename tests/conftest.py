"""The cast of every test: two sites, one person per role on the first, and the sensors they look after."""

from dataclasses import dataclass
from typing import Any

import hypothesis
import pytest
from django.conf import LazySettings
from django.contrib.auth.models import Group, User
from django.core.cache import cache

from config.roles import ROLES
from sensors import lookup
from sensors.models import Asset, Sensor, Site

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("ours", deadline=None)
hypothesis.settings.load_profile("ours")

# Their files take long and wait for servers: begun last, one of them would keep a single worker busy at the end.
LONG = ("tests/e2e/", "tests/flows/", "tests/timescale/", "tests/mlops/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@dataclass
class Plant:
    """A site with one pump that carries a temperature and a vibration sensor."""

    site: Site
    pump: Asset
    temperature: Sensor
    vibration: Sensor


def make_plant(name: str) -> Plant:
    site = Site.objects.create(name=name, timezone="Europe/Berlin")
    pump = Asset.objects.create(site=site, name="Pump P-101", criticality=Asset.Criticality.HIGH)
    key = name.lower()
    return Plant(
        site,
        pump,
        Sensor.objects.create(asset=pump, sensor_id=f"{key}.p101.temperature", kind="temperature", unit="°C"),
        Sensor.objects.create(asset=pump, sensor_id=f"{key}.p101.vibration", kind="vibration", unit="mm/s"),
    )


def make_user(role: str, *sites: Site) -> User:
    user = User.objects.create_user(f"{role}-{User.objects.count()}", f"{role}@example.com", "a long pass phrase")
    user.groups.add(Group.objects.get(name=role))
    for site in sites:
        site.members.add(user)
    return user


@pytest.fixture(autouse=True)
def plain_static_files(settings: LazySettings) -> None:
    """Tests need no collected static files."""
    backend = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": backend}
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()
    lookup.forget()


@pytest.fixture
def north(db: Any) -> Plant:
    return make_plant("North")


@pytest.fixture
def south(db: Any) -> Plant:
    return make_plant("South")


@pytest.fixture
def people(north: Plant) -> dict[str, User]:
    """One member of site North per role."""
    return {role: make_user(role, north.site) for role in ROLES}

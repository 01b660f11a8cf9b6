"""The cast of every test: two sites, one person per role on the first, and the sensors they look after."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import LazySettings
from django.contrib.auth.models import Group, User
from django.core.cache import cache

from config.roles import ROLES
from config.storage import files_storage
from sensors import lookup
from sensors.models import Asset, Sensor, Site

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("ours", deadline=None)
hypothesis.settings.load_profile("ours")

# Their files mostly wait, for servers and browsers. Those of the others that take longest begin first: begun last, one
# of them would keep a single worker busy at the end.
WAITING = ("tests/e2e/", "tests/flows/", "tests/timescale/")
LONG = ("tests/mlops/", "tests/architecture/test_permission_matrix.py")
OTHERS_BETWEEN = 4


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Between files that wait stand such that compute, so that two workers seldom wait at once."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    waiting = [file for file in files if file.startswith(WAITING)]
    others = sorted((file for file in files if file not in waiting), key=lambda file: not file.startswith(LONG))
    order: list[str] = []
    for number, file in enumerate(waiting):
        order += [file, *others[number * OTHERS_BETWEEN : (number + 1) * OTHERS_BETWEEN]]
    order += others[len(waiting) * OTHERS_BETWEEN :]
    items[:] = [item for file in order for item in files[file]]


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
def plain_files(settings: LazySettings, tmp_path: Path) -> None:
    """Tests need no collected static files, and leave no files behind."""
    static = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {"default": files_storage("", tmp_path), "staticfiles": static}
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

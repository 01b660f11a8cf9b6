"""A running platform with sensors and a key, for the benchmarks that send readings."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.platform import Platform, running


@dataclass(frozen=True)
class Plant:
    platform: Platform
    sensor_ids: list[str]
    key: str
    site: Any


@contextmanager
def plant_with(sensors: int, **variables: str) -> Iterator[Plant]:
    """Starts everything as `make up` does, in a directory of its own; the key has no limit of requests."""
    with running(ADDRESS_REQUESTS_PER_SECOND="0", **variables) as platform:
        os.environ |= {name: platform.environment[name] for name in ("STATE_DIR", "PORT")}
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        import django

        django.setup()
        from sensors.models import ApiKey
        from tests.flows.records import key_and_viewer, plant_with_sensors

        site, sensor_ids = plant_with_sensors(sensors)
        key, _cookie = key_and_viewer(site)
        ApiKey.objects.update(requests_per_second=0)
        yield Plant(platform, sensor_ids, key, site)

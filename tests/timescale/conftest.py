"""The same tests on both engines: `engine` is first plain PostgreSQL, then TimescaleDB."""

from collections.abc import Iterator
from typing import Any

import dj_database_url
import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, connections

from sensors.timescale.base import DatabaseWrapper
from tests.timescale import server

ENGINES = [
    pytest.param("postgresql", marks=pytest.mark.django_db(transaction=True)),
    pytest.param("timescaledb", marks=pytest.mark.timescale),
]


@pytest.fixture(scope="session")
def timescaledb(django_db_blocker: Any) -> Iterator[DatabaseWrapper]:
    """The platform's tables on a TimescaleDB, reached by one connection that stays open."""
    with server.running() as url, django_db_blocker.unblock():
        plain = connections["default"]
        about = plain.settings_dict | dj_database_url.parse(url, engine="sensors.timescale", conn_max_age=None)
        about["OPTIONS"] = {key: value for key, value in about.get("OPTIONS", {}).items() if key != "pool"}
        wrapper = DatabaseWrapper(about, "default")
        connections["default"] = wrapper
        try:
            call_command("migrate", verbosity=0, skip_checks=True)
        finally:
            connections["default"] = plain
        yield wrapper
        wrapper.close()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of the engine that `django.db.connection` leads to; every test finds empty tables."""
    if request.param == "postgresql":
        yield "postgresql"
        return
    yield from _on_timescaledb(request)


@pytest.fixture
def on_timescaledb(request: pytest.FixtureRequest) -> Iterator[str]:
    """For what only TimescaleDB does."""
    yield from _on_timescaledb(request)


def _on_timescaledb(request: pytest.FixtureRequest) -> Iterator[str]:
    wrapper = request.getfixturevalue("timescaledb")
    plain = connections["default"]
    with request.getfixturevalue("django_db_blocker").unblock():
        connections["default"] = wrapper
        try:
            yield "timescaledb"
        finally:
            _empty_tables()
            connections["default"] = plain


def _empty_tables() -> None:
    """All that tests leave behind; what migrations made (permissions, roles) stays."""
    ours = [
        model
        for app in ("sensors", "alerts", "maintenance", "mlops")
        for model in apps.get_app_config(app).get_models()
    ]
    existing = set(connection.introspection.table_names(include_views=False))
    tables = [model._meta.db_table for model in ours if model._meta.db_table in existing]
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join([*tables, 'auth_user'])} CASCADE")

"""MLflow's server, with its own database beside ours."""

import os
import signal
import threading
import time
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection

from mlops.registry.address import PREFIX, address
from sensors import embedded

DATABASE = "mlflow"
WATCH_SECONDS = 10.0
STOP_SECONDS = 5


class Command(BaseCommand):
    help = (
        "Runs MLflow's server: its records in the database `mlflow` on the server of DATABASE_URL, made where it is "
        "missing, its files in MLFLOW_ARTIFACT_ROOT. Listens on a Unix socket in STATE_DIR, or with --port on TCP; it "
        "asks nobody for a password, so let only our own containers reach that."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, help="listen on this TCP port of every interface, as in containers")

    def handle(self, *args: Any, port: int | None = None, **options: Any) -> None:
        _make_database()
        if "://" not in settings.MLFLOW_ARTIFACT_ROOT:
            Path(settings.MLFLOW_ARTIFACT_ROOT).mkdir(mode=0o700, parents=True, exist_ok=True)
        threading.Thread(target=_watch_database, daemon=True).start()
        _serve(port)


def _serve(port: int | None) -> None:
    """Run MLflow's application in this process: its own command keeps a second one of 190 MB that only waits."""
    os.environ.update(_environment())
    # Takes seconds, and reads the environment.
    import uvicorn
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    # Makes the tables where they are missing, which takes longer than a first caller waits.
    initialize_backend_stores()
    _, socket = address(embedded.mlflow_url(settings.STATE_DIR))
    uvicorn.run(
        app,
        host="0.0.0.0",  # noqa: S104
        port=port or 0,
        uds=None if port else socket,
        log_config=None,
        log_level="warning",
        timeout_graceful_shutdown=STOP_SECONDS,
    )


def _environment() -> dict[str, str]:
    """What `mlflow server` sets for the application it starts, and our own choices."""
    return {
        "_MLFLOW_SERVER_FILE_STORE": _store_uri(),
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": settings.MLFLOW_ARTIFACT_ROOT,
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_STATIC_PREFIX": PREFIX,
        "_MLFLOW_SGI_NAME": "uvicorn",
        # Names by which we ask: a page elsewhere whose name is made to point here is refused.
        "MLFLOW_SERVER_ALLOWED_HOSTS": "mlflow:*,localhost,localhost:*",
        # Evaluations of language models, in seven more processes of 250 MB each.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # A store that refuses is said to refuse at once; the worker has another way.
        "AWS_MAX_ATTEMPTS": "1",
    }


def _watch_database() -> None:
    """End this process when its database was dropped: started again, as it is at once, it makes a new one."""
    while True:
        time.sleep(WATCH_SECONDS)
        with suppress(psycopg.Error), _connected() as database:
            if not _is_there(database):
                os.kill(os.getpid(), signal.SIGTERM)


def _parameters() -> dict[str, Any]:
    """What psycopg needs to connect to our own database, without what only our queries need."""
    return {
        key: value
        for key, value in connection.get_connection_params().items()
        if key not in ("options", "cursor_factory", "context", "prepare_threshold") and value is not None
    }


def _connected() -> psycopg.Connection[Any]:
    return psycopg.connect(**_parameters(), autocommit=True)


def _is_there(database: psycopg.Connection[Any]) -> bool:
    return bool(database.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone())


def _make_database() -> None:
    with _connected() as database:
        if not _is_there(database):
            database.execute(f"CREATE DATABASE {DATABASE}")


def _store_uri() -> str:
    from sqlalchemy import URL

    known = _parameters()
    known.pop("dbname")
    # As query and not as authority: a Unix socket's directory is no host name.
    query = {key: str(value) for key, value in known.items() if key not in ("user", "password")}
    url = URL.create("postgresql+psycopg", known.get("user"), known.get("password"), database=DATABASE, query=query)
    return url.render_as_string(hide_password=False)

"""MLflow's server, with its own database beside ours."""

import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection

from mlops.registry.mlflow_api import PREFIX, address
from sensors import embedded

DATABASE = "mlflow"


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
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--static-prefix", PREFIX]
        command += ["--backend-store-uri", _store_uri(), "--artifacts-destination", settings.MLFLOW_ARTIFACT_ROOT]
        command += _listen(port)
        environment = os.environ | {
            # Seven more processes of 250 MB each, for evaluations of language models.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # A store that refuses is said to refuse at once; the worker has another way.
            "AWS_MAX_ATTEMPTS": "1",
        }
        connection.close()
        os.execve(sys.executable, command, environment)  # noqa: S606


def _listen(port: int | None) -> list[str]:
    if port:
        names = f"mlflow:{port},localhost:{port},127.0.0.1:{port}"
        return ["--host", "0.0.0.0", "--port", str(port), "--allowed-hosts", names]  # noqa: S104
    _, socket = address(embedded.mlflow_url(settings.STATE_DIR))
    return ["--uvicorn-opts", f"--uds '{socket}' --log-level warning"]


def _parameters() -> dict[str, Any]:
    """What psycopg needs to connect to our own database, without what only our queries need."""
    return {
        key: value
        for key, value in connection.get_connection_params().items()
        if key not in ("options", "cursor_factory", "context", "prepare_threshold") and value is not None
    }


def _make_database() -> None:
    with psycopg.connect(**_parameters(), autocommit=True) as database:
        found = database.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
        if not found:
            database.execute(f"CREATE DATABASE {DATABASE}")


def _store_uri() -> str:
    from sqlalchemy import URL

    known = _parameters()
    known.pop("dbname")
    # As query and not as authority: a Unix socket's directory is no host name.
    query = {key: str(value) for key, value in known.items() if key not in ("user", "password")}
    url = URL.create("postgresql+psycopg", known.get("user"), known.get("password"), database=DATABASE, query=query)
    return url.render_as_string(hide_password=False)

"""Start everything on this machine, keep it running, stop it together."""

import fcntl
import hashlib
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import redis
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from config import follow
from config.supervisor import Supervisor, app_programs, embedded_servers, later_programs, stop_leftovers
from sensors import embedded
from sensors.models import Site

HEALTH_SECONDS = 60
ASK_SECONDS = 5


class Command(BaseCommand):
    help = (
        "Starts PostgreSQL and Valkey (unless DATABASE_URL and REDIS_URL name others), prepares the database, and runs "
        "web, worker, beat, MLflow (unless MLFLOW_TRACKING_URI names another, or none) and, with DEMO, the simulator "
        "of the demo plant, restarting what dies. Ctrl-C stops everything."
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, _interrupt)
        try:
            with _only_one(settings.STATE_DIR):
                self._clear_up()
                _check_port()
                self._run()
        except KeyboardInterrupt:
            self._say("Stopped.")

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def _clear_up(self) -> None:
        if stopped := stop_leftovers():
            self._say(f"Stopped {stopped} processes that an earlier run had left behind.")

    def _run(self) -> None:
        own_database = not settings.DATABASE_URL
        own_broker = bool(embedded.redis_url(settings.STATE_DIR) == settings.REDIS_URL)
        groups = {
            "servers": embedded_servers(database=own_database, broker=own_broker),
            "app": app_programs(),
            "later": later_programs(),
        }
        self._prepare_servers(own_database, own_broker)
        logs = settings.STATE_DIR / "log"
        logs.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="sm-") as directory:
            shown = [follow.LogFile(logs / f"{program.name}.log") for program in groups["app"] + groups["later"]]
            supervisor = Supervisor(groups, Path(directory), logs)
            try:
                self._wait_for_servers(own_database, own_broker)
                self._prepare_database()
                self._collect_static_files()
                supervisor.start("app")
                self._wait_for_health(supervisor, logs)
                supervisor.start("later")
                self._show_logs(supervisor, [*shown, follow.LogFile(logs / "supervisor.log")])
            finally:
                # From here on a second Ctrl-C changes nothing: stopping in order is the fastest safe way out.
                for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                    signal.signal(number, signal.SIG_IGN)
                supervisor.stop()
                stop_leftovers()

    def _prepare_servers(self, own_database: bool, own_broker: bool) -> None:
        if not own_database:
            _ask_database()
        if not own_broker:
            _ask_broker()
        try:
            if own_database or own_broker:
                embedded.prepare_directory(settings.STATE_DIR)
            if own_database:
                self._say("Starting PostgreSQL ...")
                embedded.prepare_postgres(settings.STATE_DIR)
        except subprocess.CalledProcessError as error:
            raise CommandError(f"The database cannot be made in {settings.STATE_DIR}: {error.stderr.strip()}") from None
        except OSError as error:
            raise CommandError(f"{settings.STATE_DIR} cannot be used: {error}") from None

    def _wait_for_servers(self, own_database: bool, own_broker: bool) -> None:
        try:
            if own_database:
                embedded.wait_for_postgres(settings.STATE_DIR)
            if own_broker:
                embedded.wait_for_valkey(settings.STATE_DIR)
        except TimeoutError as error:
            raise CommandError(f"{error}\nIts log is in {settings.STATE_DIR / 'log'}.") from None

    def _prepare_database(self) -> None:
        self._say("Preparing the database ...")
        call_command("migrate", interactive=False, verbosity=0)
        if not User.objects.filter(is_superuser=True).exists():
            self._create_admin()
        if settings.DEMO and not Site.objects.exists():
            self._say("Setting up the demo plant (DEMO=0 starts without it) ...")
            call_command("seed_demo")
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]

    def _create_admin(self) -> None:
        if User.objects.filter(username="admin").exists():
            self._say("Nobody is superuser: `.venv/bin/python manage.py createsuperuser` makes one.")
            return
        password = secrets.token_urlsafe(12)
        User.objects.create_superuser("admin", "", password)
        self._say(f"\n    Log in as   admin\n    password    {password}\n\n    Shown this once; change it any time.\n")

    def _collect_static_files(self) -> None:
        """Copy and compress the static files, unless nothing has changed since they last were."""
        stamp = settings.STATE_DIR / "static.stamp"
        now = _static_fingerprint()
        if not settings.STATIC_ROOT.exists() or not stamp.exists() or stamp.read_text() != now:
            self._say("Collecting static files ...")
            call_command("collectstatic", interactive=False, verbosity=0)
            stamp.write_text(now)

    def _wait_for_health(self, supervisor: Supervisor, logs: Path) -> None:
        self._say("Starting web, worker and beat ...")
        deadline = time.monotonic() + HEALTH_SECONDS
        while not _is_healthy():
            if not supervisor.running() or time.monotonic() > deadline:
                tail = (logs / "web.log").read_text(errors="replace").splitlines()[-15:]
                raise CommandError("\n".join(["The web process does not get well. Its log ends with:", *tail]))
            time.sleep(0.2)
        self._say(f"\nSmart Maintenance runs at {_address()} (Ctrl-C stops it; logs are in {logs})\n")

    def _show_logs(self, supervisor: Supervisor, shown: list[follow.LogFile]) -> NoReturn:
        while supervisor.running():
            for line in follow.new_lines(shown, prefixed=sys.stdout.isatty()):
                self.stdout.write(line)
            self.stdout.flush()
            time.sleep(0.25)
        raise CommandError(f"The process manager ended; see {settings.STATE_DIR / 'log' / 'supervisor.log'}.")


def _interrupt(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def _only_one(state_dir: Path) -> Iterator[None]:
    """Hold the state directory for this process. The lock goes with the process, however that ends."""
    with ExitStack() as stack:
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(open(state_dir / "up.lock", "w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"Smart Maintenance already runs from {state_dir}: stop it with Ctrl-C in its terminal, "
                "or set STATE_DIR and PORT for a second one."
            ) from None
        except OSError as error:
            raise CommandError(f"{state_dir} cannot be used ({error.strerror}): set STATE_DIR to another.") from None
        yield


def _check_port() -> None:
    host, port = settings.HOST, settings.PORT
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise CommandError(
            f"Port {port} on {host} cannot be used ({error.strerror}): "
            f"stop the program that has it, or choose another, for example PORT={port + 1}."
        ) from None


def _ask_database() -> None:
    params = connection.get_connection_params()
    try:
        psycopg.connect(**params, connect_timeout=ASK_SECONDS).close()
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        raise CommandError(
            f"The database in DATABASE_URL does not answer: start it, correct DATABASE_URL, or unset it to use the "
            f"embedded one. ({reason})"
        ) from None


def _ask_broker() -> None:
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=ASK_SECONDS, retry=None) as broker:
            broker.ping()
    except redis.RedisError as error:
        raise CommandError(
            f"The server in REDIS_URL does not answer: start it, correct REDIS_URL, or unset it to use the embedded "
            f"one. ({error})"
        ) from None


def _address() -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.HOST, settings.HOST)  # noqa: S104
    return f"http://{host}:{settings.PORT}"


def _is_healthy() -> bool:
    # The web process answers only to its names; and with HTTPS_ONLY it redirects whoever does not come through the
    # proxy that ends TLS, which says so in this header.
    headers = {"X-Forwarded-Proto": "https"}
    name = next(iter(settings.ALLOWED_HOSTS), "*").lstrip(".")
    if name != "*":
        headers["Host"] = name
    request = urllib.request.Request(f"{_address()}/health", headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=ASK_SECONDS) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _static_fingerprint() -> str:
    digest = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list([]):
            file = Path(storage.path(path)).stat()
            digest.update(f"{path} {file.st_size} {file.st_mtime_ns}\n".encode())
    return digest.hexdigest()

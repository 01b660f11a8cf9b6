"""A whole platform of its own, as `make up` starts it: own directory, own port, never the user's data."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import psutil

BASE_DIR = Path(__file__).resolve().parent.parent


@dataclass
class Platform:
    state_dir: Path
    url: str
    process: "subprocess.Popen[bytes]"
    log: Path
    environment: dict[str, str]

    def health(self) -> httpx.Response:
        return httpx.get(f"{self.url}/health", timeout=5)

    def wait_until_healthy(self, timeout_seconds: float = 120, status: str = "ok") -> None:
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            try:
                if self.health().json()["status"] == status:
                    return
            except (httpx.HTTPError, ValueError):
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.2)
        raise TimeoutError(f"The platform did not become healthy:\n{self.log.read_text()[-4000:]}")

    def kill(self, program: str, argument: str = "") -> int:
        """`kill -9` the main process of a program; its children have to find out by themselves."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            line = " ".join(process.cmdline())
            parent = process.parent()
            is_main = parent is not None and program not in " ".join(parent.cmdline())
            if program in line and argument in line and is_main and "supervisord" not in line:
                os.kill(process.pid, signal.SIGKILL)
                return process.pid
        raise LookupError(f"No process runs {program} {argument}.")

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, str(BASE_DIR / "manage.py"), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            raise RuntimeError(f"manage.py {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout


def child_environment() -> dict[str, str]:
    """For a process of our code that works in the database of the present test (which must not be in a transaction).

    PostgreSQL knows its connections by the application name "child".
    """
    from django.conf import settings

    address = urlsplit(os.environ["DATABASE_URL"])
    query = "&".join(part for part in (address.query, "application_name=child") if part)
    url = urlunsplit(address._replace(path="/" + settings.DATABASES["default"]["NAME"], query=query))
    return os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE_URL": url}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(**variables: str) -> Iterator[Platform]:
    """Start `manage.py up` with these environment variables, wait until it is healthy, stop it at the end."""
    state_dir = Path(tempfile.mkdtemp(prefix="sm-platform-"))
    state_dir.chmod(0o711)  # The servers' own account must pass through it.
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if key not in ("DATABASE_URL", "REDIS_URL")}
    environment |= {"STATE_DIR": str(state_dir), "PORT": str(port), "DEMO": "0", "PREDICT_PROCESSES": "0", **variables}
    log = state_dir / "terminal.log"
    with log.open("wb") as output:
        command = [sys.executable, str(BASE_DIR / "manage.py"), "up"]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    platform = Platform(state_dir, f"http://127.0.0.1:{port}", process, log, environment)
    try:
        platform.wait_until_healthy()
        yield platform
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(state_dir, ignore_errors=True)

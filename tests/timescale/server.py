"""A real TimescaleDB for tests: the one that TEST_TIMESCALE_URL names, or one from npm, started here.

The one from npm is PostgreSQL with the extension, compiled to WebAssembly. It takes one connection, no COPY, no message
above 64 KB, and runs no background jobs.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.platform import free_port

HERE = Path(__file__).parent
FILES = ("package.json", "package-lock.json", "server.mjs")


def installed() -> Path:
    """The directory the packages are installed in, kept for later runs. Skips where Node or the network is missing."""
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in FILES)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smart-maintenance"
    place = cache / f"timescaledb-{digest}"
    if place.exists():
        return place
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("TimescaleDB for tests needs Node 18 or newer, or TEST_TIMESCALE_URL")
    cache.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=cache))
    for name in FILES:
        shutil.copy(HERE / name, draft)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=draft, capture_output=True, text=True, timeout=110)
    if done.returncode:
        shutil.rmtree(draft)
        pytest.skip(f"npm could not install TimescaleDB: {done.stderr[-500:]}")
    try:
        draft.rename(place)
    except OSError:  # Another worker was faster.
        shutil.rmtree(draft)
    return place


@contextmanager
def running() -> Iterator[str]:
    """The address of a TimescaleDB that nobody else uses."""
    if url := os.environ.get("TEST_TIMESCALE_URL"):
        yield url
        return
    place, port = installed(), free_port()
    server = subprocess.Popen(["node", "server.mjs", str(port)], cwd=place, stdout=subprocess.DEVNULL)
    url = f"postgresql://postgres:any@127.0.0.1:{port}/postgres?sslmode=disable"
    try:
        _wait(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(20)


def _wait(url: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline or server.poll() is not None:
                raise
            time.sleep(0.2)

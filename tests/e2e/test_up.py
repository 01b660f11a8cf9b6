"""`manage.py up` as a person uses it: started, wounded, stopped, killed."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from coverage import Coverage
from django.conf import settings

from config.supervisor import MARK
from tests.platform import free_port

pytestmark = pytest.mark.platform
START_SECONDS = 60
RECOVER_SECONDS = 20


def wait_until(true: Callable[[], Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)


def environment(state_dir: Path, port: int, **more: str) -> dict[str, str]:
    own = {"STATE_DIR": str(state_dir), "PORT": str(port), "DEMO": "0", "DATABASE_URL": "", "REDIS_URL": ""}
    return os.environ | own | {"SECRET_KEY": "", "HOST": "127.0.0.1", "WORKER_CONCURRENCY": "1"} | more


def command() -> list[str]:
    # Where coverage is measured, it is measured in `up` too, though not in what `up` starts.
    measured = ["-m", "coverage", "run", "--parallel-mode"] if Coverage.current() else []
    return [sys.executable, *measured, "manage.py", "up"]


def refusal(state_dir: Path, port: int, **more: str) -> str:
    """What an `up` that cannot start says."""
    done = subprocess.run(
        command(),
        env=environment(state_dir, port, **more),
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


@dataclass
class Platform:
    state_dir: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> str:
        """Start, wait for the address, and return everything said until then."""
        with open(self.state_dir / "said", "wb") as said:
            self.process = subprocess.Popen(
                command(),
                env=environment(self.state_dir, self.port),
                cwd=settings.BASE_DIR,
                stdout=said,
                stderr=said,
            )
        wait_until(lambda: "runs at http" in self.said() or self.ended(), START_SECONDS)
        assert not self.ended(), self.said()
        return self.said()

    def said(self) -> str:
        return (self.state_dir / "said").read_text()

    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def signal(self, number: int) -> int:
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(60)

    def health(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=10).json()
        except httpx.HTTPError:
            return {"status": "unreachable"}
        return answer

    def processes(self) -> list[psutil.Process]:
        """Everything this installation runs, PostgreSQL's and the worker's children included."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == str(self.state_dir):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def program(self, words: str) -> psutil.Process:
        """The main process whose command line contains `words`, the one that the supervisor started."""
        ours = {process.pid: process for process in self.processes()}
        return next(
            process
            for process in ours.values()
            if words in " ".join(process.cmdline()) and "supervisord" in " ".join(process.parent().cmdline())
        )


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = Platform(tmp_path_factory.mktemp("up").resolve(), free_port())
    try:
        assert "password" in running.start()
        yield running
    finally:
        if not running.ended():
            running.signal(signal.SIGTERM)
        for process in running.processes():
            process.kill()


def test_soon_after_the_start_every_part_is_well(platform: Platform) -> None:
    wait_until(lambda: platform.health()["status"] == "ok", RECOVER_SECONDS)


def test_a_second_start_from_the_same_state_is_refused(platform: Platform) -> None:
    assert "already runs" in refusal(platform.state_dir, free_port())


def test_a_taken_port_is_named_with_the_way_out(platform: Platform, tmp_path: Path) -> None:
    assert re.search(rf"Port {platform.port} .*PORT=", refusal(tmp_path, platform.port))


def test_a_database_that_does_not_answer_is_named(tmp_path: Path) -> None:
    said = refusal(tmp_path, free_port(), DATABASE_URL="postgresql://nobody:secret@127.0.0.1:1/nothing")
    assert "DATABASE_URL does not answer" in said
    assert "secret" not in said


def test_a_broker_that_does_not_answer_is_named(tmp_path: Path) -> None:
    assert "REDIS_URL does not answer" in refusal(tmp_path, free_port(), REDIS_URL="redis://127.0.0.1:1/0")


def test_a_sender_of_200_mb_reads_the_refusal_instead_of_a_broken_connection(platform: Platform) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=60)
    connection.request("POST", "/api/v1/readings/", body=bytes(200_000_000))
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("words", ["granian", "worker@", "background@", "messages@", "valkey-server", "/bin/postgres "])
def test_a_killed_program_comes_back_and_the_heart_beats_again(platform: Platform, words: str) -> None:
    killed = platform.program(words)
    children = killed.children(recursive=True)
    killed.kill()
    killed_at = time.monotonic()

    def recovered() -> bool:
        health = platform.health()
        if health["status"] != "ok":
            return False
        programs = ("worker", "background", "messages")
        beats = [health["checks"][program]["seconds_since_heartbeat"] for program in programs]
        return max(beats) < time.monotonic() - killed_at - 1

    wait_until(recovered, RECOVER_SECONDS)
    assert platform.program(words).pid != killed.pid
    assert psutil.wait_procs(children, timeout=5)[1] == [], "children of the killed process live on"


def test_the_web_process_stays_small(platform: Platform) -> None:
    (child,) = [process for process in platform.program("granian").children() if "granian" in process.cmdline()[1]]
    assert child.memory_info().rss < 160 * 1024 * 1024


def test_sigterm_leaves_no_process_and_the_next_start_keeps_the_data(platform: Platform) -> None:
    before = len(platform.said())
    assert platform.signal(signal.SIGTERM) == 0
    assert platform.processes() == []
    assert "Traceback" not in platform.said()[before:]
    assert "password" not in platform.start()


def test_what_a_killed_start_left_behind_is_stopped_by_the_next(platform: Platform) -> None:
    platform.signal(signal.SIGKILL)
    left = {process.pid for process in platform.processes()}
    assert left
    assert "left behind" in platform.start()
    assert left.isdisjoint(process.pid for process in platform.processes())
    assert platform.signal(signal.SIGINT) == 0
    assert platform.processes() == []

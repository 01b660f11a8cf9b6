"""A real MQTT broker of its own: Debian's mosquitto."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.platform import free_port

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
CONFIGURATION = """
listener {port} 127.0.0.1
allow_anonymous true
user root
max_queued_messages 0
set_tcp_nodelay true
persistence true
persistence_location {directory}/
"""


@dataclass
class Broker:
    """What it holds survives `kill` when it was saved before."""

    directory: Path
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        assert MOSQUITTO
        path = self.directory / "mosquitto.conf"
        path.write_text(CONFIGURATION.format(port=self.port, directory=self.directory))
        with (self.directory / "mosquitto.log").open("ab") as log:
            self.process = subprocess.Popen([MOSQUITTO, "-c", str(path)], stdout=log, stderr=log)
        _wait_until(self._answers, "the broker does not answer")

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def save(self) -> None:
        """Write all messages to disk. By itself it does so every half hour only."""
        assert self.process
        kept = self.directory / "mosquitto.db"
        kept.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        # It writes another file, which it then gives this name.
        _wait_until(kept.exists, "the broker saved nothing")

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process:
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None


def _wait_until(done: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + 10
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.02)

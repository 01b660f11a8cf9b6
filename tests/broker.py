"""A real MQTT broker of its own: Debian's mosquitto."""

import shutil
import signal
import socket
import subprocess
import time
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
"""
DURABLE = """
persistence true
persistence_location {directory}/
autosave_on_changes true
autosave_interval 1
"""


@dataclass
class Broker:
    """`durable`: it writes everything to disk at every change, so that it survives `kill`, and is slow."""

    directory: Path
    durable: bool = True
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        assert MOSQUITTO
        path = self.directory / "mosquitto.conf"
        text = CONFIGURATION + (DURABLE if self.durable else "")
        path.write_text(text.format(port=self.port, directory=self.directory))
        with (self.directory / "mosquitto.log").open("ab") as log:
            self.process = subprocess.Popen([MOSQUITTO, "-c", str(path)], stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise TimeoutError((self.directory / "mosquitto.log").read_text())

    def has_on_disk(self, words: str) -> bool:
        """Whether a message with these words would survive `kill`. It is acknowledged a moment earlier."""
        kept = self.directory / "mosquitto.db"
        return kept.exists() and words.encode() in kept.read_bytes()

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process:
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None

"""A real MLflow server for tests: its own database, its files on disk or on a real S3 server."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from mlops.registry.address import PREFIX, address
from sensors import embedded
from tests.platform import BASE_DIR


@dataclass
class Server:
    """MLflow as `manage.py mlflow_server` runs it, which can be stopped and started again."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    port: int | None = None
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def uri(self) -> str:
        own = embedded.mlflow_url(self.directory)
        return f"http://127.0.0.1:{self.port}{PREFIX}" if self.port else own

    @property
    def artifacts(self) -> Path:
        return self.directory / "artifacts"

    def start(self, timeout_seconds: float = 60) -> None:
        self.stop()
        embedded.socket_dir(self.directory).mkdir(parents=True, exist_ok=True)
        port = ["--port", str(self.port)] if self.port else []
        mine = {"STATE_DIR": str(self.directory), "MLFLOW_TRACKING_URI": ""}
        command = [sys.executable, str(BASE_DIR / "manage.py"), "mlflow_server", *port]
        deadline = time.monotonic() + timeout_seconds
        while not self.answers():
            # Of two that make their tables in one database at once, one gives up.
            if self.process is None or self.process.poll() is not None:
                with (self.directory / "mlflow.log").open("ab") as log:
                    self.process = subprocess.Popen(
                        command,
                        env=os.environ | mine | self.environment,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
            if time.monotonic() > deadline:
                raise TimeoutError((self.directory / "mlflow.log").read_text()[-3000:])
            time.sleep(0.2)

    def answers(self) -> bool:
        base, socket = address(self.uri)
        try:
            with httpx.Client(transport=httpx.HTTPTransport(uds=socket), timeout=5) as client:
                return client.get(f"{base}/health", headers={"Host": "localhost"}).is_success
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, 15)
            self.process.wait(30)


@contextmanager
def running(directory: Path, port: int | None = None, **environment: str) -> Iterator[Server]:
    server = Server(directory, environment, port)
    try:
        server.start()
        yield server
    finally:
        server.stop()

"""The programs of an installation on one machine, and the process manager (supervisord) that keeps them running.

`docker-compose.yml` runs the same programs as services; a test compares the two.
"""

import os
import shlex
import signal
import subprocess
import sys
import xmlrpc.client
from configparser import RawConfigParser
from dataclasses import dataclass
from pathlib import Path

import psutil
from django.conf import settings
from supervisor.xmlrpc import SupervisorTransport

from sensors import embedded

# Every process started here carries this variable, by which a later start finds what a killed one left behind.
MARK = "SMART_MAINTENANCE_STATE_DIR"
BIN = Path(sys.executable).parent
CELERY = [str(BIN / "celery"), "--app", "config", "--quiet"]
WORKER = [*CELERY, "worker", "--without-gossip", "--without-mingle", "--hostname"]
# Failed starts before supervisord gives up: never, in practice.
ENDLESS = 1_000_000_000
LEFTOVER_SECONDS = 30


@dataclass(frozen=True)
class Program:
    """One supervised command line. `stop_seconds` after the stop signal it is killed."""

    name: str
    command: list[str]
    directory: str = str(settings.BASE_DIR)
    stop_signal: str = "TERM"
    stop_seconds: int = 15
    user: str | None = None


def embedded_servers(*, database: bool, broker: bool) -> list[Program]:
    """The servers among PostgreSQL and Valkey that this installation runs itself."""
    account = embedded.server_account()
    state = settings.STATE_DIR
    servers = []
    if database:
        # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait until every client has left.
        servers.append(Program("postgres", embedded.postgres_command(state), "/", "INT", 60, account))
    if broker:
        servers.append(Program("valkey", embedded.valkey_command(state), "/", user=account))
    return servers


def app_programs() -> list[Program]:
    """Everything that runs our own code and that /health waits for."""
    python = sys.executable
    web = [str(BIN / "granian"), "--interface", "asginl", "--loop", "uvloop", "--log-level", "warning"]
    programs = [
        Program("web", [*web, "--host", settings.HOST, "--port", str(settings.PORT), "config.asgi:application"]),
        Program("worker", [*WORKER, "worker@%h"]),
        Program("beat", [*CELERY, "beat", "--pidfile="]),
    ]
    if settings.MQTT_URL:
        programs.append(Program("mqtt", [python, "manage.py", "mqtt_bridge"]))
    if settings.DEMO:
        programs.append(Program("simulator", [python, "manage.py", "simulate"]))
    return programs


def later_programs() -> list[Program]:
    """What takes long to start and nobody waits for: started once /health answers, so as not to delay it."""
    queue = ["--queues", settings.BACKGROUND_QUEUE, "--concurrency", "1"]
    # A thread waits for a receiver most of its time.
    senders = ["--queues", settings.MESSAGES_QUEUE, "--pool", "threads", "--concurrency", "16"]
    programs = [
        Program("messages", [*WORKER, "messages@%h", *senders]),
        Program("background", [*WORKER, "background@%h", *queue]),
    ]
    if settings.PREDICT_PROCESSES:
        programs.append(Program("predict", [sys.executable, "manage.py", "predict_pool"]))
    if embedded.mlflow_url(settings.STATE_DIR) == settings.MLFLOW_TRACKING_URI:
        programs.append(Program("mlflow", [sys.executable, "manage.py", "mlflow_server"]))
    return programs


class Supervisor:
    """A running supervisord with groups of programs: `servers`, started at once, and others, started by `start`.
    They stop the other way round.

    `directory` is private to this run and holds its configuration and its control socket.
    """

    def __init__(self, groups: dict[str, list[Program]], directory: Path, log_directory: Path) -> None:
        self.socket = directory / "supervisor.sock"
        groups = {group: programs for group, programs in groups.items() if programs}
        self.groups = list(groups)
        config = directory / "supervisord.conf"
        with open(config, "w") as file:
            _configuration(groups, self.socket, log_directory).write(file)
        environment = os.environ | {MARK: str(settings.STATE_DIR), "STATE_DIR": str(settings.STATE_DIR)}
        environment |= {"PYTHONUNBUFFERED": "1"}
        if sys.stdout.isatty():
            environment.setdefault("LOG_FORMAT", "text")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "--configuration", str(config)],
            env=environment,
            stdin=subprocess.DEVNULL,
            # Ctrl-C is for `up` alone, which then stops everything in order.
            start_new_session=True,
        )

    def running(self) -> bool:
        return self.process.poll() is None

    def start(self, group: str) -> None:
        """Start the programs of a group, if it has any, without waiting for them."""
        if group not in self.groups:
            return
        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport) as control:
            control.supervisor.startProcessGroup(group, False)

    def stop(self) -> None:
        """Stop the groups, the servers last, then supervisord; returns when nothing runs any more."""
        if self.running():
            self.process.terminate()
            self.process.wait()


def stop_leftovers() -> int:
    """Stop what an earlier `up` of this state directory left running when it was killed; returns how many processes."""
    found = [process for process in psutil.process_iter() if _is_marked(process)]
    pids = {process.pid for process in found}
    for process in found:
        try:
            # Children are their parents' business. SIGINT means "stop now, cleanly" to each of the programs.
            if process.ppid() not in pids:
                process.send_signal(signal.SIGINT)
        except psutil.NoSuchProcess:
            pass
    _, alive = psutil.wait_procs(found, timeout=LEFTOVER_SECONDS)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=5)
    return len(found)


def _is_marked(process: psutil.Process) -> bool:
    try:
        return bool(process.environ().get(MARK) == str(settings.STATE_DIR)) and process.pid != os.getpid()
    except (psutil.Error, OSError):
        return False


def _configuration(groups: dict[str, list[Program]], socket: Path, log_directory: Path) -> RawConfigParser:
    config = RawConfigParser()
    config["supervisord"] = {
        "nodaemon": "true",
        "silent": "true",
        "logfile": _literal(log_directory / "supervisor.log"),
        "logfile_maxbytes": "5MB",
        "logfile_backups": "1",
        "pidfile": _literal(socket.with_suffix(".pid")),
        **({"user": "root"} if os.geteuid() == 0 else {}),
    }
    config["unix_http_server"] = {"file": _literal(socket), "chmod": "0700"}
    config["rpcinterface:supervisor"] = {
        "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
    }
    # Groups stop one after the other, the highest priority number first; the programs of a group stop together.
    for priority, (group, programs) in enumerate(groups.items(), 1):
        config[f"group:{group}"] = {"programs": ",".join(p.name for p in programs), "priority": str(priority)}
        for program in programs:
            config[f"program:{program.name}"] = _section(program, log_directory) | {
                "autostart": "true" if group == "servers" else "false"
            }
    return config


def _section(program: Program, log_directory: Path) -> dict[str, str]:
    return {
        "command": _literal(shlex.join(program.command)),
        "directory": _literal(program.directory),
        "stopsignal": program.stop_signal,
        "stopwaitsecs": str(program.stop_seconds),
        "killasgroup": "true",
        "autorestart": "true",
        "startretries": str(ENDLESS),
        "redirect_stderr": "true",
        "stdout_logfile": _literal(log_directory / f"{program.name}.log"),
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": "2",
        **({"user": program.user} if program.user else {}),
    }


def _literal(value: object) -> str:
    return str(value).replace("%", "%%")

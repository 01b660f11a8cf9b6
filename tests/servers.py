"""Pytest plugin: one embedded PostgreSQL and one Valkey for the whole run, shared by all parallel workers.

Loaded with `-p` so that the addresses stand in the environment before Django reads its settings. With DATABASE_URL and
REDIS_URL set, those servers are used instead.
"""

import faulthandler
import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sensors import embedded

_servers = ExitStack()

# pytest-timeout raises an exception in the main thread, which does not end a wait for other threads or a fixture that
# hangs while it is taken down. Beyond these seconds the process says where every thread stands, and ends.
TEST_SECONDS = 600
TAKE_DOWN_SECONDS = 180


def _start() -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Each parallel worker has its own test database; keys in Valkey are told apart by the database number.
        number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw")) + 1
        os.environ["REDIS_URL"] = f"{os.environ['REDIS_URL'].partition('?')[0]}?db={number}"
        return
    os.environ.setdefault("SECRET_KEY", "only-for-tests-" + "x" * 50)
    # The browser tests use a synchronous driver, which runs an event loop of its own beside Django's calls.
    os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    # MLflow takes ten seconds to start: the registry's tests run one of their own.
    os.environ.setdefault("MLFLOW_TRACKING_URI", "none")
    if "DATABASE_URL" in os.environ and "REDIS_URL" in os.environ:
        return
    state_dir = Path(tempfile.mkdtemp(prefix="sm-test-"))
    state_dir.chmod(0o711)  # The servers' own account must pass through it.
    _servers.callback(shutil.rmtree, state_dir, ignore_errors=True)
    _servers.enter_context(embedded.running(state_dir))
    os.environ["STATE_DIR"] = str(state_dir)
    os.environ["DATABASE_URL"] = embedded.database_url(state_dir)
    os.environ["REDIS_URL"] = embedded.redis_url(state_dir)


_start()
# Pytest puts other files in the place of standard error while a test runs.
_terminal = os.dup(sys.__stderr__.fileno())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    faulthandler.dump_traceback_later(TEST_SECONDS, exit=True, file=_terminal)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Generator[None, None, None]:
    faulthandler.dump_traceback_later(TAKE_DOWN_SECONDS, exit=True, file=_terminal)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return _nothing_skipped_in_ci(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return _nothing_skipped_in_ci(report)


def _nothing_skipped_in_ci(report: Any) -> Any:
    """A bare machine skips what it lacks; with CI set everything is there, and a skip would hide that it is not."""
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"Nothing may be skipped where CI is set. {report.longrepr[-1]}"
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    _servers.close()

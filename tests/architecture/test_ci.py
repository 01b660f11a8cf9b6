"""What a machine lacks makes its tests skip; in CI a skip is a failure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

SKIPPING = """
import pytest

def test_that_lacks_something():
    pytest.skip("no browser here")
"""
SKIPPING_MODULE = """
import pytest

pytest.skip("no data here", allow_module_level=True)
"""
FAILING_AS_EXPECTED = """
import pytest

@pytest.mark.xfail
def test_of_a_known_fault():
    assert False
"""


def run(directory: Path, source: str, ci: str) -> int:
    (directory / "test_it.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-p", "tests.servers", "-p", "no:cacheprovider"]
    command += ["-p", "no:django", "--rootdir", str(directory), str(directory)]
    done = subprocess.run(command, env=os.environ | {"CI": ci}, cwd=settings.BASE_DIR, capture_output=True, timeout=60)
    return done.returncode


@pytest.mark.parametrize("source", [SKIPPING, SKIPPING_MODULE], ids=["test", "module"])
def test_a_skip_fails_in_ci_and_only_there(tmp_path: Path, source: str) -> None:
    assert run(tmp_path, source, ci="true") in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    assert run(tmp_path, source, ci="") in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    assert run(tmp_path, FAILING_AS_EXPECTED, ci="true") == pytest.ExitCode.OK

"""Processes stay small: the web imports no library that only model work needs, workers none before they need it."""

import subprocess
import sys

import pytest
from django.conf import settings

# Each costs seconds to import and up to 250 MB.
MODEL_LIBRARIES = ("mlflow", "sklearn", "lightgbm", "prophet", "librosa", "shap", "scipy", "pandas", "torch")
# Only background work and commands need these.
NOT_IN_THE_WEB = (*MODEL_LIBRARIES, "plotly", "supervisor", "httpx", "tqdm", "pyarrow")

EVERYTHING_THE_WEB_NEEDS = """
import sys
import config.asgi
from django.urls import get_resolver
get_resolver()._populate()
print([name for name in {names!r} if name in sys.modules])
"""

EVERYTHING_A_WORKER_STARTS_WITH = """
import sys
from config.celery import app
app.loader.import_default_modules()
print([name for name in {names!r} if name in sys.modules])
"""


def loaded(names: tuple[str, ...], code: str) -> str:
    command = [sys.executable, "-c", code.format(names=names)]
    done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_the_web_process_imports_no_model_library() -> None:
    assert loaded(NOT_IN_THE_WEB, EVERYTHING_THE_WEB_NEEDS) == "[]"


def test_a_worker_imports_none_before_it_has_work_for_it() -> None:
    assert loaded(MODEL_LIBRARIES, EVERYTHING_A_WORKER_STARTS_WITH) == "[]"


@pytest.mark.parametrize("library", ["numpy", "django"])
def test_the_check_would_notice_a_library_that_is_imported(library: str) -> None:
    assert loaded((library,), EVERYTHING_THE_WEB_NEEDS) == f"['{library}']"

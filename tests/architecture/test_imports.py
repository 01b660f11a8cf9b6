"""The web process stays small: it imports no library that only model work needs."""

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


def loaded(names: tuple[str, ...], code: str) -> str:
    command = [sys.executable, "-c", code.format(names=names)]
    done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_the_web_process_imports_no_model_library() -> None:
    assert loaded(NOT_IN_THE_WEB, EVERYTHING_THE_WEB_NEEDS) == "[]"


@pytest.mark.parametrize("library", ["numpy", "django"])
def test_the_check_would_notice_a_library_that_is_imported(library: str) -> None:
    assert loaded((library,), EVERYTHING_THE_WEB_NEEDS) == f"['{library}']"

"""Runs one management command against embedded servers of its own: `python -m tests.checks makemigrations --check`.

For checks that ask the database and need nothing in it, on machines where none is running.
"""

import os
import sys
import tempfile
from pathlib import Path

from sensors import embedded


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sm-check-", ignore_cleanup_errors=True) as directory:
        state_dir = Path(directory)
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "STATE_DIR": directory,
            "DATABASE_URL": embedded.database_url(state_dir),
            "REDIS_URL": embedded.redis_url(state_dir),
        }
        from django.core.management import execute_from_command_line

        with embedded.running(state_dir):
            execute_from_command_line(["manage.py", *sys.argv[1:]])


if __name__ == "__main__":
    main()

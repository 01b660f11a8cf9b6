"""Waiting until somebody waits for a lock."""

import time
from concurrent.futures import Future
from typing import Any

from django.db import connection


def wait_until_waiting(count: int, *work: Future[Any]) -> None:
    """Until so many transactions wait for a lock, or one of `work` is done without."""
    deadline = time.monotonic() + 20
    while not any(future.done() for future in work):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0] >= count:
                return
        assert time.monotonic() < deadline, "Nobody waits."
        time.sleep(0.01)
